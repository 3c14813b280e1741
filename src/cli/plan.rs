//! `slug plan`: what a build would do, each decision with the file and line that made it.

use serde_json::json;
use slug::build::explain::Explainer;
use slug::build::{self, FoundEvidence, Planned};

use super::args::Plan;
use super::build::watch_signals;
use super::build_request::request;
use super::build_talk::BuildTalk;
use super::explain;
use super::report::{Failure, exit};
use super::settings::Settings;
use super::ui::Text;

pub(crate) fn run(settings: &Settings, typed: &Plan) -> Result<u8, Failure> {
    let dir = settings.source_dir(&typed.dir)?;
    let store = settings.open_store()?;
    let app = settings.app_of_dir(&dir)?;
    let mut request = request(settings, &dir, &app, &store, &typed.options)?;
    let watch = watch_signals()?;
    request.cancel = watch.cancel();
    let mut talk = BuildTalk::new(settings);
    let mut explainer = Explainer::default();
    let planned = build::plan(&request, &mut |event| {
        if typed.options.explain {
            explainer.hear(&event);
        }
        talk.hear(&event);
    });
    let explanation = explainer.finish(planned.as_ref().err());
    let planned = match planned {
        Ok(planned) => planned,
        Err(error) => {
            if typed.options.explain {
                talk.explain_failure(&explanation);
            }
            return Err(talk.failed(error.into()));
        }
    };
    let mut answer = json!({ "schema": 1, "app": app, "plan": planned });
    if typed.options.explain {
        talk.explain(&explain::text(&explanation, &[]));
        answer["explain"] = explain::json(&explanation);
    }
    talk.end();
    settings.ui.answer(&answer, |_| text(&planned))?;
    // The build would end so, too.
    Ok(if planned.problems.is_empty() {
        0
    } else {
        exit::BUILD_FAILED
    })
}

fn text(planned: &Planned) -> String {
    let mut text = Text::default();
    let commit = planned.commit.as_ref().map(|commit| {
        let changes = if commit.dirty { " with changes" } else { "" };
        format!(", commit {}{changes}", commit.id)
    });
    text.line(format!(
        "source: {} files{}",
        planned.files,
        commit.unwrap_or_default()
    ));
    for buildpack in &planned.buildpacks {
        text.line(format!("\n{} {}", buildpack.id, buildpack.version));
        text.table(
            buildpack
                .evidence
                .iter()
                .map(|found| vec![format!("  {}", found.what), place(found)]),
        );
    }
    if !planned.artifacts.is_empty() {
        text.line("\nartifacts");
        text.table(planned.artifacts.iter().map(|artifact| {
            let state = if artifact.kept {
                "on this host"
            } else {
                "to be fetched"
            };
            vec![
                format!("  {} {}", artifact.name, artifact.version),
                state.to_owned(),
            ]
        }));
    }
    text.lines(
        planned
            .warnings
            .iter()
            .map(|warning| format!("\nwarning: {warning}")),
    );
    text.lines(
        planned
            .problems
            .iter()
            .map(|problem| format!("\nproblem: {problem}")),
    );
    text.into_string()
}

/// `<- .python-version:1`.
fn place(found: &FoundEvidence) -> String {
    match (&found.file, found.line) {
        (Some(file), Some(line)) => format!("<- {file}:{line}"),
        (Some(file), None) => format!("<- {file}"),
        (None, _) => String::new(),
    }
}
