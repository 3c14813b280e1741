//! The fresh copy of an app that its build works on: it does not depend on the
//! checkout's umask, times or owner. And the proof that neither the source nor
//! the copy was changed since, for which no file is read.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags};
use sha2::Digest as _;
use sha2::Sha256;

use super::source::SOURCE_DATE_EPOCH;
use super::tree::{Instant, newest_change, tick};
use crate::ident::Digest;
use crate::sys::copy::copy_content;
use crate::sys::{At as _, PathError};

/// What a thread takes at a time: enough that taking costs nothing.
const FILES_AT_A_TIME: usize = 32;
/// More copy no faster: they wait for the same folders and the same disk.
const THREADS_MAX: usize = 4;
/// An app of fewer bytes is packed in less time than it takes to prove that it was not changed.
const PROVEN_BYTES_MIN: u64 = 4 << 20;
/// A file that was changed less than so many seconds ago may be changed again without its times telling: some
/// file systems have no finer clock.
const RACY_S: i64 = 2;

/// What was copied.
#[derive(Debug)]
pub(super) struct Copied {
    /// What the files looked like; none where that would prove nothing.
    pub(super) fingerprint: Option<Digest>,
    /// No entry of the copy was changed after it, unless by somebody else.
    made_at: Instant,
}

impl Copied {
    /// Is the copy as it was made? Looks at every entry if the fingerprint is of use.
    pub(super) fn is_untouched(&self, workspace: &Path) -> Result<bool, PathError> {
        Ok(self.fingerprint.is_some() && newest_change(workspace)? <= self.made_at)
    }
}

/// Copies these files of `folder` into the empty folder `workspace`: 0644, or 0755 where their owner may execute; one time
/// for all; links as they are. `owner` gets them, where the caller may give them away. The umask must be 022 or less.
pub(super) fn copy(
    folder: &Path,
    files: &[PathBuf],
    workspace: &Path,
    owner: Option<u32>,
    scratch: &Path,
) -> Result<Copied, PathError> {
    make_folders(workspace, files, owner)?;
    let job = Job {
        folder,
        files,
        workspace,
        owner,
        next: AtomicUsize::new(0),
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let threads = threads
        .min(THREADS_MAX)
        .min(files.len().div_ceil(FILES_AT_A_TIME));
    let seen = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|_| scope.spawn(|| job.work(&seen)))
            .collect();
        let mine = job.work(&seen);
        let theirs = others.into_iter().map(|other| {
            other.join().unwrap_or_else(|_| {
                Err(io::Error::other("a copying thread ended")).at("copy", folder)
            })
        });
        theirs.fold(mine, Result::and)
    })?;
    let mut seen = seen.into_inner().unwrap_or_default();
    seen.sort_unstable_by_key(|part| part.start);
    copied(&seen, scratch)
}

/// All that was seen as one.
fn copied(seen: &[Seen], scratch: &Path) -> Result<Copied, PathError> {
    let bytes: u64 = seen.iter().map(|part| part.bytes).sum();
    if bytes < PROVEN_BYTES_MIN {
        return Ok(Copied {
            fingerprint: None,
            made_at: Instant::default(),
        });
    }
    let made_at = tick(scratch)?;
    let newest = seen
        .iter()
        .map(|part| part.newest_s)
        .max()
        .unwrap_or_default();
    let mut hash = Sha256::new();
    for part in seen {
        hash.update(part.hash.as_slice());
    }
    Ok(Copied {
        fingerprint: (newest + RACY_S < made_at.seconds()).then(|| Digest::from_hasher(hash)),
        made_at,
    })
}

/// What one thread saw of the files from `start` on.
struct Seen {
    start: usize,
    hash: Vec<u8>,
    newest_s: i64,
    bytes: u64,
}

/// What all threads share.
struct Job<'a> {
    folder: &'a Path,
    files: &'a [PathBuf],
    workspace: &'a Path,
    owner: Option<u32>,
    next: AtomicUsize,
}

impl Job<'_> {
    fn work(&self, all: &Mutex<Vec<Seen>>) -> Result<(), PathError> {
        let mut seen = Vec::new();
        loop {
            let start = self.next.fetch_add(FILES_AT_A_TIME, Ordering::Relaxed);
            let Some(rest) = self.files.get(start..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            let part = self.part(start, &rest[..rest.len().min(FILES_AT_A_TIME)]);
            // The others need not go on when one has failed.
            seen.push(part.inspect_err(|_| self.next.store(self.files.len(), Ordering::Relaxed))?);
        }
        if let Ok(mut all) = all.lock() {
            all.append(&mut seen);
        }
        Ok(())
    }

    fn part(&self, start: usize, files: &[PathBuf]) -> Result<Seen, PathError> {
        let mut hash = Sha256::new();
        let (mut newest_s, mut bytes) = (i64::MIN, 0);
        for file in files {
            let (from, to) = (self.folder.join(file), self.workspace.join(file));
            let found = copy_one(&from, &to, self.owner)?;
            let name = file.as_os_str().as_bytes();
            hash.update(name.len().to_le_bytes());
            hash.update(name);
            hash.update(look(&found).map(u64::to_le_bytes).as_flattened());
            newest_s = newest_s.max(found.ctime()).max(found.mtime());
            bytes += found.len();
        }
        Ok(Seen {
            start,
            hash: hash.finalize().to_vec(),
            newest_s,
            bytes,
        })
    }
}

/// What a change of the file's content, mode or place changes.
fn look(found: &Metadata) -> [u64; 8] {
    [
        found.dev(),
        found.ino(),
        found.len(),
        found.mode().into(),
        found.mtime().cast_unsigned(),
        found.mtime_nsec().cast_unsigned(),
        found.ctime().cast_unsigned(),
        found.ctime_nsec().cast_unsigned(),
    ]
}

