//! Files that a kill at any instant leaves old or new, never half.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use thiserror::Error;

use crate::ident::shown_message;

/// An `io::Error` and the path it is about.
#[derive(Debug, Error)]
#[error("could not {doing} `{}`", shown_message(&path.to_string_lossy()))]
pub struct PathError {
    /// The verb: `read`, `write`, `create the folder`.
    pub doing: &'static str,
    /// What it was done to.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

impl PathError {
    /// The same, of a file that its reader knows by another path: below `inside` instead of below `host`.
    #[must_use]
    pub fn seen_at(mut self, host: &Path, inside: &Path) -> Self {
        if let Ok(below) = self.path.strip_prefix(host) {
            self.path = inside.join(below);
        }
        self
    }
}

/// Puts the path into an `io::Error`, so that none travels without one.
pub trait At<T> {
    /// `fs::read(path).at("read", path)?` → "could not read `/srv/slug/ledger`".
    fn at(self, doing: &'static str, path: &Path) -> Result<T, PathError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, PathError> {
        self.map_err(|error| PathError {
            doing,
            path: path.to_owned(),
            source: error.into(),
        })
    }
}

/// What became of a put-if-absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The file is ours.
    Created,
    /// Another was there first; it was not touched.
    Exists,
}

/// Reads a file of at most `bytes_max` bytes; `None` if there is no such file.
pub fn read_if_present(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, PathError> {
    use std::io::Read as _;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).at("open", path),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .at("read", path)?;
    if bytes.len() as u64 > bytes_max {
        let error = io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {bytes_max} bytes"),
        );
        return Err(error).at("read", path);
    }
    Ok(Some(bytes))
}

/// As `read_if_present`, for a file that a stranger may have placed: only a regular
/// file is read, no link is followed, and no pipe makes the reader wait.
pub fn read_plain(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, PathError> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => read_regular(file.into(), bytes_max)
            .at("read", path)
            .map(Some),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(rustix::io::Errno::LOOP) => {
            Err(io::Error::other("a link stands where a file was expected")).at("read", path)
        }
        Err(error) => Err(error).at("open", path),
    }
}

/// Opens a file that a stranger may have placed, if it is a regular one: no link is followed, no pipe waits.
pub fn open_plain(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    Ok(file)
}

/// Reads an open file to its end, if it is a regular one of at most `bytes_max` bytes.
pub fn read_regular(file: File, bytes_max: u64) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {bytes_max} bytes"),
        ));
    }
    Ok(bytes)
}

/// Makes a folder and its parents, with `mode` for those that are new, each entry durable.
pub fn create_dir_durable(path: &Path, mode: u32) -> Result<(), PathError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_dir_durable(parent, mode)?;
    }
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error).at("create the folder", path),
        Ok(()) => sync_parent(path),
    }
}

/// Replaces `path` by a file with these bytes: old or new at any instant, durable on return.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PathError> {
    let temporary = write_beside(path, bytes, mode)?;
    step();
    if let Err(error) = fs::rename(&temporary, path) {
        let _ = fs::remove_file(&temporary);
        return Err(error).at("write", path);
    }
    sync_parent(path)
}

/// Replaces `path` as `write_atomic` does for a kill, but syncs nothing: after a power cut the file
/// may be old, new or empty. For notes that are made again, where waiting for the disk buys nothing.
pub fn write_unsynced(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PathError> {
    let temporary = create_beside(path, bytes, mode, |_| Ok(()))?;
    fs::rename(&temporary, path)
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .at("write", path)
}

/// Makes `path` with these bytes unless it exists: one of N callers wins, durable on return.
/// The file appears whole (written beside, then renamed), so no reader sees a part.
pub fn put_if_absent(path: &Path, bytes: &[u8], mode: u32) -> Result<Put, PathError> {
    let put = Staged::new(path, bytes, mode)?.put()?;
    if put == Put::Created {
        sync_parent(path)?;
    }
    Ok(put)
}

/// A file whose bytes are durable under a temporary name beside the path it is meant for. Several
/// can be put into one folder with a single `sync_parent`. Dropped without `put`, it is gone.
#[derive(Debug)]
pub struct Staged {
    temporary: PathBuf,
    path: PathBuf,
    is_put: bool,
}

impl Staged {
    /// Writes and syncs the bytes.
    pub fn new(path: &Path, bytes: &[u8], mode: u32) -> Result<Self, PathError> {
        write_beside(path, bytes, mode).map(|temporary| Self {
            temporary,
            path: path.to_owned(),
            is_put: false,
        })
    }

    /// Gives the file its path, unless that exists. Durable after the next `sync_parent`.
    ///
    /// By a rename that refuses to replace: half the work of a link and an unlink, each of which may
    /// wait for the journal. A file system that knows no such rename (NFS, some FUSE) gets those.
    pub fn put(mut self) -> Result<Put, PathError> {
        step();
        let renamed = renameat_with(
            CWD,
            &self.temporary,
            CWD,
            &self.path,
            RenameFlags::NOREPLACE,
        );
        let put = match renamed {
            Ok(()) => {
                self.is_put = true;
                return Ok(Put::Created);
            }
            Err(Errno::INVAL | Errno::NOSYS) => fs::hard_link(&self.temporary, &self.path),
            Err(error) => Err(error.into()),
        };
        match put {
            Ok(()) => Ok(Put::Created),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Put::Exists),
            Err(error) => Err(error).at("create", &self.path),
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_put {
            step();
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Makes the entry of `path` in its folder durable.
pub fn sync_parent(path: &Path) -> Result<(), PathError> {
    step();
    let parent = path.parent().unwrap_or(Path::new("/"));
    File::open(parent)
        .and_then(|folder| folder.sync_all())
        .at("make durable", parent)
}

/// Removes a file, or a folder with all in it, read-only folders too; no error if there is nothing.
pub fn remove_tree(path: &Path) -> Result<(), PathError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(metadata) if metadata.is_dir() => {}
        _ => return fs::remove_file(path).at("remove", path),
    }
    match fs::remove_dir_all(path) {
        // Nobody but root can remove from a folder that is not writable, and layers have such.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_folders_writable(path)?;
            fs::remove_dir_all(path).at("remove", path)
        }
        removed => removed.at("remove", path),
    }
}

fn make_folders_writable(folder: &Path) -> Result<(), PathError> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).at("make writable", folder)?;
    for entry in fs::read_dir(folder).at("list", folder)? {
        let entry = entry.at("list", folder)?;
        if entry.file_type().at("look at", &entry.path())?.is_dir() {
            make_folders_writable(&entry.path())?;
        }
    }
    Ok(())
}

