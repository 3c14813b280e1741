//! The SBOMs of a build: laid out as lifecycle lays them, `launch` for the slug
//! (rule 39) and those of layers that come back for the next build (rules 46 and 50).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::BuildError;
use super::cache::Cache;
use super::layers::Collected;
use crate::buildpack::bom::{BomEntry, LEGACY_FILE, legacy_json};
use crate::buildpack::descriptor::Descriptor;
use crate::buildpack::sbom::{self, Sbom, SbomScope, SbomSubject};
use crate::ident::{BuildpackId, LayerName};
use crate::layer::LayerTypes;
use crate::layer::metadata::ComesBack;
use crate::sys::fs::{read_plain, write_unsynced};
use crate::sys::{At as _, PathError};

/// The folder of a root of the cache that holds SBOMs.
pub(super) const ROOT: &str = "sbom";

/// The SBOMs of a whole build, as they are laid out.
#[derive(Debug, Default)]
pub(super) struct Sboms {
    /// The files that lie in the slug at `/layers/sbom/launch`, by their path there. Not their bytes: a large one has many.
    launch: BTreeMap<PathBuf, PathBuf>,
    legacy: Vec<Value>,
}

impl Sboms {
    /// Takes over what a build left beside its layers, and what it said in the legacy form. Returns the SBOMs of
    /// layers that the next build finds again, and warnings.
    pub(super) fn add(
        &mut self,
        folder: &Path,
        buildpack: &Descriptor,
        collected: &Collected,
        bom: &[BomEntry],
    ) -> Result<(Kept, Vec<String>), BuildError> {
        let types = collected.types();
        let read = sbom::read(folder, buildpack, &types)?;
        let mut kept = Kept::default();
        for sbom in &read.sboms {
            sbom.read()?; // what is no plain file is refused while its buildpack can be named
            if is_restored(sbom, &types) {
                kept.0.insert(file_name(sbom), sbom.file.clone());
            }
            if sbom.scopes.contains(&SbomScope::Launch) {
                let place = sbom.place(&buildpack.id);
                self.launch.insert(place, sbom.file.clone());
            }
        }
        self.legacy.extend(legacy_json(bom, buildpack));
        Ok((kept, read.warnings))
    }

    /// Writes what goes into the slug below `folder`; false if there is nothing.
    pub(super) fn write_launch(&self, folder: &Path) -> Result<bool, PathError> {
        for (place, file) in &self.launch {
            let to = folder.join(place);
            let parent = to.parent().unwrap_or(folder);
            fs::create_dir_all(parent).at("create the folder", parent)?;
            copy(file, &to)?;
        }
        if !self.legacy.is_empty() {
            fs::create_dir_all(folder).at("create the folder", folder)?;
            let text = Value::from(self.legacy.clone()).to_string();
            write_unsynced(&folder.join(LEGACY_FILE), text.as_bytes(), 0o644)?;
        }
        Ok(!self.launch.is_empty() || !self.legacy.is_empty())
    }
}

/// The SBOMs of one buildpack's layers that come back at its next build: their files by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(BTreeMap<String, PathBuf>);

impl Kept {
    /// Puts them into a root of the cache, into the last build's if it has the same; and whether the root is new.
    pub(super) fn remember(
        &self,
        cache: &Cache,
        buildpack: &BuildpackId,
        scratch: &Path,
    ) -> Result<(Option<String>, bool), PathError> {
        if self.0.is_empty() {
            return Ok((None, false));
        }
        let before = cache.state.buildpacks.get(buildpack);
        let before = before.and_then(|before| before.sboms.clone());
        if let Some(root) = before
            && self.is_same_as(&Self::read(&cache.root(&root))?)?
        {
            return Ok((Some(root), false));
        }
        let folder = scratch.join("kept-sboms").join(buildpack.folder());
        fs::create_dir_all(&folder).at("create the folder", &folder)?;
        for (name, file) in &self.0 {
            copy(file, &folder.join(name))?;
        }
        Ok((Some(cache.adopt(&folder, ROOT)?), true))
    }

    fn is_same_as(&self, other: &Self) -> Result<bool, PathError> {
        if !self.0.keys().eq(other.0.keys()) {
            return Ok(false);
        }
        for (one, other) in self.0.values().zip(other.0.values()) {
            if bytes_of(one)? != bytes_of(other)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What a root holds; nothing if somebody removed it.
    fn read(root: &Path) -> Result<Self, PathError> {
        let folder = root.join(ROOT);
        let mut kept = BTreeMap::new();
        if !folder.is_dir() {
            return Ok(Self::default());
        }
        for entry in fs::read_dir(&folder).at("read", &folder)? {
            let entry = entry.at("read", &folder)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            kept.insert(name, entry.path());
        }
        Ok(Self(kept))
    }
}

/// Gives back the SBOMs of the layers of which anything is restored; their files.
pub(super) fn restore<'a>(
    root: &Path,
    layers: impl Iterator<Item = &'a LayerName>,
    to: &Path,
) -> Result<Vec<PathBuf>, PathError> {
    let Kept(kept) = Kept::read(root)?;
    let mut files = Vec::new();
    for layer in layers {
        let prefix = format!("{layer}.sbom.");
        for (name, from) in kept.iter().filter(|(name, _)| name.starts_with(&prefix)) {
            let file = to.join(name);
            copy(from, &file)?;
            files.push(file);
        }
    }
    Ok(files)
}

fn copy(from: &Path, to: &Path) -> Result<(), PathError> {
    write_unsynced(to, &bytes_of(from)?, 0o644)
}

fn bytes_of(file: &Path) -> Result<Vec<u8>, PathError> {
    Ok(read_plain(file, sbom::SBOM_BYTES_MAX)?.unwrap_or_default())
}

/// What is restored of a layer brings its SBOM along: a cached one's, and a launch-only one's.
fn is_restored(sbom: &Sbom, layers: &BTreeMap<LayerName, LayerTypes>) -> bool {
    let SbomSubject::Layer(name) = &sbom.subject else {
        return false;
    };
    let types = layers.get(name);
    types.is_some_and(|types| types.comes_back() != ComesBack::Not)
}

fn file_name(sbom: &Sbom) -> String {
    let name = sbom.file.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The legacy tables of both files. Their author is warned, unless SBOM files show that the new way is taken too.
pub(super) fn legacy_warning(
    folder: &Path,
    buildpack: &BuildpackId,
    bom: &[BomEntry],
) -> Result<Option<String>, PathError> {
    if bom.is_empty() || sbom::has_files(folder)? {
        return Ok(None);
    }
    Ok(Some(format!(
        "`{buildpack}` writes `[[bom]]` tables, which are deprecated since Buildpack API 0.7: SBOMs belong into `<layer>.sbom.<ext>`, `launch.sbom.<ext>` or `build.sbom.<ext>`"
    )))
}