/// The folders of all files.
fn make_folders(workspace: &Path, files: &[PathBuf], owner: Option<u32>) -> Result<(), PathError> {
    own(workspace, owner)?;
    let mut folders = BTreeSet::new();
    for file in files {
        // Upwards, until one that is known, and so all above it.
        let above = file.ancestors().skip(1);
        for folder in above.take_while(|folder| !folder.as_os_str().is_empty()) {
            if !folders.insert(folder) {
                break;
            }
        }
    }
    for folder in folders {
        let path = workspace.join(folder);
        fs::create_dir(&path).at("create the folder", &path)?;
        own(&path, owner)?;
    }
    Ok(())
}

/// Gives a fresh folder its mode, whatever the umask, and its owner.
fn own(folder: &Path, owner: Option<u32>) -> Result<(), PathError> {
    fs::set_permissions(folder, Permissions::from_mode(0o755)).at("set the mode of", folder)?;
    if let Some(uid) = owner {
        std::os::unix::fs::chown(folder, Some(uid), Some(uid)).at("give away", folder)?;
    }
    Ok(())
}

fn copy_one(from: &Path, to: &Path, owner: Option<u32>) -> Result<Metadata, PathError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    match rustix::fs::open(from, flags, Mode::empty()) {
        Ok(file) => copy_file(&file.into(), from, to, owner),
        Err(rustix::io::Errno::LOOP) => copy_link(from, to, owner),
        Err(error) => Err(error).at("open", from),
    }
}

fn copy_file(
    from_file: &File,
    from: &Path,
    to: &Path,
    owner: Option<u32>,
) -> Result<Metadata, PathError> {
    let found = from_file.metadata().at("look at", from)?;
    if !found.is_file() {
        return Err(io::Error::other("it is no file any more")).at("copy", from);
    }
    let is_executable = found.mode() & 0o100 != 0;
    let mode = if is_executable { 0o755 } else { 0o644 };
    let mut options = OpenOptions::new();
    let to_file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(to)
        .at("create", to)?;
    copy_content(from_file, &found, &to_file).at("copy", from)?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(SOURCE_DATE_EPOCH);
    to_file.set_modified(time).at("set the time of", to)?;
    if let Some(uid) = owner {
        std::os::unix::fs::fchown(&to_file, Some(uid), Some(uid)).at("give away", to)?;
    }
    Ok(found)
}

fn copy_link(from: &Path, to: &Path, owner: Option<u32>) -> Result<Metadata, PathError> {
    let found = from.symlink_metadata().at("look at", from)?;
    let target = fs::read_link(from).at("read the link", from)?;
    symlink(target, to).at("create the link", to)?;
    if let Some(uid) = owner {
        std::os::unix::fs::lchown(to, Some(uid), Some(uid)).at("give away", to)?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fs::write_unsynced;
    use crate::sys::umask::PlainModes;

    /// Copies these files of `app`; what was copied.
    fn check(folder: &Path, files: &[&str], to: &str) -> Result<Copied, PathError> {
        let _modes = PlainModes::take();
        let workspace = folder.join(to);
        fs::create_dir(&workspace).unwrap();
        let files: Vec<_> = files.iter().map(PathBuf::from).collect();
        copy(&folder.join("app"), &files, &workspace, None, folder)
    }

    fn app() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("app/d")).unwrap();
        write_unsynced(&folder.path().join("app/a"), b"1", 0o600).unwrap();
        let large = vec![7; usize::try_from(PROVEN_BYTES_MIN).unwrap()];
        write_unsynced(&folder.path().join("app/d/large"), &large, 0o700).unwrap();
        // The fingerprint of a file that was changed just now would prove nothing.
        for name in ["app/a", "app/d/large"] {
            let file = File::open(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        folder
    }

    #[test]
    fn a_file_changed_just_now_proves_nothing() {
        let folder = app();
        let copied = check(folder.path(), &["a", "d/large"], "one").unwrap();
        assert_eq!(copied.fingerprint, None);
        assert!(!copied.is_untouched(&folder.path().join("one")).unwrap());
    }

    #[test]
    fn every_change_of_a_copy_is_seen() {
        let folder = app();
        let files = ["a", "d/large"];
        for (number, change) in ["", "write", "remove", "add", "mode"]
            .into_iter()
            .enumerate()
        {
            let mut copied = check(folder.path(), &files, &number.to_string()).unwrap();
            copied.fingerprint = Some(Digest::of(b""));
            let copy = folder.path().join(number.to_string());
            let file = copy.join("a");
            match change {
                "write" => write_unsynced(&file, b"2", 0o644).unwrap(),
                "remove" => fs::remove_file(copy.join("d/large")).unwrap(),
                "add" => write_unsynced(&copy.join("d/new"), b"", 0o644).unwrap(),
                "mode" => fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap(),
                _ => {}
            }
            assert_eq!(
                copied.is_untouched(&copy).unwrap(),
                change.is_empty(),
                "{change}"
            );
        }
    }

    #[test]
    fn what_files_look_like_is_the_same_until_one_is_changed() {
        let folder = app();
        let look = || {
            let path = folder.path().join("app/a");
            look(&path.symlink_metadata().unwrap())
        };
        let before = look();
        assert_eq!(look(), before);
        fs::set_permissions(folder.path().join("app/a"), Permissions::from_mode(0o700)).unwrap();
        assert_ne!(look(), before);
    }

    #[test]
    fn a_file_that_is_not_there_ends_the_copying() {
        let folder = app();
        let mut files = vec!["a"; 1];
        files.push("gone");
        let error = check(folder.path(), &files, "to").unwrap_err();
        assert!(error.path.ends_with("app/gone"));
    }
}
