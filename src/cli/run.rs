//! `slug run`: one process of a release in the foreground.

use std::ffi::OsString;

use slug::ident::ProcessType;
use slug::run::{Command, LaunchError, OneOff, RunError};

use super::args::Run;
use super::report::{Failure, exit};
use super::settings::Settings;

pub(crate) fn run(settings: &Settings, typed: &Run) -> Result<u8, Failure> {
    let outcome = start(settings, typed);
    // 1 to 3 are the process's own: what fails before it began is told apart (`spec/exit-codes.md`).
    outcome.map_err(|failure| match failure.code {
        exit::NOT_FOUND | exit::NOT_EXECUTABLE => failure,
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
        None if words[0].is_empty() => {
            return Err(Failure::usage("the command is empty")
                .hint("a command is run so: `slug run -- COMMAND ARG…`"));
        }
        None => Command::Direct(words),
    };
    let one_off = OneOff {
        store: &store,
        app: &app,
        host: &settings.host,
        command,
        by: settings.by.clone(),
    };
    let exit = slug::run::run(&one_off, &mut |_| ())?;
    Ok(u8::try_from(exit.code()).unwrap_or(exit::RUN_FAILED))
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Launch(error) => error.into(),
            RunError::Store(error) => error.into(),
            RunError::NoRelease(ref app) => {
                let hint = format!("make one: `slug release --app {app} SLUG`");
                Self::of(exit::FAILED, &error).hint(hint)
            }
            RunError::Io(..) => Self::of(exit::FAILED, &error),
        }
    }
}

impl From<LaunchError> for Failure {
    fn from(error: LaunchError) -> Self {
        let failure = Self::of(exit::FAILED, &error);
        let types = |has: &[ProcessType]| {
            let names: Vec<&str> = has.iter().map(ProcessType::as_str).collect();
            if names.is_empty() {
                "the slug has none".to_owned()
            } else {
                format!("the slug has {}", names.join(", "))
            }
        };
        match error {
            LaunchError::NoSlug(_) => failure.hint("release a slug: `slug release SLUG`"),
            LaunchError::NoType { has, .. } => failure
                .code(exit::USAGE)
                .hint(types(&has))
                .hint("a command is run so: `slug run -- COMMAND ARG…`"),
            LaunchError::NoDefault { has, .. } => failure.code(exit::USAGE).hint(types(&has)),
            LaunchError::EmptyCommand(_) => failure.hint("correct the Procfile, and build again"),
            LaunchError::Base { missing, .. } => {
                let lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
                failure
                    .code(exit::REFUSED)
                    .detail(lines.join("\n"))
                    .hint("install what is missing on this host, or build the slug on a host like this one")
            }
            LaunchError::Archive(error) => error.into(),
            LaunchError::Store(error) => error.into(),
            LaunchError::Path(error) => error.into(),
            LaunchError::Sandbox(error) => error.into(),
            LaunchError::Port(_) | LaunchError::Pipe(_) | LaunchError::NotLoaded(_) => failure,
        }
    }
}
