//! Runs the `bin/detect`s of a build (rules 10-13 and 17), those of one group
//! at the same time. Which of them, and what follows, `buildpack::detection` knows.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::catalog::inside;
use super::context::Context;
use super::error::limit_shown;
use super::follow::Tail;
use super::site::{DETECT, Ended, Job, PLATFORM};
use super::{BuildError, Event};
use crate::buildpack::descriptor::Descriptor;
use crate::buildpack::detection::{self, Detected, Purpose, Ran, Refused, Verdict};
use crate::buildpack::lint::Written;
use crate::buildpack::order::expand;
use crate::buildpack::plan::BuildPlan;
use crate::ident::BuildpackId;
use crate::layer::TomlError;
use crate::sys::At as _;
use crate::sys::sandbox::{Mount, Program};

/// How many lines of a detect that did not end in time are shown.
const LAST_LINES: usize = 5;

/// Finds the first group that passes.
pub(super) fn detect(
    context: &Context<'_>,
    progress: &mut dyn FnMut(Event<'_>),
) -> Result<Detected, BuildError> {
    let groups = expand(&context.catalog.order, &context.catalog.buildpacks)?;
    let purpose = Purpose {
        base: &context.environment.target,
        exec_env: &context.request.exec_env,
    };
    let mut first = 0;
    let detected = detection::detect(groups, purpose, &mut |buildpacks| {
        let ids: Vec<BuildpackId> = buildpacks.iter().map(|one| one.id.clone()).collect();
        progress(Event::Detecting(&ids));
        let ran = run_at_once(context, first, buildpacks)?;
        for ((number, buildpack), ran) in (first..).zip(buildpacks).zip(&ran) {
            progress(Event::DetectOutput {
                buildpack: &buildpack.id,
                failed: matches!(ran.verdict, Verdict::Failed { .. } | Verdict::Error(_)),
                output: &ran.output,
            });
            let (host, here) = folders(context, number);
            let plan = context.site.written(&host, &here).join("plan.toml");
            progress(Event::Wrote {
                buildpack,
                what: Written::Plan(&plan),
            });
        }
        first += buildpacks.len();
        Ok(ran)
    });
    detected.map_err(|refused| match refused {
        Refused::NothingFits(groups) => BuildError::NothingFits(groups),
        Refused::Failed(groups) => BuildError::DetectFailed(groups),
        Refused::Run(error) => error,
    })
}

/// One `bin/detect`, ready to run.
struct Prepared<'a> {
    job: Job<'a>,
    /// Its own folder, on this machine and inside.
    host: PathBuf,
    here: PathBuf,
}

/// Runs the detects, numbered from `first` on. Everything is in its place before the first of them starts: at the
/// real paths nobody may copy a program while another one is started.
fn run_at_once(
    context: &Context<'_>,
    first: usize,
    buildpacks: &[&Descriptor],
) -> Result<Vec<Ran>, BuildError> {
    let mut prepared = Vec::new();
    for (number, buildpack) in (first..).zip(buildpacks) {
        let one = prepare(context, buildpack, number)?;
        context.site.make_ready(&one.job)?;
        prepared.push(one);
    }
    thread::scope(|scope| {
        let start = |prepared| scope.spawn(move || run(context, prepared));
        let threads: Vec<_> = prepared.into_iter().map(start).collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .map(|ran| ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// The own folder of a detect, on this machine and inside.
fn folders(context: &Context<'_>, number: usize) -> (PathBuf, PathBuf) {
    let number = number.to_string();
    (
        context.scratch.join("detect").join(&number),
        Path::new(DETECT).join(&number),
    )
}

fn prepare<'a>(
    context: &Context<'_>,
    buildpack: &'a Descriptor,
    number: usize,
) -> Result<Prepared<'a>, BuildError> {
    let (host, here) = folders(context, number);
    context.site.make_writable(&host)?;
    let plan_file = host.join("plan.toml");
    fs::File::create_new(&plan_file).at("create", &plan_file)?;
    context.site.give(&plan_file)?;
    let (at, plan) = (inside(buildpack), here.join("plan.toml"));
    let mut sees = context.seen_by(buildpack, false)?;
    sees.push(Mount::Bind {
        from: host.clone(),
        to: here.clone(),
        read_only: false,
    });
    sees.push(Mount::Scratch {
        to: context.site.home().to_owned(),
    });
    let program = Program {
        argv: vec![
            at.join("bin/detect").into(),
            PLATFORM.into(),
            plan.clone().into(),
        ],
        env: context.environment.of_detect(buildpack, &at, &plan),
        cwd: context.site.app.path().to_owned(),
    };
    let job = Job {
        buildpack: &buildpack.id,
        program,
        sees,
        network: context.network(),
        limit: Some(context.request.limits.detect),
    };
    Ok(Prepared { job, host, here })
}

fn run(context: &Context<'_>, prepared: Prepared<'_>) -> Result<Ran, BuildError> {
    let Prepared { job, host, here } = prepared;
    let mut tail = Tail::default();
    let ended = context.site.run(job, &mut |_, bytes| tail.push(bytes))?;
    let written = context.site.written(&host, &here);
    let read = BuildPlan::read(&written.join("plan.toml"));
    let read = read.map_err(|error| error.seen_at(written, &here));
    let limit = context.request.limits.detect;
    Ok(concluded(ended, limit, tail.into_bytes(), read))
}

/// What an exit means (rules 13 and 14).
fn concluded(
    ended: Ended,
    limit: Duration,
    output: Vec<u8>,
    read: Result<BuildPlan, TomlError>,
) -> Ran {
    match ended {
        Ended::Exit(exit) => Ran::concluded(exit, output, read),
        Ended::TimedOut => {
            let limit = limit_shown(limit);
            let said = last_lines(&output);
            Ran::error(format!("it did not end within {limit}{said}"), output)
        }
    }
}

/// The last that it said, if anything.
fn last_lines(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().rev().take(LAST_LINES).collect();
    if lines.is_empty() {
        return String::new();
    }
    let lines: Vec<&str> = lines.into_iter().rev().collect();
    format!("; the last that it said:\n{}", lines.join("\n"))
}
