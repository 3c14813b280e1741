//! Where one fixture is built: a copy of its app and a store, both of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::fixture::Fixture;
use crate::sys::fs::remove_tree;
use crate::sys::{At as _, PathError};

/// Gone when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    folder: TempDir,
    /// The app; a copy of a fixture's is no part of the work tree that the fixture may be in.
    pub(super) app: PathBuf,
    /// The store.
    pub(super) store: PathBuf,
}

impl Place {
    /// The app is where it is: a build changes nothing of it.
    pub(super) fn without_app(app: &Path) -> Result<Self, PathError> {
        let folder = tempfile::tempdir().at("create a folder in", &std::env::temp_dir())?;
        Ok(Self {
            app: app.to_owned(),
            store: folder.path().join("store"),
            folder,
        })
    }

    /// With a copy of the fixture's app.
    pub(super) fn make(fixture: &Fixture) -> Result<Self, PathError> {
        let mut place = Self::without_app(&fixture.app())?;
        place.app = place.folder().join("app");
        copy_over(&fixture.app(), &place.app)?;
        Ok(place)
    }

    /// For what else the builds need.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Copies the files of that folder over the app's; nothing if it is not there.
    pub(super) fn lay_over(&self, files: &Path) -> Result<(), PathError> {
        if files.is_dir() {
            copy_over(files, &self.app)?;
        }
        Ok(())
    }
}

/// Copies all files, with their modes, and all links.
fn copy_over(from: &Path, to: &Path) -> Result<(), PathError> {
    fs::create_dir_all(to).at("create the folder", to)?;
    for entry in fs::read_dir(from).at("read", from)? {
        let entry = entry.at("read", from)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().at("look at", &source)?;
        if kind.is_dir() {
            if target.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
                remove_tree(&target)?;
            }
            copy_over(&source, &target)?;
            continue;
        }
        remove_tree(&target)?;
        if kind.is_symlink() {
            let link = fs::read_link(&source).at("read the link", &source)?;
            symlink(link, &target).at("create the link", &target)?;
        } else {
            fs::copy(&source, &target).at("copy", &source)?;
        }
    }
    Ok(())
}
