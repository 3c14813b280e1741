//! Writes the folder after a good build.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::manifest::{
    CONTENT, Carried, Content, KNOWN, Known, MANIFEST_BYTES_MAX, Manifest, PackedContent, blobs,
    place_in_slug,
};
use super::{Note, Portable, copy_blob};
use crate::archive::{Compression, Modes, Packed, Tree, pack};
use crate::build::cache::Cache;
use crate::build::state::State;
use crate::build::tree::flatten;
use crate::build::{BuildError, Event, sbom};
use crate::ident::{BuildpackId, Digest, LayerName};
use crate::sys::fs::{create_dir_durable, read_plain, remove_tree, temporary_beside, write_atomic};
use crate::sys::{At as _, PathError};

impl Portable<'_> {
    /// Puts what this build leaves into the folder, and removes what no app's build needs of it any more.
    pub(in crate::build) fn save<'b>(
        self,
        cache: &Cache,
        state: &State,
        fetched: impl Iterator<Item = &'b Path>,
        progress: &mut dyn FnMut(Event<'_>),
    ) -> Result<Note, BuildError> {
        let artifacts = self.save_artifacts(fetched)?;
        let mut contents = BTreeMap::new();
        let mut carried = Vec::new();
        for kept in kept(state) {
            match self.packed(cache, &kept) {
                Ok(packed) => {
                    contents.insert(kept.key(), packed.clone());
                    carried.push(Content {
                        buildpack: kept.buildpack.clone(),
                        layer: kept.layer.cloned(),
                        packed,
                    });
                }
                Err(error) => progress(Event::Warning(&format!(
                    "`{}` of {} is not in the cache folder: {error}",
                    kept.name(),
                    kept.buildpack
                ))),
            }
        }
        let manifest = Manifest::new(Carried {
            state: state.without_folders(),
            contents: carried,
            artifacts,
        });
        self.keep_blobs(&manifest.cache)?;
        create_dir_durable(&self.folder.join("apps"), 0o755)?;
        let old = self.read().ok().flatten();
        if old.is_none_or(|old| old.digest != manifest.digest) {
            let text = serde_json::json!(manifest).to_string();
            write_atomic(&self.manifest(), text.as_bytes(), 0o644)?;
        }
        self.prune()?;
        let manifest = Some(manifest.digest);
        Ok(Note {
            path: cache.file(KNOWN),
            known: Known { manifest, contents },
        })
    }

    /// The content as a tar: the slug's own layer, the one that is there, or a new one.
    fn packed(&self, cache: &Cache, kept: &Kept<'_>) -> Result<PackedContent, BuildError> {
        if let Some(packed) = kept.of_slug {
            return Ok(PackedContent {
                at: place_in_slug(kept.buildpack, kept.name()),
                blob: packed.layer.clone(),
            });
        }
        match self.known.contents.get(&kept.key()) {
            Some(PackedContent { at, blob })
                if self.store.has_blob(&blob.digest, Some(blob.size_bytes)) =>
            {
                let (at, blob) = (at.clone(), blob.clone());
                Ok(PackedContent { at, blob })
            }
            _ => self.pack(cache, kept),
        }
    }

    fn pack(&self, cache: &Cache, kept: &Kept<'_>) -> Result<PackedContent, BuildError> {
        let roots = kept.roots.iter();
        let trees = roots.map(|root| cache.root(root).join(kept.name()));
        let mut trees: Vec<PathBuf> = trees.collect();
        if trees.len() > 1 {
            let flat = cache.scratch().join("portable");
            remove_tree(&flat)?;
            flatten(&trees, &flat)?;
            trees = vec![flat];
        }
        let tree = Tree {
            from: trees.remove(0),
            to: CONTENT.into(),
            modes: Modes::Kept,
        };
        let packed = pack(&self.store, &[tree], Compression::Zstd, &mut |_| {})?;
        Ok(PackedContent {
            at: CONTENT.into(),
            blob: packed.layer,
        })
    }

    /// The blobs that lie in the store of slugs so far.
    fn keep_blobs(&self, carried: &Carried) -> Result<(), BuildError> {
        for blob in blobs(carried) {
            if let Err(why) = copy_blob(&self.request.store, &self.store, blob)? {
                let path = self.request.store.blob_path(&blob.digest);
                let error = PathError {
                    doing: "copy",
                    path,
                    source: io::Error::other(why),
                };
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn save_artifacts<'b>(
        &self,
        fetched: impl Iterator<Item = &'b Path>,
    ) -> Result<BTreeSet<Digest>, BuildError> {
        let folder = self.folder.join("artifacts");
        create_dir_durable(&folder, 0o755)?;
        let mut kept = BTreeSet::new();
        for file in fetched {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let Ok(digest) = format!("sha256:{name}").parse::<Digest>() else {
                continue;
            };
            let to = folder.join(&*name);
            let size = |path: &Path| path.metadata().ok().map(|found| found.len());
            if size(&to) != size(file) {
                let temporary = temporary_beside(&to);
                fs::copy(file, &temporary).at("copy", file)?;
                fs::rename(&temporary, &to).at("create", &to)?;
            }
            kept.insert(digest);
        }
        Ok(kept)
    }

    /// Removes what no manifest names, of the two folders that are ours.
    fn prune(&self) -> Result<(), PathError> {
        let mut needed = BTreeSet::new();
        let apps = self.folder.join("apps");
        for entry in fs::read_dir(&apps).at("read", &apps)? {
            let path = entry.at("read", &apps)?.path();
            let bytes = read_plain(&path, MANIFEST_BYTES_MAX)?.unwrap_or_default();
            let manifest: Option<Manifest> = serde_json::from_slice(&bytes).ok();
            let Some(Manifest { cache, .. }) = manifest else {
                return Ok(()); // of a newer slug: what it needs is not known
            };
            needed.extend(blobs(&cache).map(|blob| blob.digest.hex()));
            needed.extend(cache.artifacts.iter().map(Digest::hex));
        }
        for folder in ["blobs/sha256", "artifacts"].map(|folder| self.folder.join(folder)) {
            let Ok(entries) = fs::read_dir(&folder) else {
                continue; // none was ever made
            };
            for entry in entries {
                let entry = entry.at("read", &folder)?;
                if !needed.contains(&*entry.file_name().to_string_lossy()) {
                    remove_tree(&entry.path())?;
                }
            }
        }
        Ok(())
    }
}

/// What of a state has folders of its own.
struct Kept<'a> {
    buildpack: &'a BuildpackId,
    /// None for the SBOMs.
    layer: Option<&'a LayerName>,
    roots: &'a [String],
    of_slug: Option<&'a Packed>,
}

impl Kept<'_> {
    fn name(&self) -> &str {
        self.layer.map_or(sbom::ROOT, LayerName::as_str)
    }

    /// Folders never change: their names say what is in them.
    fn key(&self) -> String {
        self.roots.join(" ")
    }
}

fn kept(state: &State) -> Vec<Kept<'_>> {
    let mut all = Vec::new();
    for (buildpack, state) in &state.buildpacks {
        all.extend(state.layers.iter().map(|(name, layer)| Kept {
            buildpack,
            layer: Some(name),
            roots: &layer.roots,
            of_slug: layer.packed.as_ref(),
        }));
        all.push(Kept {
            buildpack,
            layer: None,
            roots: state.sboms.as_slice(),
            of_slug: None,
        });
    }
    all.retain(|kept| !kept.roots.is_empty());
    all
}
