//! Which group of buildpacks takes the app (rules 8-17). The detects of one
//! group run at the same time, each once whatever the number of groups it is in.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::catalog::inside;
use super::context::Context;
use super::environment::EXEC_ENV;
use super::follow::Tail;
use super::site::{DETECT, Ended, Job, PLATFORM, WORKSPACE};
use super::{BuildError, Event};
use crate::buildpack::descriptor::Descriptor;
use crate::buildpack::order::{Component, expand};
use crate::buildpack::plan::{BuildPlan, Candidate, Conflict, Entry, resolve};
use crate::ident::BuildpackId;
use crate::layer::TomlError;
use crate::sys::At as _;
use crate::sys::sandbox::{Mount, Program};

/// How long a `bin/detect` may take: it looks at files.
pub const DETECT_TIME_MAX: Duration = Duration::from_mins(1);

/// What became of one group that did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupVerdict {
    /// Each member, in order.
    pub members: Vec<MemberVerdict>,
    /// Why the plans of those that passed do not fit together; empty if it did not come to that.
    pub conflicts: Vec<Conflict>,
}

/// What a member of a group said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberVerdict {
    /// Who.
    pub buildpack: BuildpackId,
    /// May be left out.
    pub optional: bool,
    /// What it said.
    pub verdict: Verdict,
}

/// What a `bin/detect` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Exit 0.
    Passed,
    /// Exit 100: the app is not for it.
    Declined,
    /// Any other exit.
    Failed {
        /// 128 + n for signal n.
        exit: i32,
        /// The last of its output.
        tail: Vec<u8>,
    },
    /// It could not be run, it did not end in time, or its plan cannot be read.
    Error(String),
}

impl Verdict {
    fn is_error(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Error(_))
    }
}

/// The group that takes the app.
#[derive(Clone, Debug)]
pub(super) struct Detected {
    /// Its buildpacks, in order.
    pub(super) buildpacks: Vec<Descriptor>,
    /// What they provide to one another.
    pub(super) entries: Vec<Entry>,
}

/// What one `bin/detect` came to.
#[derive(Clone, Debug)]
struct Run {
    verdict: Verdict,
    plan: BuildPlan,
    output: Vec<u8>,
}

/// Finds the first group that passes.
pub(super) fn detect(
    context: &Context<'_>,
    progress: &mut dyn FnMut(Event<'_>),
) -> Result<Detected, BuildError> {
    let groups = expand(&context.catalog.order, &context.catalog.buildpacks)?;
    let mut runs = BTreeMap::new();
    let mut verdicts = Vec::new();
    for group in groups {
        let members: Vec<Component<'_>> = group
            .into_iter()
            .filter(|member| member.descriptor.fits_exec_env(EXEC_ENV))
            .collect();
        run_missing(context, &members, &mut runs, progress)?;
        match judge(context, &members, &runs) {
            Ok(detected) => return Ok(detected),
            Err(verdict) => verdicts.push(verdict),
        }
    }
    let is_error =
        |group: &GroupVerdict| group.members.iter().any(|member| member.verdict.is_error());
    if verdicts
        .iter()
        .any(|group| group.conflicts.is_empty() && is_error(group))
    {
        return Err(BuildError::DetectFailed(verdicts));
    }
    Err(BuildError::NothingFits(verdicts))
}

type Runs<'a> = BTreeMap<(&'a BuildpackId, &'a str), Run>;

fn key<'a>(member: &Component<'a>) -> (&'a BuildpackId, &'a str) {
    (&member.descriptor.id, &member.descriptor.version)
}

/// A required member that is not meant for this system fails its group without being run; an optional one is
/// run all the same, as in lifecycle (rule 8).
fn is_refused(context: &Context<'_>, member: &Component<'_>) -> bool {
    !member.optional && !member.descriptor.fits(context.environment.target())
}

