//! Where the lines of processes go, as it is typed for the commands that run them.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use clap::Args;
use clap::ValueEnum;
use slug::logs::{
    DESTINATION_FORMS, Destination, Form, History, KEEP_BYTES_MIN, Keep, Paint, Sink, Terminal,
};

use super::report::{Failure, exit};
use super::settings::Settings;
use super::size::Size;
use super::time_limit::TimeLimit;

#[derive(Debug, Args)]
pub(crate) struct LogOptions {
    /// How lines look on standard output
    #[arg(long, value_name = "FORM", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    #[arg(long, value_name = "WHERE", help = format!("Send lines there too (repeatable): {DESTINATION_FORMS}"))]
    pub(crate) log_to: Vec<Destination>,
}

#[derive(Debug, Args)]
pub(crate) struct KeepOptions {
    /// Remove history that is older: 12h, 14d
    #[arg(long, value_name = "AGE")]
    pub(crate) log_keep: Option<TimeLimit>,
    /// How much history to keep: 500MB, 1GiB
    #[arg(long, value_name = "SIZE", default_value = "128MiB")]
    pub(crate) log_keep_size: Size,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Time, process, text; in colour on a terminal
    Text,
    /// One JSON object a line
    Json,
    /// The text alone
    Raw,
}

impl LogOptions {
    /// Standard output, and what `--log-to` names, where the lines are those of `app`.
    pub(crate) fn sinks(
        &self,
        settings: &Settings,
        app: &str,
    ) -> Result<Vec<Box<dyn Sink>>, Failure> {
        let paint = if settings.ui.colour_out {
            Paint::Colour
        } else {
            Paint::Plain
        };
        let form = match self.log_format {
            LogFormat::Text => Form::Text(paint),
            LogFormat::Json => Form::Json,
            LogFormat::Raw => Form::Raw,
        };
        let out = io::stdout().as_fd().try_clone_to_owned();
        let out = out.map_err(|error| Failure::failed(format!("standard output: {error}")))?;
        let mut sinks: Vec<Box<dyn Sink>> = vec![Box::new(Terminal::new(File::from(out), form))];
        let places = self.log_to.iter();
        sinks.extend(places.map(|place| place.sink(&settings.host, app)));
        Ok(sinks)
    }
}

impl KeepOptions {
    /// The history of an app, which is its own to clean.
    pub(crate) fn history(&self, folder: &Path) -> Result<Box<dyn Sink>, Failure> {
        let keep = Keep {
            bytes: self.log_keep_size.0,
            age: self.log_keep.map(|limit| limit.0),
        };
        if keep.bytes < KEEP_BYTES_MIN {
            let least = KEEP_BYTES_MIN / (1024 * 1024);
            let what = format!("--log-keep-size is less than {least}MiB");
            return Err(Failure::new(exit::USAGE, what).unchanged("nothing was started"));
        }
        Ok(Box::new(History::open_and_keep(folder, keep)?))
    }
}
