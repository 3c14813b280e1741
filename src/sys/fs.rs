//! Files that a kill at any instant leaves old or new, never half.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// An `io::Error` and the path it is about.
#[derive(Debug, Error)]
#[error("could not {doing} `{}`", path.display())]
pub struct PathError {
    /// The verb: `read`, `write`, `create the folder`.
    pub doing: &'static str,
    /// What it was done to.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
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
    if let Err(error) = fs::rename(&temporary, path) {
        let _ = fs::remove_file(&temporary);
        return Err(error).at("write", path);
    }
    sync_parent(path)
}

/// Makes `path` with these bytes unless it exists: one of N callers wins, durable on return.
/// The file appears whole (written beside, then hard-linked), so no reader sees a part.
pub fn put_if_absent(path: &Path, bytes: &[u8], mode: u32) -> Result<Put, PathError> {
    let temporary = write_beside(path, bytes, mode)?;
    let linked = fs::hard_link(&temporary, path);
    let _ = fs::remove_file(&temporary);
    match linked {
        Ok(()) => sync_parent(path).map(|()| Put::Created),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Put::Exists),
        Err(error) => Err(error).at("create", path),
    }
}

/// Makes the entry of `path` in its folder durable.
pub fn sync_parent(path: &Path) -> Result<(), PathError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    File::open(parent)
        .and_then(|folder| folder.sync_all())
        .at("make durable", parent)
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
    let temporary = temporary_beside(path);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(error).at("write", path);
    }
    Ok(temporary)
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
