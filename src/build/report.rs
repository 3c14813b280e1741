//! What was built, or would be: what `cli` prints, and `--json` says.

use std::time::Duration;

use serde::Serialize;

use super::catalog::Catalog;
use super::execute::Executed;
use super::export::Exported;
use super::source::Source;
use crate::buildpack::launch::Process;
use crate::buildpack::plan::Require;
use crate::ident::{BuildpackId, Digest, ProcessType};
use crate::layer::cache::Change;
use crate::sys::fetch::{self, Artifact};

/// A finished build.
#[derive(Clone, Debug, Serialize)]
pub struct Built {
    /// The name of the slug.
    pub slug: Digest,
    /// The buildpacks that took part, in group order.
    pub buildpacks: Vec<BuiltBuildpack>,
    /// The layers of the slug, and cached ones besides.
    pub layers: Vec<BuiltLayer>,
    /// The process types, sorted.
    pub processes: Vec<BuiltProcess>,
    /// What the user should know; each was also told as an event.
    pub warnings: Vec<String>,
    /// The commit of the source, where it is a git work tree.
    pub commit: Option<Commit>,
    /// How long each part took.
    pub phases: Vec<Phase>,
}

/// A buildpack that took part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BuiltBuildpack {
    /// Its id.
    pub id: BuildpackId,
    /// Its version.
    pub version: String,
    /// The reference that always gives it, with its digest or its commit, where it was fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// The commit that was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Commit {
    /// Its name in git.
    pub id: String,
    /// Something differed from it.
    pub dirty: bool,
}

/// A layer of a finished build.
#[derive(Clone, Debug, Serialize)]
pub struct BuiltLayer {
    /// Whose; none for the app's.
    pub buildpack: Option<BuildpackId>,
    /// Its name; `app` for the app's, `slice 1` … for its slices.
    pub name: String,
    /// Kept or made anew, and why.
    #[serde(flatten)]
    pub why: Why,
    /// What is in the slug; none for a layer that is only cached or only for the build.
    pub digest: Option<Digest>,
    /// The size of its tar, in bytes; zero where there is none.
    pub tar_bytes: u64,
    /// The size of its blob, in bytes; zero where there is none.
    pub size_bytes: u64,
}

/// What became of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "because", rename_all = "kebab-case")]
pub enum Why {
    /// Nothing of it was written: the digest of the last build is used, and no file of it was read.
    Kept,
    /// Packed anew.
    Changed(Change),
}

/// A process type of a finished build.
#[derive(Clone, Debug, Serialize)]
pub struct BuiltProcess {
    /// Its name.
    #[serde(rename = "type")]
    pub process_type: ProcessType,
    /// What is executed, with its arguments.
    pub command: Vec<String>,
    /// Who said so.
    pub buildpack: BuildpackId,
    /// The slug's default.
    pub default: bool,
}

/// A part of a build and its duration.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Phase {
    /// `source`, `detect`, `fetch`, `build`, `export`.
    pub name: &'static str,
    /// How long it took.
    #[serde(rename = "ms", serialize_with = "as_ms")]
    pub took: Duration,
}

fn as_ms<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

/// What a build would do.
#[derive(Clone, Debug, Serialize)]
pub struct Planned {
    /// The buildpacks that would take part, in group order.
    pub buildpacks: Vec<PlannedBuildpack>,
    /// What the platform would fetch.
    pub artifacts: Vec<PlannedArtifact>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Why the build would end at once; empty if it would not.
    pub problems: Vec<String>,
    /// How many files the app has.
    pub files: usize,
    /// The commit of the source, where it is a git work tree.
    pub commit: Option<Commit>,
}

/// Something from elsewhere that a build would need.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedArtifact {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Without it the build cannot go on.
    pub required: bool,
    /// This host has it already.
    pub kept: bool,
    /// Where it is to be had.
    pub sources: Vec<fetch::Source>,
}

impl PlannedArtifact {
    pub(super) fn new(artifact: Artifact, kept: bool) -> Self {
        let Artifact {
            name,
            version,
            required,
            instead: _,
            sources,
        } = artifact;
        Self {
            name,
            version,
            required,
            kept,
            sources,
        }
    }
}

/// A buildpack that would take part.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedBuildpack {
    /// Its id.
    pub id: BuildpackId,
    /// Its version.
    pub version: String,
    /// The reference that always gives it, with its digest or its commit, where it was fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it decided, and where the app says so.
    pub evidence: Vec<FoundEvidence>,
    /// What its build would be handed.
    pub entries: Vec<Require>,
}

/// A decision and its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FoundEvidence {
    /// What: `Python 3.12.14`.
    pub what: String,
    /// The app's file that says so.
    pub file: Option<String>,
    /// Its line, from one.
    pub line: Option<u64>,
}

/// A finished build as its report.
pub(super) fn built(
    warnings: Vec<String>,
    source: &Source,
    catalog: &Catalog,
    executed: &Executed,
    exported: &Exported,
) -> Built {
    let launched = &executed.launched;
    let process = |(buildpack, process): &(BuildpackId, Process)| BuiltProcess {
        process_type: process.process_type.clone(),
        command: process
            .command
            .iter()
            .chain(&process.args)
            .cloned()
            .collect(),
        buildpack: buildpack.clone(),
        default: launched.default.as_ref() == Some(&process.process_type),
    };
    let buildpacks = executed.by.iter().map(|built| &built.buildpack);
    Built {
        slug: exported.slug,
        buildpacks: buildpacks
            .map(|buildpack| BuiltBuildpack {
                id: buildpack.id.clone(),
                version: buildpack.version.clone(),
                from: catalog.source_of(buildpack).map(str::to_owned),
            })
            .collect(),
        layers: exported.report.clone(),
        processes: launched.processes.values().map(process).collect(),
        warnings,
        commit: source.commit.clone(),
        phases: Vec::new(),
    }
}