/// How many bytes a user without privilege can still write where `path` lies.
pub fn free_bytes(path: &Path) -> Result<u64, PathError> {
    let disk = rustix::fs::statvfs(path).at("ask for the free space of", path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Sets the times of a file to now: it is in use, and not to be taken for old.
pub fn touch(path: &Path) -> Result<(), PathError> {
    let now = rustix::fs::Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_NOW,
    };
    let times = rustix::fs::Timestamps {
        last_access: now,
        last_modification: now,
    };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::empty())
        .at("touch", path)
}

/// The name of every temporary file begins so: a sweep finds what a kill left behind.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// A fresh name in the folder of `path`, for what will be renamed or linked to `path`.
pub fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = TEMPORARY_PREFIX.as_bytes().to_vec();
    name.extend_from_slice(random_hex().as_bytes());
    path.with_file_name(OsStr::from_bytes(&name))
}

/// 128 random bits as 32 hex digits: a nonce, a temporary name.
pub fn random_hex() -> String {
    let mut bytes = [0_u8; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        // The kernel answers in full for up to 256 bytes once its pool is ready; an interrupted call is made again.
        if let Ok(count) =
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
        {
            filled += count;
        }
    }
    format!("{:032x}", u128::from_le_bytes(bytes))
}

fn write_beside(path: &Path, bytes: &[u8], mode: u32) -> Result<PathBuf, PathError> {
    create_beside(path, bytes, mode, File::sync_all)
}

fn create_beside(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    sync: fn(&File) -> io::Result<()>,
) -> Result<PathBuf, PathError> {
    let temporary = temporary_beside(path);
    step();
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| {
            step();
            file.write_all(bytes)?;
            step();
            sync(&file)
        });
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(error).at("write", path);
    }
    Ok(temporary)
}

/// A moment between two changes of the disk: where `failpoint` kills the process in tests.
#[inline]
pub(crate) fn step() {
    #[cfg(test)]
    failpoint::step();
}

/// Kills this process, as `kill -9` would, at the n-th `step`: a test runs itself again as a child
/// with each n and looks at what is left on the disk.
#[cfg(test)]
pub(crate) mod failpoint {
    use std::sync::atomic::{AtomicI64, Ordering};

    static STEPS_LEFT: AtomicI64 = AtomicI64::new(-1);

    /// From now on, the n-th step (from one) is the last thing this process does.
    pub(crate) fn kill_at(step: i64) {
        STEPS_LEFT.store(step, Ordering::SeqCst);
    }

    pub(super) fn step() {
        if STEPS_LEFT.load(Ordering::SeqCst) > 0 && STEPS_LEFT.fetch_sub(1, Ordering::SeqCst) == 1 {
            let _ = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_never_replaces_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert_eq!(put_if_absent(&path, b"one", 0o600).unwrap(), Put::Created);
        assert_eq!(put_if_absent(&path, b"two", 0o600).unwrap(), Put::Exists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_read_has_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_atomic(&path, b"12345", 0o600).unwrap();
        assert_eq!(read_if_present(&path, 5).unwrap().unwrap(), b"12345");
        assert!(read_if_present(&path, 4).is_err());
        assert!(
            read_if_present(&folder.path().join("none"), 4)
                .unwrap()
                .is_none()
        );
    }
}
