//! `restorer`: lays out what the last build left: metadata of layers, contents
//! of cached ones, SBOMs, store.toml (rules 38 and 46-50).

use std::error::Error;
use std::fs;
use std::path::Path;

use super::cache_dir::{CacheDir, CacheMetadata, CachedLayer};
use super::console::Console;
use super::extract::extract;
use super::failed::{Failed, RESTORE};
use super::files::KnownLayer;
use super::files::{
    AnalyzedMetadata, AnalyzedToml, BuildpackLayers, GroupMember, GroupToml, write,
};
use super::inputs::Inputs;
use super::owner::become_owner;
use super::platform_api::PlatformApi;
use crate::ident::LayerName;
use crate::layer::metadata::ComesBack;
use crate::layer::{LayerMetadata, LayerTypes};
use crate::sys::fs::{read_plain, remove_tree, write_unsynced};
use crate::sys::{At as _, PathError};

/// The largest SBOM that is restored, in bytes.
const SBOM_BYTES_MAX: u64 = crate::buildpack::sbom::SBOM_BYTES_MAX;

fn wrong<'a>(why: impl Into<Box<dyn Error + 'a>>) -> Failed {
    Failed::new(RESTORE, "restore", why)
}

/// Restores.
pub(super) fn restore(inputs: &Inputs, console: &mut Console<'_>) -> Result<(), Failed> {
    if inputs.cache.is_none() {
        console.warn("No cached data will be used, no cache specified.");
    }
    if let Some((uid, gid)) = inputs.owner {
        let cache = inputs.cache.as_deref().unwrap_or(&inputs.layers);
        become_owner(uid, gid, &[&inputs.layers, cache])?;
    }
    let group = GroupToml::read(&inputs.group)?;
    group.verify()?;
    let analyzed = AnalyzedToml::read(&inputs.analyzed, console).unwrap_or_else(|failed| {
        console.warn(&format!(
            "Not using analyzed data, usable file not found: {failed}"
        ));
        AnalyzedToml::default()
    });
    let cache = inputs.cache.as_deref().map(CacheDir::open).transpose()?;
    let cached = match &cache {
        Some(cache) => cache.metadata(console).map_err(wrong)?,
        None => CacheMetadata::default(),
    };
    let restoring = Restoring {
        inputs,
        cache: cache.as_ref(),
        analyzed: &analyzed.metadata,
        cached: &cached,
    };
    for member in &group.group {
        restoring.buildpack(member, console).map_err(wrong)?;
    }
    if inputs.api.has_sbom_files() && !inputs.skip_layers {
        restoring.sboms(&group.group, console).map_err(wrong)?;
    }
    Ok(())
}

struct Restoring<'a> {
    inputs: &'a Inputs,
    cache: Option<&'a CacheDir>,
    analyzed: &'a AnalyzedMetadata,
    cached: &'a CacheMetadata,
}

impl Restoring<'_> {
    fn buildpack(&self, member: &GroupMember, console: &mut Console<'_>) -> Result<(), PathError> {
        let of = |known: &'_ [BuildpackLayers]| {
            let found = known.iter().find(|one| one.key == member.id.as_str());
            found.cloned().unwrap_or_default()
        };
        let (app, cached) = (of(&self.analyzed.buildpacks), of(&self.cached.buildpacks));
        let folder = self.inputs.layers.join(member.id.folder());
        if let Some(store) = &app.store {
            write(&folder.join("store.toml"), store)?;
        }
        if self.inputs.skip_layers {
            console.info("Skipping buildpack layer analysis");
        }
        let names = app.layers.keys().chain(cached.layers.keys());
        let names: std::collections::BTreeSet<&String> = names.collect();
        for name in names {
            if name.parse::<LayerName>().is_err() {
                console.warn(&format!("{name:?} of {} is no name of a layer", member.id));
                continue;
            }
            let (app, cached) = (app.layers.get(name), cached.layers.get(name));
            let restored = if self.inputs.skip_layers {
                None
            } else {
                metadata_of(app, cached, self.inputs.api)
            };
            let layer = folder.join(name);
            let shown = format!("{}:{name}", member.id);
            if let Some((known, from)) = restored {
                console.info(&format!("Restoring metadata for \"{shown}\" from {from}"));
                write_metadata(&layer, known)?;
            }
            if let Some(cached) = cached.filter(|cached| cached.cache) {
                let sha = restored.map(|(known, _)| known.sha.as_str());
                self.content(&layer, &shown, sha, cached, console)?;
            }
        }
        Ok(())
    }

    /// Both or neither: metadata without content would be relied on (rule 47).
    fn content(
        &self,
        layer: &Path,
        shown: &str,
        sha: Option<&str>,
        cached: &KnownLayer,
        console: &mut Console<'_>,
    ) -> Result<(), PathError> {
        let Some(sha) = sha else {
            return remove(layer);
        };
        if sha != cached.sha {
            console.info(&format!("Removing \"{shown}\", wrong sha"));
            console.debug(&format!(
                "Layer sha: \"{sha}\", cache sha: \"{}\"",
                cached.sha
            ));
            return remove(layer);
        }
        let Some(cache) = self.cache else {
            return remove(layer);
        };
        console.info(&format!("Restoring data for \"{shown}\" from cache"));
        match cache.layer(&cached.sha)? {
            CachedLayer::Good(tar) => extract(tar, layer),
            CachedLayer::Unusable(why) => {
                console.warn(&format!("Skipping restore for layer {shown}: {why}"));
                remove(layer)
            }
        }
    }

    /// SBOMs of layers, to stand beside them; those of a whole build are not restored (rule 50).
    fn sboms(&self, group: &[GroupMember], console: &mut Console<'_>) -> Result<(), PathError> {
        let laid = self.inputs.layers.join("sbom");
        let sha = &self.cached.sbom.sha;
        if let Some(cache) = self.cache.filter(|_| !sha.is_empty()) {
            console.info("Restoring data for SBOM from cache");
            match cache.layer(sha)? {
                CachedLayer::Good(tar) => extract(tar, &laid)?,
                CachedLayer::Unusable(why) => {
                    console.warn(&format!("Skipping restore for SBOM: {why}"));
                }
            }
        }
        for scope in ["cache", "launch"] {
            for member in group {
                let from = laid.join(scope).join(member.id.folder());
                let to = self.inputs.layers.join(member.id.folder());
                if to.is_dir() {
                    stand_beside(&from, &to)?;
                }
            }
        }
        remove_tree(&laid)
    }
}

