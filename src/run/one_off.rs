//! One process of a release in the foreground.

use std::ffi::OsString;

use thiserror::Error;

use crate::ident::AppName;
use crate::ident::ProcessType;
use crate::store::Store;
use crate::sys::sandbox::Exit;

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A process type of the slug (its default if none), with a user's arguments in the place of its own.
    Type(Option<ProcessType>, Vec<OsString>),
    /// A command of the user's: found on the `PATH` of the release, executed as it is.
    Direct(Vec<OsString>),
}

/// A one-off: what `slug run` was asked for.
#[derive(Debug)]
pub struct OneOff<'a> {
    /// Where releases and slugs are.
    pub store: &'a Store,
    /// Of which app: its current release on this host.
    pub app: &'a AppName,
    /// This host's name, as rejections write it.
    pub host: &'a str,
    /// What is run.
    pub command: Command,
    /// Who runs it: `user@host`, for the ledger.
    pub by: String,
}

/// Runs it on the caller's own standard streams, passes signals on, and records the end in the ledger.
pub fn run(one_off: &OneOff<'_>) -> Result<Exit, RunError> {
    let _ = one_off;
    todo!()
}

/// Why a process of a release could not be run.
#[derive(Debug, Error)]
pub enum RunError {
    /// The app has no release that this host may run.
    #[error("the app `{0}` has no current release on this host")]
    NoRelease(AppName),
}
