//! Slug + config → release. A release begins with a slug's digest and ends in
//! the ledger; it builds nothing and runs nothing but the release command,
//! which it hands to its caller.
//!
//! The story of every change is the same: a *plan* says what would happen
//! ([`plan_deploy`], [`plan_rollback`], [`plan_config_change`]; nothing is
//! written), `--dry-run` prints it, and [`ReleasePlan::apply`] does exactly it:
//!
//! 1. releases whose maker died are recorded as failed;
//! 2. the new config is sealed;
//! 3. the record is appended, `pending`, or `succeeded` at once where the slug has no release command;
//! 4. the release command runs, with the new release's slug and config;
//! 5. `succeeded` is recorded: from now on the release is current. Or `failed`, and nothing else has changed.

mod apply;
mod collect;
mod config_change;
mod contract;
mod deploy;
mod diff;
mod eligibility;
mod plan;
mod rollback;
mod verify;

use thiserror::Error;

pub use apply::{CommandOutcome, fail_interrupted};
pub use collect::plan_collection;
pub use config_change::{ConfigChange, plan_config_change};
pub use contract::{CONTRACT_LABEL, Contract, MissingVar, Need};
pub use deploy::plan_deploy;
pub use diff::{BaseDiff, Changes, ReleaseDiff, diff};
pub use eligibility::{Ineligible, eligibility};
pub use plan::{LayerEffect, Planned, ReleasePlan, Unchanged};
pub use rollback::plan_rollback;
pub use verify::verify;

use crate::archive::{ArchiveError, BaseMismatch, Host};
use crate::ident::{AppName, Digest, EnvKey, ReleaseVersion};
use crate::store::{BadConfigVar, Store, StoreError};
use crate::sys::PathError;
use crate::sys::clock::Timestamp;

/// Who asks for a release, where and of what.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The store.
    pub store: &'a Store,
    /// The app.
    pub app: &'a AppName,
    /// The name of this host, as it rejects releases under it.
    pub host: &'a str,
    /// What this host offers to slugs.
    pub base: &'a Host,
    /// Who: a user, or what a CI calls itself.
    pub by: &'a str,
    /// What they have to say.
    pub message: Option<&'a str>,
    /// The time; asked again after the release command.
    pub clock: &'a dyn Fn() -> Timestamp,
}

/// Why no release was made, or why it failed.
#[derive(Debug, Error)]
pub enum ReleaseError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The slug.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A part of the slug is not in the store, or has another size.
    #[error("the slug {} is not whole: its blob {blob} is missing or cut short", slug.short())]
    SlugIncomplete {
        /// Which slug.
        slug: Digest,
        /// What is missing.
        blob: Digest,
    },
    /// This host lacks what the slug needs.
    #[error("the slug {} cannot run on this host: {}", slug.short(), list(mismatches))]
    Base {
        /// Which slug.
        slug: Digest,
        /// All that is missing.
        mismatches: Vec<BaseMismatch>,
    },
    /// The slug's config contract wants vars that are not set.
    #[error("{app} needs config vars that are not set: {}", list(missing))]
    MissingConfig {
        /// Whose config.
        app: AppName,
        /// All that are missing.
        missing: Vec<MissingVar>,
    },
    /// The slug's config contract is not one.
    #[error("the label `{CONTRACT_LABEL}` of the slug {} is not a config contract: {why}", slug.short())]
    BadContract {
        /// Which slug.
        slug: Digest,
        /// What the parser said.
        why: String,
    },
    /// A key is both set and unset.
    #[error("{key} cannot be set and unset at once")]
    SetAndUnset {
        /// Which.
        key: EnvKey,
    },
    /// A config var that no process could be given.
    #[error(transparent)]
    BadConfigVar(#[from] BadConfigVar),
    /// The release cannot be rolled back to.
    #[error("{app} cannot be rolled back to {version}: {why}")]
    Ineligible {
        /// Which app.
        app: AppName,
        /// What was asked for.
        version: ReleaseVersion,
        /// Why not.
        why: Ineligible,
    },
    /// There is nothing to roll back to; each release before the current one, and why not.
    #[error("{app} has no release to roll back to")]
    NothingToRollBackTo {
        /// Which app.
        app: AppName,
        /// The current release.
        current: Option<ReleaseVersion>,
        /// The newest of those that were looked at.
        refused: Vec<(ReleaseVersion, Ineligible)>,
    },
    /// Another release was made since the plan.
    #[error("{planned} of {app} was planned, but the next release is {next} by now")]
    Overtaken {
        /// Which app.
        app: AppName,
        /// The number in the plan.
        planned: ReleaseVersion,
        /// The number that is next.
        next: ReleaseVersion,
    },
    /// The lock is another app's.
    #[error("the lock of {held} was taken, and a release of {app} asked for")]
    WrongLock {
        /// Whose lock.
        held: AppName,
        /// Whose release.
        app: AppName,
    },
    /// The release command failed: the release is recorded as failed, the one before it stays current.
    #[error("the release command of {version} of {app} {}", ended(*exit))]
    CommandFailed {
        /// Which app.
        app: AppName,
        /// The release that failed.
        version: ReleaseVersion,
        /// The exit code, 128 + n for signal n; none if it could not be started.
        exit: Option<i32>,
        /// The end of its output.
        tail: String,
    },
    /// A collection would have to guess.
    #[error(transparent)]
    UnknownNeeds(#[from] crate::store::gc::UnknownNeeds),
}

impl From<PathError> for ReleaseError {
    fn from(error: PathError) -> Self {
        Self::Store(error.into())
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

fn ended(exit: Option<i32>) -> String {
    match exit {
        Some(code) if code > 128 => format!("was ended by signal {}", code - 128),
        Some(code) => format!("ended with exit code {code}"),
        None => "could not be started".to_owned(),
    }
}

#[cfg(test)]
mod tests;
