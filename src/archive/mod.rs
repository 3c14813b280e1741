//! Layers and images: canonical tar in one pass, OCI manifest and config, the
//! one-file form `app.slug`, hostile unpacking. Knows no buildpack's logic, no
//! release, no process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ident::{BuildpackId, Digest, LayerName, ProcessType};

/// How layers are compressed. The name of a slug does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// Level 3, multi-threaded: the same bytes whatever the number of threads.
    #[default]
    Zstd,
    /// Independent members of 1 MiB.
    Gzip,
}

/// One layer as it lies in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerBlob {
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// The digest of the compressed blob.
    pub digest: Digest,
    /// The size of the compressed blob, in bytes.
    pub size_bytes: u64,
    /// The size of the uncompressed tar, in bytes.
    pub tar_bytes: u64,
    /// `application/vnd.oci.image.layer.v1.tar+zstd` or `+gzip`.
    pub media_type: String,
}

/// A folder to be packed, and where it lies in the slug: `/workspace`, `/layers/slug_python/venv`.
#[derive(Clone, Debug)]
pub struct Tree {
    /// On this machine.
    pub from: PathBuf,
    /// In the slug, absolute.
    pub to: PathBuf,
    /// App files become 0644 or 0755 by their exec bit, whatever the checkout's umask; layers keep their modes.
    pub modes: Modes,
}

/// What becomes of modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modes {
    /// 0644, or 0755 where the owner may execute.
    Normalized,
    /// Kept, without setuid, setgid and sticky.
    Kept,
}

/// A process type of a slug (launch.toml, "Processes").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlugProcess {
    /// Its name.
    #[serde(rename = "type")]
    pub process_type: ProcessType,
    /// The command and its fixed arguments.
    pub command: Vec<String>,
    /// Default arguments, replaced by a user's.
    #[serde(default)]
    pub args: Vec<String>,
    /// Executed as it is (true), or by bash (Buildpack API below 0.9).
    pub direct: bool,
    /// Relative to the app, or absolute; the app if none.
    #[serde(
        rename = "working-dir",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub working_dir: Option<String>,
    /// Who contributed it.
    #[serde(rename = "buildpackID")]
    pub buildpack: BuildpackId,
    /// The slug's default process.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
}

/// A buildpack that took part, in group order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlugBuildpack {
    /// Its id.
    pub id: BuildpackId,
    /// Its version, as it says it.
    pub version: String,
    /// The Buildpack API it states: decides how its layers act at launch.
    pub api: String,
}

/// What is in one layer of a slug.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayerKind {
    /// A launch layer of a buildpack.
    Buildpack {
        /// Whose.
        buildpack: BuildpackId,
        /// Its name.
        layer: LayerName,
    },
    /// The app, or a slice of it.
    App,
}

/// What the slug's ELF files need from the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseNeeds {
    /// `SONAME`s that no file of the slug provides, sorted; each with a path in the slug that wants it.
    pub sonames: BTreeMap<String, String>,
    /// The highest `GLIBC_x.y` that a file wants.
    pub glibc: Option<String>,
}

/// A host that slugs are built on or run on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `linux`.
    pub os: String,
    /// As OCI writes it: `amd64`, `arm64`.
    pub arch: String,
    /// `ID` of /etc/os-release.
    pub distro_name: String,
    /// `VERSION_ID` of /etc/os-release.
    pub distro_version: String,
}

/// Everything that a slug is: its name is the digest of the OCI image config made from this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slug {
    /// The layers, lowest first, and what each holds.
    pub layers: Vec<(LayerKind, LayerBlob)>,
    /// Its process types, sorted.
    pub processes: Vec<SlugProcess>,
    /// The buildpacks, in group order.
    pub buildpacks: Vec<SlugBuildpack>,
    /// Where it was built.
    pub target: Target,
    /// What it needs from the host that runs it.
    pub base: BaseNeeds,
    /// Labels of the buildpacks and of the source (commit, dirty).
    pub labels: BTreeMap<String, String>,
}

/// Reads a tree once and writes it as a layer. See the module that does it.
pub fn pack(_store: &crate::store::Store, _trees: &[Tree], _compression: Compression) -> LayerBlob {
    todo!()
}

/// The path of a file inside an app.
pub fn workspace() -> &'static Path {
    Path::new("/workspace")
}
