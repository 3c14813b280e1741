//! `slug plan`: what a build would do, as far as detection tells; and what a
//! build reads of a plan's metadata: evidence, warnings, problems.

use serde::Deserialize;

use super::cache::Cache;
use super::catalog::Catalog;
use super::context::Context;
use super::detect;
use super::report::{FoundEvidence, Planned, PlannedArtifact, PlannedBuildpack};
use super::source::Source;
use super::{BuildError, BuildRequest, Event, artifacts};
use crate::buildpack::descriptor::Descriptor;
use crate::buildpack::detection::Detected;
use crate::buildpack::plan::{Remaining, Require};
use crate::ident::Digest;
use crate::sys::umask::PlainModes;

/// What `build` would do, as far as detection tells: nothing is fetched, no cache is touched.
pub fn plan(
    request: &BuildRequest,
    progress: &mut dyn FnMut(Event<'_>),
) -> Result<Planned, BuildError> {
    let _modes = PlainModes::take(); // as `build` does
    let source = Source::read(request)?;
    let cache = Cache::open(request, progress)?;
    let context = Context::make(request, &source, &cache, progress)?;
    let detected = detect::detect(&context, progress)?;
    progress(Event::Detected(&detected));
    let fetcher = artifacts::fetcher(request);
    let wanted = artifacts::of_plan(&detected.entries);
    let warnings = [
        source.warnings.clone(),
        context.catalog.warnings.clone(),
        notes(&detected, "warnings"),
    ]
    .concat();
    Ok(Planned {
        buildpacks: detected
            .buildpacks
            .iter()
            .map(|buildpack| planned(buildpack, &context.catalog, &detected))
            .collect(),
        artifacts: wanted
            .into_iter()
            .map(|artifact| {
                let kept = fetcher.have(&artifact).is_some();
                PlannedArtifact::new(artifact, kept)
            })
            .collect(),
        warnings,
        problems: notes(&detected, "problems"),
        files: source.files.len(),
        commit: source.commit.clone(),
    })
}

fn planned(buildpack: &Descriptor, catalog: &Catalog, detected: &Detected) -> PlannedBuildpack {
    let entries = Remaining::new(detected.entries.clone())
        .of(&buildpack.id)
        .entries;
    PlannedBuildpack {
        id: buildpack.id.clone(),
        version: buildpack.version.clone(),
        from: catalog.source_of(buildpack).map(str::to_owned),
        evidence: entries.iter().flat_map(evidence).collect(),
        entries,
    }
}

/// What a buildpack decided and where the app says so. Metadata of another shape is a stranger's own.
fn evidence(require: &Require) -> Vec<FoundEvidence> {
    #[derive(Deserialize)]
    struct Written {
        what: String,
        file: Option<String>,
        line: Option<u64>,
    }
    let written: Option<Vec<Written>> = require
        .metadata
        .get("evidence")
        .cloned()
        .and_then(|value| value.try_into().ok());
    let found = |Written { what, file, line }| FoundEvidence { what, file, line };
    written.unwrap_or_default().into_iter().map(found).collect()
}

/// The texts under this key in the metadata of all requires, each once.
pub(super) fn notes(detected: &Detected, key: &str) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for require in detected.entries.iter().flat_map(|entry| &entry.requires) {
        let texts: Option<Vec<String>> = require
            .metadata
            .get(key)
            .cloned()
            .and_then(|value| value.try_into().ok());
        for text in texts.unwrap_or_default() {
            if !notes.contains(&text) {
                notes.push(text);
            }
        }
    }
    notes
}

/// All that the buildpacks know to be wrong is said before anything is fetched.
pub(super) fn refuse_problems(detected: &Detected) -> Result<(), BuildError> {
    let problems = notes(detected, "problems");
    if problems.is_empty() {
        Ok(())
    } else {
        Err(BuildError::Problems(problems))
    }
}

/// Two plans of one digest ask the same of the same buildpacks.
pub(super) fn digest(detected: &Detected) -> Digest {
    // How it came to this group does not change what is asked of it.
    let Detected {
        buildpacks,
        entries,
        members: _,
        dropped: _,
        before: _,
    } = detected;
    let buildpacks: Vec<_> = buildpacks
        .iter()
        .map(|buildpack| (&buildpack.id, &buildpack.version))
        .collect();
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| (&entry.name, &entry.providers, &entry.requires))
        .collect();
    Digest::of(
        serde_json::json!((buildpacks, entries))
            .to_string()
            .as_bytes(),
    )
}
