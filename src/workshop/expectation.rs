//! `expect.toml`: what a buildpack is given and what it is expected to make of
//! an app. What is found has the same form, so that it can be written down.
//!
//! What the file does not speak of is not compared.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::buildpack::ExecEnv;
use crate::buildpack::plan::Require;
use crate::ident::{LayerName, ProcessType};
use crate::layer::{TomlError, toml_file};

/// Names of variables and their values.
pub(super) type Variables = BTreeMap<String, String>;

/// What is expected of one fixture.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expectation {
    /// How `bin/detect` ends.
    #[serde(skip_serializing_if = "Outcome::is_pass")]
    pub detect: Outcome,
    /// How `bin/build` ends: pass, or error.
    #[serde(skip_serializing_if = "Outcome::is_pass")]
    pub build: Outcome,
    /// Texts that the programs say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
    /// What the fixture sets up; nothing of it is found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given: Option<Given>,
    /// The build plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// All layers, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<BTreeMap<LayerName, Layer>>,
    /// All process types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<BTreeMap<ProcessType, Process>>,
    /// What the layers do to the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<Environment>,
    /// All labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// A build after this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second: Option<Second>,
}

/// How a program ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Exit 0.
    #[default]
    Pass,
    /// `bin/detect` with exit 100: the app is not for this buildpack.
    Fail,
    /// Any other end.
    Error,
}

/// What the fixture sets up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Given {
    /// The user's variables, in `/platform/env`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: Variables,
    /// The execution environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec_env: Option<ExecEnv>,
    /// What an earlier buildpack provides in the build plan: one that stands in for it and builds nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub provides: Vec<String>,
    /// What a later buildpack requires.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Require>,
    /// Real buildpacks before this one: built-in ids, or paths relative to the fixture.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    /// Real buildpacks after this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
}

/// A build plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// Names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub provides: Vec<String>,
    /// Names and what is said of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Require>,
    /// Other choices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub or: Vec<Self>,
}

/// A layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Layer {
    /// Of `launch`, `build`, `cache`; in that order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub types: Option<Vec<LayerType>>,
    /// Paths that are there (`*` within a name, `**` over folders), or with a `!` before, are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<String>>,
    /// All of its metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<toml::Table>,
}

/// What a layer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerType {
    /// The app's processes.
    Launch,
    /// Later buildpacks.
    Build,
    /// The next build.
    Cache,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Process {
    /// The program and its fixed arguments.
    pub command: Vec<String>,
    /// Arguments that a user may replace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// What starts when nothing is named.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// Run by bash (Buildpack API 0.8 and older).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shell: bool,
    /// Where it starts, if not in the app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// The execution environments it is for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exec_env: Vec<String>,
}

/// What the layers do to an environment in which there is nothing but `PATH`, whose value is `$PATH`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Environment {
    /// Of later buildpacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<Variables>,
    /// Of every process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch: Option<Variables>,
    /// Of one process type, where it is not that of every process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<BTreeMap<ProcessType, Variables>>,
}

/// What is expected of a build after the first; files in the fixture's `second` lie over the app's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Second {
    /// The layers that nobody wrote to, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Vec<LayerName>>,
    /// Texts that the programs say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
}

impl Outcome {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
    fn is_pass(&self) -> bool {
        *self == Self::Pass
    }
}

impl Expectation {
    /// Reads `expect.toml`; `None` if it is not there.
    pub fn read(path: &Path) -> Result<Option<Self>, TomlError> {
        toml_file::read_following(path)
    }

    /// What the fixture sets up.
    pub fn given(&self) -> Given {
        self.given.clone().unwrap_or_default()
    }

    /// As the file is written.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}
