//! Where the programs of buildpacks run: each in a sandbox, or at the real
//! paths of a machine that is thrown away. The rest of the build is told what
//! a program is to see, not how that is brought about.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::follow::{Followed, Output, follow};
use super::real_paths::{self, RealPaths};
use super::secrets::Secrets;
use super::{BuildError, BuildRequest, Isolation, ShellRequest};
use crate::archive::AppFolder;
use crate::ident::BuildpackId;
use crate::sys::cancel::Cancel;
use crate::sys::here::Here;
use crate::sys::sandbox::{Mount, Network, Program, SandboxError, Spec, Streams, Terminal, launch};
use crate::sys::{At as _, PathError};

/// The layers of all buildpacks, inside.
pub(super) const LAYERS: &str = "/layers";
/// What the platform says to buildpacks, inside.
pub(super) const PLATFORM: &str = "/platform";
/// Programs of the host that a buildpack asked for, in the platform's folder.
pub(super) const HOST: &str = "host";
/// The contract's own folder, inside.
pub(super) const CNB: &str = "/cnb";
/// The buildpacks, inside: `<id>/<version>`.
pub(super) const BUILDPACKS: &str = "/cnb/buildpacks";
/// The `slug` binary, inside: built-ins are links to it.
pub(super) const SLUG: &str = "/cnb/slug";
/// A detect's own folder, inside: its plan.
pub(super) const DETECT: &str = "/cnb/detect";
/// The home of a build, inside: empty at its start, gone after it.
const HOME: &str = "/home/slug";
/// The same at the real paths, where `/home` is the machine's.
const REAL_HOME: &str = "/cnb/home";

/// One program and what it sees.
#[derive(Clone, Debug)]
pub(super) struct Job<'a> {
    /// Whose.
    pub(super) buildpack: &'a BuildpackId,
    /// What is executed.
    pub(super) program: Program,
    /// What it sees besides the base.
    pub(super) sees: Vec<Mount>,
    /// The network it has.
    pub(super) network: Network,
    /// How long it may run.
    pub(super) limit: Option<Duration>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its exit code; 128 + n for signal n.
    Exit(i32),
    /// It was killed, because its time was up.
    TimedOut,
}

impl Ended {
    /// As a shell tells it.
    pub(super) fn code(self) -> i32 {
        match self {
            Self::Exit(code) => code,
            Self::TimedOut => 128 + rustix::process::Signal::KILL.as_raw(),
        }
    }
}

/// Where programs run.
#[derive(Debug)]
pub(super) struct Site {
    /// The shim of every sandbox.
    pub(super) program: PathBuf,
    shell: Option<ShellRequest>,
    /// With isolation `none`.
    real_paths: Option<RealPaths>,
    /// The app, inside.
    pub(super) app: AppFolder,
    /// The app's uid, where the caller is root.
    pub(super) uid: Option<u32>,
    cancel: Cancel,
    secrets: Secrets,
}

impl Site {
    /// Makes ready; with isolation `none`, refuses paths that are taken.
    pub(super) fn open(request: &BuildRequest, app: AppFolder) -> Result<Self, BuildError> {
        let is_root = rustix::process::geteuid().is_root();
        let uid = is_root
            .then(|| request.store.app_uid(&request.app))
            .transpose()?;
        let real_paths = match request.isolation {
            Isolation::Namespaces => None,
            Isolation::None => Some(RealPaths::take(Path::new("/"), app)?),
        };
        Ok(Self {
            program: request.program.clone(),
            shell: request.shell,
            real_paths,
            app,
            uid,
            cancel: request.cancel.clone(),
            secrets: request.secrets.clone(),
        })
    }

    /// Do programs run at the real paths?
    pub(super) fn is_real(&self) -> bool {
        self.real_paths.is_some()
    }

    /// Where the app's folder is on this machine; `scratch` is a folder of this build's own.
    pub(super) fn workspace(&self, scratch: &Path) -> PathBuf {
        if self.is_real() {
            self.app.path().to_owned()
        } else {
            scratch.join("workspace")
        }
    }

    /// Where the layers of a buildpack are written on this machine.
    pub(super) fn layers(&self, scratch: &Path, buildpack: &BuildpackId) -> PathBuf {
        let parent = if self.is_real() {
            PathBuf::from(LAYERS)
        } else {
            scratch.join("layers")
        };
        parent.join(buildpack.folder())
    }

