//! What a process of a release is: its files, its environment, its command.
//! Loading reads and unpacks; a `Spec` is then made without touching the disk.

mod error;

use std::ffi::OsStr;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::path::PathBuf;

pub use error::LaunchError;

use crate::archive::AppFolder;
use crate::archive::Host;
use crate::archive::LayerKind;
use crate::archive::Slug;
use crate::archive::SlugProcess;
use crate::archive::check_base;
use crate::archive::read_image;
use crate::archive::unpack;
use crate::buildpack::Api;
use crate::buildpack::command::UserArguments;
use crate::buildpack::command::words;
use crate::buildpack::exec_d;
use crate::buildpack::shell;
use crate::ident::AppName;
use crate::ident::Digest;
use crate::ident::Instance;
use crate::ident::LayerName;
use crate::ident::ProcessType;
use crate::ident::ReleaseVersion;
use crate::layer::env::Env;
use crate::layer::env::LayerEnv;
use crate::layer::env::apply_at_launch;
use crate::store::ConfigVars;
use crate::store::ReleaseRecord;
use crate::store::Store;
use crate::store::StoreError;
use crate::sys::PathError;
use crate::sys::clock::Timestamp;
use crate::sys::fs::create_dir_durable;
use crate::sys::sandbox::Limits;
use crate::sys::sandbox::Mount;
use crate::sys::sandbox::Network;
use crate::sys::sandbox::Program;
use crate::sys::sandbox::Spec;
use crate::sys::sandbox::Terminal;

/// `HOME` of every process: fresh, private, in memory. Not below `/workspace`, which is read-only
/// (gunicorn writes into `$HOME/.gunicorn`).
pub const HOME: &str = "/home/slug";
/// `TMPDIR` of every process.
pub const TMPDIR: &str = "/tmp";
/// What a process finds programs on, before its layers add theirs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A release whose files lie unpacked on this host.
#[derive(Debug)]
pub struct Loaded {
    app: AppName,
    version: ReleaseVersion,
    digest: Digest,
    released_at: Timestamp,
    slug: Slug,
    config: ConfigVars,
    uid: u32,
    mounts: Vec<Mount>,
    /// Per buildpack, in group order; each one's layers by name (rule 55).
    layers: Vec<Vec<LaunchLayer>>,
}

#[derive(Debug)]
struct LaunchLayer {
    name: LayerName,
    /// On this host.
    folder: PathBuf,
    /// Inside.
    at: PathBuf,
    env: LayerEnv,
}

/// What a process is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A process type of the slug (its default if none), with a user's arguments in the place of its default ones.
    Type(Option<ProcessType>, Vec<OsString>),
    /// A command of a user's, executed as it is.
    Direct(Vec<OsString>),
}

