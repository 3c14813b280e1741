//! A lock that dies with its holder: `flock` on a file, which the kernel
//! releases however the process ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::{At as _, PathError};

/// Held until dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock if nobody has it; `None` if somebody does. The file is made if missing.
    pub fn try_take(path: &Path) -> Result<Option<Self>, PathError> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).at("lock", path),
        }
    }

    /// Takes the lock, waiting as long as it takes.
    pub fn take(path: &Path) -> Result<Self, PathError> {
        wait_for(open(path)?, File::lock, path)
    }

    /// Takes the lock together with others who share it, waiting until nobody has it alone.
    pub fn take_shared(path: &Path) -> Result<Self, PathError> {
        wait_for(open(path)?, File::lock_shared, path)
    }

    /// A lock that another program of this process held, and whose descriptor it left.
    pub fn adopt(descriptor: OwnedFd) -> Self {
        Self {
            file: File::from(descriptor),
        }
    }

    /// Leaves a line in the file that says who holds the lock.
    pub fn say_who(&self, who: &str, path: &Path) -> Result<(), PathError> {
        let mut file = &self.file;
        file.set_len(0)
            .and_then(|()| file.write_all(who.as_bytes()))
            .at("write", path)
    }

    /// What the holder of this lock, or the last one, said of itself.
    pub fn who(path: &Path) -> Result<String, PathError> {
        let mut said = Vec::new();
        File::open(path)
            .and_then(|file| file.take(HOLDER_BYTES_MAX).read_to_end(&mut said))
            .at("read", path)?;
        Ok(String::from_utf8_lossy(&said).trim().to_owned())
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// How much of what a holder said of itself is read.
const HOLDER_BYTES_MAX: u64 = 1000;

fn wait_for(file: File, lock: fn(&File) -> io::Result<()>, path: &Path) -> Result<Lock, PathError> {
    loop {
        match lock(&file) {
            Ok(()) => return Ok(Lock { file }),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).at("lock", path),
        }
    }
}

fn open(path: &Path) -> Result<File, PathError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .at("open the lock", path)
}
