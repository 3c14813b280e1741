//! What `DIR/apps/<app>.json` says, and what the app's own cache notes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::archive::LayerBlob;
use crate::build::cache::Cache;
use crate::build::sbom;
use crate::build::site::LAYERS;
use crate::build::state::State;
use crate::ident::{BuildpackId, Digest, LayerName};
use crate::sys::PathError;
use crate::sys::fs::read_if_present;

/// The version of the format.
pub(super) const SCHEMA: u32 = 1;
/// As of the state, which is most of it.
pub(super) const MANIFEST_BYTES_MAX: u64 = 256 << 20;
/// In the app's own cache: what of it lies in the folder.
pub(super) const KNOWN: &str = "portable.json";

/// `DIR/apps/<app>.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) schema: u32,
    /// Of `cache` as JSON with sorted keys and without blanks.
    pub(super) digest: Digest,
    pub(super) cache: Carried,
}

/// What is carried.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Carried {
    /// As the app's own cache has it, without the names of its folders.
    pub(super) state: State,
    pub(super) contents: Vec<Content>,
    pub(super) artifacts: BTreeSet<Digest>,
}

/// The content of a cached layer, or the SBOMs of a buildpack.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Content {
    pub(super) buildpack: BuildpackId,
    /// None for the SBOMs.
    pub(super) layer: Option<LayerName>,
    #[serde(flatten)]
    pub(super) packed: PackedContent,
}

/// A tar and the folder in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PackedContent {
    pub(super) at: PathBuf,
    pub(super) blob: LayerBlob,
}

/// What of an app's own cache is in the folder: by the names of its folders, which never change.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) manifest: Option<Digest>,
    pub(super) contents: BTreeMap<String, PackedContent>,
}

/// Where the content lies in a tar that is made for this alone.
pub(super) const CONTENT: &str = "/content";

impl Content {
    /// As the buildpack calls it.
    pub(super) fn name(&self) -> &str {
        self.layer.as_ref().map_or(sbom::ROOT, LayerName::as_str)
    }

    /// Is it a place where `save` puts it? A manifest is foreign: it may name any path.
    pub(super) fn may_lie_at(&self, at: &Path) -> bool {
        at.as_os_str() == CONTENT || at == place_in_slug(&self.buildpack, self.name())
    }
}

/// Where a layer lies in the tar that the slug has of it.
pub(super) fn place_in_slug(buildpack: &BuildpackId, name: &str) -> PathBuf {
    Path::new(LAYERS).join(buildpack.folder()).join(name)
}

impl Manifest {
    pub(super) fn new(cache: Carried) -> Self {
        Self {
            schema: SCHEMA,
            digest: digest_of(&cache),
            cache,
        }
    }

    /// Does it say what was written?
    pub(super) fn is_whole(&self) -> bool {
        digest_of(&self.cache) == self.digest
    }
}

impl Known {
    pub(super) fn read(cache: &Cache) -> Result<Self, PathError> {
        let bytes = read_if_present(&cache.file(KNOWN), MANIFEST_BYTES_MAX)?;
        // A note: without it, the folder is read and written anew.
        Ok(bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default())
    }
}

/// Puts the name of the folder where the state expects it.
pub(super) fn place(state: &mut State, content: &Content, root: &str) {
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

pub(super) fn blobs(carried: &Carried) -> impl Iterator<Item = &LayerBlob> {
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
