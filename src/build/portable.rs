//! `--cache-dir`: the build cache of an app in a form that a CI system carries from one machine to the next. Neither
//! owners, times, links nor attributes of the files in it matter, so any archive of the folder will do:
//!
//! ```text
//! DIR/apps/<app>.json       what the last good build left (`Manifest`)
//! DIR/blobs/sha256/<hex>    the content of its cached layers and the layers of its slug: tars, compressed
//! DIR/artifacts/<hex>       what it fetched
//! ```
//!
//! Everything in it is named by its digest, and is believed only with that digest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cache::Cache;
use super::context::Context;
use super::state::State;
use super::tree::flatten;
use super::{BuildError, BuildRequest, Event, sbom};
use crate::archive::{Compression, LayerBlob, Modes, Tree, pack};
use crate::ident::{BuildpackId, Digest, LayerName};
use crate::store::Store;
use crate::sys::fs::{
    create_dir_durable, read_if_present, remove_tree, temporary_beside, write_atomic,
    write_unsynced,
};
use crate::sys::{At as _, PathError};

/// The version of the format.
const SCHEMA: u32 = 1;
/// As of the state, which is most of it.
const MANIFEST_BYTES_MAX: u64 = 256 << 20;
/// In the app's own cache: what of it lies in the folder.
const KNOWN: &str = "portable.json";
/// Where the content lies in a tar that is made for this alone.
const CONTENT: &str = "/content";
/// Said of what is not what its digest says.
const DAMAGED: &str = "it is damaged: its digest is another";

/// `DIR/apps/<app>.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    schema: u32,
    /// Of `cache` as JSON with sorted keys and without blanks.
    digest: Digest,
    cache: Carried,
}

/// What is carried.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Carried {
    /// As the app's own cache has it, without the names of its folders.
    state: State,
    contents: Vec<Content>,
    artifacts: BTreeSet<Digest>,
}

/// The content of a cached layer, or the SBOMs of a buildpack.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    buildpack: BuildpackId,
    /// None for the SBOMs.
    layer: Option<LayerName>,
    #[serde(flatten)]
    packed: PackedContent,
}

/// A tar and the folder in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PackedContent {
    at: PathBuf,
    blob: LayerBlob,
}

/// What of an app's own cache is in the folder: by the names of its folders, which never change.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Known {
    manifest: Option<Digest>,
    contents: BTreeMap<String, PackedContent>,
}

/// The folder, and the app whose cache goes there.
#[derive(Debug)]
pub(super) struct Portable<'a> {
    request: &'a BuildRequest,
    folder: PathBuf,
    store: Store,
    known: Known,
}

/// To be written once the app's own cache is what was put into the folder.
#[derive(Debug)]
#[must_use = "without it the folder is read again"]
pub(super) struct Note {
    path: PathBuf,
    known: Known,
}

impl Note {
    pub(super) fn write(self) -> Result<(), PathError> {
        let text = serde_json::json!(self.known).to_string();
        write_unsynced(&self.path, text.as_bytes(), 0o600)
    }
}

/// Where a build may look for artifacts besides.
pub(super) fn artifacts(request: &BuildRequest) -> Option<PathBuf> {
    Some(request.cache_dir.as_ref()?.join("artifacts"))
}

impl<'a> Portable<'a> {
    /// None if the build has no such folder.
    pub(super) fn open(request: &'a BuildRequest) -> Result<Option<Self>, PathError> {
        let Some(folder) = request.cache_dir.clone() else {
            return Ok(None);
        };
        create_dir_durable(&folder, 0o755)?;
        Ok(Some(Self {
            request,
            store: Store::open(&folder, &folder)?,
            folder,
            known: Known::default(),
        }))
    }

    fn manifest(&self) -> PathBuf {
        self.folder
            .join("apps")
            .join(format!("{}.json", self.request.app))
    }

    /// Takes over what the folder has, unless the app's own cache is what was put there. What is damaged is said and left
    /// out: its layers are made anew.
    pub(super) fn restore(
        &mut self,
        context: &Context<'_>,
        cache: &mut Cache,
        progress: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), BuildError> {
        self.known = Known::read(cache)?;
        let manifest = match self.read() {
            Ok(None) => return Ok(()),
            Ok(Some(manifest)) => manifest,
            Err(why) => {
                progress(Event::Warning(&format!(
                    "the cache in `{}` is not used: {why}",
                    self.folder.display()
                )));
                return Ok(());
            }
        };
        if self.request.clear_cache || self.known.manifest == Some(manifest.digest) {
            return Ok(());
        }
        let mut contents = BTreeMap::new();
        let mut state = manifest.cache.state;
        self.take_blobs(&mut state, progress)?;
        for content in manifest.cache.contents {
            match self.take(context, cache, &content) {
                Ok(root) => {
                    place(&mut state, &content, &root);
                    contents.insert(root, content.packed);
                }
                Err(why) => {
                    let Content {
                        buildpack, layer, ..
                    } = &content;
                    let name = layer.as_ref().map_or("SBOMs", LayerName::as_str);
                    progress(Event::Warning(&format!(
                        "`{name}` of {buildpack} is not taken from the cache in `{}`: {why}",
                        self.folder.display()
                    )));
                    // So that it is written anew, not taken to be there.
                    remove_tree(&self.store.blob_path(&content.packed.blob.digest))?;
                }
            }
        }
        cache.state = state;
        self.known.contents = contents;
        Ok(())
    }

