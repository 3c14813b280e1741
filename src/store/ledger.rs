//! The append-only ledger of an app: one record a release, numbered without a
//! gap, each naming the digest of the one before it.
//!
//! No pointer says which release is current: it is the highest that succeeded
//! and that the host has not rejected. So nothing is ever replaced, and a kill
//! can only leave an object out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::event::EventObject;
use super::json::{self, Reader, Schema};
use super::{
    Event, PUBLIC_DIR, PUBLIC_FILE, Ran, Reason, ReleaseRecord, Store, StoreError, names_in,
};
use crate::ident::{AppName, Digest, ReleaseVersion};
use crate::sys::PathError;
use crate::sys::clock::Timestamp;
use crate::sys::fs::{Put, Staged, create_dir_durable, random_hex, sync_parent, write_unsynced};

/// The releases of one app.
#[derive(Clone, Debug)]
pub struct Ledger {
    app: AppName,
    folder: PathBuf,
    head: PathBuf,
}

/// What a new record is made from; the ledger adds the number, the digest of the record before, and the nonce.
#[derive(Clone, Debug)]
pub struct Draft {
    /// See `ReleaseRecord::slug`.
    pub slug: Option<Digest>,
    /// The name of the sealed config.
    pub config: Digest,
    /// Who makes it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
    /// What its maker has to say.
    pub message: Option<String>,
}

/// What became of a release, as far as the ledger knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Under way, or its maker died.
    Pending,
    /// It may run.
    Succeeded {
        /// Since when.
        at: Timestamp,
    },
    /// It will never run.
    Failed {
        /// Since when.
        at: Timestamp,
        /// `release-command`, `interrupted`, …
        step: String,
        /// The exit code of that step, where it had one.
        exit: Option<i32>,
        /// The end of its output.
        tail: String,
    },
}

/// A record and what became of it. The one-offs that ran of it are asked for by `Ledger::ran`: a
/// job that runs each minute leaves thousands, and who wants to know what is current reads none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// What was released.
    pub record: ReleaseRecord,
    /// What became of it.
    pub outcome: Outcome,
    /// The hosts that rejected it, and why; sorted.
    pub rejected: Vec<(String, String)>,
}

impl Release {
    /// May it run?
    pub fn succeeded(&self) -> bool {
        matches!(self.outcome, Outcome::Succeeded { .. })
    }

    /// Did that host reject it?
    pub fn rejected_by(&self, host: &str) -> bool {
        self.rejected.iter().any(|(by, _)| by == host)
    }
}

/// The files of one release, by name.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) record: bool,
    /// File names, sorted.
    pub(super) events: Vec<String>,
}

impl Ledger {
    /// The ledger of an app; nothing is read or made.
    pub fn open(store: &Store, app: &AppName) -> Self {
        Self {
            app: app.clone(),
            folder: store.app_folder(app).join("releases"),
            head: store.host().join("heads").join(app.as_str()),
        }
    }

    /// Whose it is.
    pub fn app(&self) -> &AppName {
        &self.app
    }

    /// The folder of the records: a new entry in it is a new release or event.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All releases, oldest first.
    pub fn releases(&self) -> Result<Vec<Release>, StoreError> {
        let files = self.files()?;
        files
            .iter()
            .filter(|(_, files)| files.record)
            .map(|(version, files)| self.read(*version, files))
            .collect()
    }

    /// One release.
    pub fn get(&self, version: ReleaseVersion) -> Result<Release, StoreError> {
        let files = self.files()?;
        match files.get(&version).filter(|files| files.record) {
            Some(found) => self.read(version, found),
            None => Err(self.no_release(version, &files)),
        }
    }

    /// The number that the next release will have.
    pub fn next_version(&self) -> Result<ReleaseVersion, StoreError> {
        let newest = newest(&self.files()?);
        self.after(newest)
    }

