//! `slug buildpack`: for those who write buildpacks.

pub(crate) mod args;
mod export;
mod lint;
mod new;
mod package;
mod run;
mod test;

use super::report::Failure;
use super::settings::Settings;

use args::{Buildpack, BuildpackCommand};

pub(crate) fn dispatch(settings: &Settings, typed: &Buildpack) -> Result<u8, Failure> {
    match &typed.command {
        BuildpackCommand::New(typed) => new::run(settings, typed),
        BuildpackCommand::Lint(typed) => lint::run(settings, typed),
        BuildpackCommand::Test(typed) => test::run(settings, typed),
        BuildpackCommand::Run(typed) => run::run(settings, typed),
        BuildpackCommand::Export(typed) => export::run(settings, typed),
    }
}
