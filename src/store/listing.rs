//! What lies in a store and on this host: what a collection is planned from.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Store, StoreError, names_in};
use crate::ident::{AppName, Digest};
use crate::sys::clock::Timestamp;
use crate::sys::fs::TEMPORARY_PREFIX;
use crate::sys::{At as _, PathError};

/// One thing on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its size; of a folder, the sum of what is in it.
    pub bytes: u64,
    /// When it was last written, or got its name, whichever is later.
    pub changed: Timestamp,
}

/// Everything that can become garbage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// `<root>/blobs`.
    pub blobs: BTreeMap<Digest, Entry>,
    /// `<root>/slugs`.
    pub slugs: BTreeMap<Digest, Entry>,
    /// `<root>/apps/<app>/config`.
    pub configs: BTreeMap<(AppName, Digest), Entry>,
    /// `<host>/layers`, by the digest of the uncompressed tar.
    pub layers: BTreeMap<Digest, Entry>,
    /// `<host>/cache/artifacts`.
    pub artifacts: BTreeMap<Digest, Entry>,
    /// `<host>/cache/buildpacks`, by the digest of what was fetched.
    pub buildpacks: BTreeMap<Digest, Entry>,
    /// The content of cached layers, by app, of apps that are not being built; changed when a build of it began last.
    pub build_caches: BTreeMap<AppName, Entry>,
    /// What a killed write has left behind, or one that is under way.
    pub temporaries: BTreeMap<PathBuf, Entry>,
}

impl Store {
    /// Looks at everything that can become garbage. Reads no file's content.
    pub fn list(&self) -> Result<Listing, StoreError> {
        let mut listing = Listing::default();
        let mut folders = vec![
            self.root().to_owned(),
            self.root().join("recipients"),
            self.host().to_owned(),
        ];
        listing.blobs = digests(&self.blobs(), "")?;
        listing.slugs = digests(&self.root().join("slugs"), ".json")?;
        listing.layers = digests(&self.layers(), "")?;
        listing.artifacts = digests(&self.artifacts(), "")?;
        listing.buildpacks = digests(&self.buildpacks(), "")?;
        let build_caches = self.list_build_caches()?;
        listing.build_caches = build_caches.content;
        listing.temporaries = build_caches.left;
        folders.extend([
            self.blobs(),
            self.root().join("slugs"),
            self.layers(),
            self.artifacts(),
            self.buildpacks(),
        ]);
        folders.extend(["heads", "uids", "cache"].map(|name| self.host().join(name)));
        for app in names_in(&self.root().join("apps"))?
            .iter()
            .filter_map(|name| name.parse::<AppName>().ok())
        {
            let configs = digests(&self.config_folder(&app), "")?;
            listing.configs.extend(
                configs
                    .into_iter()
                    .map(|(config, entry)| ((app.clone(), config), entry)),
            );
            folders.extend([
                self.config_folder(&app),
                self.app_folder(&app),
                self.app_folder(&app).join("releases"),
            ]);
        }
        for folder in folders {
            listing.temporaries.extend(temporaries(&folder)?);
        }
        Ok(listing)
    }

    /// `<host>/layers`: the unpacked layers.
    pub fn layers(&self) -> PathBuf {
        self.host().join("layers")
    }

    /// `<host>/cache/artifacts`: fetched runtimes and tools.
    pub fn artifacts(&self) -> PathBuf {
        self.host().join("cache/artifacts")
    }
}

fn digests(folder: &Path, suffix: &str) -> Result<BTreeMap<Digest, Entry>, PathError> {
    let mut found = BTreeMap::new();
    for name in names_in(folder)? {
        let digest = name
            .strip_suffix(suffix)
            .and_then(|hex| Digest::from_hex(hex).ok());
        if let Some(digest) = digest
            && let Some(entry) = entry(&folder.join(&name))?
        {
            found.insert(digest, entry);
        }
    }
    Ok(found)
}

fn temporaries(folder: &Path) -> Result<Vec<(PathBuf, Entry)>, PathError> {
    let mut found = Vec::new();
    for name in names_in(folder)?
        .iter()
        .filter(|name| name.starts_with(TEMPORARY_PREFIX))
    {
        let path = folder.join(name);
        found.extend(entry(&path)?.map(|entry| (path, entry)));
    }
    Ok(found)
}

/// None if it is gone by now.
pub(super) fn entry(path: &Path) -> Result<Option<Entry>, PathError> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.at("look at", path)?,
    };
    // Unpacked layers have the mtime of the tar, 1980; a change of the inode cannot be set back.
    let seconds = metadata.mtime().max(metadata.ctime());
    let changed = Timestamp::from_unix_us(seconds.saturating_mul(1_000_000));
    let bytes = if metadata.is_dir() {
        bytes_in(path)?
    } else {
        metadata.len()
    };
    Ok(changed.map(|changed| Entry { bytes, changed }))
}

pub(super) fn bytes_in(folder: &Path) -> Result<u64, PathError> {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.at("list", &folder)?,
        };
        for entry in entries {
            let entry = entry.at("list", &folder)?;
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => bytes += metadata.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).at("look at", &entry.path()),
            }
        }
    }
    Ok(bytes)
}
