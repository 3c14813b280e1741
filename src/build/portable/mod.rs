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

mod manifest;
mod save;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::lchown;
use std::path::{Component, Path, PathBuf};

use super::cache::Cache;
use super::context::Context;
use super::state::State;
use super::{BuildError, BuildRequest, Event, sbom};
use crate::archive::LayerBlob;
use crate::ident::{Digest, LayerName};
use crate::store::Store;
use crate::sys::fs::{create_dir_durable, open_plain, read_plain, remove_tree, write_unsynced};
use crate::sys::{At as _, PathError};

use manifest::{Content, Known, MANIFEST_BYTES_MAX, Manifest, PackedContent, SCHEMA, place};

/// Said of what is not what its digest says.
const DAMAGED: &str = "it is damaged: its digest is another";

/// Said of a content that is not where one can be.
const MISPLACED: &str = "it is not where a layer is";

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
        // Whoever may write the folder decides what layers hold, and nothing else: no name in it is a path of this host's.
        let mut state = manifest.cache.state.without_folders();
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
        let bytes = read_plain(&self.manifest(), MANIFEST_BYTES_MAX)
            .map_err(|error| format!("{error}: {}", error.source))?;
        let Some(bytes) = bytes else {
            return Ok(None);
        };
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        if manifest.schema != SCHEMA {
            return Err(format!("it has schema {}", manifest.schema));
        }
        if !manifest.is_whole() {
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
        if !content.may_lie_at(at) {
            return Err(MISPLACED.to_owned());
        }
        let path = self.store.blob_path(&blob.digest);
        let file = open_plain(&path).map_err(|error| error.to_string())?;
        if Digest::of_reader(file).map_err(|error| error.to_string())? != blob.digest {
            return Err(DAMAGED.to_owned());
        }
        let to = cache.scratch().join("portable");
        let words = |error: PathError| format!("{error}: {}", error.source);
        remove_tree(&to).map_err(words)?;
        unpack(&path, &to).map_err(|error| error.to_string())?;
        let tree = folder_in(&to, at).ok_or(MISPLACED)?;
        if let Some(uid) = context.site.uid {
            give_tree(&tree, uid).map_err(words)?;
        }
        let name = content.layer.as_ref().map_or(sbom::ROOT, LayerName::as_str);
        cache.adopt(&tree, name).map_err(words)
    }
}

/// Copies a blob, unless it is there. The inner error: it is not to be had, or not what it should be.
fn copy_blob(from: &Store, to: &Store, blob: &LayerBlob) -> Result<Result<(), String>, PathError> {
    if to.has_blob(&blob.digest, Some(blob.size_bytes)) {
        return Ok(Ok(()));
    }
    let mut source = match open_plain(&from.blob_path(&blob.digest)) {
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

/// The folder `at`, an absolute path, of what was unpacked to `to`. None unless each part of it is a folder there: a
/// manifest may be anybody's, and what it names is given to the build's user and moved into the app's own cache.
fn folder_in(to: &Path, at: &Path) -> Option<PathBuf> {
    let mut folder = to.to_owned();
    for part in at.strip_prefix("/").ok()?.components() {
        let Component::Normal(name) = part else {
            return None;
        };
        folder.push(name);
        if !folder.symlink_metadata().ok()?.is_dir() {
            return None;
        }
    }
    Some(folder)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_a_folder_of_its_own_tar() {
        let scratch = tempfile::tempdir().unwrap();
        let to = scratch.path().join("portable");
        fs::create_dir_all(to.join("layers/a/l")).unwrap();
        fs::create_dir(scratch.path().join("of-the-host")).unwrap();
        std::os::unix::fs::symlink("..", to.join("up")).unwrap();
        let check = |at: &str, expected: Option<&str>| {
            let found = folder_in(&to, Path::new(at));
            assert_eq!(found, expected.map(|name| to.join(name)), "{at}");
        };
        check("/layers/a/l", Some("layers/a/l"));
        check("/../of-the-host", None);
        check("/layers/../../of-the-host", None);
        check("//../of-the-host", None);
        check("/up/of-the-host", None);
        check("/up", None);
        check("../of-the-host", None);
        check("layers/a/l", None);
        check("/nothing", None);
    }
}
