//! What a built-in buildpack implements, and what it is given: the folders,
//! the environment and the exit codes of Buildpack API 0.10, as a stranger's
//! `bin/detect` and `bin/build` get them, and nothing more.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

pub use crate::sys::fetch::{Artifact, Source};

/// A buildpack that is part of `slug`.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// As in its descriptor.
    pub id: &'static str,
    /// Its `buildpack.toml`.
    pub descriptor: &'static str,
    /// Its `bin/detect`: reads the app, writes nothing.
    pub detect: fn(&DetectContext) -> Result<Detected, Failure>,
    /// Its `bin/build`.
    pub build: fn(&BuildContext) -> Result<(), Failure>,
}

/// What `bin/detect` is given.
#[derive(Debug)]
pub struct DetectContext {
    _todo: (),
}

/// What `bin/build` is given.
#[derive(Debug)]
pub struct BuildContext {
    _todo: (),
}

/// What `bin/detect` answers.
#[derive(Debug)]
pub enum Detected {
    /// Exit 100: not for this buildpack.
    No,
    /// Exit 0, with this as the metadata of the buildpack's one provided and required name.
    Yes(Box<PlanMetadata>),
}

/// The `metadata` of the require that a built-in writes into its build plan:
/// what the platform reads of it (`slug plan`, artifacts), and `resolved`, which is the buildpack's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanMetadata {
    /// What was decided, and where it says so.
    pub evidence: Vec<Evidence>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Why the build will end at once, in full; empty if it will not.
    pub problems: Vec<String>,
    /// What the platform fetches before `bin/build`.
    pub artifacts: Vec<Artifact>,
    /// The buildpack's own notes for its `bin/build`.
    pub resolved: toml::Table,
}

/// A decision and its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What: `Python 3.12.14`.
    pub what: String,
    /// The app's file that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its line, from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

/// Why a built-in gives up: printed on stderr, exit code 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

/// Runs the built-in of which `argv0` is the `bin/detect` or `bin/build`: the folder above `bin` has its `buildpack.toml`.
/// The environment is the process's own.
pub fn main(argv0: &OsStr, args: &[OsString], built_ins: &[BuiltIn]) -> ExitCode {
    let _ = (argv0, args, built_ins);
    todo!()
}
