//! What was typed after `slug start`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::log_options::LogOptions;
use crate::cli::scale_change::ScaleChange;

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// The folder of the app [default: that of the Procfile, or this one], and the process types to run [default: all]
    #[arg(value_name = "DIR|TYPE")]
    pub(crate) what: Vec<String>,
    /// Another file than DIR/Procfile
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) procfile: Option<PathBuf>,
    /// Another file than DIR/.env (repeatable: a later one wins)
    #[arg(long, short = 'e', value_name = "FILE")]
    pub(crate) env: Vec<PathBuf>,
    /// The port of the first type; each next one has 100 more [default: PORT of the env file or of your shell, or 5000]
    #[arg(long, short, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// How many of each: `web=2,worker=0`; `all` is every type that is not listed
    #[arg(
        long,
        short = 'm',
        alias = "concurrency",
        value_name = "TYPE=N",
        value_delimiter = ','
    )]
    pub(crate) formation: Vec<ScaleChange>,
    /// End everything, with the exit code of that process, when one of this type ends; `any` is every type (repeatable)
    #[arg(long, value_name = "TYPE")]
    pub(crate) exit_on: Vec<String>,
    #[command(flatten)]
    pub(crate) logs: LogOptions,
}
