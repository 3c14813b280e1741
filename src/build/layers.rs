//! What a build left of its layers: made, changed, kept or removed, and how
//! later buildpacks see them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::BuildError;
use super::cache::Cache;
use super::context::Context;
use super::explain::SeenLayer;
use super::restore::Restored;
use super::site::LAYERS;
use super::tree::{Index, flatten, is_opaque, is_whiteout};
use crate::buildpack::descriptor::Descriptor;
use crate::ident::{BuildpackId, LayerName};
use crate::layer::cache::Change;
use crate::layer::{LayerEnv, LayerMetadata, LayerTypes, metadata};
use crate::sys::sandbox::Mount;
use crate::sys::{At as _, PathError};

/// A layer of which the buildpack said what it is for.
#[derive(Debug)]
pub(super) struct Layer {
    /// What it is for: something.
    pub(super) types: LayerTypes,
    /// Its `<layer>.toml` without types.
    pub(super) metadata: String,
    /// Its content; none if there is only metadata.
    pub(super) content: Option<Content>,
}

/// The content of a layer: what this build wrote, over what earlier ones did.
#[derive(Debug)]
pub(super) struct Content {
    /// What this build wrote, or made one tree of: the layer's folder.
    pub(super) own: Option<PathBuf>,
    /// Roots of the cache below it, topmost first.
    pub(super) below: Vec<String>,
    /// Why it differs from the last build's; none if it does not.
    pub(super) change: Option<Change>,
}

impl Content {
    /// Its folders, topmost first.
    pub(super) fn stack(&self, cache: &Cache, name: &LayerName) -> Vec<PathBuf> {
        let below = self
            .below
            .iter()
            .map(|root| cache.root(root).join(name.as_str()));
        self.own.iter().cloned().chain(below).collect()
    }

    /// Makes it one folder, if it is not.
    pub(super) fn settle(
        &mut self,
        cache: &Cache,
        name: &LayerName,
        scratch: &Path,
    ) -> Result<(), PathError> {
        let stack = self.stack(cache, name);
        if stack.len() > 1 {
            let parent = scratch.join("flat").join(crate::sys::fs::random_hex());
            fs::create_dir_all(&parent).at("create the folder", &parent)?;
            let flat = parent.join(name.as_str());
            flatten(&stack, &flat)?;
            self.own = Some(flat);
            self.below.clear();
        }
        Ok(())
    }
}

/// What a build left in its layers folder.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// The layers that are for something.
    pub(super) layers: BTreeMap<LayerName, Layer>,
    /// Those that have a `<layer>.toml` and are for nothing.
    ignored: Vec<LayerName>,
}

impl Collected {
    /// What each layer that has a `<layer>.toml` is for.
    pub(super) fn types(&self) -> BTreeMap<LayerName, LayerTypes> {
        let ignored = self
            .ignored
            .iter()
            .map(|name| (name, LayerTypes::default()));
        let layers = self.layers.iter().map(|(name, layer)| (name, layer.types));
        layers
            .chain(ignored)
            .map(|(name, types)| (name.clone(), types))
            .collect()
    }
}

/// Reads what a build left in its layers folder (rules 32-34).
pub(super) fn collect(
    context: &Context<'_>,
    cache: &Cache,
    buildpack: &Descriptor,
    restored: &Restored,
) -> Result<Collected, BuildError> {
    let mut collected = Collected::default();
    for (name, file) in metadata_files(&restored.folder, &buildpack.id)? {
        let Some(metadata) = LayerMetadata::read(&file)? else {
            continue;
        };
        if !metadata.types().any() {
            ignore(context, &restored.folder.join(name.as_str()))?;
            collected.ignored.push(name);
            continue;
        }
        let text = toml::to_string(&metadata.without_types())
            .map_err(std::io::Error::other)
            .at("write", &file)?;
        let mut content = content_of(cache, buildpack, restored, &name)?;
        let types = metadata.types();
        if let Some(content) = content.as_mut().filter(|_| types.launch || types.build) {
            content.settle(cache, &name, &context.scratch)?;
        }
        let layer = Layer {
            types,
            metadata: text,
            content,
        };
        collected.layers.insert(name, layer);
    }
    Ok(collected)
}

/// `<layer>.toml` for each layer, by its name.
fn metadata_files(
    folder: &Path,
    buildpack: &BuildpackId,
) -> Result<Vec<(LayerName, PathBuf)>, BuildError> {
    let mut files = Vec::new();
    for (name, path) in metadata::files(folder)? {
        // What the buildpack deleted is a mark in an overlay, not a file.
        let is_removed = path.symlink_metadata();
        if is_removed.is_ok_and(|found| is_whiteout(&found)) {
            continue;
        }
        let parsed = name.parse().map_err(|_| BuildError::LayerName {
            buildpack: buildpack.clone(),
            name: name.clone(),
        })?;
        files.push((parsed, path));
    }
    Ok(files)
}

/// A layer that is for nothing is not seen by later buildpacks (rule 32). In a sandbox nobody shows it to them.
fn ignore(context: &Context<'_>, layer: &Path) -> Result<(), PathError> {
    if context.site.is_real() {
        metadata::put_aside(layer)
    } else {
        Ok(())
    }
}