    /// The manifest, if there is one; why it cannot be believed.
    fn read(&self) -> Result<Option<Manifest>, String> {
        let bytes = read_if_present(&self.manifest(), MANIFEST_BYTES_MAX)
            .map_err(|error| error.to_string())?;
        let Some(bytes) = bytes else {
            return Ok(None);
        };
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        if manifest.schema != SCHEMA {
            return Err(format!("it has schema {}", manifest.schema));
        }
        if digest_of(&manifest.cache) != manifest.digest {
            return Err(DAMAGED.to_owned());
        }
        Ok(Some(manifest))
    }

    /// The layers of the slug, so that those that did not change need not be made again.
    fn take_blobs(
        &self,
        state: &mut State,
        progress: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), BuildError> {
        let layers = state
            .buildpacks
            .values_mut()
            .flat_map(|state| state.layers.values_mut());
        for layer in layers {
            let Some(packed) = &layer.packed else {
                continue;
            };
            if let Err(why) = copy_blob(&self.store, &self.request.store, &packed.layer)? {
                progress(Event::Warning(&format!(
                    "a layer of the last slug is not taken from the cache in `{}`: {why}",
                    self.folder.display()
                )));
                remove_tree(&self.store.blob_path(&packed.layer.digest))?;
                layer.packed = None;
            }
        }
        Ok(())
    }

    /// Unpacks a content into a folder of the app's own cache; its name.
    fn take(
        &self,
        context: &Context<'_>,
        cache: &Cache,
        content: &Content,
    ) -> Result<String, String> {
        let PackedContent { at, blob } = &content.packed;
        let path = self.store.blob_path(&blob.digest);
        let file = File::open(&path).map_err(|error| error.to_string())?;
        if Digest::of_reader(file).map_err(|error| error.to_string())? != blob.digest {
            return Err(DAMAGED.to_owned());
        }
        let to = cache.scratch().join("portable");
        let words = |error: PathError| format!("{error}: {}", error.source);
        remove_tree(&to).map_err(words)?;
        unpack(&path, &to).map_err(|error| error.to_string())?;
        let tree = to.join(at.strip_prefix("/").unwrap_or(at));
        if let Some(uid) = context.site.uid {
            give_tree(&tree, uid).map_err(words)?;
        }
        let name = content.layer.as_ref().map_or(sbom::ROOT, LayerName::as_str);
        cache.adopt(&tree, name).map_err(words)
    }

    /// Puts what this build leaves into the folder, and removes what no app's build needs of it any more.
    pub(super) fn save<'b>(
        self,
        cache: &Cache,
        state: &State,
        fetched: impl Iterator<Item = &'b Path>,
        progress: &mut dyn FnMut(Event<'_>),
    ) -> Result<Note, BuildError> {
        let mut carried = Carried {
            state: state.clone(),
            contents: Vec::new(),
            artifacts: self.save_artifacts(fetched)?,
        };
        let mut contents = BTreeMap::new();
        for (id, buildpack) in &state.buildpacks {
            let layers = buildpack
                .layers
                .iter()
                .map(|(name, layer)| (Some(name), layer.roots.as_slice()));
            let sboms = (None, buildpack.sboms.as_slice());
            for (layer, roots) in layers.chain([sboms]).filter(|(_, roots)| !roots.is_empty()) {
                let key = roots.join(" ");
                let made = layer.and_then(|layer| buildpack.layers[layer].packed.as_ref());
                let of_slug = made.map(|packed| PackedContent {
                    at: Path::new(super::site::LAYERS)
                        .join(id.folder())
                        .join(layer.map_or("", LayerName::as_str)),
                    blob: packed.layer.clone(),
                });
                let is_there = |packed: &PackedContent| {
                    let blob = &packed.blob;
                    self.store.has_blob(&blob.digest, Some(blob.size_bytes))
                };
                let before = self
                    .known
                    .contents
                    .get(&key)
                    .filter(|packed| is_there(packed));
                let packed = match of_slug.or(before.cloned()) {
                    Some(packed) => packed,
                    None => match self.pack(cache, roots, layer) {
                        Ok(packed) => packed,
                        Err(error) => {
                            let name = layer.map_or("SBOMs", LayerName::as_str);
                            progress(Event::Warning(&format!(
                                "`{name}` of {id} is not in the cache folder: {error}"
                            )));
                            continue;
                        }
                    },
                };
                contents.insert(key, packed.clone());
                let (buildpack, layer) = (id.clone(), layer.cloned());
                carried.contents.push(Content {
                    buildpack,
                    layer,
                    packed,
                });
            }
        }
        self.keep_blobs(&carried)?;
        for buildpack in carried.state.buildpacks.values_mut() {
            buildpack.sboms = None;
            buildpack
                .layers
                .values_mut()
                .for_each(|layer| layer.roots.clear());
        }
        let manifest = Manifest {
            schema: SCHEMA,
            digest: digest_of(&carried),
            cache: carried,
        };
        let known = Known {
            manifest: Some(manifest.digest),
            contents,
        };
        let path = self.manifest();
        create_dir_durable(&self.folder.join("apps"), 0o755)?;
        if self
            .read()
            .ok()
            .flatten()
            .is_none_or(|old| old.digest != manifest.digest)
        {
            write_atomic(
                &path,
                serde_json::json!(manifest).to_string().as_bytes(),
                0o644,
            )?;
        }
        self.prune()?;
        Ok(Note {
            path: cache.file(KNOWN),
            known,
        })
    }