    /// The one-offs of a release that have ended, by the time they began.
    pub fn ran(&self, version: ReleaseVersion) -> Result<Vec<Ran>, StoreError> {
        let mut files = self.files()?;
        let mut ran = Vec::new();
        for name in files.remove(&version).unwrap_or_default().events {
            if !is_ran(&name) {
                continue;
            }
            if let Some((object, _)) = json::read::<EventObject>(&self.folder.join(name))?
                && let Event::Ran(event) = object.event
            {
                ran.push(event);
            }
        }
        ran.sort_by_key(|ran| ran.started);
        Ok(ran)
    }

    /// The releases, newest first, each read when it is asked for: what looks for a few needs not read all.
    pub fn newest_first(
        &self,
    ) -> Result<impl Iterator<Item = Result<Release, StoreError>>, StoreError> {
        let files = self
            .files()?
            .into_iter()
            .rev()
            .filter(|(_, files)| files.record);
        Ok(files.map(|(version, files)| self.read(version, &files)))
    }

    /// The releases that have neither succeeded nor failed: one is being made, or its maker died.
    pub fn pending(&self) -> Result<Vec<ReleaseVersion>, StoreError> {
        let files = self.files()?;
        let is_pending = |version: ReleaseVersion, files: &Files| {
            let has = |event: &str| {
                files
                    .events
                    .binary_search(&event_name(version, event))
                    .is_ok()
            };
            files.record && !has("succeeded") && !has("failed")
        };
        Ok(files
            .iter()
            .filter(|(version, files)| is_pending(**version, files))
            .map(|(version, _)| *version)
            .collect())
    }

    /// The release that `host` runs: the highest that succeeded and that it has not rejected. Opens
    /// one record, however many there are: a supervisor asks often.
    pub fn current(&self, host: &str) -> Result<Option<Release>, StoreError> {
        let files = self.files()?;
        for (version, files) in files.iter().rev().filter(|(_, files)| files.record) {
            let has = |name: String| files.events.binary_search(&name).is_ok();
            if has(event_name(*version, "succeeded")) && !has(rejected_name(*version, host)) {
                let release = self.read(*version, files)?;
                if release.succeeded() {
                    return Ok(Some(release));
                }
            }
        }
        Ok(None)
    }

    /// Appends a record, and its `pending` event: its number is one more than the highest there is.
    /// Of N callers at once each gets a number of its own, with no gap. Durable on return.
    pub fn append(&self, draft: &Draft) -> Result<ReleaseRecord, StoreError> {
        self.append_as(draft, &Event::Pending)
    }

    /// Appends a record that nothing stands in the way of: `succeeded` at once, for which the caller
    /// waits for the disk three times and not five.
    pub fn append_succeeded(&self, draft: &Draft) -> Result<ReleaseRecord, StoreError> {
        self.append_as(draft, &Event::Succeeded)
    }

    fn append_as(&self, draft: &Draft, event: &Event) -> Result<ReleaseRecord, StoreError> {
        create_dir_durable(&self.folder, PUBLIC_DIR)?;
        loop {
            let record = self.next_record(draft)?;
            let path = self.record_path(record.version);
            let bytes = json::to_bytes(&path, &record)?;
            let event = self.stage_event(record.version, draft.at, event, &Digest::of(&bytes))?;
            let put = Staged::new(&path, &bytes, PUBLIC_FILE)?.put()?;
            if put == Put::Created || self.is_ours(&record)? {
                event.put()?;
                sync_parent(&path)?;
                self.note_head(record.version, &Digest::of(&bytes));
                return Ok(record);
            }
        }
    }

    /// Records an event of a release, durably. The same event again is no error; another outcome
    /// for a release that has one is.
    ///
    /// The end of a one-off is whole or absent after a power cut: nothing is decided by it, so its
    /// caller waits once for the disk and not a second time for its name.
    pub fn record(
        &self,
        version: ReleaseVersion,
        at: Timestamp,
        event: &Event,
    ) -> Result<(), StoreError> {
        let path = self.record_path(version);
        let Some((_, bytes)) = json::read::<ReleaseRecord>(&path)? else {
            return Err(self.no_release(version, &self.files()?));
        };
        let rival = match event {
            Event::Succeeded => "failed",
            Event::Failed { .. } => "succeeded",
            Event::Pending | Event::Rejected { .. } | Event::Ran(_) => "",
        };
        if !rival.is_empty() && self.folder.join(event_name(version, rival)).exists() {
            return Err(StoreError::EventExists {
                app: self.app.clone(),
                version,
                event: rival,
            });
        }
        let staged = self.stage_event(version, at, event, &Digest::of(&bytes))?;
        if staged.put()? == Put::Created && !matches!(event, Event::Ran(_)) {
            sync_parent(&path)?;
        }
        Ok(())
    }

