//! `slug run`: one process of a release, in the foreground or detached.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::json;
use slug::ident::{AppName, Instance, ProcessType};
use slug::run::{Command, LaunchError, OneOff, RunError};
use slug::store::Store;
use slug::sys::detach;

use super::args::{Common, Run, When};
use super::report::{Failure, exit};
use super::settings::Settings;
use super::time_limit::TimeLimit;
use super::ui::Ui;

/// The name by which `main` knows that it is to stand by a detached one-off.
pub(crate) const RUNNER: &str = "slug-one-off";

/// What is asked of a process that stands by a detached one-off, over its standard input: the operator's arguments may
/// hold secrets, and this process lives longer than theirs.
#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    store: OsString,
    app: AppName,
    host: String,
    by: String,
    term: OsString,
    /// The words are a command, not arguments of the type.
    is_command: bool,
    process_type: Option<ProcessType>,
    words: Vec<OsString>,
    time_limit_s: Option<u64>,
    colour: bool,
}

pub(crate) fn run(settings: &Settings, typed: &Run) -> Result<u8, Failure> {
    // 1 to 3 are the process's own: what fails before it began is told apart (`spec/exit-codes.md`).
    start(settings, typed).map_err(Failure::before_the_process)
}

fn start(settings: &Settings, typed: &Run) -> Result<u8, Failure> {
    let store = settings.open_store()?;
    let app = settings.app(&store)?;
    let command = command(typed)?;
    if typed.detach {
        return detached(settings, &store, &app, command, typed.time_limit);
    }
    let one_off = OneOff {
        store: &store,
        app: &app,
        host: &settings.host,
        command,
        by: settings.by.clone(),
        term: settings.term(),
        time_limit: typed.time_limit.map(|limit| limit.0),
    };
    let exit = slug::run::run(&one_off, &mut |_| ())?;
    Ok(u8::try_from(exit.code()).unwrap_or(exit::RUN_FAILED))
}

fn command(typed: &Run) -> Result<Command, Failure> {
    let words = typed.command.clone();
    Ok(match &typed.process {
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
    })
}

/// Starts a process that stands by the one-off, and waits until the one-off was executed, or could not be.
fn detached(
    settings: &Settings,
    store: &Store,
    app: &AppName,
    command: Command,
    time_limit: Option<TimeLimit>,
) -> Result<u8, Failure> {
    let (is_command, process_type, words) = match command {
        Command::Type(process_type, words) => (false, process_type, words),
        Command::Direct(words) => (true, None, words),
    };
    let asked = Asked {
        store: store.root().into(),
        app: app.clone(),
        host: settings.host.clone(),
        by: settings.by.clone(),
        term: settings.term(),
        is_command,
        process_type,
        words,
        time_limit_s: time_limit.map(|limit| limit.0.as_secs()),
        colour: settings.ui.colour,
    };
    let failed =
        |error: io::Error| Failure::failed(format!("a detached one-off needs a process: {error}"));
    let asked = serde_json::to_vec(&asked).map_err(|error| failed(error.into()))?;
    let mut runner = std::process::Command::new("/proc/self/exe");
    runner
        .arg0(RUNNER)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut runner = runner.spawn().map_err(failed)?;
    // One that has ended already says by its code why.
    let _ = runner.stdin.take().map(|mut stdin| stdin.write_all(&asked));
    let mut name = String::new();
    if let Some(stdout) = &mut runner.stdout {
        stdout.read_to_string(&mut name).map_err(failed)?;
    }
    if let Ok(instance) = name.trim_end().parse::<Instance>() {
        let answer = json!({ "schema": 1, "app": app, "instance": instance });
        settings.ui.answer(&answer, |_| instance.to_string())?;
        return Ok(0);
    }
    // It has told why.
    let status = runner.wait().map_err(failed)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Err(Failure::new(code.unwrap_or(exit::RUN_FAILED), String::new()).told_before())
}

/// The life of the process that stands by a detached one-off. Its standard output is a pipe on which the name is told;
/// standard error is the operator's until then.
pub(crate) fn runner() -> ExitCode {
    let mut colour = false;
    let mut is_told = false;
    let outcome = stand_by(&mut colour, &mut is_told);
    match outcome {
        Err(failure) if !is_told => {
            let common = Common {
                app: None,
                store: None,
                json: false,
                quiet: false,
                verbose: false,
                color: if colour { When::Always } else { When::Never },
            };
            failure.before_the_process().report(&Ui::from(&common))
        }
        // Nobody waits for it any more: the history and the ledger say how it ended.
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

fn stand_by(colour: &mut bool, is_told: &mut bool) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::failed(format!("it could not be detached: {error}"));
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).map_err(failed)?;
    let asked: Asked = serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
    *colour = asked.colour;
    detach::begin().map_err(failed)?;
    let root = Path::new(&asked.store);
    let store = Store::open(root, root)?;
    let one_off = OneOff {
        store: &store,
        app: &asked.app,
        host: &asked.host,
        command: if asked.is_command {
            Command::Direct(asked.words)
        } else {
            Command::Type(asked.process_type, asked.words)
        },
        by: asked.by,
        term: asked.term,
        time_limit: asked.time_limit_s.map(std::time::Duration::from_secs),
    };
    slug::run::run_detached(&one_off, &mut |entry| {
        // A client that went away has its answer in `slug ps`.
        let _ = Ui::result(format!("{}\n", entry.instance).as_bytes());
        *is_told = true;
        let _ = detach::let_go_of_streams();
    })?;
    Ok(())
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
            LaunchError::Cgroup(_)
            | LaunchError::Port(_)
            | LaunchError::Pipe(_)
            | LaunchError::NotLoaded(_) => failure,
        }
    }
}
