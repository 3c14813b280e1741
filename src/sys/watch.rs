//! Tells when something in some folders may have changed. A hint only: what
//! has, its reader finds out by looking.

use std::collections::BTreeSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::fs::inotify;
use rustix::fs::inotify::ReadFlags;
use rustix::fs::inotify::WatchFlags;
use rustix::io::Errno;
use thiserror::Error;

/// A file that was written and closed, made, moved, removed, or made executable. Not each write: one that goes on
/// writes a log.
const EVENTS: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::DONT_FOLLOW)
    .union(WatchFlags::EXCL_UNLINK);

/// Why folders cannot be watched.
#[derive(Debug, Error)]
pub enum WatchError {
    /// The user has as many inotify instances as the system allows.
    #[error("no more inotify instances can be had")]
    Instances,
    /// The user watches as many folders as the system allows.
    #[error("`{}` cannot be watched: {watched} folders are, and the system allows no more", path.display())]
    Folders {
        /// The first that is one too many.
        path: PathBuf,
        /// How many of this watch.
        watched: usize,
    },
    /// The system refused otherwise.
    #[error("could not watch `{}`", path.display())]
    Io {
        /// What was to be watched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Folders, each watched for what is directly in it.
#[derive(Debug)]
pub struct Folders {
    inotify: OwnedFd,
    watched: BTreeSet<i32>,
}

impl Folders {
    /// None yet.
    pub fn none() -> Result<Self, WatchError> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags).map_err(|error| match error {
            Errno::MFILE => WatchError::Instances,
            error => WatchError::Io {
                path: PathBuf::new(),
                source: error.into(),
            },
        })?;
        Ok(Self {
            inotify,
            watched: BTreeSet::new(),
        })
    }

    /// Watches a folder from now on; says whether it was not watched before. One that is gone is no error.
    pub fn add(&mut self, folder: &Path) -> Result<bool, WatchError> {
        match inotify::add_watch(&self.inotify, folder, EVENTS) {
            Ok(watch) => Ok(self.watched.insert(watch)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
            Err(Errno::NOSPC) => Err(WatchError::Folders {
                path: folder.to_owned(),
                watched: self.watched.len(),
            }),
            Err(error) => Err(WatchError::Io {
                path: folder.to_owned(),
                source: error.into(),
            }),
        }
    }

    /// How many are watched.
    pub fn count(&self) -> usize {
        self.watched.len()
    }

    /// Returns once something may have changed and `quiet` has passed without more, or `at_most` since the first.
    pub fn wait(&mut self, quiet: Duration, at_most: Duration) -> io::Result<()> {
        self.take(None)?;
        let first = Instant::now();
        while self.take(Some(quiet))? && first.elapsed() < at_most {}
        Ok(())
    }

    /// Waits for events and takes all that there are; says whether any came in time.
    fn take(&mut self, patience: Option<Duration>) -> io::Result<bool> {
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        let mut watched = [PollFd::new(&self.inotify, PollFlags::IN)];
        let wait = || rustix::event::poll(&mut watched, patience.as_ref());
        if rustix::io::retry_on_intr(wait)? == 0 {
            return Ok(false);
        }
        let mut events = [MaybeUninit::<u8>::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut events);
        loop {
            match reader.next() {
                // A folder that is gone: its number may be given again.
                Ok(event) if event.events().contains(ReadFlags::IGNORED) => {
                    self.watched.remove(&event.wd());
                }
                Ok(_) => {}
                Err(Errno::AGAIN) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_a_folder_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut folders = Folders::none().unwrap();
        assert!(folders.add(folder.path()).unwrap());
        assert!(!folders.add(folder.path()).unwrap());
        assert!(!folders.add(&folder.path().join("none")).unwrap());
        assert_eq!(folders.count(), 1);
        crate::sys::fs::write_atomic(&folder.path().join("a"), b"", 0o600).unwrap();
        folders
            .wait(Duration::from_millis(1), Duration::from_secs(10))
            .unwrap();
        assert!(!folders.take(Some(Duration::ZERO)).unwrap());
    }

    #[test]
    fn a_folder_that_is_made_again_is_watched_again() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a");
        let mut folders = Folders::none().unwrap();
        for _ in 0..2 {
            std::fs::create_dir(&folder).unwrap();
            assert!(folders.add(&folder).unwrap());
            std::fs::remove_dir(&folder).unwrap();
            folders.wait(Duration::ZERO, Duration::ZERO).unwrap();
            assert_eq!(folders.count(), 0);
        }
    }
}
