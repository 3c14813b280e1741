//! `slug upgrade`: this very binary takes the supervisor's place.

use serde_json::json;
use slug::run::control::{Reply, Request};

use super::control::{misunderstood, request, store_and_app};
use super::report::Failure;
use super::settings::Settings;

pub(crate) fn run(settings: &Settings) -> Result<u8, Failure> {
    let (store, app) = store_and_app(settings)?;
    let program = Settings::program()?;
    let (from, to) = match request(settings, &store, &app, &Request::Upgrade { program })? {
        Reply::Upgraded { from, to } => (from, to),
        other => return Err(misunderstood(&other)),
    };
    settings.ui.answer(
        &json!({ "schema": 1, "app": app, "from": from, "to": to }),
        |_| format!("slug {to} has taken over from slug {from}\n"),
    )?;
    Ok(0)
}
