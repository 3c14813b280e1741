//! Source → slug: the first of the three stages. Ends in a digest.
//!
//! Knows no release, no config var, no running process. Reads no environment
//! and no wall clock: what the machine says comes in with the request.

mod artifacts;
mod cache;
mod catalog;
mod check;
mod classic;
mod context;
mod detect;
mod environment;
mod error;
mod execute;
pub mod explain;
mod export;
mod follow;
mod git;
mod heroku;
mod host_programs;
#[cfg(test)]
mod hostile;
mod layers;
pub mod machine;
mod plan;
mod portable;
mod project_toml;
mod real_paths;
mod report;
mod request;
mod restore;
mod sbom;
mod scan;
mod secrets;
mod seen;
mod shell;
mod site;
mod slices;
mod slug_toml;
mod source;
mod state;
mod tree;
mod workspace;

use std::path::Path;
use std::time::Instant;

use crate::buildpack::detection::Detected;
use crate::ident::{AppName, Digest};
use crate::sys::umask::PlainModes;

use cache::Cache;
use context::Context;
use execute::Executed;
use export::Exported;
use portable::{Note, Portable};
use source::Source;
use state::{MadeFor, State};

pub use catalog::{BadReference, Reference};
pub use check::NamedPlace;
pub use check::TomlRemark;
pub use check::check_toml_files;
pub use check::process_types_of_slug_toml;
pub use error::{BuildError, ClassicsMisplaced, NoContent};
pub use plan::plan;
pub use report::{
    Built, BuiltBuildpack, BuiltLayer, BuiltProcess, Commit, FoundEvidence, Phase, Planned,
    PlannedArtifact, PlannedBuildpack, Why,
};
pub use request::{
    BuildRequest, BuildpackProgram, BuiltIns, Event, Isolation, Limits, OrderRequest, ShellRequest,
};
pub use secrets::{BadSecret, Leak, SECRET_BYTES_MAX, SECRET_BYTES_MIN, Secrets};
pub use seen::Seen;

/// The app that the `slug.toml` of a folder names.
pub fn app_of_slug_toml(folder: &Path) -> Result<Option<AppName>, BuildError> {
    Ok(slug_toml::SlugToml::read(folder)?.0.app)
}

/// How the `slug.toml` of a folder says that processes run: what a slug of it would have as its label
/// `slug.process`, and what the author should know.
pub fn processes_of_slug_toml(folder: &Path) -> Result<(String, Vec<String>), BuildError> {
    let (read, warnings) = slug_toml::SlugToml::read(folder)?;
    let label = read.labels().remove("slug.process");
    Ok((label.unwrap_or_else(|| "{}".to_owned()), warnings))
}

