//! Why a build ended without a slug. Facts alone: `cli` words the advice.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::secrets::Leak;
use crate::archive::ArchiveError;
use crate::buildpack::descriptor::DescriptorError;
use crate::buildpack::detection::GroupVerdict;
use crate::buildpack::order::OrderError;
use crate::buildpack::sbom::SbomError;
use crate::ident::{BuildpackId, LayerName};
use crate::layer::TomlError;
use crate::store::StoreError;
use crate::sys::PathError;
use crate::sys::fetch::FetchError;
use crate::sys::sandbox::SandboxError;

/// Why a build ended without a slug.
#[derive(Debug, Error)]
pub enum BuildError {
    /// A file could not be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A TOML file is wrong: the app's, or one that a buildpack wrote.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A layer or the image could not be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// No sandbox could be made.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A buildpack's descriptor is wrong.
    #[error(transparent)]
    Descriptor(#[from] DescriptorError),
    /// The order of buildpacks makes no sense.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// An SBOM cannot be taken.
    #[error(transparent)]
    Sbom(#[from] SbomError),
    /// The source is not a folder.
    #[error("`{}` is not a folder", .0.display())]
    NoSource(PathBuf),
    /// The source has no file that would go into the slug.
    #[error("`{}` has no files to build (of those that git does not ignore, where it is a git work tree)", .0.display())]
    EmptySource(PathBuf),
    /// The source is a git work tree and there is no git to ask which files belong to it.
    #[error("`{}` is a git work tree, and `git` could not be run: {source}", path.display())]
    NoGit {
        /// The source.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// git does not accept the work tree.
    #[error("git cannot list the files of `{}`: {said}", path.display())]
    Git {
        /// The source.
        path: PathBuf,
        /// Its standard error.
        said: String,
    },
    /// The source has more files than a build takes.
    #[error("`{}` has more than {max} files", path.display())]
    TooManyFiles {
        /// The source.
        path: PathBuf,
        /// The limit.
        max: usize,
    },
    /// A line that is no pattern of the gitignore grammar.
    #[error("`{}` has a pattern that cannot be read: {why}", path.display())]
    BadPattern {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        why: String,
    },
    /// What was named is neither on this machine nor a built-in.
    #[error("`{0}` is neither a folder or an archive nor the id of a built-in buildpack")]
    NoSuchBuildpack(String),
    /// An archive or an image with a buildpack is refused.
    #[error("the buildpack `{reference}` cannot be unpacked: {source}")]
    BuildpackArchive {
        /// As it was named.
        reference: String,
        /// What is wrong with it.
        source: ArchiveError,
    },
    /// What was named is there, and is no buildpack.
    #[error("`{reference}` is not a buildpack: {why}")]
    NotABuildpack {
        /// As it was named.
        reference: String,
        /// What it is instead.
        why: String,
    },
    /// The id beside a reference is another one's.
    #[error("`{reference}` is the buildpack `{found}`, and `{expected}` is written beside it")]
    NotTheBuildpack {
        /// As it was named.
        reference: String,
        /// The id that is written.
        expected: BuildpackId,
        /// The id that its buildpack.toml states.
        found: BuildpackId,
    },
    /// The file that `--order` names is not there.
    #[error("`{}` is not there", .0.display())]
    NoOrderFile(PathBuf),
    /// No group of buildpacks passed, and none failed (exit code 20).
    #[error("no buildpack fits this app")]
    NothingFits(Vec<GroupVerdict>),
    /// No group passed, and a `bin/detect` failed (exit code 21).
    #[error("detection failed")]
    DetectFailed(Vec<GroupVerdict>),
    /// The buildpacks say that the build cannot go on: all reasons, before anything is fetched.
    #[error("{}", .0.join("\n"))]
    Problems(Vec<String>),
    /// Artifacts without which the build cannot go on could not be had (exit code 69).
    #[error("{}", missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Artifacts {
        /// Each, with all places that were asked.
        missing: Vec<FetchError>,
    },
    /// `bin/build` failed (exit code 51).
    #[error("the buildpack `{buildpack}` failed ({})", how(*.exit))]
    BuildFailed {
        /// Whose.
        buildpack: BuildpackId,
        /// Its exit code; 128 + n for signal n.
        exit: i32,
        /// The last of its output.
        tail: Vec<u8>,
    },
    /// `bin/build` did not end in its time, and was killed (exit code 51).
    #[error("the buildpack `{buildpack}` did not end within {}", limit_shown(*.limit))]
    TimedOut {
        /// Whose.
        buildpack: BuildpackId,
        /// The limit.
        limit: Duration,
        /// The last of its output.
        tail: Vec<u8>,
    },
    /// The build was asked to end (exit code 128 + the signal).
    #[error("the build was interrupted by {}", signal_name(*.signal))]
    Interrupted {
        /// Its number.
        signal: i32,
    },
    /// A secret would be kept.
    #[error("{}", leaks.iter().map(leak_shown).collect::<Vec<_>>().join("\n"))]
    Leaked {
        /// Every place, up to a limit; at least one.
        leaks: Vec<Leak>,
    },
    /// `build.toml` names an entry that the plan does not hold.
    #[error("the buildpack `{buildpack}` leaves `{name}` unmet, which was not asked of it")]
    Unmet {
        /// Whose.
        buildpack: BuildpackId,
        /// The name.
        name: String,
    },
    /// A name that the contract reserves, or that no layer can have.
    #[error("the buildpack `{buildpack}` made a layer of a name that cannot be: {name:?}")]
    LayerName {
        /// Whose.
        buildpack: BuildpackId,
        /// The name.
        name: String,
    },
    /// A launch layer has metadata and no content, and there is none to take in its place.
    #[error(
        "the buildpack `{buildpack}` wants the layer `{layer}` in the slug and did not make it: {why}"
    )]
    LayerMissing {
        /// Whose.
        buildpack: BuildpackId,
        /// Its name.
        layer: LayerName,
        /// Why the last build's is not taken.
        why: NoContent,
    },
    /// A buildpack made `<layers>/sbom`, which is the platform's.
    #[error("the buildpack `{0}` wrote to `sbom` in its layers folder, which is the platform's")]
    SbomFolder(BuildpackId),
    /// The classic buildpacks of the order cannot run as one.
    #[error("the classic buildpacks {} {why}", packs.join(", "))]
    Classics {
        /// All of them.
        packs: Vec<String>,
        /// Why not.
        why: ClassicsMisplaced,
    },
    /// Isolation `none`: a path that the build needs exists already.
    #[error("`{}` exists, and it is not an earlier build's", .0.display())]
    PathTaken(PathBuf),
    /// Isolation `none`: another build is at the same paths.
    #[error("another build is running at `{}` of this machine", .0.display())]
    PathBusy(PathBuf),
    /// The process of a build could not be watched.
    #[error("could not follow the output of `{buildpack}`: {source}")]
    Follow {
        /// Whose.
        buildpack: BuildpackId,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// Why classic buildpacks cannot run as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassicsMisplaced {
    /// Another buildpack stands between them.
    Apart,
    /// One of several is optional.
    Optional,
    /// Two groups have different ones.
    Several,
}

impl fmt::Display for ClassicsMisplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apart => {
                "have another buildpack between them: they run as one, sharing a cache and an environment, so they stand beside each other"
            }
            Self::Optional => {
                "are not all required: a later one may detect what an earlier one made, so each must fit"
            }
            Self::Several => "are not the same in each group: a build has one list of them",
        })
    }
}

