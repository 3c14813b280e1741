//! Tells when the ledger may have changed. A hint only: what has, is read from the ledger.

use std::mem::MaybeUninit;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::inotify;

use crate::sys::readable::Readable;
/// How often the ledger is looked at although nothing told us to: the folder may not be there yet, or lie on a file system of another host.
const LOOK: Duration = Duration::from_secs(5);

/// A folder that is watched, once it is there.
pub(super) struct LedgerWatch {
    folder: PathBuf,
    inotify: Option<Readable>,
}

impl LedgerWatch {
    pub(super) fn new(folder: &Path) -> Self {
        let mut watch = Self {
            folder: folder.to_owned(),
            inotify: None,
        };
        watch.arm();
        watch
    }

    /// Watches the folder if it is there now. To be called before the ledger is read, so that no change falls between.
    pub(super) fn arm(&mut self) {
        if self.inotify.is_none() {
            self.inotify = watched(&self.folder);
        }
    }

    /// Returns when the ledger should be looked at.
    pub(super) async fn changed(&self) {
        let Some(inotify) = &self.inotify else {
            return tokio::time::sleep(LOOK).await;
        };
        tokio::select! {
            ready = inotify.wait() => if ready.is_ok() {
                let mut events = [MaybeUninit::<u8>::uninit(); 4096];
                let mut reader = inotify::Reader::new(inotify, &mut events);
                while reader.next().is_ok() {}
            },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// A file that is watched for changes of its content.
pub(super) struct FileWatch(Readable);

impl FileWatch {
    /// None if it cannot be watched.
    pub(super) fn new(file: &Path) -> Option<Self> {
        watched_for(file, inotify::WatchFlags::MODIFY).map(Self)
    }

    /// Returns when it has changed; never, if that cannot be told any more.
    pub(super) async fn changed(&self) {
        if self.0.wait().await.is_err() {
            return std::future::pending().await;
        }
        let mut events = [MaybeUninit::<u8>::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.0, &mut events);
        while reader.next().is_ok() {}
    }
}

/// Records are linked in, or renamed in, whole.
fn watched(folder: &Path) -> Option<Readable> {
    let flags = inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    watched_for(folder, flags)
}

fn watched_for(path: &Path, flags: inotify::WatchFlags) -> Option<Readable> {
    let inotify =
        inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok()?;
    inotify::add_watch(&inotify, path, flags).ok()?;
    Readable::watch(inotify).ok()
}
