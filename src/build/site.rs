//! Where the programs of buildpacks run: each in a sandbox, or at the real
//! paths of a machine that is thrown away. The rest of the build is told what
//! a program is to see, not how that is brought about.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::follow::{Followed, Output, follow};
use super::{BuildError, BuildRequest, Isolation, ShellRequest};
use crate::archive::AppFolder;
use crate::ident::BuildpackId;
use crate::sys::fs::{read_if_present, remove_tree};
use crate::sys::sandbox::{Mount, Network, Program, SandboxError, Spec, Streams, launch};
use crate::sys::{At as _, PathError};

/// The layers of all buildpacks, inside.
pub(super) const LAYERS: &str = "/layers";
/// What the platform says to buildpacks, inside.
pub(super) const PLATFORM: &str = "/platform";
/// The contract's own folder, inside.
const CNB: &str = "/cnb";
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

/// Lies in `/cnb` of a build with isolation `none` and says where its app is: what is there is ours to remove.
const OURS: &str = "/cnb/.slug-build";
/// The largest such file, in bytes.
const MARK_BYTES_MAX: u64 = 64;
/// The real folders of a build with isolation `none`, besides the app's.
const REAL: [&str; 3] = [CNB, LAYERS, PLATFORM];

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
        if self.is_real() {
            return self.run_here(&job, on_output);
        }
        let again = self.shell.map(|shell| (shell, job.clone()));
        let ended = self.run_in_sandbox(job, on_output)?;
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
        let followed = follow(output, child.exited_fd(), limit, on_output).map_err(lost)?;
        if followed == Followed::TimedOut {
            child.kill();
            child.wait()?;
            return Ok(Ended::TimedOut);
        }
        Ok(Ended::Exit(child.wait()?.code()))
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
            terminal: false,
            prepare: None,
        }
    }

    /// At the real paths. What it sees is copied there first: the app's uid may not look into our folders.
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
        let Program { argv, env, cwd } = &job.program;
        let mut command = Command::new(&argv[0]);
        command
            .args(&argv[1..])
            .env_clear()
            .envs(env)
            .current_dir(cwd)
            .process_group(0);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(uid) = self.uid {
            command.uid(uid).gid(uid);
        }
        let program = argv[0].to_string_lossy().into_owned();
        let mut child = command
            .spawn()
            .map_err(|source| SandboxError::NotExecutable { program, source })?;
        let pid = rustix::process::Pid::from_child(&child);
        let exited = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
            .map_err(io::Error::from);
        let exited = exited.map_err(lost)?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(lost(io::Error::other("it has no output")));
        };
        let output = Output {
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        let followed = follow(output, exited.as_fd(), job.limit, on_output).map_err(lost)?;
        // What it left running goes with it, as it does in a sandbox.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        let status = child.wait().map_err(lost)?;
        let code = status
            .code()
            .or_else(|| status.signal().map(|signal| 128 + signal));
        Ok(if followed == Followed::TimedOut {
            Ended::TimedOut
        } else {
            Ended::Exit(code.unwrap_or(1))
        })
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
                super::tree::copy_tree(from, to)?;
                if *read_only { Ok(()) } else { self.give(to) }
            }
            Mount::Scratch { .. } | Mount::Overlay { .. } => self.make_writable(to),
            Mount::File { bytes, .. } => crate::sys::fs::write_atomic(to, bytes, 0o644),
        }
    }
}

/// The real folders, taken. They are free again when this is dropped, whatever became of the build.
#[derive(Debug)]
struct RealPaths {
    /// `/`.
    root: PathBuf,
    app: AppFolder,
}

impl RealPaths {
    /// Takes the paths, if they are free or what a killed build of ours left.
    fn take(root: &Path, app: AppFolder) -> Result<Self, BuildError> {
        let at = |path: &str| below(root, path);
        if let Some(app) = left_behind(&at(OURS))? {
            drop(Self {
                root: root.to_owned(),
                app,
            });
        }
        let mut all = REAL.into_iter().chain([app.text()]).map(at);
        if let Some(taken) = all.find(|path| path.symlink_metadata().is_ok()) {
            return Err(BuildError::PathTaken(taken));
        }
        fs::create_dir(at(CNB)).at("create the folder", &at(CNB))?;
        crate::sys::fs::write_atomic(&at(OURS), app.text().as_bytes(), 0o644)?;
        // From here on, what is there is ours.
        let paths = Self {
            root: root.to_owned(),
            app,
        };
        for path in [app.text(), LAYERS].map(at) {
            fs::create_dir(&path).at("create the folder", &path)?;
        }
        Ok(paths)
    }

    /// The mark goes last: until then, the next build knows that the rest is ours.
    fn remove(&self) -> Result<(), PathError> {
        for path in [self.app.text(), LAYERS, PLATFORM] {
            remove_tree(&below(&self.root, path))?;
        }
        let (cnb, mark) = (below(&self.root, CNB), below(&self.root, OURS));
        for entry in fs::read_dir(&cnb).at("read", &cnb)? {
            let path = entry.at("read", &cnb)?.path();
            if path != mark {
                remove_tree(&path)?;
            }
        }
        remove_tree(&mark)?;
        fs::remove_dir(&cnb).at("remove", &cnb)
    }
}

impl Drop for RealPaths {
    fn drop(&mut self) {
        // What cannot be removed is found, with the mark, by the next build.
        let _ = self.remove();
    }
}

/// Where the app lay of a build of ours that was killed; none if there was none.
fn left_behind(mark: &Path) -> Result<Option<AppFolder>, PathError> {
    let text = read_if_present(mark, MARK_BYTES_MAX)?;
    Ok(text.and_then(|text| AppFolder::of(std::str::from_utf8(&text).ok()?)))
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_paths_are_free_again_after_the_build() {
        for app in AppFolder::ALL {
            let root = tempfile::tempdir().unwrap();
            let paths = RealPaths::take(root.path(), app).unwrap();
            let file = root.path().join(app.in_layer()).join("file");
            crate::sys::fs::write_atomic(&file, b"", 0o644).unwrap();
            assert!(root.path().join("cnb").exists());
            drop(paths);
            assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn what_is_not_ours_is_refused_and_stays() {
        for taken in ["app", "cnb", "layers", "platform"] {
            let root = tempfile::tempdir().unwrap();
            let file = root.path().join(taken).join("precious");
            fs::create_dir(root.path().join(taken)).unwrap();
            crate::sys::fs::write_atomic(&file, b"", 0o644).unwrap();
            let error = RealPaths::take(root.path(), AppFolder::App).unwrap_err();
            assert!(
                matches!(error, BuildError::PathTaken(path) if path == root.path().join(taken))
            );
            assert!(file.exists(), "{taken}");
            assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn what_a_killed_build_of_ours_left_is_removed_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let app = root.path().join("app/file");
        fs::create_dir(root.path().join("app")).unwrap();
        crate::sys::fs::write_atomic(&app, b"", 0o644).unwrap();
        std::mem::forget(RealPaths::take(root.path(), AppFolder::Workspace).unwrap());
        crate::sys::fs::write_atomic(&root.path().join("layers/old"), b"", 0o644).unwrap();
        let paths = RealPaths::take(root.path(), AppFolder::Workspace).unwrap();
        assert!(!root.path().join("layers/old").exists());
        drop(paths);
        assert!(app.exists(), "no build of ours had its app at `/app`");
    }
}