/// Why a launch layer without content is not the last build's (rule 48).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoContent {
    /// A cached layer was given back: without its folder the buildpack removed it.
    Cached,
    /// The last build had none.
    NeverMade,
    /// The last build's is no more in the store, or was compressed in another way.
    Gone,
}

impl fmt::Display for NoContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cached => "it is `cache = true` and has no folder",
            Self::NeverMade => "the last build had none to take in its place",
            Self::Gone => "the last build's cannot be taken in its place any more",
        })
    }
}

impl BuildError {
    /// What is said of a file in the folder `host` is said of it as the buildpack knows it: below `inside`.
    pub(super) fn seen_at(self, host: &Path, inside: &Path) -> Self {
        match self {
            Self::Toml(error) => Self::Toml(error.seen_at(host, inside)),
            Self::Path(error) => Self::Path(error.seen_at(host, inside)),
            Self::Sbom(error) => Self::Sbom(error.seen_at(host, inside)),
            other => other,
        }
    }
}

fn leak_shown(leak: &Leak) -> String {
    let Leak { name, path } = leak;
    format!("`{}` holds the secret {name}", path.display())
}

fn signal_name(signal: i32) -> String {
    match signal {
        libc::SIGHUP => "SIGHUP".to_owned(),
        libc::SIGINT => "SIGINT".to_owned(),
        libc::SIGTERM => "SIGTERM".to_owned(),
        other => format!("signal {other}"),
    }
}

/// `1h`, `90s`: in the largest unit that needs no fraction.
pub(super) fn limit_shown(limit: Duration) -> String {
    match limit.as_secs() {
        s if s > 0 && s % 3600 == 0 => format!("{}h", s / 3600),
        s if s > 0 && s % 60 == 0 => format!("{}m", s / 60),
        0 => format!("{}ms", limit.as_millis()),
        s => format!("{s}s"),
    }
}

fn how(exit: i32) -> String {
    if exit > 128 {
        format!("signal {}", exit - 128)
    } else {
        format!("exit code {exit}")
    }
}