    fn next_record(&self, draft: &Draft) -> Result<ReleaseRecord, StoreError> {
        let newest = newest(&self.files()?);
        let version = self.after(newest)?;
        let previous = match newest {
            None => None,
            // Read as a record, not only hashed: nothing is chained to what this slug cannot read.
            Some(newest) => match json::read::<ReleaseRecord>(&self.record_path(newest))? {
                Some((_, bytes)) => Some(Digest::of(&bytes)),
                None => {
                    return Err(StoreError::RecordMissing {
                        app: self.app.clone(),
                        version: newest,
                    });
                }
            },
        };
        let Draft {
            slug,
            config,
            by,
            at,
            reason,
            message,
        } = draft.clone();
        let (schema, reader, app, nonce) = (Schema, Reader, self.app.clone(), random_hex());
        Ok(ReleaseRecord {
            schema,
            reader,
            app,
            version,
            slug,
            config,
            by,
            at,
            reason,
            message,
            previous,
            nonce,
        })
    }

    fn after(&self, newest: Option<ReleaseVersion>) -> Result<ReleaseVersion, StoreError> {
        let Some(newest) = newest else {
            return Ok(ReleaseVersion::FIRST);
        };
        let app = || self.app.clone();
        newest.next().ok_or_else(|| StoreError::LastVersion {
            app: app(),
            version: newest,
        })
    }

    /// The put said "exists": is the record that lies there the one we meant to put? (A file system
    /// over a network may answer so to its own second try.)
    fn is_ours(&self, record: &ReleaseRecord) -> Result<bool, StoreError> {
        let found = json::read::<ReleaseRecord>(&self.record_path(record.version))?;
        Ok(found.is_some_and(|(found, _)| found.nonce == record.nonce))
    }

    fn stage_event(
        &self,
        version: ReleaseVersion,
        at: Timestamp,
        event: &Event,
        record: &Digest,
    ) -> Result<Staged, StoreError> {
        let name = match event {
            Event::Rejected { host, .. } => rejected_name(version, host),
            Event::Ran(_) => event_name(version, &format!("ran.{}", random_hex())),
            Event::Pending | Event::Succeeded | Event::Failed { .. } => {
                event_name(version, event.kind())
            }
        };
        let path = self.folder.join(name);
        let object = EventObject {
            schema: Schema,
            reader: Reader,
            record: *record,
            at,
            event: event.cut(),
        };
        Ok(Staged::new(
            &path,
            &json::to_bytes(&path, &object)?,
            PUBLIC_FILE,
        )?)
    }

    fn read(&self, version: ReleaseVersion, files: &Files) -> Result<Release, StoreError> {
        let app = || self.app.clone();
        let Some((record, bytes)) = json::read::<ReleaseRecord>(&self.record_path(version))? else {
            return Err(StoreError::RecordMissing {
                app: app(),
                version,
            });
        };
        let found = Digest::of(&bytes);
        let mut release = Release {
            record,
            outcome: Outcome::Pending,
            rejected: Vec::new(),
        };
        for name in files.events.iter().filter(|name| !is_ran(name)) {
            let Some((object, _)) = json::read::<EventObject>(&self.folder.join(name))? else {
                continue; // an event is never removed, but a folder may be restored under our feet
            };
            // Nothing runs from a record that is not the one that succeeded.
            if object.record != found {
                return Err(StoreError::RecordChanged {
                    app: app(),
                    version,
                    expected: object.record,
                    found,
                });
            }
            add_event(&mut release, object);
        }
        Ok(release)
    }

