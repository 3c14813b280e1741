//! `detector`: finds the group that takes the app; writes group.toml and plan.toml.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::thread;

use super::console::{Console, Level};
use super::failed::{DETECT, DETECT_FAILED, DETECT_NONE, FAILED, Failed};
use super::files::{AnalyzedToml, GroupToml, OrderToml, PlanToml, System, write};
use super::inputs::Inputs;
use super::{descriptors, target};
use crate::buildpack::descriptor::Descriptor;
use crate::buildpack::detection::{self, Detected, MemberVerdict, Purpose, Ran, Refused, Verdict};
use crate::buildpack::environment::Environment;
use crate::buildpack::order::{Group, expand};
use crate::buildpack::plan::{BuildPlan, Conflict};
use crate::layer::Env;
use crate::layer::env::{Action, Delta, PATH_VARIABLES};
use crate::layer::user_env;
use crate::sys::PathError;

/// What is taken over from the phase's own environment, besides the variables that hold paths (rule 40).
const PASSED_ON: [&str; 9] = [
    "CNB_STACK_ID",
    "HOSTNAME",
    "HOME",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// How much of the output of a detect is kept, in bytes: the last.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// What all programs of a phase have in common. Where `<platform>/env` or `<build-config>/env` is not there, nothing
/// is added.
pub(super) fn environment(
    inputs: &Inputs,
    analyzed: &AnalyzedToml,
    console: &mut Console<'_>,
) -> Result<Environment, Failed> {
    let is_passed_on = |name: &OsStr| {
        let mut names = PASSED_ON.iter().chain(&PATH_VARIABLES);
        names.any(|passed| OsStr::new(passed) == name)
    };
    let base = inputs.env.iter().filter(|(name, _)| is_passed_on(name));
    let base = base.map(|(name, value)| (name.clone(), value.clone()));
    let wrong = |error: PathError| Failed::new(FAILED, "read the environment", error);
    let folder = inputs.platform.join("env");
    let user = if folder.is_dir() {
        user_env::read(&folder).map_err(wrong)?
    } else {
        Env::new()
    };
    let build_config = Delta::read(&inputs.build_config.join("env"), Action::Default);
    Ok(Environment {
        base: base.collect(),
        user,
        build_config: build_config.map_err(wrong)?,
        exec_env: inputs.exec_env.clone(),
        target: target::target(analyzed, console)?,
        platform: inputs.platform.clone(),
        layers: inputs.layers.clone(),
    })
}

/// Finds the group, says how it came to that, and writes the files.
pub(super) fn detect(inputs: &Inputs, console: &mut Console<'_>) -> Result<(), Failed> {
    let analyzed = AnalyzedToml::read(&inputs.analyzed, console)?;
    let order = order(inputs, console)?;
    let mut buildpacks = descriptors::of_order(&inputs.buildpacks, &order)?;
    for buildpack in &mut buildpacks {
        heed(inputs, buildpack);
    }
    let environment = environment(inputs, &analyzed, console)?;
    let groups = expand(&order, &buildpacks);
    let groups = groups.map_err(|error| Failed::new(DETECT, "detect", error))?;
    let purpose = Purpose {
        base: &environment.target,
        exec_env: &inputs.exec_env,
    };
    let mut outputs = Outputs::new();
    let detected = detection::detect(groups, purpose, &mut |buildpacks| {
        let ran = run_at_once(inputs, &environment, buildpacks);
        for (buildpack, ran) in buildpacks.iter().zip(&ran) {
            let name = format!("{}@{}", buildpack.id, buildpack.version);
            outputs.insert(name, ran.output.clone());
        }
        Ok::<_, std::convert::Infallible>(ran)
    });
    let (groups, code, why) = match detected {
        Ok(detected) => return answer(inputs, &detected, &outputs, console),
        Err(Refused::NothingFits(groups)) => (groups, DETECT_NONE, "no buildpacks participating"),
        Err(Refused::Failed(groups)) => (groups, DETECT_FAILED, "buildpack(s) failed with err"),
        Err(Refused::Run(never)) => match never {},
    };
    for group in &groups {
        // Nobody passed: who asks why is told all.
        tell(
            &group.members,
            &group.conflicts,
            &outputs,
            Level::Info,
            console,
        );
    }
    console.say(Level::Error, b"No buildpack groups passed detection.");
    if code == DETECT_NONE {
        console.say(
            Level::Error,
            b"Please check that you are running against the correct path.",
        );
    }
    Err(Failed::new(code, "detect", why))
}

/// What a buildpack says of targets and execution environments counts from a Platform API on.
fn heed(inputs: &Inputs, buildpack: &mut Descriptor) {
    if !inputs.api.has_targets() {
        buildpack.targets.clear();
    }
    if !inputs.api.has_exec_env() {
        buildpack.exec_env.clear();
    }
}

/// By `id@version`.
type Outputs = BTreeMap<String, Vec<u8>>;

fn order(inputs: &Inputs, console: &mut Console<'_>) -> Result<Vec<Group>, Failed> {
    let initialize = |why: String| Failed::new(FAILED, "initialize detector", why);
    let OrderToml { order, extensions } = OrderToml::read(&inputs.order)
        .map_err(|why| initialize(format!("reading order: {why}")))?;
    if !extensions.is_empty() {
        let why = format!(
            "{} has image extensions ([[order-extensions]]), which write Dockerfiles: slug makes no images with them",
            inputs.order.display()
        );
        return Err(initialize(why));
    }
    if !inputs.api.has_exec_env() {
        return Ok(order);
    }
    let system = System::read(&inputs.system, console);
    let system = system.map_err(|why| initialize(format!("reading system: {why}")))?;
    Ok(system.around(order, console))
}

fn run_at_once(inputs: &Inputs, environment: &Environment, buildpacks: &[&Descriptor]) -> Vec<Ran> {
    thread::scope(|scope| {
        let start = |buildpack| {
            scope.spawn(move || {
                let ran = run(inputs, environment, buildpack);
                ran.unwrap_or_else(|error| Ran::error(error.to_string(), Vec::new()))
            })
        };
        let threads: Vec<_> = buildpacks.iter().copied().map(start).collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .map(|ran| ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// Runs one `bin/detect` (rules 10-13).
fn run(inputs: &Inputs, environment: &Environment, buildpack: &Descriptor) -> io::Result<Ran> {
    let own = tempfile::Builder::new().prefix("plan.").tempdir()?;
    let plan = own.path().join("plan.toml");
    std::fs::File::create_new(&plan)?;
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(buildpack.folder.join("bin/detect"));
    command
        .arg(&inputs.platform)
        .arg(&plan)
        .env_clear()
        .envs(environment.of_detect(buildpack, &buildpack.folder, &plan))
        .current_dir(&inputs.app)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command.spawn()?;
    drop(command); // it holds our ends of the pipe
    let output = last_of(reader)?;
    let status = child.wait()?;
    let exit = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    let read = BuildPlan::read(&plan);
    Ok(Ran::concluded(exit.unwrap_or(1), output, read))
}

/// Reads to the end; keeps the last `OUTPUT_BYTES_MAX`.
fn last_of(mut reader: impl Read) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut piece)? {
            0 => break,
            length => kept.extend_from_slice(&piece[..length]),
        }
        if kept.len() > 2 * OUTPUT_BYTES_MAX {
            kept.drain(..kept.len() - OUTPUT_BYTES_MAX);
        }
    }
    kept.drain(..kept.len().saturating_sub(OUTPUT_BYTES_MAX));
    Ok(kept)
}

/// Says who takes the app, and writes it.
fn answer(
    inputs: &Inputs,
    detected: &Detected,
    outputs: &Outputs,
    console: &mut Console<'_>,
) -> Result<(), Failed> {
    let Detected {
        buildpacks,
        entries,
        members,
        dropped,
        before,
    } = detected;
    for group in before {
        tell(
            &group.members,
            &group.conflicts,
            outputs,
            Level::Debug,
            console,
        );
    }
    tell(members, dropped, outputs, Level::Debug, console);
    if buildpacks.len() != members.len() {
        let (some, all) = (buildpacks.len(), members.len());
        console.info(&format!("{some} of {all} buildpacks participating"));
    }
    let longest = buildpacks.iter().map(|one| one.id.as_str().len()).max();
    for Descriptor { id, version, .. } in buildpacks {
        let width = longest.unwrap_or_default();
        console.info(&format!("{:width$} {version}", id.as_str()));
    }
    let written = |error: PathError| Failed::new(FAILED, "write the result", error);
    write(&inputs.group, &GroupToml::of(buildpacks)).map_err(written)?;
    write(&inputs.plan, &PlanToml::of(entries, buildpacks)).map_err(written)
}

/// Says what the members of one group said, at this level or, where a detect failed, at `Info`.
fn tell(
    members: &[MemberVerdict],
    conflicts: &[Conflict],
    outputs: &Outputs,
    level: Level,
    console: &mut Console<'_>,
) {
    for member in members {
        let name = name(member);
        let level = level_of(member, level);
        if let Some(output) = outputs.get(&name).filter(|output| !output.is_empty()) {
            console.say(
                level,
                format!("======== Output: {name} ========").as_bytes(),
            );
            console.say(level, output);
        }
        if let Verdict::Error(why) = &member.verdict {
            console.say(level, format!("======== Error: {name} ========").as_bytes());
            console.say(level, why.as_bytes());
        }
    }
    console.say(level, b"======== Results ========");
    for member in members {
        let name = name(member);
        let line = match &member.verdict {
            Verdict::Passed => format!("pass: {name}"),
            Verdict::Declined if member.optional => format!("skip: {name}"),
            Verdict::Declined => format!("fail: {name}"),
            Verdict::Failed { exit, .. } => format!("err:  {name} ({exit})"),
            Verdict::Error(_) => format!("err:  {name}"),
            Verdict::OtherExecEnv => format!("skip: {name} (another execution environment)"),
        };
        console.say(level_of(member, level), line.as_bytes());
    }
    for conflict in conflicts {
        console.say(level, conflict_line(conflict, members).as_bytes());
    }
}

fn level_of(member: &MemberVerdict, level: Level) -> Level {
    match member.verdict {
        Verdict::Failed { .. } | Verdict::Error(_) => Level::Info,
        _ => level,
    }
}

fn name(member: &MemberVerdict) -> String {
    format!("{}@{}", member.buildpack, member.version)
}

fn conflict_line(conflict: &Conflict, members: &[MemberVerdict]) -> String {
    let (id, what, name) = match conflict {
        Conflict::Requires { buildpack, name } => (buildpack, "requires", name),
        Conflict::Provides { buildpack, name } => (buildpack, "provides unused", name),
        Conflict::NobodyLeft => return "fail: no viable buildpacks in group".to_owned(),
        Conflict::TooManyTrials => return "fail: too many combinations of choices".to_owned(),
    };
    let member = members.iter().find(|member| member.buildpack == *id);
    let is_optional = member.is_some_and(|member| member.optional);
    let shown = member.map_or_else(|| id.to_string(), self::name);
    let verdict = if is_optional { "skip" } else { "fail" };
    format!("{verdict}: {shown} {what} {name}")
}
