//! Everything that a slug is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ident::{BuildpackId, LayerName, ProcessType};

use super::{AppFolder, BaseNeeds, LayerBlob, Target};

/// A process type of a slug (launch.toml, "Processes").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
#[serde(deny_unknown_fields)]
pub struct SlugBuildpack {
    /// Its id.
    pub id: BuildpackId,
    /// Its version, as it says it.
    pub version: String,
    /// The Buildpack API it states: decides how its layers act at launch.
    pub api: String,
    /// Where to read about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
}

/// What is in one layer of a slug.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum LayerKind {
    /// A launch layer of a buildpack.
    Buildpack {
        /// Whose.
        buildpack: BuildpackId,
        /// Its name.
        layer: LayerName,
    },
    /// What the buildpacks say is in the slug (`/layers/sbom/launch`); no process sees it.
    Sbom,
    /// The app, or a slice of it.
    App,
}

/// Everything that a slug is: its name is the digest of the OCI image config made from this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slug {
    /// The layers, lowest first, and what each holds.
    pub layers: Vec<(LayerKind, LayerBlob)>,
    /// Where the app lies inside.
    pub app: AppFolder,
    /// Its process types, sorted.
    pub processes: Vec<SlugProcess>,
    /// The buildpacks, in group order.
    pub buildpacks: Vec<SlugBuildpack>,
    /// Where it was built.
    pub target: Target,
    /// What it needs from the host that runs it.
    pub base: BaseNeeds,
    /// Labels of the buildpacks and of the source (`io.buildpacks.project.metadata`, `slug.contract`, …);
    /// none of those that the fields above become ([`super::write_image`] refuses them).
    pub labels: BTreeMap<String, String>,
}
