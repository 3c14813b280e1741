//! `slug run`: one process of a release in the foreground.

use std::ffi::OsString;

use slug::run::{Command, OneOff, RunError};

use super::args::Run;
use super::report::{Failure, exit};
use super::settings::Settings;

pub(crate) fn run(settings: &Settings, typed: &Run) -> Result<u8, Failure> {
    let outcome = start(settings, typed);
    // 1 to 3 are the process's own: what fails before it began is told apart (`spec/exit-codes.md`).
    outcome.map_err(|failure| match failure.code {
        exit::USAGE | exit::NOT_FOUND | exit::NOT_EXECUTABLE => failure,
        _ => failure.code(exit::RUN_FAILED),
    })
}

fn start(settings: &Settings, typed: &Run) -> Result<u8, Failure> {
    let store = settings.open_store()?;
    let app = settings.app(&store)?;
    let words: Vec<OsString> = typed.command.iter().map(OsString::from).collect();
    let command = match &typed.process {
        Some(process_type) => {
            let parsed = process_type
                .parse()
                .map_err(|error: slug::ident::BadName| {
                    Failure::usage(error.to_string())
                        .hint(format!("to run a command: `slug run -- {process_type} …`"))
                })?;
            Command::Type(Some(parsed), words)
        }
        None if words.is_empty() => Command::Type(None, words),
        None => Command::Direct(words),
    };
    let one_off = OneOff {
        store: &store,
        app: &app,
        host: &settings.host,
        command,
        by: settings.by.clone(),
    };
    let exit = slug::run::run(&one_off)?;
    Ok(u8::try_from(exit.code()).unwrap_or(exit::RUN_FAILED))
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let failure = Self::of(exit::FAILED, &error);
        match error {
            RunError::NoRelease(app) => {
                failure.hint(format!("make one: `slug release --app {app} SLUG`"))
            }
        }
    }
}
