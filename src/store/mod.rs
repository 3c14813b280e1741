//! Blobs by digest, the append-only ledger, sealed config, garbage. A local
//! folder; every write is durable and every object is put if absent. Knows no
//! tar, no image, no process. `spec/store.md` is the format.

use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;

use crate::ident::{AppName, Digest, ReleaseVersion};
use crate::sys::fs::create_dir_durable;
use crate::sys::{At as _, PathError};

mod blob;
pub mod build_cache;
mod config_vars;
mod event;
pub mod gc;
mod json;
mod ledger;
mod listing;
mod lock;
mod record;
mod slugs;
mod uids;
mod verify;

pub use blob::BlobWriter;
pub use config_vars::{BadConfigVar, CONFIG_BYTES_MAX, CONFIG_VAR_BYTES_MAX, ConfigVars, Secret};
pub use event::{Event, Ran, TAIL_BYTES_MAX};
pub use gc::{GcPlan, Retention};
pub use ledger::{Draft, Ledger, Outcome, Release};
pub use listing::{Entry, Listing};
pub use lock::{AppLock, CollectLock, HoldLock};
pub use record::{Reason, ReleaseRecord};
pub use slugs::SlugPointer;
pub use verify::Finding;

/// Folders that hold secrets, and what only this host's owner may see.
const PRIVATE_DIR: u32 = 0o700;
/// Files that hold secrets.
const PRIVATE_FILE: u32 = 0o600;
/// Records and blobs; the folder above them is private, unless its owner opens it.
const PUBLIC_FILE: u32 = 0o644;
/// The folders of records and blobs.
const PUBLIC_DIR: u32 = 0o755;

/// What can go wrong in a store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A file or folder could not be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A record, event or pointer is not what `spec/store.md` says.
    #[error("`{}` cannot be read: {why} (line {line}, column {column})", path.display())]
    BadJson {
        /// The file.
        path: PathBuf,
        /// From one.
        line: usize,
        /// From one.
        column: usize,
        /// What the parser expected.
        why: String,
    },
    /// Written by a newer slug.
    #[error("`{}` has schema {schema}, which slug {reader} and newer can read; this is slug {}", path.display(), env!("CARGO_PKG_VERSION"))]
    UnknownSchema {
        /// The file.
        path: PathBuf,
        /// What it says.
        schema: u64,
        /// The lowest version of slug that reads it, as the file says.
        reader: String,
    },
    /// There is no such release.
    #[error("{app} has no release {version}")]
    NoRelease {
        /// Whose ledger.
        app: AppName,
        /// What was asked for.
        version: ReleaseVersion,
        /// The newest there is.
        newest: Option<ReleaseVersion>,
    },
    /// A record that events or this host speak of is gone.
    #[error("the record of {version} of {app} is missing")]
    RecordMissing {
        /// Whose ledger.
        app: AppName,
        /// Which record.
        version: ReleaseVersion,
    },
    /// A record is not the one that its events speak of.
    #[error("the record of {version} of {app} was changed: its digest was {}, and is {}", expected.short(), found.short())]
    RecordChanged {
        /// Whose ledger.
        app: AppName,
        /// Which record.
        version: ReleaseVersion,
        /// What an event says.
        expected: Digest,
        /// What is there.
        found: Digest,
    },
    /// The ledger holds the last number there is.
    #[error("{app} has release {version}: there is no number after it")]
    LastVersion {
        /// Whose ledger.
        app: AppName,
        /// 4294967295.
        version: ReleaseVersion,
    },
    /// The release already has that event, with other content.
    #[error("{version} of {app} is already recorded as {event}")]
    EventExists {
        /// Whose ledger.
        app: AppName,
        /// The release.
        version: ReleaseVersion,
        /// `succeeded`, `failed`, …
        event: &'static str,
    },
    /// A record would be larger than readers accept.
    #[error(
        "the record would be {bytes} bytes, more than the {} that a record may have",
        json::RECORD_BYTES_MAX
    )]
    RecordTooLarge {
        /// How large.
        bytes: usize,
    },
    /// Somebody else is releasing this app.
    #[error("{app} is locked by {holder}")]
    LockHeld {
        /// Which app.
        app: AppName,
        /// What the holder said of itself.
        holder: String,
    },
    /// Config that a release names is not in the store.
    #[error("the config {} of {app} is not in the store", config.short())]
    ConfigMissing {
        /// Whose.
        app: AppName,
        /// Its name.
        config: Digest,
    },
    /// The sealed config is not what was sealed.
    #[error("the config {} of {app} was changed in the store: {why}", config.short())]
    ConfigChanged {
        /// Whose.
        app: AppName,
        /// Its name.
        config: Digest,
        /// What does not fit.
        why: String,
    },
    /// Sealed before this host was a recipient.
    #[error("the config {} of {app} is not sealed to this host", config.short())]
    ConfigNotForThisHost {
        /// Whose.
        app: AppName,
        /// Its name.
        config: Digest,
        /// This host's public key.
        recipient: String,
    },
    /// A config var that no process could be given.
    #[error(transparent)]
    BadConfigVar(#[from] BadConfigVar),
    /// A line of the recipients' folder is not an age recipient.
    #[error("`{}` has a line that is not an age X25519 recipient (expected `age1…`): line {line}", path.display())]
    BadRecipient {
        /// The file.
        path: PathBuf,
        /// From one.
        line: usize,
    },
    /// The host's key is not one.
    #[error("`{}` is not an age identity: {why}", path.display())]
    BadIdentity {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        why: String,
    },
    /// Sealing failed.
    #[error("the config could not be sealed: {why}")]
    Seal {
        /// What age said.
        why: String,
    },
    /// No uid is left for another app.
    #[error(
        "no uid is left for {app}: {} to {} are taken",
        uids::UID_MIN,
        uids::UID_MAX
    )]
    NoUidLeft {
        /// Which app.
        app: AppName,
    },
    /// The file does not hold a uid of the range.
    #[error("`{}` does not hold a uid from {} to {}", path.display(), uids::UID_MIN, uids::UID_MAX)]
    BadUid {
        /// The file.
        path: PathBuf,
    },
}

/// The folders of a store (`spec/store.md`).
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    host: PathBuf,
}

impl Store {
    /// Opens the store at `root`, making it if it is not there. `host` is this machine's own part (layers, caches, sockets, logs).
    pub fn open(root: &Path, host: &Path) -> Result<Self, PathError> {
        create_dir_durable(root, PRIVATE_DIR)?;
        create_dir_durable(host, PRIVATE_DIR)?;
        Ok(Self {
            root: root.to_owned(),
            host: host.to_owned(),
        })
    }

    /// Shared by the hosts that name the same store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// This machine's own.
    pub fn host(&self) -> &Path {
        &self.host
    }

    /// The apps that have a ledger, sorted.
    pub fn apps(&self) -> Result<Vec<AppName>, StoreError> {
        let names = names_in(&self.root.join("apps"))?;
        let mut apps: Vec<AppName> = names.iter().filter_map(|name| name.parse().ok()).collect();
        apps.retain(|app| self.app_folder(app).join("releases").is_dir());
        apps.sort();
        Ok(apps)
    }

    /// `<root>/apps/<app>`.
    fn app_folder(&self, app: &AppName) -> PathBuf {
        self.root.join("apps").join(app.as_str())
    }
}

/// The names of the entries of a folder that are text, in no order; none if there is no such folder.
/// A name that is not UTF-8 is nothing that a store has made.
fn names_in(folder: &Path) -> Result<Vec<String>, PathError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.at("list", folder)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.at("list", folder)?.file_name().into_string());
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