/// Whether the metadata of a layer comes back, and from where (rule 46). `app` is the image of the last build.
fn metadata_of<'a>(
    app: Option<&'a KnownLayer>,
    cached: Option<&'a KnownLayer>,
    api: PlatformApi,
) -> Option<(&'a KnownLayer, &'static str)> {
    let cached = cached.filter(|cached| cached.cache);
    match app {
        Some(app) if app.launch => {
            let comes = match app.types().comes_back() {
                ComesBack::WithContent => cached.is_some(),
                ComesBack::AsMetadata => true,
                ComesBack::Not => false,
            };
            return comes.then_some((app, "app image"));
        }
        Some(_) => cached.filter(|cached| !cached.launch),
        None => cached.filter(|cached| !cached.launch || api.restores_launch_from_cache()),
    }
    .map(|cached| (cached, "cache"))
}

impl KnownLayer {
    fn types(&self) -> LayerTypes {
        LayerTypes {
            launch: self.launch,
            build: self.build,
            cache: self.cache,
        }
    }
}

/// Writes `<layer>.toml`, without types.
fn write_metadata(layer: &Path, known: &KnownLayer) -> Result<(), PathError> {
    let metadata = LayerMetadata {
        types: None,
        metadata: known.metadata.clone().unwrap_or_default(),
    };
    write(&beside(layer, "toml"), &metadata)
}

/// Removes what there is of a layer.
fn remove(layer: &Path) -> Result<(), PathError> {
    remove_tree(layer)?;
    remove_tree(&beside(layer, "sha"))?;
    remove_tree(&beside(layer, "toml"))
}

/// `<layer>.<suffix>`: a layer's own name may hold a dot.
fn beside(layer: &Path, suffix: &str) -> std::path::PathBuf {
    let mut path = layer.as_os_str().to_owned();
    path.push(".");
    path.push(suffix);
    path.into()
}

/// `<from>/<layer>/sbom.cdx.json` becomes `<to>/<layer>.sbom.cdx.json`.
fn stand_beside(from: &Path, to: &Path) -> Result<(), PathError> {
    if !from.is_dir() {
        return Ok(());
    }
    for layer in fs::read_dir(from).at("read", from)? {
        let layer = layer.at("read", from)?;
        if !layer.file_type().at("look at", &layer.path())?.is_dir() {
            continue;
        }
        for file in fs::read_dir(layer.path()).at("read", &layer.path())? {
            let file = file.at("read", &layer.path())?;
            let name = file.file_name();
            if !name.to_string_lossy().starts_with("sbom.") {
                continue;
            }
            if let Some(bytes) = read_plain(&file.path(), SBOM_BYTES_MAX)? {
                let mut target = layer.file_name();
                target.push(".");
                target.push(name);
                write_unsynced(&to.join(target), &bytes, 0o644)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_46_and_47_which_metadata_comes_back_and_from_where() {
        // `-` stands for a layer that is not known there.
        let layer = |types: &str| {
            let has = |letter| types.contains(letter);
            (types != "-").then(|| KnownLayer {
                launch: has('l'),
                build: has('b'),
                cache: has('c'),
                ..KnownLayer::default()
            })
        };
        let check = |app: &str, cached: &str, minor: u8, expected: Option<&str>| {
            let (app, cached) = (layer(app), layer(cached));
            let found = metadata_of(app.as_ref(), cached.as_ref(), PlatformApi::minor(minor));
            assert_eq!(found.map(|(_, from)| from), expected, "{app:?} {cached:?}");
        };
        let (app, cache) = (Some("app image"), Some("cache"));
        check("l", "-", 12, app);
        check("lc", "lc", 12, app);
        check("lbc", "lbc", 12, app);
        check("lb", "lb", 12, None);
        check("lc", "-", 12, None);
        check("lc", "l", 12, None);
        check("b", "-", 12, None);
        check("-", "c", 12, cache);
        check("-", "bc", 12, cache);
        check("-", "b", 12, None);
        check("-", "lc", 13, None);
        check("-", "lc", 14, cache);
        check("b", "lc", 14, None);
        check("b", "bc", 14, cache);
    }
}
