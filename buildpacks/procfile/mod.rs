//! Process types from the app's `Procfile`: each line is run by bash, as the
//! Procfile buildpack of other CNB platforms does.

use crate::buildpack::author::AuthoredLaunch;
use crate::buildpack::author::AuthoredProcess;
use crate::buildpack::author::BuildContext;
use crate::buildpack::author::BuiltIn;
use crate::buildpack::author::DetectContext;
use crate::buildpack::author::Detected;
use crate::buildpack::author::Evidence;
use crate::buildpack::author::Failure;
use crate::buildpack::author::PlanMetadata;
use crate::buildpack::author::read_text;
use crate::grammar::procfile;
use crate::grammar::procfile::Entry;
use crate::grammar::procfile::Parsed;

/// The buildpack.
pub(super) const BUILT_IN: BuiltIn = BuiltIn {
    id: "slug/procfile",
    descriptor: include_str!("buildpack.toml"),
    detect,
    build,
};

const FILE: &str = "Procfile";

fn detect(context: &DetectContext) -> Result<Detected, Failure> {
    let Some(text) = context.read(FILE)? else {
        return Ok(Detected::No);
    };
    let Parsed {
        entries,
        warnings,
        problems,
    } = procfile::parse(&text);
    let evidence = entries.iter().map(|entry| Evidence {
        what: format!("process {}: {}", entry.name, entry.command),
        file: Some(FILE.to_owned()),
        line: Some(entry.line),
    });
    Ok(Detected::Yes(Box::new(PlanMetadata {
        evidence: evidence.collect(),
        warnings: warnings.iter().map(|remark| remark.of_file(FILE)).collect(),
        problems: problems.iter().map(|remark| remark.of_file(FILE)).collect(),
        ..PlanMetadata::default()
    })))
}

fn build(context: &BuildContext) -> Result<(), Failure> {
    let text = read_text(&context.app.join(FILE))?.unwrap_or_default();
    context.launch(&AuthoredLaunch {
        processes: processes(&procfile::parse(&text)),
        ..AuthoredLaunch::default()
    })
}

/// `web` is the default, or the one process that is neither `web` nor `release`.
fn processes(parsed: &Parsed) -> Vec<AuthoredProcess> {
    let names = || parsed.entries.iter().map(|entry| entry.name.as_str());
    let only = names()
        .filter(|name| *name != "release")
        .collect::<Vec<_>>();
    let default = if only.contains(&"web") {
        Some("web")
    } else if let [one] = only[..] {
        Some(one)
    } else {
        None
    };
    let process = |entry: &Entry| AuthoredProcess {
        process_type: entry.name.clone(),
        command: vec!["bash".to_owned(), "-c".to_owned(), entry.command.clone()],
        default: Some(entry.name.as_str()) == default,
    };
    parsed.entries.iter().map(process).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default_of(text: &str) -> Option<String> {
        processes(&procfile::parse(text))
            .into_iter()
            .find(|process| process.default)
            .map(|process| process.process_type)
    }

    #[test]
    fn web_is_the_default_or_the_only_one() {
        assert_eq!(default_of("worker: a\nweb: b").as_deref(), Some("web"));
        assert_eq!(
            default_of("worker: a\nrelease: b").as_deref(),
            Some("worker")
        );
        assert_eq!(default_of("worker: a\nclock: b"), None);
        assert_eq!(default_of("release: b"), None);
    }
}
