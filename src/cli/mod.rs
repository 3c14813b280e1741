//! What was typed → what it means → one file per command. Another crate than
//! the library, which so cannot name it. It alone prints and words errors.

mod args;
mod build;
mod build_events;
mod build_report;
mod build_request;
mod build_talk;
mod buildpack;
mod check;
mod ci_marks;
pub(crate) mod cnb;
mod completions;
mod config;
mod control;
mod diff;
mod doctor;
mod effects;
mod exec;
mod explain;
mod export;
mod gc;
mod inspect;
mod log_options;
mod logs;
mod maintenance;
mod plan;
mod point_in_time;
mod release;
mod releases;
mod report;
mod run;
mod sboms;
mod scale_change;
mod secrets;
mod settings;
mod size;
mod slug_name;
mod start;
pub(crate) mod takeover;
mod time_limit;
mod ui;
mod up;
mod upgrade;
mod verify;
pub(crate) mod watch;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Command, Typed};
use report::Failure;
use settings::Settings;
use ui::Ui;

/// One command, from `argv` to the exit code.
pub(crate) fn main() -> ExitCode {
    obey(run)
}

/// The process beside `slug up DIR --watch`, from `argv` to the exit code.
pub(crate) fn watch() -> ExitCode {
    obey(|settings, command| match command {
        Command::Up(typed) => watch::run(settings, typed),
        command => run(settings, command),
    })
}

fn obey(how: impl FnOnce(&Settings, &Command) -> Result<u8, Failure>) -> ExitCode {
    let typed = Typed::parse();
    let ui = Ui::from(&typed.common);
    let outcome =
        Settings::new(typed.common, ui.clone()).and_then(|settings| how(&settings, &typed.command));
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(&ui),
    }
}

pub(crate) use run::{RUNNER, runner};

fn run(settings: &Settings, command: &Command) -> Result<u8, Failure> {
    match command {
        Command::Build(typed) => build::run(settings, typed),
        Command::Plan(typed) => plan::run(settings, typed),
        Command::Check(typed) => check::run(settings, typed),
        Command::Release(typed) => release::deploy(settings, typed),
        Command::Rollback(typed) => release::rollback(settings, typed),
        Command::Releases(typed) => releases::run(settings, typed),
        Command::Diff(typed) => diff::run(settings, typed),
        Command::Config(typed) => config::run(settings, typed),
        Command::Run(typed) => run::run(settings, typed),
        Command::Up(typed) => up::run(settings, typed),
        Command::Start(typed) => start::run(settings, typed),
        Command::Ps => control::ps(settings),
        Command::Logs(typed) => logs::run(settings, typed),
        Command::Scale(typed) => control::scale(settings, typed),
        Command::Restart(typed) => control::restart(settings, typed),
        Command::Exec(typed) => exec::run(settings, typed),
        Command::Stop(typed) => control::stop(settings, typed),
        Command::Upgrade => upgrade::run(settings),
        Command::Maintenance(typed) => maintenance::run(settings, typed),
        Command::Inspect(typed) => inspect::run(settings, typed),
        Command::Verify(typed) => verify::run(settings, typed),
        Command::Gc(typed) => gc::run(settings, typed),
        Command::Doctor => doctor::run(settings),
        Command::Buildpacks => build::list_buildpacks(settings).map(|()| 0),
        Command::Buildpack(typed) => buildpack::dispatch(settings, typed),
        Command::Export(typed) => export::run(settings, typed),
        Command::Completions(typed) => completions::run(typed).map(|()| 0),
    }
}
