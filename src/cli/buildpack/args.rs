//! What was typed after `slug buildpack`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use slug::ident::BuildpackId;

use crate::cli::args::{BuildOptions, VariableOptions};

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
    /// Build each fixture of a buildpack and compare what it makes with what is expected
    Test(Test),
    /// Run bin/detect or bin/build on one app, and show what it made; a shell where it failed
    Run(Run),
    /// Write a built-in buildpack as a folder, or a `.cnb` file, that other platforms run
    Export(Export),
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Its id, or the last part of it: `python`
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// The folder, or a file whose name ends in `.cnb`
    #[arg(value_name = "DIR|FILE.cnb")]
    pub(crate) to: PathBuf,
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

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The buildpack's folder
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Folders in its `tests` [default: all]
    #[arg(value_name = "FIXTURE")]
    pub(crate) fixtures: Vec<String>,
    /// Write what is found into each `expect.toml`
    #[arg(long)]
    pub(crate) update: bool,
    /// Where artifacts are looked for first
    #[arg(long, value_name = "URL|DIR", env = "SLUG_MIRROR", hide_env = true)]
    pub(crate) mirror: Option<String>,
    /// Build without network
    #[arg(long)]
    pub(crate) offline: bool,
}

impl Test {
    pub(crate) fn build_options(&self) -> BuildOptions {
        BuildOptions {
            mirror: self.mirror.clone(),
            offline: self.offline,
            ..BuildOptions::default()
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Which program; before bin/build, bin/detect is run too
    #[arg(value_name = "detect|build")]
    pub(crate) program: Program,
    /// The buildpack's folder
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The app's source
    #[arg(long = "on", value_name = "DIR")]
    pub(crate) on: PathBuf,
    /// Open a shell where the program ran [default: if it failed, on a terminal]
    #[arg(long)]
    pub(crate) shell: bool,
    /// Open no shell
    #[arg(long, conflicts_with = "shell")]
    pub(crate) no_shell: bool,
    #[command(flatten)]
    pub(crate) variables: VariableOptions,
    /// Where artifacts are looked for first
    #[arg(long, value_name = "URL|DIR", env = "SLUG_MIRROR", hide_env = true)]
    pub(crate) mirror: Option<String>,
    /// Run without network
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Program {
    Detect,
    Build,
}

impl Run {
    pub(crate) fn build_options(&self) -> BuildOptions {
        BuildOptions {
            variables: self.variables.clone(),
            mirror: self.mirror.clone(),
            offline: self.offline,
            ..BuildOptions::default()
        }
    }
}