/// Builds a slug. One that fails, is asked to end or is killed leaves the app's cache as it was.
pub fn build(
    request: &BuildRequest,
    progress: &mut dyn FnMut(Event<'_>),
) -> Result<Built, BuildError> {
    let built = try_build(request, &mut |event| match event {
        Event::Warning(text) => progress(Event::Warning(&request.secrets.redacted(text))),
        other => progress(other),
    });
    // What fails because all is being ended is no failure of its own.
    match (built, request.cancel.signal()) {
        (Err(_), Some(signal)) => Err(BuildError::Interrupted { signal }),
        (built, _) => built,
    }
}

/// Between two parts of a build: has it been asked to end?
fn go_on(request: &BuildRequest) -> Result<(), BuildError> {
    match request.cancel.signal() {
        Some(signal) => Err(BuildError::Interrupted { signal }),
        None => Ok(()),
    }
}

fn try_build(
    request: &BuildRequest,
    progress: &mut dyn FnMut(Event<'_>),
) -> Result<Built, BuildError> {
    // Buildpacks run as another user than root: what is made for them must be readable whatever root's umask.
    let _modes = PlainModes::take();
    let mut clock = Clock::start();
    let source = Source::read(request)?;
    tell_all(&source.warnings, progress);
    warn_of_network(request, progress);
    let mut cache = Cache::open(request, progress)?;
    let context = Context::make(request, &source, &cache, progress)?;
    let mut portable = Portable::open(request)?;
    if let Some(portable) = &mut portable {
        portable.restore(&context, &mut cache, progress)?;
    }
    let made_for = MadeFor {
        exec_env: request.exec_env.to_string(),
        target: context.host.target.clone(),
    };
    cache.forget_unless_made_for(&made_for);
    go_on(request)?;
    clock.lap("source");
    let detected = detect::detect(&context, progress)?;
    progress(Event::Detected(&detected));
    let warnings = plan::notes(&detected, "warnings");
    tell_all(&warnings, progress);
    plan::refuse_problems(&detected)?;
    clock.lap("detect");
    let (plan_digest, fetched) = fetch(request, &cache, &detected, progress)?;
    clock.lap("fetch");
    // Nothing is collected from the first look at whether a layer is there to the slug that has it.
    let _hold = request.store.hold()?;
    let executed = execute::execute(&context, &cache, &detected, &fetched, progress)?;
    scan::refuse_leaks(&context, &executed)?;
    go_on(request)?;
    clock.lap("build");
    let exported = export::export(&context, &cache, &source, &executed, progress)?;
    let built = |warnings, executed: &Executed, exported: &Exported| {
        report::built(warnings, &source, &context.catalog, executed, exported)
    };
    let all_warnings = [
        source.warnings.clone(),
        context.catalog.warnings.clone(),
        warnings,
        executed.warnings.clone(),
        exported.warnings.clone(),
    ]
    .concat();
    go_on(request)?;
    let mut built = built(all_warnings, &executed, &exported);
    let mut state = State::empty();
    state.made_for = Some(made_for);
    state.plan = Some(plan_digest);
    state.missing.clone_from(&fetched.missing);
    let carry = |cache: &Cache, state: &State| {
        let saved = portable?.save(cache, state, fetched.files(), progress);
        match saved {
            Ok(note) => Some(note),
            Err(error) => {
                // The slug is made: a cache that is not there costs the next build time.
                progress(Event::Warning(&format!(
                    "the cache folder is not as it should be: {error}"
                )));
                None
            }
        }
    };
    remember(cache, state, executed, &exported, carry)?;
    clock.lap("export");
    built.phases = clock.phases;
    Ok(built)
}

/// Gets what the plan names. What the last build of this very plan could not get is not asked for again.
fn fetch(
    request: &BuildRequest,
    cache: &Cache,
    detected: &Detected,
    progress: &mut dyn FnMut(Event<'_>),
) -> Result<(Digest, artifacts::Fetched), BuildError> {
    let plan_digest = plan::digest(detected);
    let is_same = cache.state.plan == Some(plan_digest);
    let known_missing = if is_same {
        cache.state.missing.as_slice()
    } else {
        &[]
    };
    let wanted = artifacts::of_plan(&detected.entries);
    let fetched = artifacts::fetch(
        &artifacts::fetcher(request),
        &wanted,
        known_missing,
        progress,
    )?;
    Ok((plan_digest, fetched))
}

/// The build is good: what it left is what the next one begins with.
fn remember(
    cache: Cache,
    mut state: State,
    executed: Executed,
    exported: &Exported,
    carry: impl FnOnce(&Cache, &State) -> Option<Note>,
) -> Result<(), BuildError> {
    let scratch = cache.scratch().to_owned();
    let (buildpacks, has_new_roots) = exported.remember(&cache, executed, &scratch)?;
    state.app = Some(exported.app.clone());
    state.sbom = exported.sbom;
    state.buildpacks = buildpacks;
    let note = carry(&cache, &state);
    cache.commit(&state, has_new_roots)?;
    note.map_or(Ok(()), |note| Ok(note.write()?))
}

fn warn_of_network(request: &BuildRequest, progress: &mut dyn FnMut(Event<'_>)) {
    if request.offline && request.isolation == Isolation::None {
        progress(Event::Warning(
            "nothing is fetched, but buildpacks have the machine's network: isolation `none` cannot take it away",
        ));
    }
}

fn tell_all(warnings: &[String], progress: &mut dyn FnMut(Event<'_>)) {
    for warning in warnings {
        progress(Event::Warning(warning));
    }
}

/// Tells how long each part took.
struct Clock {
    since: Instant,
    phases: Vec<Phase>,
}

impl Clock {
    fn start() -> Self {
        Self {
            since: Instant::now(),
            phases: Vec::new(),
        }
    }

    fn lap(&mut self, name: &'static str) {
        let now = Instant::now();
        self.phases.push(Phase {
            name,
            took: now - self.since,
        });
        self.since = now;
    }
}
