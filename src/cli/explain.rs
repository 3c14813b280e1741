//! `--explain`: why a build came to what it came to.

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde_json::{Value, json};
use slug::build::explain::{
    ExplainedConflict, ExplainedGroup, Explanation, Giver, Origin, VariableSource,
};
use slug::build::{BuiltLayer, Why};
use slug::buildpack::detection::{MemberVerdict, Verdict};
use slug::buildpack::plan::Conflict;
use slug::ident::BuildpackId;
use slug::layer::env::Action;

use super::build::layer_line;
use super::build_report::{conflict_line, said};
use super::ui::Text;

/// For people. `layers`: of a build that made a slug.
pub(crate) fn text(explanation: &Explanation, layers: &[BuiltLayer]) -> String {
    let Explanation {
        groups,
        build_environment,
        launch_environment,
        processes,
    } = explanation;
    let mut text = Text::default();
    text.line("explain: groups");
    for (number, group) in groups.iter().enumerate() {
        text.lines(group_lines(number + 1, group));
    }
    for (title, environment) in [
        ("environment of builds", build_environment),
        ("environment of processes", launch_environment),
    ] {
        // Of a build that did not come to one, nobody asks for its environment.
        if !environment.is_empty() && groups.iter().any(|group| group.passed) {
            text.line(format!("explain: {title}"));
            let (of_machine, others): (Vec<_>, Vec<_>) = environment
                .iter()
                .partition(|(_, origins)| is_of_machine(origins));
            text.lines(others.into_iter().flat_map(variable_lines));
            let names: Vec<_> = of_machine
                .iter()
                .map(|(name, _)| name.to_string_lossy())
                .collect();
            if !names.is_empty() {
                text.line(format!("  this machine's settings: {}", names.join(", ")));
            }
        }
    }
    if !processes.is_empty() {
        text.line("explain: processes");
    }
    for (process, by) in processes {
        let Some((last, replaced)) = by.split_last() else {
            continue;
        };
        let replaced: Vec<&str> = replaced.iter().map(BuildpackId::as_str).collect();
        text.line(match replaced.as_slice() {
            [] => format!("  {process}: {last}"),
            others => format!("  {process}: {last}, in place of {}", others.join(", ")),
        });
    }
    if !layers.is_empty() {
        text.line("explain: layers");
    }
    text.lines(layers.iter().map(|layer| {
        let why = match &layer.why {
            Why::Kept => " (nobody wrote to it)",
            Why::Changed(_) => "",
        };
        format!("  {}{why}", layer_line(layer))
    }));
    text.into_string().trim_end().to_owned()
}

fn group_lines(number: usize, group: &ExplainedGroup) -> Vec<String> {
    let verdict = match (group.passed, group.closest) {
        (true, _) => "takes the app",
        (false, true) => "does not; it came closest",
        (false, false) => "does not",
    };
    let mut lines = vec![format!("  group {number}: {verdict}")];
    lines.extend(group.members.iter().map(|member| {
        let optional = if member.optional { ", optional" } else { "" };
        let dropped = if is_dropped(group, member) {
            ": left out, since its plan does not fit"
        } else if member.optional && member.verdict != Verdict::Passed {
            ": left out"
        } else {
            ""
        };
        format!(
            "    {}{optional}: {}{dropped}",
            member.buildpack,
            said(&member.verdict)
        )
    }));
    lines.extend(group.conflicts.iter().map(conflict));
    lines
}

/// It passed, and its group too, and it does not take part.
fn is_dropped(group: &ExplainedGroup, member: &MemberVerdict) -> bool {
    group.passed
        && group.conflicts.iter().any(|one| match &one.conflict {
            Conflict::Requires { buildpack, .. } | Conflict::Provides { buildpack, .. } => {
                *buildpack == member.buildpack
            }
            Conflict::NobodyLeft | Conflict::TooManyTrials => false,
        })
}

