//! `slug completions`.

use clap::CommandFactory as _;

use super::args::{Completions, Typed};
use super::report::Failure;
use super::settings::Settings;

pub(crate) fn run(settings: &Settings, typed: &Completions) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(typed.shell, &mut Typed::command(), "slug", &mut script);
    settings.ui.result_bytes(&script);
    Ok(0)
}
