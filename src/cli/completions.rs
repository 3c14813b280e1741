//! `slug completions`.

use clap::CommandFactory as _;

use super::args::{Completions, Typed};
use super::ui::Ui;

pub(crate) fn run(typed: &Completions) {
    let mut script = Vec::new();
    clap_complete::generate(typed.shell, &mut Typed::command(), "slug", &mut script);
    Ui::result_bytes(&script);
}