    /// What lies in the folder, by release. Names that are not ours are passed over.
    pub(super) fn files(&self) -> Result<BTreeMap<ReleaseVersion, Files>, PathError> {
        let mut found: BTreeMap<ReleaseVersion, Files> = BTreeMap::new();
        for name in names_in(&self.folder)? {
            let Some((version, event)) = parse_name(&name) else {
                continue;
            };
            let files = found.entry(version).or_default();
            if event.is_empty() {
                files.record = true;
            } else {
                files.events.push(name);
            }
        }
        for files in found.values_mut() {
            files.events.sort();
        }
        Ok(found)
    }

    pub(super) fn record_path(&self, version: ReleaseVersion) -> PathBuf {
        self.folder.join(format!("{:06}.json", version.number()))
    }

    fn no_release(
        &self,
        version: ReleaseVersion,
        files: &BTreeMap<ReleaseVersion, Files>,
    ) -> StoreError {
        StoreError::NoRelease {
            app: self.app.clone(),
            version,
            newest: newest(files),
        }
    }

    /// This host remembers the highest record that it has put, so that `verify` finds a ledger cut
    /// at its end, which no chain shows. A note, not a promise: without it nothing else suffers, so
    /// it costs no wait for the disk and its failure is not the release's.
    fn note_head(&self, version: ReleaseVersion, record: &Digest) {
        if self.head().is_some_and(|(seen, _)| seen >= version) {
            return;
        }
        if let Some(folder) = self.head.parent() {
            let line = format!("{version} {record}\n");
            let _ = create_dir_durable(folder, PUBLIC_DIR)
                .and_then(|()| write_unsynced(&self.head, line.as_bytes(), PUBLIC_FILE));
        }
    }

    /// The highest record that this host has put, and its digest.
    pub(super) fn head(&self) -> Option<(ReleaseVersion, Digest)> {
        const HEAD_BYTES_MAX: u64 = 200;
        let bytes = crate::sys::fs::read_if_present(&self.head, HEAD_BYTES_MAX).ok()??;
        let (version, record) = std::str::from_utf8(&bytes)
            .ok()?
            .trim_end()
            .split_once(' ')?;
        Some((version.parse().ok()?, record.parse().ok()?))
    }
}

fn add_event(release: &mut Release, object: EventObject) {
    match object.event {
        Event::Succeeded if release.outcome == Outcome::Pending => {
            release.outcome = Outcome::Succeeded { at: object.at };
        }
        // If both were ever there, the release is not to be trusted; `verify` names it.
        Event::Succeeded | Event::Pending | Event::Ran(_) => {}
        Event::Failed { step, exit, tail } => {
            release.outcome = Outcome::Failed {
                at: object.at,
                step,
                exit,
                tail,
            };
        }
        Event::Rejected { host, why } => release.rejected.push((host, why)),
    }
}

/// The highest number in use. One whose record is gone and whose events are not is in use: its
/// events would speak for a new record.
fn newest(files: &BTreeMap<ReleaseVersion, Files>) -> Option<ReleaseVersion> {
    files.keys().next_back().copied()
}

/// `000042.json` → v42 and nothing; `000042.succeeded.json` → v42 and `succeeded`.
pub(super) fn parse_name(name: &str) -> Option<(ReleaseVersion, &str)> {
    let stem = name.strip_suffix(".json")?;
    let (number, event) = stem.split_once('.').unwrap_or((stem, ""));
    let version = ReleaseVersion::from_number(number.parse().ok()?)?;
    let canonical = format!("{:06}", version.number()) == number && !stem.ends_with('.');
    canonical.then_some((version, event))
}

fn event_name(version: ReleaseVersion, event: &str) -> String {
    format!("{:06}.{event}.json", version.number())
}

/// By its name: whether it is a one-off's end.
fn is_ran(name: &str) -> bool {
    parse_name(name).is_some_and(|(_, event)| event.starts_with("ran."))
}

/// One file a host: what is no plain character of a host name is written as its bytes, `%2f`.
fn rejected_name(version: ReleaseVersion, host: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let escaped: String = host
        .bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02x}")
            }
        })
        .collect();
    event_name(version, &format!("rejected.{escaped}"))
}
