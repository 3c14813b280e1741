//! `slug cnb …` and the names of lifecycle's programs. Hidden: for platforms and
//! test suites that drive lifecycle, not for people.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::ExitCode;

use slug::lifecycle::{self, Call, Phase};

/// Runs what `argv0` names: a program of lifecycle, a process type, or `slug cnb`. None if it names none of these.
pub(crate) fn by_name(argv0: &OsStr, args: &[OsString]) -> Option<ExitCode> {
    let path = Path::new(argv0);
    let name = path.file_name().unwrap_or_default();
    // Whatever it is called there: a process type may have the name of a program.
    if path
        .parent()
        .is_some_and(|parent| parent.ends_with("cnb/process"))
    {
        return Some(launch(argv0, args));
    }
    let is_cnb = args.first().is_some_and(|first| first == "cnb");
    if name == "slug" {
        return is_cnb.then(|| command(&args[1..]));
    }
    if let Some(phase) = Phase::of_program(name) {
        return Some(run(phase, args));
    }
    if name == "launcher" {
        return Some(launch(argv0, args));
    }
    if name == "lifecycle" {
        return Some(command(args));
    }
    if lifecycle::is_process_type(argv0, &call(args).env) {
        return Some(launch(argv0, args));
    }
    is_cnb.then(|| command(&args[1..]))
}

/// `slug cnb <phase> …`.
fn command(args: &[OsString]) -> ExitCode {
    let Some((name, args)) = args.split_first() else {
        return ExitCode::from(lifecycle::no_such_phase(OsStr::new(""), &mut io::stdout()));
    };
    if name == "-version" {
        return ExitCode::from(lifecycle::version(&mut io::stdout()));
    }
    if name == "launch" {
        return launch(OsStr::new("launcher"), args);
    }
    match Phase::of_command(name) {
        Some(phase) => run(phase, args),
        None => ExitCode::from(lifecycle::no_such_phase(name, &mut io::stdout())),
    }
}

fn run(phase: Phase, args: &[OsString]) -> ExitCode {
    ExitCode::from(lifecycle::run(phase, &call(args), &mut io::stdout()))
}

fn launch(argv0: &OsStr, args: &[OsString]) -> ExitCode {
    ExitCode::from(lifecycle::launch(argv0, &call(args), &mut io::stdout()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the working folder is read once, here"
)]
fn call(args: &[OsString]) -> Call {
    Call {
        arguments: args.to_vec(),
        env: std::env::vars_os().collect(),
        // One that is gone leaves relative paths without a meaning: they name nothing below `/`.
        cwd: std::env::current_dir().unwrap_or_else(|_| "/".into()),
    }
}
