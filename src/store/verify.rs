//! Is everything there, and is it what it was? `slug verify` prints what is
//! found here; nothing is repaired.
//!
//! Who says what a record was: its own events, which name its digest; the
//! record after it, which does too; and, for the newest that this host has
//! put, a note on the host. So a change is pinned to one record.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;
use sha2::Digest as _;
use sha2::Sha256;

use super::event::EventObject;
use super::json;
use super::ledger::{Files, parse_name};
use super::{Event, Ledger, ReleaseRecord, Store};
use crate::ident::{AppName, Digest, ReleaseVersion};
use crate::sys::{At as _, PathError};

/// Something in a store that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Finding {
    /// A number below the newest has no record; or its events are there, or this host has put it, and it is gone.
    RecordMissing {
        /// Whose ledger.
        app: AppName,
        /// Which record.
        version: ReleaseVersion,
    },
    /// Nothing is left of several releases in a row.
    RecordsMissing {
        /// Whose ledger.
        app: AppName,
        /// The first that is missing.
        from: ReleaseVersion,
        /// The last that is missing.
        to: ReleaseVersion,
    },
    /// The record's bytes are not those that were put.
    RecordChanged {
        /// Whose ledger.
        app: AppName,
        /// Which record.
        version: ReleaseVersion,
        /// What its events, the next record or this host's note say.
        expected: Digest,
        /// What is there.
        found: Digest,
    },
    /// The file of one number holds another's record: files were exchanged or renamed.
    RecordMisplaced {
        /// Whose ledger.
        app: AppName,
        /// By its file name.
        version: ReleaseVersion,
        /// Whose it says to be.
        of_app: AppName,
        /// Which it says to be.
        holds: ReleaseVersion,
    },
    /// The record does not name the one before it.
    ChainBroken {
        /// Whose ledger.
        app: AppName,
        /// Which record.
        version: ReleaseVersion,
        /// What it names as the one before.
        names: Option<Digest>,
        /// What is there.
        found: Option<Digest>,
    },
    /// An event's file belongs to another record, or says another event than its name.
    EventMisplaced {
        /// Whose ledger.
        app: AppName,
        /// Which release.
        version: ReleaseVersion,
        /// The file.
        file: String,
    },
    /// A release has both succeeded and failed; it is taken as failed.
    TwoOutcomes {
        /// Whose ledger.
        app: AppName,
        /// Which release.
        version: ReleaseVersion,
    },
    /// A blob's bytes are not what its name says.
    BlobChanged {
        /// Its name.
        blob: Digest,
        /// What its bytes are.
        found: Digest,
    },
    /// Something cannot be read: a record, an event, a blob, sealed config.
    Unreadable {
        /// What, and why not.
        what: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RecordMissing { app, version } => {
                write!(f, "the record of {version} of {app} is missing")
            }
            Self::RecordsMissing { app, from, to } => {
                write!(f, "the records of {from} to {to} of {app} are missing")
            }
            Self::RecordChanged {
                app,
                version,
                expected,
                found,
            } => {
                let (expected, found) = (expected.short(), found.short());
                write!(
                    f,
                    "the record of {version} of {app} was changed: its digest was {expected}, and is {found}"
                )
            }
            Self::RecordMisplaced {
                app,
                version,
                of_app,
                holds,
            } => {
                write!(
                    f,
                    "in the place of {version} of {app} lies the record of {holds} of {of_app}"
                )
            }
            Self::ChainBroken {
                app,
                version,
                names,
                found,
            } => {
                let short = |digest: &Option<Digest>| {
                    digest.map_or("none".to_owned(), |digest| digest.short())
                };
                let (names, found) = (short(names), short(found));
                write!(
                    f,
                    "{version} of {app} names {names} as the record before it, where {found} lies"
                )
            }
            Self::EventMisplaced { app, version, file } => {
                write!(
                    f,
                    "the event `{file}` does not belong to {version} of {app}"
                )
            }
            Self::TwoOutcomes { app, version } => {
                write!(
                    f,
                    "{version} of {app} is recorded both as succeeded and as failed"
                )
            }
            Self::BlobChanged { blob, found } => write!(
                f,
                "the blob {blob} was changed: its bytes have the digest {found}"
            ),
            Self::Unreadable { what } => f.write_str(what),
        }
    }
}