impl Loaded {
    /// Reads the slug, unpacks what is not unpacked yet, and unseals the config. `progress` is told the bytes unpacked.
    pub fn load(
        store: &Store,
        record: &ReleaseRecord,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, LaunchError> {
        let digest = record.slug.ok_or(LaunchError::NoSlug(record.version))?;
        let slug = read_image(store, &digest)?;
        let _no_garbage_collection = store.hold()?;
        let mut unpacked = Vec::new();
        let seen = slug
            .layers
            .iter()
            .filter(|(kind, _)| *kind != LayerKind::Sbom);
        for (kind, blob) in seen {
            unpacked.push((kind.clone(), unpack(store, blob, progress)?));
        }
        let layers = launch_layers(&slug, &unpacked)?;
        Ok(Self {
            app: record.app.clone(),
            version: record.version,
            digest,
            released_at: record.at,
            config: store.unseal(&record.app, &record.config)?,
            uid: uid(store, &record.app)?,
            mounts: mounts(
                slug.app,
                &unpacked,
                &layers,
                empty_folder(store)?.as_deref(),
            ),
            layers,
            slug,
        })
    }

    /// Refuses a slug whose files need what this host does not have.
    pub fn check_base(&self) -> Result<(), LaunchError> {
        let missing = check_base(&self.slug, &Host::read()?);
        missing.map_err(|missing| LaunchError::Base {
            slug: self.digest,
            missing,
        })
    }

    /// Which release.
    pub fn version(&self) -> ReleaseVersion {
        self.version
    }

    /// What it consists of.
    pub fn slug(&self) -> &Slug {
        &self.slug
    }

    /// The sandbox of one process. `port` for the routed type alone.
    pub fn spec(
        &self,
        command: &Command,
        instance: &Instance,
        port: Option<u16>,
    ) -> Result<Spec, LaunchError> {
        let process = self.process(command)?;
        let process_type = process.map_or(&instance.process_type, |process| &process.process_type);
        let mut exec_d = Vec::new();
        for layer in self.layers.iter().flatten() {
            exec_d.extend(exec_d::programs(
                &layer.folder,
                &layer.at,
                Some(process_type),
            )?);
        }
        let program = Program {
            argv: self.argv(command, process)?,
            env: self.env(process_type, instance, port),
            // bash goes to the working folder itself, after the profiles, which begin in the app's.
            cwd: process.filter(|process| process.direct).map_or_else(
                || self.slug.app.path().to_owned(),
                |process| self.working_dir(process),
            ),
        };
        let has_exec_d = !exec_d.is_empty();
        let app = self.slug.app.path().to_owned();
        let prepare = serde_json::json!(exec_d::Prepare { exec_d, app });
        Ok(Spec {
            mounts: self.mounts.clone(),
            network: Network::Host,
            uid: self.uid,
            program,
            terminal: Terminal::default(),
            prepare: has_exec_d.then_some(prepare),
            limits: Limits::default(),
        })
    }

    fn process(&self, command: &Command) -> Result<Option<&SlugProcess>, LaunchError> {
        let processes = &self.slug.processes;
        let has = || {
            processes
                .iter()
                .map(|process| process.process_type.clone())
                .collect()
        };
        match command {
            Command::Direct(_) => Ok(None),
            Command::Type(Some(wanted), _) => {
                let found = processes
                    .iter()
                    .find(|process| process.process_type == *wanted);
                let none = || LaunchError::NoType {
                    slug: self.digest,
                    wanted: wanted.clone(),
                    has: has(),
                };
                found.map(Some).ok_or_else(none)
            }
            Command::Type(None, _) => {
                let found = processes.iter().find(|process| process.default);
                found.map(Some).ok_or_else(|| LaunchError::NoDefault {
                    slug: self.digest,
                    has: has(),
                })
            }
        }
    }

    /// Rules 51, 52, 57 and 58.
    fn argv(
        &self,
        command: &Command,
        process: Option<&SlugProcess>,
    ) -> Result<Vec<OsString>, LaunchError> {
        let argv = match (command, process) {
            // On Heroku a one-off has the environment of the app's processes, which the profiles of classic buildpacks make.
            (Command::Direct(argv), _) if self.slug.app == AppFolder::App && !argv.is_empty() => {
                let profiles = self.profiles(&ProcessType::run())?;
                shell::as_it_is(&profiles, self.slug.app.path(), argv)
            }
            (Command::Direct(argv), _) => argv.clone(),
            // A user's arguments are no command.
            (_, Some(process)) if process.command.first().is_none_or(String::is_empty) => {
                Vec::new()
            }
            (Command::Type(_, user), Some(process)) => {
                let how = self.user_arguments(process);
                let argv = words(&process.command, &process.args, user, how);
                if process.direct {
                    argv
                } else {
                    shell::in_bash(
                        OsStr::new("bash"),
                        &self.profiles(&process.process_type)?,
                        &self.working_dir(process),
                        &argv,
                    )
                }
            }
            (Command::Type(..), None) => Vec::new(),
        };
        if argv.first().is_none_or(|program| program.is_empty()) {
            let process_type =
                process.map_or_else(ProcessType::run, |process| process.process_type.clone());
            return Err(LaunchError::EmptyCommand(process_type));
        }
        Ok(argv)
    }

    fn working_dir(&self, process: &SlugProcess) -> PathBuf {
        let app = self.slug.app.path();
        // `join` with an absolute path is that path.
        process
            .working_dir
            .as_ref()
            .map_or_else(|| app.to_owned(), |folder| app.join(folder))
    }

    /// Before Buildpack API 0.9 they are added, whether or not a shell starts the process; a command of several words is newer.
    fn user_arguments(&self, process: &SlugProcess) -> UserArguments {
        let mut buildpacks = self.slug.buildpacks.iter();
        let by = buildpacks.find(|buildpack| buildpack.id == process.buildpack);
        let api = by.and_then(|by| by.api.parse::<Api>().ok());
        if process.command.len() > 1 || api.is_none_or(Api::has_command_lists) {
            UserArguments::Replace
        } else {
            UserArguments::Append
        }
    }

    /// `profile.d/*` and `profile.d/<type>/*` of every layer, by their paths inside.
    fn profiles(&self, process_type: &ProcessType) -> Result<Vec<PathBuf>, PathError> {
        let mut profiles = Vec::new();
        for layer in self.layers.iter().flatten() {
            profiles.extend(shell::profiles(
                &layer.folder,
                &layer.at,
                Some(process_type),
            )?);
        }
        Ok(profiles)
    }

    /// Config vars; then, winning, what `slug` itself says; then the layers.
    fn env(&self, process_type: &ProcessType, instance: &Instance, port: Option<u16>) -> Env {
        let mut env = Env::from([("PATH".into(), PATH.into())]);
        for (key, value) in self.config.iter() {
            env.insert(
                key.as_str().into(),
                OsString::from_vec(value.expose().to_vec()),
            );
        }
        let own = [
            ("DYNO", instance.to_string()),
            ("SLUG_PROCESS", instance.to_string()),
            ("SLUG_APP", self.app.to_string()),
            ("SLUG_RELEASE", self.version.to_string()),
            ("SLUG_DIGEST", self.digest.to_string()),
            ("SLUG_RELEASED_AT", self.released_at.to_string()),
            ("HOME", HOME.to_owned()),
            ("TMPDIR", TMPDIR.to_owned()),
        ];
        env.extend(own.map(|(key, value)| (key.into(), value.into())));
        env.extend(port.map(|port| ("PORT".into(), port.to_string().into())));
        let layers = self
            .layers
            .iter()
            .map(|layers| layers.iter().map(|layer| &layer.env).collect::<Vec<_>>());
        apply_at_launch(layers, Some(process_type), &mut env);
        env
    }
}

/// An unprivileged caller's processes are its own; root's get the app's uid.
fn uid(store: &Store, app: &AppName) -> Result<u32, StoreError> {
    let own = rustix::process::getuid();
    if own.is_root() {
        store.app_uid(app)
    } else {
        Ok(own.as_raw())
    }
}

fn launch_layers(
    slug: &Slug,
    unpacked: &[(LayerKind, PathBuf)],
) -> Result<Vec<Vec<LaunchLayer>>, PathError> {
    let mut by_buildpack = Vec::new();
    for member in &slug.buildpacks {
        let mut layers = Vec::new();
        for (kind, folder) in unpacked {
            if let LayerKind::Buildpack { buildpack, layer } = kind
                && *buildpack == member.id
            {
                let below = Path::new("layers")
                    .join(buildpack.folder())
                    .join(layer.as_str());
                let (folder, at) = (folder.join(&below), Path::new("/").join(&below));
                let env = LayerEnv::read(&folder, &at)?;
                layers.push(LaunchLayer {
                    name: layer.clone(),
                    folder,
                    at,
                    env,
                });
            }
        }
        layers.sort_by(|a, b| a.name.cmp(&b.name));
        by_buildpack.push(layers);
    }
    Ok(by_buildpack)
}

/// Every layer at its fixed path, read-only; the app's slices over one another; and a home.
/// `empty` is given to root: see `sealed`.
fn mounts(
    place: AppFolder,
    unpacked: &[(LayerKind, PathBuf)],
    layers: &[Vec<LaunchLayer>],
    empty: Option<&Path>,
) -> Vec<Mount> {
    let is_app = |(kind, _): &&(LayerKind, PathBuf)| matches!(kind, LayerKind::App);
    // Topmost first: a later slice wins, as in an image.
    let slices: Vec<PathBuf> = unpacked
        .iter()
        .rev()
        .filter(is_app)
        .map(|(_, folder)| folder.join(place.in_layer()))
        .collect();
    let app = match slices.as_slice() {
        [only] => sealed(only, place.path(), empty),
        _ => Mount::Overlay {
            lower: slices,
            upper: None,
            to: place.path().to_owned(),
        },
    };
    let home = Mount::Scratch {
        to: PathBuf::from(HOME),
    };
    let layers = layers.iter().flatten();
    layers
        .map(|layer| sealed(&layer.folder, &layer.at, empty))
        .chain([app, home])
        .collect()
}

/// A folder that cannot be written to. A read-only mount refuses a write after the file's mode was asked: an app of
/// root's, whose uid owns no file, would be told EACCES. So root's lies over an empty folder, as a read-only file
/// system: EROFS, whoever owns the file.
fn sealed(folder: &Path, to: &Path, empty: Option<&Path>) -> Mount {
    match empty {
        Some(empty) => Mount::Overlay {
            lower: vec![folder.to_owned(), empty.to_owned()],
            upper: None,
            to: to.to_owned(),
        },
        None => Mount::Bind {
            from: folder.to_owned(),
            to: to.to_owned(),
            read_only: true,
        },
    }
}

/// The empty folder (no app's: their names have no dot) that root's mounts lie over; none for others, whose processes own the files.
fn empty_folder(store: &Store) -> Result<Option<PathBuf>, PathError> {
    if !rustix::process::getuid().is_root() {
        return Ok(None);
    }
    let empty = store.host().join("run/.empty");
    create_dir_durable(&empty, 0o755)?;
    Ok(Some(empty))
}

#[cfg(test)]
mod lifecycle_cases;
#[cfg(test)]
mod tests;
