//! The folder in which lifecycle keeps cached layers: `committed/<diff id>.tar`,
//! uncompressed, and a JSON file that says whose they are.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::console::Console;
use super::failed::{FAILED, Failed};
use super::files::BuildpackLayers;
use crate::ident::Digest;
use crate::sys::fs::read_if_present;
use crate::sys::{At as _, PathError};

/// The file that says whose the layers are.
const METADATA: &str = "io.buildpacks.lifecycle.cache.metadata";
/// The largest such file, in bytes.
const METADATA_BYTES_MAX: u64 = 64 << 20;

/// What the cache says of its layers.
#[derive(Debug, Default, Deserialize)]
pub(super) struct CacheMetadata {
    #[serde(default)]
    pub(super) buildpacks: Vec<BuildpackLayers>,
    #[serde(default)]
    pub(super) sbom: CachedSbom,
}

/// The layer that holds the SBOMs of cached layers.
#[derive(Debug, Default, Deserialize)]
pub(super) struct CachedSbom {
    #[serde(default)]
    pub(super) sha: String,
}

/// The folder.
#[derive(Debug)]
pub(super) struct CacheDir {
    committed: PathBuf,
}

/// What became of reading a layer.
#[derive(Debug)]
pub(super) enum CachedLayer {
    /// Its tar, at its beginning.
    Good(File),
    /// Why it is not restored.
    Unusable(String),
}

impl CacheDir {
    /// The folder must be there, as in lifecycle: a mistyped path is no empty cache.
    pub(super) fn open(folder: &Path) -> Result<Self, Failed> {
        folder
            .metadata()
            .at("look at", folder)
            .map_err(|error| Failed::new(FAILED, "create volume cache", error))?;
        Ok(Self {
            committed: folder.join("committed"),
        })
    }

    /// Whose layers there are; nobody's if the file is not there or cannot be read.
    pub(super) fn metadata(&self, console: &mut Console<'_>) -> Result<CacheMetadata, PathError> {
        let file = self.committed.join(METADATA);
        let Some(bytes) = read_if_present(&file, METADATA_BYTES_MAX)? else {
            console.info("Layer cache not found");
            return Ok(CacheMetadata::default());
        };
        Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            console.warn(&format!("{} is not used: {error}", file.display()));
            CacheMetadata::default()
        }))
    }

    /// Opens the tar of a layer, after its bytes were found to be those of its name.
    pub(super) fn layer(&self, diff_id: &str) -> Result<CachedLayer, PathError> {
        let unusable = |why: String| Ok(CachedLayer::Unusable(why));
        let Ok(expected) = diff_id.parse::<Digest>() else {
            return unusable(format!("`{diff_id}` is no digest"));
        };
        let path = self.committed.join(format!("{expected}.tar"));
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return unusable(format!("failed to find cache layer with SHA '{expected}'"));
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return unusable(format!(
                    "failed to read cache layer with SHA '{expected}' due to insufficient permissions"
                ));
            }
            Err(error) => return Err(error).at("open", &path),
        };
        let found = digest(&mut file).at("read", &path)?;
        if found != expected {
            return unusable(format!(
                "expected layer contents to have SHA '{expected}'; found '{found}'"
            ));
        }
        file.rewind().at("read", &path)?;
        Ok(CachedLayer::Good(file))
    }
}

fn digest(file: &mut File) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 256 * 1024];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Digest::from_hasher(hasher)),
            length => hasher.update(&piece[..length]),
        }
    }
}