fn unreadable(error: &dyn std::error::Error) -> Finding {
    let cause = error
        .source()
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    Finding::Unreadable {
        what: format!("{error}{cause}"),
    }
}

/// A record that was read, with what its own events say of it.
struct Seen {
    version: ReleaseVersion,
    digest: Digest,
    previous: Option<Digest>,
    vouched: Option<Digest>,
}

impl Ledger {
    /// Checks every record and event of the app, and the chain.
    pub fn verify(&self) -> Vec<Finding> {
        let files = match self.files() {
            Ok(files) => files,
            Err(error) => return vec![unreadable(&error)],
        };
        let mut findings = Vec::new();
        let head = self.head();
        let mut before: Option<Seen> = None;
        let mut expected = Some(ReleaseVersion::FIRST);
        for (version, files) in &files {
            if let Some(last) = version.previous() {
                findings.extend(self.gap(expected, last));
            }
            if expected != Some(*version) {
                before = None;
            }
            let seen = self.verify_release(*version, files, &mut findings);
            if let Some(seen) = &seen {
                self.verify_link(before.as_ref(), seen, head, &mut findings);
            }
            before = seen;
            expected = version.next();
        }
        findings.extend(head.and_then(|(seen, _)| self.gap(expected, seen)));
        findings
    }

    /// Nothing is left of the releases from `from` to `to`; none if there are no such numbers.
    fn gap(&self, from: Option<ReleaseVersion>, to: ReleaseVersion) -> Option<Finding> {
        let from = from.filter(|from| *from <= to)?;
        let app = self.app().clone();
        if from == to {
            return Some(Finding::RecordMissing { app, version: from });
        }
        Some(Finding::RecordsMissing { app, from, to })
    }

    fn verify_release(
        &self,
        version: ReleaseVersion,
        files: &Files,
        findings: &mut Vec<Finding>,
    ) -> Option<Seen> {
        let app = || self.app().clone();
        let path = self.record_path(version);
        let vouched = self.verify_events(version, files, findings);
        let (record, bytes) = match json::read::<ReleaseRecord>(&path) {
            Ok(Some(read)) => read,
            Ok(None) => {
                findings.push(Finding::RecordMissing {
                    app: app(),
                    version,
                });
                return None;
            }
            Err(error) => {
                findings.push(unreadable(&error));
                return None;
            }
        };
        let digest = Digest::of(&bytes);
        if (&record.app, record.version) != (self.app(), version) {
            findings.push(Finding::RecordMisplaced {
                app: app(),
                version,
                of_app: record.app,
                holds: record.version,
            });
        } else if let Some(expected) = vouched.filter(|expected| *expected != digest) {
            findings.push(Finding::RecordChanged {
                app: app(),
                version,
                expected,
                found: digest,
            });
        }
        Some(Seen {
            version,
            digest,
            previous: record.previous,
            vouched,
        })
    }

    /// The digest that the events name, if they agree.
    fn verify_events(
        &self,
        version: ReleaseVersion,
        files: &Files,
        findings: &mut Vec<Finding>,
    ) -> Option<Digest> {
        let mut named = Vec::new();
        let mut outcomes = 0;
        for file in &files.events {
            match json::read::<EventObject>(&self.folder().join(file)) {
                Ok(Some((object, _))) => {
                    outcomes += u32::from(matches!(
                        object.event,
                        Event::Succeeded | Event::Failed { .. }
                    ));
                    let kind = parse_name(file)
                        .map(|(_, event)| event.split('.').next().unwrap_or(event).to_owned());
                    if kind.as_deref() != Some(object.event.kind()) {
                        findings.push(Finding::EventMisplaced {
                            app: self.app().clone(),
                            version,
                            file: file.clone(),
                        });
                    }
                    named.push((file, object.record));
                }
                Ok(None) => {}
                Err(error) => findings.push(unreadable(&error)),
            }
        }
        if outcomes > 1 {
            findings.push(Finding::TwoOutcomes {
                app: self.app().clone(),
                version,
            });
        }
        let votes = |digest: &Digest| named.iter().filter(|(_, other)| other == digest).count();
        let vouched = named.iter().map(|(_, digest)| *digest).max_by_key(votes);
        for (file, digest) in &named {
            if Some(*digest) != vouched {
                findings.push(Finding::EventMisplaced {
                    app: self.app().clone(),
                    version,
                    file: (*file).clone(),
                });
            }
        }
        vouched
    }

