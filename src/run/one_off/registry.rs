//! Which one-offs of an app are alive on this host: `<host>/run/<app>/run.N`, a
//! file each, locked by the process that stands by it. The kernel opens the lock
//! however that process ends, and ends the one-off with it.
//!
//! A number is never given twice, so that the history of `run.7` is that of one
//! process: `<host>/run/<app>/lock` holds the last one, and whoever looks or
//! adds has it locked.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::num::NonZeroU32;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::ident::AppName;
use crate::ident::Instance;
use crate::ident::ProcessType;
use crate::ident::ReleaseVersion;
use crate::store::Store;
use crate::sys::At as _;
use crate::sys::PathError;
use crate::sys::clock::Timestamp;
use crate::sys::fs::create_dir_durable;
use crate::sys::lock::Lock;

/// An entry is two lines of a few hundred bytes each.
const ENTRY_BYTES_MAX: u64 = 64 * 1024;

/// A one-off that is alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name.
    pub instance: Instance,
    /// Its release.
    pub release: ReleaseVersion,
    /// Its process type, or the program without its arguments, which may hold secrets.
    pub command: String,
    /// Who started it.
    pub by: String,
    /// It goes on without the terminal that it was started on.
    pub detached: bool,
    /// The `slug` that stands by it: SIGTERM to it ends the one-off in its own way.
    pub runner: u32,
    /// The init of its sandbox, as the host numbers it, once the process was executed.
    pub pid: Option<u32>,
    /// When it was started.
    pub since: Timestamp,
}

/// An entry that is its holder's. Dropped, it is taken off.
#[derive(Debug)]
pub(super) struct Registration {
    path: PathBuf,
    file: File,
    entry: Entry,
}

impl Registration {
    /// Gives the next number, and enters what `entry` says of it.
    pub(super) fn new(
        store: &Store,
        app: &AppName,
        entry: impl FnOnce(Instance) -> Entry,
    ) -> Result<Self, PathError> {
        let folder = folder(store, app);
        create_dir_durable(&folder, 0o700)?;
        let turn_path = folder.join("lock");
        let turn = Lock::take(&turn_path)?;
        // What a power cut may have taken from the count is made up for by the files that are there.
        let mut last: u32 = Lock::who(&turn_path)?.parse().unwrap_or(0);
        let (instance, path, file) = loop {
            last = last.saturating_add(1);
            let instance = Instance {
                process_type: ProcessType::run(),
                number: NonZeroU32::MIN.saturating_add(last - 1),
            };
            let path = folder.join(instance.to_string());
            let mut options = OpenOptions::new();
            match options
                .append(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
            {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                file => break (instance, path.clone(), file.at("make", &path)?),
            }
        };
        turn.say_who(&last.to_string(), &turn_path)?;
        file.lock().at("lock", &path)?;
        let mut registration = Self {
            path,
            file,
            entry: entry(instance),
        };
        registration.write()?;
        Ok(registration)
    }

    /// What it says.
    pub(super) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The process was executed in the sandbox of this init.
    pub(super) fn started(&mut self, pid: u32) -> Result<(), PathError> {
        self.entry.pid = Some(pid);
        self.write()
    }

    /// As a line more: the last whole one holds.
    fn write(&mut self) -> Result<(), PathError> {
        let mut line = serde_json::to_vec(&self.entry)
            .map_err(io::Error::other)
            .at("write", &self.path)?;
        line.push(b'\n');
        self.file.write_all(&line).at("write", &self.path)
    }

    /// Takes it off. To be called before its init is reaped: until then no other process has its number.
    pub(super) fn take_off(&self) {
        let _ = fs::remove_file(&self.path); // once is enough; and what is not locked is no entry
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.take_off();
    }
}

/// Those that are alive, by number. What the dead left is removed.
pub fn list(store: &Store, app: &AppName) -> Result<Vec<Entry>, PathError> {
    let folder = folder(store, app);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let _turn = Lock::take(&folder.join("lock"))?;
    let mut entries = Vec::new();
    for file in fs::read_dir(&folder).at("list", &folder)? {
        let path = file.at("list", &folder)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.parse::<Instance>().is_ok()) {
            entries.extend(read(&path)?);
        }
    }
    entries.sort_by(|a, b| a.instance.cmp(&b.instance));
    Ok(entries)
}

/// The entry of whoever holds the file; none, and no file, if nobody does.
fn read(path: &Path) -> Result<Option<Entry>, PathError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None), // it has just ended
        file => file.at("open", path)?,
    };
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error).at("lock", path),
        Ok(()) => {
            let removed = fs::remove_file(path);
            let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
            return removed
                .or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) })
                .at("remove", path)
                .map(|()| None);
        }
    }
    let mut bytes = Vec::new();
    file.take(ENTRY_BYTES_MAX)
        .read_to_end(&mut bytes)
        .at("read", path)?;
    let whole = bytes.rsplit(|byte| *byte == b'\n').nth(1);
    let entry = whole.map(serde_json::from_slice).transpose();
    entry.map_err(io::Error::other).at("read", path)
}

fn folder(store: &Store, app: &AppName) -> PathBuf {
    store.host().join("run").join(app.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(instance: Instance) -> Entry {
        Entry {
            instance,
            release: "v1".parse().unwrap(),
            command: "true".to_owned(),
            by: "alice".to_owned(),
            detached: false,
            runner: std::process::id(),
            pid: None,
            since: Timestamp::now(),
        }
    }

    fn names(store: &Store, app: &AppName) -> Vec<String> {
        let entries = list(store, app).unwrap();
        entries
            .iter()
            .map(|entry| format!("{} {:?}", entry.instance, entry.pid))
            .collect()
    }

    #[test]
    fn an_entry_lives_as_long_as_its_holder_and_its_number_is_not_given_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), folder.path()).unwrap();
        let app: AppName = "shop".parse().unwrap();
        assert_eq!(names(&store, &app), Vec::<String>::new());
        let mut first = Registration::new(&store, &app, entry).unwrap();
        let second = Registration::new(&store, &app, entry).unwrap();
        first.started(4711).unwrap();
        assert_eq!(names(&store, &app), ["run.1 Some(4711)", "run.2 None"]);
        drop((first, second));
        assert_eq!(names(&store, &app), Vec::<String>::new());
        let third = Registration::new(&store, &app, entry).unwrap();
        assert_eq!(third.entry().instance.to_string(), "run.3");
        // A holder that was killed leaves the file, and no lock on it.
        third.file.unlock().unwrap();
        assert_eq!(names(&store, &app), Vec::<String>::new());
        assert!(!third.path.exists());
    }
}
