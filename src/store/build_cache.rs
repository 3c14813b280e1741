//! Where the build caches of this host lie, and how one is emptied. What is in
//! them is the business of `build`:
//!
//! ```text
//! <host>/cache/build/<app>/
//!     lock         held by the one build that runs; written at the start of each
//!     state.json   what the last good build left
//!     roots/<n>/   the content of a layer, or what a build wrote over it: one folder, `<layer>`
//!     work/<n>/    a build that runs, or was killed; swept by the next one
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::listing::{Entry, bytes_in, entry};
use super::{Store, names_in};
use crate::ident::AppName;
use crate::sys::fs::{random_hex, remove_tree, step};
use crate::sys::lock::Lock;
use crate::sys::{At as _, PathError};

/// Locked by a build.
pub const LOCK: &str = "lock";
/// The folder of the content of cached layers.
pub const ROOTS: &str = "roots";
/// The folder of builds that are under way.
pub const WORK: &str = "work";

impl Store {
    /// `<host>/cache/build/<app>`: what a build of the app leaves for the next one.
    pub fn build_cache(&self, app: &AppName) -> PathBuf {
        self.build_caches().join(app.as_str())
    }

    /// `<host>/cache/buildpacks`: fetched and unpacked buildpacks.
    pub fn buildpacks(&self) -> PathBuf {
        self.host().join("cache/buildpacks")
    }

    fn build_caches(&self) -> PathBuf {
        self.host().join("cache/build")
    }

    /// The cached content of each app that is not being built, and when it was last built; and what killed builds left.
    pub(super) fn list_build_caches(&self) -> Result<BuildCaches, PathError> {
        let mut caches = BuildCaches::default();
        for app in names_in(&self.build_caches())?
            .iter()
            .filter_map(|name| name.parse::<AppName>().ok())
        {
            let folder = self.build_cache(&app);
            let Some(_lock) = Lock::try_take(&folder.join(LOCK))? else {
                continue;
            };
            for name in names_in(&folder.join(WORK))? {
                let path = folder.join(WORK).join(name);
                caches.left.extend(entry(&path)?.map(|entry| (path, entry)));
            }
            if let Some(built) = entry(&folder.join(LOCK))? {
                let bytes = bytes_in(&folder.join(ROOTS))?;
                caches.content.insert(app, Entry { bytes, ..built });
            }
        }
        Ok(caches)
    }

    /// Empties the cache of an app, unless a build of it runs. By a rename first: a root is there whole, or not at all.
    pub(super) fn empty_build_cache(&self, app: &AppName) -> Result<(), PathError> {
        let folder = self.build_cache(app);
        let Some(_lock) = Lock::try_take(&folder.join(LOCK))? else {
            return Ok(());
        };
        let work = folder.join(WORK);
        fs::create_dir_all(&work).at("create the folder", &work)?;
        let aside = work.join(random_hex());
        step();
        match fs::rename(folder.join(ROOTS), &aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed.at("remove", &folder.join(ROOTS))?,
        }
        remove_tree(&aside)
    }
}

/// What lies in the build caches.
#[derive(Debug, Default)]
pub(super) struct BuildCaches {
    pub(super) content: BTreeMap<AppName, Entry>,
    /// Scratch folders of killed builds.
    pub(super) left: BTreeMap<PathBuf, Entry>,
}

/// Removes a folder whose name stands for all of it: under another name first.
pub(super) fn remove_whole(path: &Path) -> Result<(), PathError> {
    let temporary = crate::sys::fs::temporary_beside(path);
    step();
    match fs::rename(path, &temporary) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed
            .at("remove", path)
            .and_then(|()| remove_tree(&temporary)),
    }
}
