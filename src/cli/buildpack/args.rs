//! What was typed after `slug buildpack`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use slug::ident::BuildpackId;

#[derive(Debug, Args)]
pub(crate) struct Buildpack {
    #[command(subcommand)]
    pub(crate) command: BuildpackCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BuildpackCommand {
    /// Begin a buildpack that passes its own tests
    New(New),
    /// Say what is wrong with a buildpack, by the rules of the specification
    Lint(Lint),
}

#[derive(Debug, Args)]
pub(crate) struct New {
    /// Its id, such as `your-name/ruby`
    #[arg(value_name = "ID")]
    pub(crate) id: BuildpackId,
    /// What it is written in
    #[arg(long, short, value_name = "LANGUAGE", default_value = "shell")]
    pub(crate) language: Language,
    /// Where [default: a folder named as the last part of the id]
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    Shell,
    Rust,
}

#[derive(Debug, Args)]
pub(crate) struct Lint {
    /// The buildpack's folder
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
}
