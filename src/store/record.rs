//! A release record: slug + config + number, and who, when, why. Immutable.

use serde::{Deserialize, Serialize};

use super::json::{Reader, Schema};
use crate::ident::{AppName, Digest, EnvKey, ReleaseVersion};
use crate::sys::clock::Timestamp;

/// One release, as it stands in the ledger for good (`spec/store.md`, "Records").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRecord {
    pub(super) schema: Schema,
    pub(super) reader: Reader,
    /// Whose release.
    pub app: AppName,
    /// Its number: one more than the release before.
    pub version: ReleaseVersion,
    /// What it runs. None only before the first deploy, when config was set for an app that had no
    /// slug yet: such a release has no process.
    pub slug: Option<Digest>,
    /// The name of its sealed config vars.
    pub config: Digest,
    /// Who made it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What kind of change made it.
    pub reason: Reason,
    /// What its maker had to say.
    pub message: Option<String>,
    /// The digest of the record before it; none for the first.
    pub previous: Option<Digest>,
    /// Random. An object store may report "exists" for a put of our own that it answered badly and
    /// we made again: the nonce tells whose record it is.
    pub nonce: String,
}

/// What kind of change made a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Reason {
    /// A slug was released.
    Deploy,
    /// Config vars were set and unset; never their values.
    Config {
        /// New or of another value.
        set: Vec<EnvKey>,
        /// No longer there.
        unset: Vec<EnvKey>,
    },
    /// An older release's slug and config were released again.
    Rollback {
        /// Which.
        to: ReleaseVersion,
    },
}
