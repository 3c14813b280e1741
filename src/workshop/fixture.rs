//! The fixtures of a buildpack:
//!
//! ```text
//! tests/<name>/
//!     app/            the app
//!     second/         files that lie over the app's at the second build, if any
//!     expect.toml     what is expected
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use super::expectation::Expectation;
use crate::layer::TomlError;
use crate::sys::{At as _, PathError};

/// One fixture.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// Its folder's name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// What its `expect.toml` says; none if there is no such file.
    pub expected: Option<Expectation>,
}

impl Fixture {
    /// The names of all fixtures of the buildpack in that folder, sorted.
    pub fn names(buildpack: &Path) -> Result<Vec<String>, PathError> {
        let folder = buildpack.join("tests");
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).at("read", &folder)? {
            let entry = entry.at("read", &folder)?;
            if entry.path().join("app").is_dir() {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The fixture of that name.
    pub fn read(buildpack: &Path, name: &str) -> Result<Self, TomlError> {
        let folder = buildpack.join("tests").join(name);
        Ok(Self {
            name: name.to_owned(),
            expected: Expectation::read(&folder.join("expect.toml"))?,
            folder,
        })
    }

    /// The app.
    pub(super) fn app(&self) -> PathBuf {
        self.folder.join("app")
    }

    /// What lies over it at the second build.
    pub(super) fn second(&self) -> PathBuf {
        self.folder.join("second")
    }

    /// Where what is expected stands.
    pub fn file(&self) -> PathBuf {
        self.folder.join("expect.toml")
    }
}