fn content_of(
    cache: &Cache,
    buildpack: &Descriptor,
    restored: &Restored,
    name: &LayerName,
) -> Result<Option<Content>, PathError> {
    let folder = restored.folder.join(name.as_str());
    let before = cache.state.layer(&buildpack.id, name);
    let roots = || before.map(|layer| layer.roots.clone()).unwrap_or_default();
    let was_restored = restored.content.get(name);
    let found = folder
        .symlink_metadata()
        .ok()
        .filter(|found| found.is_dir() || is_whiteout(found));
    let last_version = cache
        .state
        .buildpacks
        .get(&buildpack.id)
        .map_or(&buildpack.version, |state| &state.version);
    let content = |own: Option<PathBuf>, below, change: Option<Change>| {
        let change = change.map(|change| change.by_version(last_version, &buildpack.version));
        Some(Content { own, below, change })
    };
    Ok(match (found, was_restored) {
        (Some(found), _) if is_whiteout(&found) => None,
        (Some(_), Some(Some(index))) if Index::of(&folder)? == *index => {
            content(None, roots(), None)
        }
        (Some(_), Some(Some(_))) => content(Some(folder), Vec::new(), Some(Change::Written)),
        (Some(_), Some(None)) if is_opaque(&folder) => {
            content(Some(folder), Vec::new(), Some(Change::Remade))
        }
        (Some(_), Some(None)) => content(Some(folder), roots(), Some(Change::Written)),
        (Some(_), None) => {
            let change = match (restored.lost.get(name), before) {
                (Some(why), _) => *why,
                (None, Some(_)) => Change::Remade,
                (None, None) => cache.why_made(|old| old.layer(&buildpack.id, name).is_some()),
            };
            content(Some(folder), Vec::new(), Some(change))
        }
        // Nothing of an overlay was written to.
        (None, Some(None)) if folder.symlink_metadata().is_err() => content(None, roots(), None),
        (None, _) => None,
    })
}

/// How later buildpacks see the layers: read-only, without those that are for the cache alone.
pub(super) fn shown_to_later(
    context: &Context<'_>,
    cache: &Cache,
    buildpack: &BuildpackId,
    folder: &Path,
    layers: &BTreeMap<LayerName, Layer>,
) -> Result<Vec<Mount>, PathError> {
    if context.site.is_real() {
        return Ok(Vec::new()); // they are where they are seen
    }
    let view = context.scratch.join("views").join(buildpack.folder());
    fs::create_dir_all(&view).at("create the folder", &view)?;
    for entry in fs::read_dir(folder).at("read", folder)? {
        let entry = entry.at("read", folder)?;
        if entry.file_type().at("look at", &entry.path())?.is_file() {
            let link = view.join(entry.file_name());
            fs::hard_link(entry.path(), &link).at("link", &link)?;
        }
    }
    let at = Path::new(LAYERS).join(buildpack.folder());
    let mut mounts = vec![Mount::Bind {
        from: view.clone(),
        to: at.clone(),
        read_only: true,
    }];
    for (name, tree) in visible(cache, layers) {
        let place = view.join(name.as_str());
        fs::create_dir(&place).at("create the folder", &place)?;
        mounts.push(Mount::Bind {
            from: tree,
            to: at.join(name.as_str()),
            read_only: true,
        });
    }
    Ok(mounts)
}

/// What the layers do to the environment of later builds, in the order of their names (rule 41). A new one that is for
/// launch alone is read too: what is wrong with it is told now, not when its process starts.
pub(super) fn build_environment(
    cache: &Cache,
    buildpack: &BuildpackId,
    layers: &BTreeMap<LayerName, Layer>,
) -> Result<Vec<LayerEnv>, PathError> {
    let at = Path::new(LAYERS).join(buildpack.folder());
    let mut environment = Vec::new();
    for (name, tree) in visible(cache, layers) {
        let (layer, at) = (&layers[name], at.join(name.as_str()));
        let content = layer.content.as_ref();
        let is_new = content.is_some_and(|content| content.change.is_some());
        if !layer.types.build && !is_new {
            continue;
        }
        let read = LayerEnv::read(&tree, &at);
        let read = read.map_err(|error| error.seen_at(&tree, &at))?;
        if layer.types.build {
            environment.push(read);
        }
    }
    Ok(environment)
}

/// The same for those who ask what is in them.
pub(super) fn seen(cache: &Cache, layers: &BTreeMap<LayerName, Layer>) -> Vec<SeenLayer> {
    let seen = visible(cache, layers).into_iter();
    seen.map(|(name, folder)| SeenLayer {
        name: name.clone(),
        types: layers[name].types,
        folder,
    })
    .collect()
}

/// The layers with content that are for more than the cache, each one folder.
fn visible<'a>(
    cache: &Cache,
    layers: &'a BTreeMap<LayerName, Layer>,
) -> Vec<(&'a LayerName, PathBuf)> {
    let seen = layers
        .iter()
        .filter(|(_, layer)| layer.types.launch || layer.types.build);
    seen.filter_map(|(name, layer)| {
        Some((
            name,
            layer
                .content
                .as_ref()?
                .stack(cache, name)
                .into_iter()
                .next()?,
        ))
    })
    .collect()
}
