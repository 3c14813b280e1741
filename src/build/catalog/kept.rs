//! What a host keeps of buildpacks that were fetched, unpacked or generated:
//!
//! ```text
//! <host>/cache/buildpacks/
//!     <digest>/             a folder that its name says all about; never changed
//!     resolved/<digest>     the commit that a revision of a git repository was last
//!     .lock                 held while a folder is made
//!     .tmp-…                a folder that is being made, or was when somebody was killed
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use crate::build::BuildError;
use crate::store::Store;
use crate::sys::At as _;
use crate::sys::fs::{
    TEMPORARY_PREFIX, create_dir_durable, read_if_present, remove_tree, sync_parent,
    temporary_beside, touch, write_atomic,
};
use crate::sys::lock::Lock;

/// A commit, and a line end.
const RESOLVED_BYTES_MAX: u64 = 128;

/// The folder.
#[derive(Debug)]
pub(super) struct Kept {
    folder: PathBuf,
}

impl Kept {
    /// That of this host.
    pub(super) fn of(store: &Store) -> Result<Self, BuildError> {
        let folder = store.buildpacks();
        create_dir_durable(&folder, 0o755)?;
        Ok(Self { folder })
    }

    /// The folder of that name, if it is there. It counts as used now.
    pub(super) fn get(&self, name: &str) -> Result<Option<PathBuf>, BuildError> {
        let path = self.folder.join(name);
        if !path.is_dir() {
            return Ok(None);
        }
        touch(&path)?;
        Ok(Some(path))
    }

    /// The folder of that name. If it is not there, `make` fills an empty one, which gets its name when it is
    /// whole and on the disk; of several builds at once one makes it.
    pub(super) fn get_or_make(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Result<(), BuildError>,
    ) -> Result<PathBuf, BuildError> {
        if let Some(path) = self.get(name)? {
            return Ok(path);
        }
        let _lock = Lock::take(&self.folder.join(".lock"))?;
        if let Some(path) = self.get(name)? {
            return Ok(path);
        }
        self.sweep()?;
        let path = self.folder.join(name);
        let temporary = temporary_beside(&path);
        fs::create_dir(&temporary).at("create the folder", &temporary)?;
        if let Err(error) = make(&temporary) {
            remove_tree(&temporary)?;
            return Err(error);
        }
        fs::File::open(&temporary)
            .and_then(|folder| Ok(rustix::fs::syncfs(folder)?))
            .at("make durable", &temporary)?;
        fs::rename(&temporary, &path).at("create the folder", &path)?;
        sync_parent(&path)?;
        Ok(path)
    }

    /// What was resolved to what, when the network was last asked.
    pub(super) fn resolved(&self, name: &str) -> Result<Option<String>, BuildError> {
        let bytes = read_if_present(&self.folder.join("resolved").join(name), RESOLVED_BYTES_MAX)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    /// Remembers it.
    pub(super) fn remember(&self, name: &str, resolved: &str) -> Result<(), BuildError> {
        let folder = self.folder.join("resolved");
        create_dir_durable(&folder, 0o755)?;
        write_atomic(&folder.join(name), resolved.as_bytes(), 0o644)?;
        Ok(())
    }

    /// What killed builds left. Nobody else has one under way, because we have the lock.
    fn sweep(&self) -> Result<(), BuildError> {
        for entry in fs::read_dir(&self.folder).at("list", &self.folder)? {
            let entry = entry.at("list", &self.folder)?;
            let name = entry.file_name();
            if name
                .as_encoded_bytes()
                .starts_with(TEMPORARY_PREFIX.as_bytes())
            {
                remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }
}
