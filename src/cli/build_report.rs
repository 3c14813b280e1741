//! Words why a build ended without a slug.

use slug::build::explain::closest;
use slug::build::{BuildError, ClassicsMisplaced};
use slug::buildpack::detection::{GroupVerdict, MemberVerdict, Verdict};
use slug::buildpack::plan::{Conflict, TRIALS_MAX};
use slug::layer::TomlError;
use slug::sys::fetch::FetchError;

use super::report::{Failure, exit};

const NOTHING_MADE: &str = "no slug was made; the cache of earlier builds is as it was";

pub(crate) fn word(error: BuildError) -> Failure {
    let what = Failure::of(code(&error), &error).unchanged(NOTHING_MADE);
    match error {
        BuildError::Path(error) | BuildError::Toml(TomlError::Path(error)) => {
            Failure::from(error).unchanged(NOTHING_MADE)
        }
        BuildError::Store(error) => Failure::from(error).unchanged(NOTHING_MADE),
        BuildError::Archive(error) => Failure::from(error).unchanged(NOTHING_MADE),
        BuildError::Sandbox(error) => Failure::from(error).unchanged(NOTHING_MADE).hint(
            "on a machine that is thrown away after the build, `slug build --isolation none` does without namespaces",
        ),
        BuildError::Toml(TomlError::Wrong(wrong)) => {
            what.detail(slug::ident::marked(&wrong.text, wrong.column)).hint("correct the file, and build again")
        }
        BuildError::BadPattern { .. } => {
            what.hint("correct the file, and build again")
        }
        BuildError::Descriptor(_) | BuildError::Order(_) => {
            what.hint("correct the buildpack's buildpack.toml; `slug buildpacks` lists the built-in ones")
        }
        BuildError::NoSource(_) => what.hint("name the folder of the app: `slug build DIR`"),
        BuildError::EmptySource(_) => what.hint("`git status --ignored` shows what git ignores"),
        BuildError::NoGit { .. } => what.hint("install git"),
        BuildError::Git { .. } => what.hint("git's own advice is above; `slug` takes the files that `git ls-files` lists"),
        BuildError::TooManyFiles { .. } => what.hint("leave out what the app does not need with .slugignore"),
        BuildError::NoSuchBuildpack(_) => what.hint("`slug buildpacks` lists the built-in ones"),
        BuildError::BuildpackArchive { .. } => {
            what.hint("make the archive again from a folder that you trust: `tar -czf buildpack.tgz -C FOLDER .`")
        }
        BuildError::NotABuildpack { .. } => {
            what.hint("name the folder, `.tgz`, `.cnb` or OCI layout of a buildpack: one with a buildpack.toml")
        }
        BuildError::NotTheBuildpack { expected, .. } => {
            what.hint(format!("leave `{expected}` out, or name the buildpack that has this id"))
        }
        BuildError::NoOrderFile(_) => what.hint("name a file with `[[order]]` tables"),
        BuildError::NothingFits(verdicts) => what
            .detail(groups(&verdicts))
            .hint("slug knows an app by requirements.txt, pyproject.toml, uv.lock, app.py, manage.py or a Procfile")
            .hint("another buildpack can be named: `slug build --buildpack PATH`; `--explain` says what each of a group said"),
        BuildError::DetectFailed(verdicts) => what.detail(groups(&verdicts)).hint("what it said is above; `--explain` says what each buildpack of each group said"),
        BuildError::Problems(_) => what.hint("`slug plan` shows each decision, and the file and line that made it"),
        BuildError::Artifacts { missing } => unreachable_artifacts(what, &missing),
        BuildError::BuildFailed { tail, .. } => {
            what.detail(String::from_utf8_lossy(&tail)).hint("the whole of its output is above")
        }
        BuildError::TimedOut { tail, .. } => what
            .detail(String::from_utf8_lossy(&tail))
            .hint("it was ended with all that it had started; `--build-timeout` gives it longer"),
        BuildError::Interrupted { .. } => what,
        BuildError::Leaked { .. } => what
            .hint("the buildpack, or the app's own files, put it there: keep it out of what becomes part of the slug or its cache")
            .hint("a credential that is needed when the app runs is a config var: `slug config set`"),
        BuildError::Unmet { .. }
        | BuildError::LayerName { .. }
        | BuildError::LayerMissing { .. }
        | BuildError::Sbom(_)
        | BuildError::SbomFolder(_)
        | BuildError::Follow { .. } => what.hint("this is a fault of the buildpack: its author should know"),
        BuildError::Classics { why, .. } => what.hint(match why {
            ClassicsMisplaced::Apart => "name the others before or after all of them",
            ClassicsMisplaced::Optional => "leave `optional` out of theirs",
            ClassicsMisplaced::Several => "name them in one group alone, or the same ones in each",
        }),
        BuildError::PathBusy(_) => what.hint("try again when it is done: `--isolation none` builds one app at a time"),
        BuildError::PathTaken(_) => what.hint("`--isolation none` is for machines that are thrown away; build without it here"),
    }
}

