//! `slug completions`.

use clap::CommandFactory as _;

use super::args::{Completions, Typed};
use super::report::Failure;
use super::ui::Ui;

pub(crate) fn run(typed: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(typed.shell, &mut Typed::command(), "slug", &mut script);
    Ui::result(&script)
}