    /// The home of the programs, inside.
    pub(super) fn home(&self) -> &'static Path {
        Path::new(if self.is_real() { REAL_HOME } else { HOME })
    }

    /// Where on this machine a program's writes to what it sees at `inside` arrive.
    pub(super) fn written<'a>(&self, host: &'a Path, inside: &'a Path) -> &'a Path {
        if self.is_real() { inside } else { host }
    }

    /// Makes a folder that the programs may write to.
    pub(super) fn make_writable(&self, folder: &Path) -> Result<(), PathError> {
        fs::create_dir_all(folder).at("create the folder", folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
            .at("set the mode of", folder)?;
        self.give(folder)
    }

    /// Lets the programs have a file or folder.
    pub(super) fn give(&self, path: &Path) -> Result<(), PathError> {
        self.uid.map_or(Ok(()), |uid| {
            chown(path, Some(uid), Some(uid)).at("give away", path)
        })
    }

    /// Puts in place what a program is to see, where that is not done for each program apart.
    pub(super) fn make_ready(&self, job: &Job<'_>) -> Result<(), PathError> {
        if !self.is_real() {
            return Ok(());
        }
        job.sees.iter().try_for_each(|mount| self.bring(mount))
    }

    /// Runs a program to its end, handing on its output (with whether it is standard error).
    pub(super) fn run(
        &self,
        job: Job<'_>,
        on_output: &mut dyn FnMut(bool, &[u8]),
    ) -> Result<Ended, BuildError> {
        let again = self.shell.map(|shell| (shell, job.clone()));
        let mut redactor = self.secrets.redactor();
        let mut on_bytes = |is_stderr: bool, bytes: &[u8]| {
            redactor.push(is_stderr, bytes, on_output);
        };
        if self.is_real() {
            let ended = self.run_here(&job, &mut on_bytes);
            redactor.finish(on_output);
            return ended;
        }
        let ended = self.run_in_sandbox(job, &mut on_bytes);
        redactor.finish(on_output);
        let ended = ended?;
        if let Some((shell, job)) = again {
            self.offer_shell(shell, job, ended, on_output)?;
        }
        Ok(ended)
    }

    fn run_in_sandbox(
        &self,
        job: Job<'_>,
        on_output: &mut dyn FnMut(bool, &[u8]),
    ) -> Result<Ended, BuildError> {
        let Job {
            buildpack,
            program,
            sees,
            network,
            limit,
        } = job;
        let lost = |source| BuildError::Follow {
            buildpack: buildpack.clone(),
            source,
        };
        let spec = self.spec(program, sees, network);
        let ((stdout, out), (stderr, err)) = (io::pipe().map_err(lost)?, io::pipe().map_err(lost)?);
        let stdin = File::open("/dev/null").at("open", Path::new("/dev/null"))?;
        let streams = Streams {
            stdin: stdin.into(),
            stdout: out.into(),
            stderr: err.into(),
        };
        let mut child = launch(&self.program, &spec, streams)?;
        child.started()?;
        let output = Output {
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        let followed = follow(output, child.exited_fd(), limit, &self.cancel, on_output);
        let followed = followed.map_err(lost)?;
        if followed != Followed::Ended {
            child.kill();
        }
        let code = child.wait()?.code();
        self.ended(followed, code)
    }

    /// What became of a program that was followed and is gone.
    fn ended(&self, followed: Followed, code: i32) -> Result<Ended, BuildError> {
        match (followed, self.cancel.signal()) {
            (_, Some(signal)) => Err(BuildError::Interrupted { signal }),
            (Followed::TimedOut, None) => Ok(Ended::TimedOut),
            (Followed::Ended | Followed::Cancelled, None) => Ok(Ended::Exit(code)),
        }
    }

    /// The sandbox of a program.
    pub(super) fn spec(&self, program: Program, sees: Vec<Mount>, network: Network) -> Spec {
        Spec {
            mounts: sees,
            network,
            // An unprivileged caller's programs keep its uid, whatever is said here.
            uid: self
                .uid
                .unwrap_or_else(|| rustix::process::getuid().as_raw()),
            program,
            terminal: Terminal::default(),
            prepare: None,
            limits: crate::sys::sandbox::Limits::default(),
        }
    }

    /// At the real paths. What it sees is brought there first: the app's uid may not look into our folders.
    fn run_here(
        &self,
        job: &Job<'_>,
        on_output: &mut dyn FnMut(bool, &[u8]),
    ) -> Result<Ended, BuildError> {
        let lost = |source| BuildError::Follow {
            buildpack: job.buildpack.clone(),
            source,
        };
        self.make_ready(job)?;
        let program = job.program.argv.first().cloned().unwrap_or_default();
        let mut here = Here::start(&job.program, self.uid).map_err(|source| {
            let program = program.to_string_lossy().into_owned();
            SandboxError::NotExecutable { program, source }
        })?;
        let (Some(stdout), Some(stderr)) = (here.stdout.take(), here.stderr.take()) else {
            return Err(lost(io::Error::other("it has no output")));
        };
        let output = Output { stdout, stderr };
        let followed = follow(output, here.exited_fd(), job.limit, &self.cancel, on_output);
        // What it left running goes with it, as it does in a sandbox.
        let code = here.end().map_err(lost)?;
        self.ended(followed.map_err(lost)?, code)
    }

    /// Puts what a sandbox would show to its real place. What is already at that place on this machine stays as it is.
    fn bring(&self, mount: &Mount) -> Result<(), PathError> {
        let to = mount.to();
        if to.symlink_metadata().is_ok() {
            return Ok(());
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).at("create the folder", parent)?;
        }
        match mount {
            Mount::Bind {
                from, read_only, ..
            } => {
                if *read_only {
                    return real_paths::show(from, to, self.uid);
                }
                super::tree::copy_tree(from, to)?;
                self.give(to)
            }
            Mount::Scratch { .. } | Mount::Overlay { .. } => self.make_writable(to),
            Mount::File { bytes, .. } => crate::sys::fs::write_atomic(to, bytes, 0o644),
            Mount::Private { files, .. } => match &self.real_paths {
                Some(real) => real.show_private(to, files, self.uid),
                None => Ok(()),
            },
        }
    }
}
