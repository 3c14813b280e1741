//! `slug maintenance`: every request is answered by a page, while the processes run on.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use slug::run::control::Request;
use slug::run::formation::HostState;

use super::control::{request, store_and_app};
use super::report::Failure;
use super::settings::Settings;

/// The page where none is named.
const PAGE: &str = include_str!("maintenance.html");
/// The largest page, in bytes.
const PAGE_BYTES_MAX: u64 = 32 * 1024;
/// What an error leaves as it was.
const UNCHANGED: &str = "requests are answered as before";

/// What was typed.
#[derive(Debug, Args)]
pub(crate) struct Maintenance {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Answer every request with a page and status 503
    On {
        /// The page, HTML of at most 32 KiB [default: a few words]
        #[arg(long, value_name = "FILE")]
        page: Option<PathBuf>,
    },
    /// Pass requests on again
    Off,
}

pub(crate) fn run(settings: &Settings, typed: &Maintenance) -> Result<u8, Failure> {
    let (store, app) = store_and_app(settings)?;
    let state = match &typed.action {
        None => HostState::load(&store, &app)?,
        Some(action) => {
            let page = match action {
                Action::On { page: Some(file) } => Some(read(&settings.absolute(file))?),
                Action::On { page: None } => Some(PAGE.to_owned()),
                Action::Off => None,
            };
            // It holds from now on, also for a supervisor that starts later; one that is up is told.
            let state = HostState::change(&store, &app, |state| state.maintenance = page)?;
            match request(settings, &store, &app, &Request::Maintenance) {
                Ok(_) => {}
                Err(failure) if failure.is_not_up() => settings
                    .ui
                    .say("no supervisor is up: it holds from the next start"),
                Err(failure) => return Err(failure),
            }
            state
        }
    };
    let is_on = state.maintenance.is_some();
    let answer = json!({ "schema": 1, "app": app, "maintenance": is_on });
    let word = if is_on { "on" } else { "off" };
    settings.ui.answer(&answer, |_| format!("{word}\n"))?;
    Ok(0)
}

/// HTML, as it will be told to be: UTF-8, and nothing that no page has.
fn read(path: &Path) -> Result<String, Failure> {
    let bytes = slug::sys::fs::read_if_present(path, PAGE_BYTES_MAX);
    let bytes = bytes.map_err(|error| Failure::from(error).unchanged(UNCHANGED))?;
    let shown = path.display();
    let bytes = bytes.ok_or_else(|| {
        Failure::usage(format!("there is no file `{shown}`")).unchanged(UNCHANGED)
    })?;
    let is_text = |page: &String| {
        let mut characters = page.chars();
        !characters.any(|character| character.is_control() && !"\n\r\t".contains(character))
    };
    let page = String::from_utf8(bytes).ok().filter(is_text);
    page.ok_or_else(|| {
        Failure::failed(format!("`{shown}` is not a page in UTF-8"))
            .unchanged(UNCHANGED)
            .hint("save it as UTF-8, without control characters")
    })
}