    fn verify_link(
        &self,
        before: Option<&Seen>,
        seen: &Seen,
        head: Option<(ReleaseVersion, Digest)>,
        findings: &mut Vec<Finding>,
    ) {
        let app = || self.app().clone();
        let found = before.map(|before| before.digest);
        let is_first = seen.version == ReleaseVersion::FIRST;
        if seen.previous != found && (before.is_some() || is_first) {
            match (before, seen.previous) {
                // Nothing of its own vouches for the record before: the word of this one counts.
                (Some(before), Some(expected)) if before.vouched.is_none() => {
                    findings.push(Finding::RecordChanged {
                        app: app(),
                        version: before.version,
                        expected,
                        found: before.digest,
                    });
                }
                // The one before was changed, and is named already.
                (Some(before), Some(names)) if before.vouched == Some(names) => {}
                (_, names) => findings.push(Finding::ChainBroken {
                    app: app(),
                    version: seen.version,
                    names,
                    found,
                }),
            }
        }
        let put = head
            .filter(|(version, _)| *version == seen.version)
            .map(|(_, digest)| digest);
        if let Some(expected) = put.filter(|put| *put != seen.digest && seen.vouched != Some(*put))
        {
            findings.push(Finding::RecordChanged {
                app: app(),
                version: seen.version,
                expected,
                found: seen.digest,
            });
        }
    }
}

impl Store {
    /// Reads every blob and compares its digest with its name; `progress` is told the bytes read.
    pub fn verify_blobs(&self, progress: &mut dyn FnMut(u64)) -> Vec<Finding> {
        let listing = match self.list() {
            Ok(listing) => listing,
            Err(error) => return vec![unreadable(&error)],
        };
        listing
            .blobs
            .keys()
            .filter_map(|blob| self.verify_blob(blob, progress))
            .collect()
    }

    /// Reads one blob and compares its digest with its name; `progress` is told the bytes read.
    pub fn verify_blob(&self, blob: &Digest, progress: &mut dyn FnMut(u64)) -> Option<Finding> {
        match digest_of(&self.blob_path(blob), progress) {
            Ok(found) if found == *blob => None,
            Ok(found) => Some(Finding::BlobChanged { blob: *blob, found }),
            Err(error) => Some(unreadable(&error)),
        }
    }

    /// Opens the config of every release of an app.
    pub fn verify_configs(&self, app: &AppName) -> Vec<Finding> {
        let ledger = Ledger::open(self, app);
        let mut configs: Vec<Digest> = Vec::new();
        for version in ledger.files().unwrap_or_default().into_keys() {
            // What cannot be read is named by `Ledger::verify`.
            configs.extend(
                ledger
                    .get(version)
                    .ok()
                    .map(|release| release.record.config),
            );
        }
        configs.sort();
        configs.dedup();
        configs
            .iter()
            .filter_map(|config| self.unseal(app, config).err())
            .map(|error| unreadable(&error))
            .collect()
    }
}

fn digest_of(path: &Path, progress: &mut dyn FnMut(u64)) -> Result<Digest, PathError> {
    let mut file = File::open(path).at("open", path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).at("read", path)?;
        if count == 0 {
            return Ok(Digest::from_hasher(hasher));
        }
        hasher.update(&buffer[..count]);
        progress(count as u64);
    }
}