fn unreachable_artifacts(what: Failure, missing: &[FetchError]) -> Failure {
    let tried = missing.iter().flat_map(|error| {
        let tried = error
            .tried
            .iter()
            .map(|(place, why)| format!("  {place}: {why}"));
        std::iter::once(format!("{} {}:", error.name, error.version)).chain(tried)
    });
    let told = what.detail(tried.collect::<Vec<_>>().join("\n"));
    let instead = missing.iter().filter_map(|error| error.instead.clone());
    instead
        .fold(told, Failure::hint)
        .hint("a mirror of your own can be named: `slug build --mirror URL|DIR`")
}

fn code(error: &BuildError) -> u8 {
    match error {
        BuildError::NothingFits(_) => exit::NO_BUILDPACK,
        BuildError::DetectFailed(_) => exit::DETECT_FAILED,
        BuildError::BuildFailed { .. } | BuildError::TimedOut { .. } | BuildError::Problems(_) => {
            exit::BUILD_FAILED
        }
        BuildError::Leaked { .. }
        | BuildError::PathBusy(_)
        | BuildError::BuildpackArchive { .. } => exit::REFUSED,
        BuildError::Interrupted { signal } => u8::try_from(128 + signal).unwrap_or(exit::FAILED),
        BuildError::Artifacts { .. } => exit::UNREACHABLE,
        BuildError::NoSuchBuildpack(_)
        | BuildError::NotABuildpack { .. }
        | BuildError::NoOrderFile(_)
        | BuildError::NoSource(_) => exit::USAGE,
        _ => exit::FAILED,
    }
}

pub(crate) fn conflict_line(conflict: &Conflict) -> String {
    match conflict {
        Conflict::Requires { buildpack, name } => {
            format!("{buildpack} requires `{name}`, which nothing before it provides")
        }
        Conflict::Provides { buildpack, name } => {
            format!("{buildpack} provides `{name}`, which nothing after it requires")
        }
        Conflict::NobodyLeft => "every buildpack was optional, and none is left".to_owned(),
        Conflict::TooManyTrials => format!("more than {TRIALS_MAX} combinations of choices"),
    }
}

/// What a member said, in a few words.
pub(crate) fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Passed => "passed".to_owned(),
        Verdict::Declined => "not for this app".to_owned(),
        Verdict::Failed { exit, .. } => format!("failed with exit code {exit}"),
        Verdict::Error(why) => why.clone(),
        Verdict::OtherExecEnv => "meant for other execution environments".to_owned(),
    }
}

/// A line for each group: why it does not take the app; and what failed programs said.
fn groups(verdicts: &[GroupVerdict]) -> String {
    let nearest = closest(verdicts).filter(|_| verdicts.len() > 1);
    let mut lines = Vec::new();
    for (number, group) in verdicts.iter().enumerate() {
        let near = if nearest == Some(number) {
            ", which came closest"
        } else {
            ""
        };
        let why = reasons(group).join("; ");
        lines.push(format!("group {}{near}: {why}", number + 1));
        for member in &group.members {
            if let Verdict::Failed { tail, .. } = &member.verdict {
                let tail = String::from_utf8_lossy(tail);
                lines.extend(tail.lines().map(|line| format!("  {line}")));
            }
        }
    }
    lines.join("\n")
}

/// Why a group does not take the app: what does not fit, or who did not pass and had to.
fn reasons(group: &GroupVerdict) -> Vec<String> {
    let conflicts: Vec<String> = group.conflicts.iter().map(conflict_line).collect();
    if !conflicts.is_empty() {
        return conflicts;
    }
    let is_in_the_way = |member: &&MemberVerdict| {
        !matches!(member.verdict, Verdict::Passed | Verdict::OtherExecEnv) && !member.optional
    };
    let told = |member: &MemberVerdict| format!("{}: {}", member.buildpack, said(&member.verdict));
    let required: Vec<String> = group
        .members
        .iter()
        .filter(is_in_the_way)
        .map(told)
        .collect();
    if required.is_empty() {
        return group.members.iter().map(told).collect(); // all optional, and none passed
    }
    required
}