    fn pack(
        &self,
        cache: &Cache,
        roots: &[String],
        layer: Option<&LayerName>,
    ) -> Result<PackedContent, BuildError> {
        let name = layer.map_or(sbom::ROOT, LayerName::as_str);
        let trees = roots.iter().map(|root| cache.root(root).join(name));
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
            let bytes = read_if_present(&path, MANIFEST_BYTES_MAX)?.unwrap_or_default();
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

impl Known {
    fn read(cache: &Cache) -> Result<Self, PathError> {
        let bytes = read_if_present(&cache.file(KNOWN), MANIFEST_BYTES_MAX)?;
        // A note: without it, the folder is read and written anew.
        Ok(bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default())
    }
}

/// Puts the name of the folder where the state expects it.
fn place(state: &mut State, content: &Content, root: &str) {
    let Some(buildpack) = state.buildpacks.get_mut(&content.buildpack) else {
        return;
    };
    match &content.layer {
        None => buildpack.sboms = Some(root.to_owned()),
        Some(layer) => {
            if let Some(layer) = buildpack.layers.get_mut(layer) {
                layer.roots = vec![root.to_owned()];
            }
        }
    }
}

fn blobs(carried: &Carried) -> impl Iterator<Item = &LayerBlob> {
    let contents = carried.contents.iter().map(|content| &content.packed.blob);
    let layers = carried
        .state
        .buildpacks
        .values()
        .flat_map(|buildpack| buildpack.layers.values());
    contents.chain(layers.filter_map(|layer| Some(&layer.packed.as_ref()?.layer)))
}

fn digest_of(carried: &Carried) -> Digest {
    Digest::of(serde_json::json!(carried).to_string().as_bytes())
}

/// Copies a blob, unless it is there. The inner error: it is not to be had, or not what it should be.
fn copy_blob(from: &Store, to: &Store, blob: &LayerBlob) -> Result<Result<(), String>, PathError> {
    if to.has_blob(&blob.digest, Some(blob.size_bytes)) {
        return Ok(Ok(()));
    }
    let mut source = match File::open(from.blob_path(&blob.digest)) {
        Ok(source) => source,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut writer = to.create_blob()?;
    let path = writer.path().to_owned();
    io::copy(&mut source, &mut writer).at("write", &path)?;
    let (digest, _) = writer.finish()?;
    Ok(if digest == blob.digest {
        Ok(())
    } else {
        Err(DAMAGED.to_owned())
    })
}

/// Unpacks a tar of ours, whose digest was checked, into a folder of its own.
fn unpack(blob: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let file = File::open(blob)?;
    let bytes: Box<dyn io::Read> = if is_gzip(blob)? {
        Box::new(flate2::read::MultiGzDecoder::new(file))
    } else {
        Box::new(zstd::Decoder::new(file)?)
    };
    let mut archive = tar::Archive::new(bytes);
    archive.set_preserve_permissions(true);
    archive.unpack(to)
}

fn is_gzip(blob: &Path) -> io::Result<bool> {
    use io::Read as _;
    let mut magic = [0; 2];
    File::open(blob)?.read_exact(&mut magic)?;
    Ok(magic == [0x1f, 0x8b])
}

fn give_tree(tree: &Path, uid: u32) -> Result<(), PathError> {
    lchown(tree, Some(uid), Some(uid)).at("give away", tree)?;
    if tree.symlink_metadata().at("look at", tree)?.is_dir() {
        for entry in fs::read_dir(tree).at("read", tree)? {
            give_tree(&entry.at("read", tree)?.path(), uid)?;
        }
    }
    Ok(())
}