/// Runs those detects of a group that no earlier group has run (rule 17).
fn run_missing<'a>(
    context: &Context<'_>,
    members: &[Component<'a>],
    runs: &mut Runs<'a>,
    progress: &mut dyn FnMut(Event<'_>),
) -> Result<(), BuildError> {
    let missing = members
        .iter()
        .filter(|member| !runs.contains_key(&key(member)) && !is_refused(context, member));
    let missing: Vec<&Component<'a>> = missing.collect();
    let ids: Vec<BuildpackId> = missing
        .iter()
        .map(|member| member.descriptor.id.clone())
        .collect();
    if ids.is_empty() {
        return Ok(());
    }
    progress(Event::Detecting(&ids));
    let first = runs.len();
    let numbered = missing
        .iter()
        .enumerate()
        .map(|(number, member)| (first + number, member.descriptor));
    let done: Vec<Result<Run, BuildError>> = if context.site.is_real() {
        numbered
            .map(|(number, buildpack)| run(context, buildpack, number))
            .collect()
    } else {
        run_at_once(context, numbered.collect())
    };
    for (member, run) in missing.iter().zip(done) {
        let run = run?;
        let failed = run.verdict.is_error();
        progress(Event::DetectOutput {
            buildpack: &member.descriptor.id,
            failed,
            output: &run.output,
        });
        runs.insert(key(member), run);
    }
    Ok(())
}

fn run_at_once(
    context: &Context<'_>,
    numbered: Vec<(usize, &Descriptor)>,
) -> Vec<Result<Run, BuildError>> {
    thread::scope(|scope| {
        let start = |(number, buildpack)| scope.spawn(move || run(context, buildpack, number));
        let threads: Vec<_> = numbered.into_iter().map(start).collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .map(|run| run.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// Runs one `bin/detect` (rules 10-13).
fn run(context: &Context<'_>, buildpack: &Descriptor, number: usize) -> Result<Run, BuildError> {
    let host = context.scratch.join("detect").join(number.to_string());
    let here = Path::new(DETECT).join(number.to_string());
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
        cwd: PathBuf::from(WORKSPACE),
    };
    let job = Job {
        buildpack: &buildpack.id,
        program,
        sees,
        network: context.network(),
        limit: Some(DETECT_TIME_MAX),
    };
    let mut tail = Tail::default();
    let ended = context.site.run(job, &mut |_, bytes| tail.push(bytes))?;
    let written = context.site.written(&host, &here);
    let read = BuildPlan::read(&written.join("plan.toml"));
    let read = read.map_err(|error| error.seen_at(written, &here));
    Ok(concluded(ended, tail.into_bytes(), read))
}

/// What an exit means (rules 13 and 14).
fn concluded(ended: Ended, output: Vec<u8>, read: Result<BuildPlan, TomlError>) -> Run {
    let (verdict, plan) = match ended {
        Ended::Exit(0) => match read {
            Ok(plan) => (Verdict::Passed, plan),
            Err(error) => (Verdict::Error(error.to_string()), BuildPlan::default()),
        },
        Ended::Exit(100) => (Verdict::Declined, BuildPlan::default()),
        Ended::Exit(exit) => (
            Verdict::Failed {
                exit,
                tail: output.clone(),
            },
            BuildPlan::default(),
        ),
        Ended::TimedOut => {
            let why = format!(
                "it did not end within {} seconds",
                DETECT_TIME_MAX.as_secs()
            );
            (Verdict::Error(why), BuildPlan::default())
        }
    };
    Run {
        verdict,
        plan,
        output,
    }
}

/// A group passes if every required member did, at least one did, and their plans fit together (rule 16).
fn judge(
    context: &Context<'_>,
    members: &[Component<'_>],
    runs: &Runs<'_>,
) -> Result<Detected, GroupVerdict> {
    let verdict = |member: &Component<'_>| match runs.get(&key(member)) {
        Some(run) if !is_refused(context, member) => run.verdict.clone(),
        _ => Verdict::Error(not_meant_for(context, member.descriptor)),
    };
    let verdicts: Vec<MemberVerdict> = members
        .iter()
        .map(|member| MemberVerdict {
            buildpack: member.descriptor.id.clone(),
            optional: member.optional,
            verdict: verdict(member),
        })
        .collect();
    let passed = |verdict: &MemberVerdict| verdict.verdict == Verdict::Passed;
    if !verdicts
        .iter()
        .all(|verdict| passed(verdict) || verdict.optional)
        || !verdicts.iter().any(passed)
    {
        return Err(GroupVerdict {
            members: verdicts,
            conflicts: Vec::new(),
        });
    }
    let passing: Vec<&Component<'_>> = members
        .iter()
        .zip(&verdicts)
        .filter(|(_, verdict)| passed(verdict))
        .map(|(member, _)| member)
        .collect();
    let candidates: Vec<Candidate<'_>> = passing
        .iter()
        .filter_map(|member| {
            let plan = &runs.get(&key(member))?.plan;
            Some(Candidate {
                id: &member.descriptor.id,
                optional: member.optional,
                plan,
            })
        })
        .collect();
    match resolve(&candidates) {
        Ok(resolved) => Ok(Detected {
            buildpacks: resolved
                .members
                .iter()
                .map(|place| passing[*place].descriptor.clone())
                .collect(),
            entries: resolved.entries,
        }),
        Err(conflicts) => Err(GroupVerdict {
            members: verdicts,
            conflicts,
        }),
    }
}

fn not_meant_for(context: &Context<'_>, buildpack: &Descriptor) -> String {
    let base = context.environment.target();
    let targets: Vec<String> = buildpack.targets.iter().map(ToString::to_string).collect();
    format!(
        "it is meant for {}, and this machine is {base}",
        targets.join(" or ")
    )
}
