//! What a buildpack finds of its last build (rules 46 and 47): by
//!
//! | launch | build | cache | metadata | content |
//! |---|---|---|---|---|
//! | any | any | yes | ● | ● |
//! | yes | no | no | ● | – |
//! | any | yes | no | – | – |
//! | no | no | no | – | – |
//!
//! Both or neither: metadata whose content is gone is not given back, since the
//! buildpack would rely on it. For a launch-only layer the content is its blob
//! in the store.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::cache::Cache;
use super::context::Context;
use super::sbom;
use super::site::LAYERS;
use super::state::LayerState;
use super::tree::{Index, copy_tree, flatten};
use crate::archive::{Compression, LayerBlob};
use crate::ident::{BuildpackId, LayerName};
use crate::layer::cache::Change;
use crate::layer::metadata::ComesBack;
use crate::store::Store;
use crate::sys::fs::{remove_tree, write_unsynced};
use crate::sys::sandbox::Mount;
use crate::sys::{At as _, PathError};

/// How a buildpack gets cached content that its build may change or ruin without harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// The content is the lower side of an overlay: what the build writes lies apart.
    Overlay,
    /// A copy, and an index that tells whether it was touched.
    Copy,
}

/// What is given back of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restore {
    Content,
    Metadata,
    Nothing,
    /// It would be, and cannot.
    Lost(Change),
}

/// The layers folder of a buildpack, as its build finds it.
#[derive(Debug)]
pub(super) struct Restored {
    /// On this machine: what the build writes arrives here.
    pub(super) folder: PathBuf,
    /// Below it, topmost first; empty unless by overlay.
    lower: Vec<PathBuf>,
    /// The scratch folder of the overlay.
    work: PathBuf,
    /// The layers whose content was restored, and the copy's index.
    pub(super) content: BTreeMap<LayerName, Option<Index>>,
    /// The layers that could not be restored, and why.
    pub(super) lost: BTreeMap<LayerName, Change>,
}

/// Makes the layers folder of a buildpack.
pub(super) fn restore(
    context: &Context<'_>,
    cache: &Cache,
    buildpack: &BuildpackId,
    method: Method,
) -> Result<Restored, PathError> {
    let site = &context.site;
    let folder = site.layers(&context.scratch, buildpack);
    let work = context.scratch.join("overlay").join(buildpack.folder());
    remove_tree(&folder)?;
    site.make_writable(&folder)?;
    fs::create_dir_all(&work).at("create the folder", &work)?;
    let mut restored = Restored {
        folder,
        lower: Vec::new(),
        work,
        content: BTreeMap::new(),
        lost: BTreeMap::new(),
    };
    let Some(state) = cache.state.buildpacks.get(buildpack) else {
        return Ok(restored);
    };
    let mut with_sbom = Vec::new();
    for (name, layer) in &state.layers {
        let what = decide(layer, cache.has_roots(&layer.roots, name.as_str()), || {
            let request = context.request;
            match &layer.packed {
                Some(packed) => unusable(&request.store, &packed.layer, request.compression),
                None => Some(Change::BlobGone),
            }
        });
        match what {
            Restore::Nothing => continue,
            Restore::Lost(why) => {
                restored.lost.insert(name.clone(), why);
                continue;
            }
            Restore::Content | Restore::Metadata => {}
        }
        let file = restored.folder.join(format!("{name}.toml"));
        write_unsynced(&file, layer.metadata.as_bytes(), 0o644)?;
        site.give(&file)?;
        with_sbom.push(name);
        if what == Restore::Content {
            restored.add_content(cache, name, layer, method)?;
        }
    }
    if let Some(root) = &state.sboms {
        let layers = with_sbom.into_iter();
        for file in sbom::restore(&cache.root(root), layers, &restored.folder)? {
            site.give(&file)?;
        }
    }
    if let Some(text) = &state.store {
        let file = restored.folder.join("store.toml");
        write_unsynced(&file, text.as_bytes(), 0o644)?;
        site.give(&file)?;
    }
    Ok(restored)
}

