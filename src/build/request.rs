//! What a build is asked for, and what it says while it works.

use std::path::PathBuf;
use std::time::Duration;

use super::Reference;
use super::explain::{GivenVariable, SeenLayer};
use super::secrets::Secrets;
use crate::archive::Compression;
use crate::buildpack::ExecEnv;
use crate::buildpack::author::BuiltIn;
use crate::buildpack::descriptor::Descriptor;
use crate::buildpack::detection::Detected;
use crate::buildpack::lint::Written;
use crate::ident::{AppName, BuildpackId};
use crate::layer::Env;
use crate::store::Store;
use crate::sys::cancel::Cancel;

/// All that a build depends on.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The folder of the app, absolute.
    pub source: PathBuf,
    /// Whose cache is used, and whose uid where the caller is root.
    pub app: AppName,
    /// Where the slug goes; its host part has the caches.
    pub store: Store,
    /// The `slug` binary: the shim of every sandbox, and what runs the built-ins.
    pub program: PathBuf,
    /// The buildpacks that are part of `slug`.
    pub built_ins: BuiltIns,
    /// Which buildpacks are tried, as far as the operator says so.
    pub order: OrderRequest,
    /// The operator's variables of this build (`--env`), for `<platform>/env`.
    pub env: Env,
    /// A folder of `NAME` files with more of them (`--platform-env`); `env` wins.
    pub platform_env: Option<PathBuf>,
    /// What is built for: the value of `CNB_EXEC_ENV` (rules 9 and 12).
    pub exec_env: ExecEnv,
    /// A folder of `env/NAME[.suffix]` files of the operator's that buildpacks cannot refuse (`<build-config>`).
    pub build_config: Option<PathBuf>,
    /// In sandboxes, or at the real paths of a machine that is thrown away.
    pub isolation: Isolation,
    /// No network for buildpacks, and nothing is fetched.
    pub offline: bool,
    /// How layers are compressed.
    pub compression: Compression,
    /// A URL or folder that is asked for artifacts first.
    pub mirror: Option<String>,
    /// The operator's environment: only what it says about proxies, indexes, certificates and host programs is used.
    pub operator_env: Env,
    /// The operator's home, for the settings of the same tools.
    pub home: Option<PathBuf>,
    /// Begin without cached layers.
    pub clear_cache: bool,
    /// A folder that carries the app's cache from machine to machine.
    pub cache_dir: Option<PathBuf>,
    /// What buildpacks read at `/platform/secrets`.
    pub secrets: Secrets,
    /// How long programs may run.
    pub limits: Limits,
    /// Whether the build is asked to end.
    pub cancel: Cancel,
    /// A shell where a program of a buildpack has run.
    pub shell: Option<ShellRequest>,
}

/// A shell of the operator's where a program has run, with the same mounts and environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShellRequest {
    /// After which program.
    pub after: BuildpackProgram,
    /// Also if it did not fail.
    pub always: bool,
}

/// One of the two programs of a buildpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildpackProgram {
    /// `bin/detect`.
    Detect,
    /// `bin/build`.
    Build,
}

impl BuildpackProgram {
    /// Its path in the buildpack's folder.
    pub fn path(self) -> &'static str {
        match self {
            Self::Detect => "bin/detect",
            Self::Build => "bin/build",
        }
    }
}

/// How long the programs of a buildpack may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A `bin/detect`, which looks at files.
    pub detect: Duration,
    /// A `bin/build`, which may compile all day: only one that hangs is to be ended.
    pub build: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            detect: Duration::from_mins(1),
            build: Duration::from_hours(1),
        }
    }
}

/// Which buildpacks are tried. Nothing said: those of the app's project.toml, else the order of the built-ins.
#[derive(Clone, Debug, Default)]
pub struct OrderRequest {
    /// One group, in this order, all required (`--buildpack`).
    pub buildpacks: Vec<Reference>,
    /// A file with `[[order]]` tables (`--order`); excludes `buildpacks`.
    pub file: Option<PathBuf>,
    /// Before the members of whichever group is tried (`--pre`).
    pub pre: Vec<Reference>,
    /// After them (`--post`).
    pub post: Vec<Reference>,
}

/// The buildpacks that are part of `slug`, and their order: groups of ids, each with whether it is optional.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIns {
    /// All of them.
    pub all: &'static [BuiltIn],
    /// The groups, tried in this order.
    pub order: &'static [&'static [(&'static str, bool)]],
    /// What runs Heroku's classic buildpacks: one member of a group, laid out with those that a build names.
    pub classic: BuiltIn,
}

impl BuiltIns {
    /// Is one of this id among them?
    pub fn has(&self, id: &str) -> bool {
        self.all.iter().any(|built_in| built_in.id == id)
    }
}

/// Where buildpacks run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Each in a mount namespace of its own.
    #[default]
    Namespaces,
    /// At the real `/workspace`, `/layers`, `/platform` and `/cnb`, which must not exist before and are removed afterwards.
    None,
}

/// What happens during a build.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// Another build of the app is running: this one waits for it.
    Waiting {
        /// Its source and process, as it says; empty if it says nothing.
        holder: &'a str,
    },
    /// Something the user should know.
    Warning(&'a str),
    /// `bin/detect` of these runs.
    Detecting(&'a [BuildpackId]),
    /// What a detect said, once it ended; for people who ask for more, or when it failed.
    DetectOutput {
        /// Whose.
        buildpack: &'a BuildpackId,
        /// Neither passed nor declined.
        failed: bool,
        /// Standard output and error.
        output: &'a [u8],
    },
    /// The variables of the operator's that buildpacks are given, in the order in which they are applied.
    Variables(&'a [GivenVariable]),
    /// A group takes the app.
    Detected(&'a Detected),
    /// The layers of a buildpack that has built, kept ones too, as later programs see them.
    Layers {
        /// Whose.
        buildpack: &'a BuildpackId,
        /// Those with content that are for more than the cache.
        layers: &'a [SeenLayer],
    },
    /// An artifact is asked for.
    Fetching {
        /// Its name and version.
        artifact: &'a str,
        /// The place that is asked, without credentials.
        place: &'a str,
    },
    /// Bytes of the artifact.
    Fetched {
        /// So far.
        bytes: u64,
        /// All, where it is known.
        total: Option<u64>,
    },
    /// A place does not have the artifact: the next one is asked.
    FetchFailed {
        /// Its name and version.
        artifact: &'a str,
        /// The place, without credentials.
        place: &'a str,
        /// Its answer.
        why: &'a str,
    },
    /// A program has ended and left files, which are there as long as this event is heard.
    Wrote {
        /// Whose.
        buildpack: &'a Descriptor,
        /// The build plan, or the layers folder.
        what: Written<'a>,
    },
    /// `bin/build` begins.
    Building {
        /// Whose.
        buildpack: &'a BuildpackId,
        /// Its version.
        version: &'a str,
    },
    /// What it says, as it comes; not necessarily whole lines.
    Output {
        /// Standard error, not output.
        stderr: bool,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A layer is packed: so many bytes so far.
    Packing {
        /// `slug/python: venv`, or `app`.
        layer: &'a str,
        /// Of its tar.
        bytes: u64,
    },
}