fn conflict(conflict: &ExplainedConflict) -> String {
    let line = conflict_line(&conflict.conflict);
    let ids: Vec<&str> = conflict.elsewhere.iter().map(BuildpackId::as_str).collect();
    let (does, place) = match &conflict.conflict {
        Conflict::Requires { .. } => ("provides it, but does not stand before it", "provide"),
        Conflict::Provides { .. } => ("requires it, but does not stand after it", "require"),
        Conflict::NobodyLeft | Conflict::TooManyTrials => return format!("    {line}"),
    };
    match ids.as_slice() {
        [] => format!("    {line}; no other buildpack that was tried would {place} it"),
        ids => format!("    {line}; {} {does} in this group", ids.join(", ")),
    }
}

/// How the machine reaches registries, and nobody else says anything of it.
fn is_of_machine(origins: &[Origin]) -> bool {
    let mut origins = origins.iter();
    origins.all(|origin| origin.by == Giver::Operator(VariableSource::Machine))
}

fn variable_lines((name, origins): (&OsString, &Vec<Origin>)) -> Vec<String> {
    let mut lines = vec![format!("  {}", name.to_string_lossy().escape_default())];
    lines.extend(origins.iter().map(|origin| {
        let does = match origin.action {
            Action::Override => "set by",
            Action::Default => "set, if it is not, by",
            Action::Append => "appended to by",
            Action::Prepend => "prepended to by",
        };
        format!("    {does} {}", giver(&origin.by))
    }));
    lines
}

fn giver(giver: &Giver) -> String {
    match giver {
        Giver::Layer {
            buildpack,
            layer,
            place,
        } => format!("{buildpack}: {layer}/{}", place.escape_default()),
        Giver::Operator(source) => source_name(*source).to_owned(),
    }
}

fn source_name(source: VariableSource) -> &'static str {
    match source {
        VariableSource::Machine => "this machine's settings",
        VariableSource::Project => "project.toml",
        VariableSource::PlatformEnv => "--platform-env",
        VariableSource::Option => "--env",
        VariableSource::BuildConfig => "--build-config",
    }
}

/// The same for programs. The layers are in the report itself, each with its cause.
pub(crate) fn json(explanation: &Explanation) -> Value {
    let Explanation {
        groups,
        build_environment,
        launch_environment,
        processes,
    } = explanation;
    let groups: Vec<Value> = groups.iter().map(group_json).collect();
    json!({
        "groups": groups,
        "build_environment": environment_json(build_environment),
        "launch_environment": environment_json(launch_environment),
        "processes": processes,
    })
}

fn group_json(group: &ExplainedGroup) -> Value {
    let members = group.members.iter().map(|member| {
        json!({
            "buildpack": member.buildpack,
            "optional": member.optional,
            "said": said(&member.verdict),
            "passed": member.verdict == Verdict::Passed,
            "dropped": is_dropped(group, member),
        })
    });
    let conflicts = group
        .conflicts
        .iter()
        .map(|one| json!({ "conflict": conflict_line(&one.conflict), "elsewhere": one.elsewhere }));
    json!({
        "passed": group.passed,
        "closest": group.closest,
        "members": members.collect::<Vec<_>>(),
        "conflicts": conflicts.collect::<Vec<_>>(),
    })
}

fn environment_json(environment: &BTreeMap<OsString, Vec<Origin>>) -> Value {
    let variables = environment.iter().map(|(name, origins)| {
        let origins = origins.iter().map(|origin| {
            let by = match &origin.by {
                Giver::Layer {
                    buildpack,
                    layer,
                    place,
                } => json!({ "buildpack": buildpack, "layer": layer, "place": place }),
                Giver::Operator(source) => json!({ "operator": source }),
            };
            json!({ "action": origin.action, "by": by })
        });
        (
            name.to_string_lossy().into_owned(),
            Value::from(origins.collect::<Vec<_>>()),
        )
    });
    Value::Object(variables.collect())
}
