//! `slug buildpack run`.

use std::io::{self, IsTerminal as _};

use serde_json::json;
use slug::build::{BuildpackProgram, Event, ShellRequest};
use slug::sys::At as _;
use slug::workshop::{Bench, Outcome, Tried};

use super::args::{Program, Run};
use super::{lint, package, test};
use crate::cli::build::watch_signals;
use crate::cli::build_talk::BuildTalk;
use crate::cli::report::{Failure, exit};
use crate::cli::settings::Settings;

pub(crate) fn run(settings: &Settings, typed: &Run) -> Result<u8, Failure> {
    let dir = lint::folder(settings, &typed.dir)?;
    let app = settings.source_dir(&typed.on)?;
    package::make(settings, &dir)?;
    let buildpack = test::component(&dir)?;
    let mut request = test::template(settings, &typed.build_options())?;
    let program = match typed.program {
        Program::Detect => BuildpackProgram::Detect,
        Program::Build => BuildpackProgram::Build,
    };
    request.shell = shell(typed, program);
    let watch = watch_signals()?;
    request.cancel = watch.cancel();
    let bench = Bench {
        buildpack: &buildpack,
        request,
    };
    let mut talk = BuildTalk::new(settings);
    let tried = bench.try_out(program, &app, &mut |event| match event {
        // Of the one program that is tried out, everything is wanted.
        Event::DetectOutput { output, .. } => settings.ui.talk_bytes(output),
        other => talk.hear(other),
    });
    talk.end();
    let tried = tried?;
    say(settings, &tried);
    let text = tried
        .found
        .as_expectation
        .to_toml()
        .map_err(io::Error::other)
        .at("write down what was found of", &dir)?;
    settings.ui.answer(
        &json!({
            "schema": 1,
            "buildpack": buildpack.id,
            "program": program.path(),
            "found": tried.found.as_expectation,
            "findings": tried.found.findings,
        }),
        |_| text,
    )?;
    Ok(code(&tried))
}

fn shell(typed: &Run, after: BuildpackProgram) -> Option<ShellRequest> {
    let is_terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
    let wanted = typed.shell || (is_terminal && !typed.no_shell);
    wanted.then_some(ShellRequest {
        after,
        always: typed.shell,
    })
}

fn say(settings: &Settings, tried: &Tried) {
    for name in &tried.stood_in.provides {
        settings.ui.say(&format!(
            "nobody provides `{name}`: an earlier buildpack was taken for granted"
        ));
    }
    for require in &tried.stood_in.requires {
        settings.ui.say(&format!(
            "nobody requires `{}`: a later buildpack was taken for granted",
            require.name
        ));
    }
    let findings = lint::text(&tried.found.findings);
    if !findings.is_empty() {
        settings.ui.say(findings.trim_end());
    }
}

fn code(tried: &Tried) -> u8 {
    let found = &tried.found.as_expectation;
    match (found.detect, found.build) {
        (Outcome::Fail, _) => exit::NO_BUILDPACK,
        (Outcome::Error, _) => exit::DETECT_FAILED,
        (Outcome::Pass, Outcome::Pass) => 0,
        (Outcome::Pass, _) => exit::BUILD_FAILED,
    }
}
