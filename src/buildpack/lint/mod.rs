//! What is wrong with a buildpack, as its author wants to be told: the place,
//! the rule of the specification, and what to do. A build reads leniently, as
//! other platforms do; this is strict.
//!
//! Pure but for `buildpack`, which reads the files. What a buildpack writes
//! during a detect or build is looked at by `written`.

mod descriptor;
mod page;
mod program;
mod schema;
mod target;
mod written;

use std::path::Path;

use serde::Serialize;

use super::api::Api;
use crate::layer::toml_file::TOML_BYTES_MAX;
use crate::sys::PathError;
use crate::sys::fs::read_if_present;

pub use program::Program;
pub use written::{Written, written};

use page::Page;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The file, relative to the buildpack or to its layers folder.
    pub file: String,
    /// From one; zero where the whole file is meant.
    pub line: usize,
    /// In characters, from one; zero where the whole file is meant.
    pub column: usize,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do, in one sentence.
    pub fix: String,
    /// The rule of `spec/buildpack-api.md`; none for advice that no rule gives.
    pub rule: Option<u8>,
    /// The section of the Buildpack API that says so.
    pub section: &'static str,
    /// The line itself, to be shown with a marker; empty where the whole file is meant.
    pub text: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It breaks a rule of the specification: a platform may refuse it, or do something else than is meant.
    Error,
    /// Platforms take it, and it is hardly what is meant.
    Warning,
}

/// A rule of `spec/buildpack-api.md` and the section of the Buildpack API that it comes from.
#[derive(Clone, Copy, Debug)]
struct Rule(Option<u8>, &'static str);

impl Rule {
    const API: Self = Self(Some(1), "buildpack.toml (TOML)");
    const ID: Self = Self(Some(2), "buildpack.toml (TOML)");
    const VERSION: Self = Self(Some(3), "buildpack.toml (TOML)");
    const KEYS: Self = Self(Some(4), "buildpack.toml (TOML)");
    const COMPOSITE: Self = Self(Some(5), "Order");
    const TARGETS: Self = Self(Some(6), "Targets");
    const STACKS: Self = Self(Some(7), "buildpack.toml (TOML) `stacks` Array");
    const EXEC_ENV: Self = Self(Some(9), "Execution Environments");
    const PROGRAMS: Self = Self(Some(5), "Buildpack Interface");
    const DETECT: Self = Self(Some(13), "Detection");
    const PLAN: Self = Self(Some(15), "Build Plan (TOML)");
    const UNMET: Self = Self(Some(30), "build.toml (TOML)");
    const TYPES: Self = Self(Some(33), "Layer Content Metadata (TOML)");
    const LAYER_NAMES: Self = Self(Some(34), "Providing Layers");
    const LAUNCH: Self = Self(Some(35), "launch.toml (TOML)");
    const DEFAULT: Self = Self(Some(36), "launch.toml (TOML)");
    const PROCESS_TYPE: Self = Self(Some(37), "launch.toml (TOML)");
    const LABELS: Self = Self(Some(38), "launch.toml (TOML)");
    const SBOM: Self = Self(Some(39), "Software-Bill-of-Materials");
    const ADVICE: Self = Self(None, "advice");
}

/// The media types of SBOM files and how these end (rule 39).
const SBOM_FORMATS: [(&str, &str); 3] = [
    ("application/vnd.cyclonedx+json", "cdx.json"),
    ("application/spdx+json", "spdx.json"),
    ("application/vnd.syft+json", "syft.json"),
];

/// What a descriptor says that other findings depend on. What is wrong in it is as if it were not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    api: Option<Api>,
    is_composite: bool,
}

/// Looks at the buildpack in that folder; the findings in the order of files and lines.
pub fn buildpack(folder: &Path) -> Result<Vec<Finding>, PathError> {
    let path = folder.join("buildpack.toml");
    // A pipe would make the reader wait.
    let is_file = path.metadata().is_ok_and(|found| found.is_file());
    let bytes = if is_file {
        read_if_present(&path, TOML_BYTES_MAX)?
    } else {
        None
    };
    let programs = [
        Program::read(folder, "bin/detect")?,
        Program::read(folder, "bin/build")?,
    ];
    let is_packaged = folder.join("package").is_file();
    Ok(lint(bytes.as_deref(), &programs, is_packaged))
}

/// The same without a disk. `has_package`: a script beside the descriptor makes the programs.
fn lint(descriptor: Option<&[u8]>, programs: &[Program], has_package: bool) -> Vec<Finding> {
    let mut page = Page::new("buildpack.toml");
    let known = if let Some(bytes) = descriptor {
        page.read(bytes, descriptor::check).unwrap_or_default()
    } else {
        let fix = "write one with `api`, `[buildpack]` and in it `id` and `version`, or begin with `slug buildpack new`";
        page.whole_error(Rule::KEYS, "there is no file buildpack.toml", fix);
        Known::default()
    };
    let mut findings = page.into_findings();
    for program in programs {
        findings.extend(program.lint(&known, has_package));
    }
    findings
}

#[cfg(test)]
mod tests;