fn decide(
    layer: &LayerState,
    has_content: bool,
    blob_unusable: impl FnOnce() -> Option<Change>,
) -> Restore {
    match layer.types.comes_back() {
        ComesBack::WithContent if has_content => Restore::Content,
        ComesBack::WithContent => Restore::Lost(Change::Evicted),
        ComesBack::AsMetadata => blob_unusable().map_or(Restore::Metadata, Restore::Lost),
        ComesBack::Not => Restore::Nothing,
    }
}

/// Why the blob of the last build cannot go into this slug as it is; none if it can.
pub(super) fn unusable(
    store: &Store,
    blob: &LayerBlob,
    compression: Compression,
) -> Option<Change> {
    if blob.media_type != compression.media_type() {
        Some(Change::Compression)
    } else if store.has_blob(&blob.digest, Some(blob.size_bytes)) {
        None
    } else {
        Some(Change::BlobGone)
    }
}

impl Restored {
    fn add_content(
        &mut self,
        cache: &Cache,
        name: &LayerName,
        layer: &LayerState,
        method: Method,
    ) -> Result<(), PathError> {
        let index = match method {
            Method::Overlay => {
                self.lower
                    .extend(layer.roots.iter().map(|root| cache.root(root)));
                None
            }
            Method::Copy => {
                let stack: Vec<PathBuf> = layer
                    .roots
                    .iter()
                    .map(|root| cache.root(root).join(name.as_str()))
                    .collect();
                let to = self.folder.join(name.as_str());
                copy_stack(&stack, &to, &self.work.join(name.as_str()))?;
                Some(Index::of_fresh(&to, &self.work)?)
            }
        };
        self.content.insert(name.clone(), index);
        Ok(())
    }

    /// How the build sees its layers.
    pub(super) fn mount(&self, buildpack: &BuildpackId) -> Mount {
        let to = Path::new(LAYERS).join(buildpack.folder());
        if self.lower.is_empty() {
            return Mount::Bind {
                from: self.folder.clone(),
                to,
                read_only: false,
            };
        }
        Mount::Overlay {
            lower: self.lower.clone(),
            upper: Some((self.folder.clone(), self.work.clone())),
            to,
        }
    }
}

/// Flattening makes hard links, which must not be written to: the copy is made of them.
fn copy_stack(stack: &[PathBuf], to: &Path, scratch: &Path) -> Result<(), PathError> {
    if let [one] = stack {
        return copy_tree(one, to);
    }
    flatten(stack, scratch)?;
    copy_tree(scratch, to)?;
    remove_tree(scratch)
}

#[cfg(test)]
mod lifecycle_cases;
#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::LayerTypes;

    #[test]
    fn rule_46_what_is_restored_by_type() {
        let check = |(launch, build, cache): (bool, bool, bool),
                     has_content: bool,
                     has_blob: bool,
                     expected: Restore| {
            let types = LayerTypes {
                launch,
                build,
                cache,
            };
            let layer = LayerState {
                types,
                metadata: String::new(),
                roots: Vec::new(),
                packed: None,
            };
            assert_eq!(
                decide(&layer, has_content, || (!has_blob)
                    .then_some(Change::BlobGone)),
                expected,
                "{types:?}"
            );
        };
        for launch in [false, true] {
            for build in [false, true] {
                check((launch, build, true), true, true, Restore::Content);
            }
            check((launch, true, false), true, true, Restore::Nothing);
        }
        check((true, false, false), false, true, Restore::Metadata);
        check((false, false, false), true, true, Restore::Nothing);
        // Rule 47: both or neither.
        check(
            (true, true, true),
            false,
            true,
            Restore::Lost(Change::Evicted),
        );
        check(
            (true, false, false),
            false,
            false,
            Restore::Lost(Change::BlobGone),
        );
    }
}
