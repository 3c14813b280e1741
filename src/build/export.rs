//! Layers → slug. What did not change is taken over by its recorded digest:
//! no file of it is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::cache::Cache;
use super::context::Context;
use super::error::NoContent;
use super::execute::{BuiltBy, Executed};
use super::layers::Layer;
use super::report::{BuiltLayer, Commit, Why};
use super::restore::unusable;
use super::sbom::Sboms;
use super::site::LAYERS;
use super::slices::split;
use super::source::Source;
use super::state::{AppState, BuildpackState, LayerState, State};
use super::{BuildError, Event};
use crate::archive::settings::PROCESS_LABEL;
use crate::archive::{
    BaseNeeds, DroppedAttributes, ElfFacts, LayerBlob, LayerKind, Modes, Packed, Slug,
    SlugBuildpack, SlugProcess, Tree, pack, write_image,
};
use crate::buildpack::launch::{Launched, Process};
use crate::ident::{BuildpackId, Digest, LayerName};
use crate::layer::cache::Change;
use crate::sys::PathError;

/// The deepest stack of roots of a layer that is only for the cache; then it is made one tree.
const STACK_MAX: usize = 8;

/// What an export came to.
#[derive(Debug)]
pub(super) struct Exported {
    /// The name of the slug.
    pub(super) slug: Digest,
    /// Its layers, and the other cached ones.
    pub(super) report: Vec<BuiltLayer>,
    /// The blobs of the launch layers, for the next build.
    packed: BTreeMap<(BuildpackId, LayerName), Packed>,
    /// The app without its slices.
    pub(super) app: AppState,
    /// The tar of the SBOMs; none if there are none.
    pub(super) sbom: Option<Digest>,
    /// What the user should know.
    pub(super) warnings: Vec<String>,
}

struct Exporter<'a> {
    context: &'a Context<'a>,
    cache: &'a Cache,
    progress: &'a mut dyn FnMut(Event<'_>),
    layers: Vec<(LayerKind, LayerBlob)>,
    elf: Vec<ElfFacts>,
    report: Vec<BuiltLayer>,
    packed: BTreeMap<(BuildpackId, LayerName), Packed>,
    warnings: Vec<String>,
}

/// Packs what changed and writes the slug.
pub(super) fn export(
    context: &Context<'_>,
    cache: &Cache,
    source: &Source,
    executed: &Executed,
    progress: &mut dyn FnMut(Event<'_>),
) -> Result<Exported, BuildError> {
    let store = &context.request.store;
    let mut exporter = Exporter {
        context,
        cache,
        progress,
        layers: Vec::new(),
        elf: Vec::new(),
        report: Vec::new(),
        packed: BTreeMap::new(),
        warnings: Vec::new(),
    };
    for built in &executed.by {
        for (name, layer) in &built.layers {
            exporter.add_layer(&built.buildpack.id, name, layer)?;
        }
    }
    let sbom = exporter.add_sboms(&executed.sboms)?;
    let app = exporter.add_app(&executed.launched)?;
    let Exporter {
        layers,
        elf,
        report,
        packed,
        warnings,
        ..
    } = exporter;
    let slug = Slug {
        layers,
        app: context.site.app,
        processes: processes(&executed.launched),
        buildpacks: executed.by.iter().map(slug_buildpack).collect(),
        target: context.host.target.clone(),
        base: BaseNeeds::of(&elf, &context.host),
        labels: labels(context, source, &executed.launched),
    };
    let slug = write_image(store, &slug)?;
    Ok(Exported {
        slug,
        report,
        packed,
        app,
        sbom,
        warnings,
    })
}

impl Exporter<'_> {
    fn add_layer(
        &mut self,
        buildpack: &BuildpackId,
        name: &LayerName,
        layer: &Layer,
    ) -> Result<(), BuildError> {
        let before = self.cache.state.layer(buildpack, name);
        let old = before.and_then(|before| before.packed.as_ref());
        let change = layer.content.as_ref().and_then(|content| content.change);
        if !layer.types.launch {
            if layer.content.is_some() {
                let why = change.map_or(Why::Kept, Why::Changed);
                self.report
                    .push(reported(Some(buildpack), name.as_str(), why, None));
            }
            return Ok(());
        }
        let (store, compression) = (
            &self.context.request.store,
            self.context.request.compression,
        );
        let unusable = |old: &Packed| unusable(store, &old.layer, compression);
        let is_usable = |old: &Packed| unusable(old).is_none();
        let (packed, why) = match (&layer.content, old) {
            (Some(_), Some(old)) if change.is_none() && is_usable(old) => (old.clone(), Why::Kept),
            (Some(content), old) => {
                let tree = content
                    .stack(self.cache, name)
                    .into_iter()
                    .next()
                    .unwrap_or_default();
                let why = change.or_else(|| unusable(old?)).unwrap_or(Change::New);
                (self.pack_layer(buildpack, name, tree)?, Why::Changed(why))
            }
            // Rule 48: a launch layer without content is the last build's, unless it was to be cached.
            (None, Some(old)) if !layer.types.cache && is_usable(old) => (old.clone(), Why::Kept),
            (None, old) => {
                return Err(BuildError::LayerMissing {
                    buildpack: buildpack.clone(),
                    layer: name.clone(),
                    why: match old {
                        _ if layer.types.cache => NoContent::Cached,
                        Some(_) => NoContent::Gone,
                        None => NoContent::NeverMade,
                    },
                });
            }
        };
        self.report.push(reported(
            Some(buildpack),
            name.as_str(),
            why,
            Some(&packed.layer),
        ));
        let kind = LayerKind::Buildpack {
            buildpack: buildpack.clone(),
            layer: name.clone(),
        };
        self.layers.push((kind, packed.layer.clone()));
        self.elf.push(packed.elf.clone());
        self.packed
            .insert((buildpack.clone(), name.clone()), packed);
        Ok(())
    }

    fn pack_layer(
        &mut self,
        buildpack: &BuildpackId,
        name: &LayerName,
        from: PathBuf,
    ) -> Result<Packed, BuildError> {
        let to = Path::new(LAYERS)
            .join(buildpack.folder())
            .join(name.as_str());
        self.pack(
            &format!("{buildpack}: {name}"),
            Tree {
                from,
                to,
                modes: Modes::Kept,
            },
        )
    }

    fn pack(&mut self, shown: &str, tree: Tree) -> Result<Packed, BuildError> {
        let request = self.context.request;
        let progress = &mut *self.progress;
        let mut tell = |bytes| {
            progress(Event::Packing {
                layer: shown,
                bytes,
            });
        };
        let packed = pack(&request.store, &[tree], request.compression, &mut tell)?;
        if let Some(DroppedAttributes { name, path, count }) = &packed.dropped {
            let path = path.display();
            self.warn(format!(
                "the layer {shown} is without {count} extended attributes, of which `{name}` of `{path}` is the first: a layer holds those of `user` alone"
            ));
        }
        Ok(packed)
    }

    fn warn(&mut self, warning: String) {
        (self.progress)(Event::Warning(&warning));
        self.warnings.push(warning);
    }

    /// What the buildpacks say is in the slug, as a layer of its own.
    fn add_sboms(&mut self, sboms: &Sboms) -> Result<Option<Digest>, BuildError> {
        let from = self.context.scratch.join("sbom");
        if !sboms.write_launch(&from)? {
            return Ok(None);
        }
        let tree = Tree {
            from,
            to: Path::new(LAYERS).join("sbom/launch"),
            modes: Modes::Normalized,
        };
        let packed = self.pack("sbom", tree)?;
        let diff_id = packed.layer.diff_id;
        let why = self.compared(|state| state.sbom, diff_id);
        self.report
            .push(reported(None, "sbom", why, Some(&packed.layer)));
        self.layers.push((LayerKind::Sbom, packed.layer));
        Ok(Some(diff_id))
    }

    /// What is packed at each build tells by its digest alone whether it changed.
    fn compared(&self, of: impl Fn(&State) -> Option<Digest>, new: Digest) -> Why {
        match of(&self.cache.state) {
            Some(old) if old == new => Why::Kept,
            Some(_) => Why::Changed(Change::Written),
            None => Why::Changed(self.cache.why_made(|old| of(old).is_some())),
        }
    }

    /// The app's slices and the rest of it; what the next build needs to know of the rest.
    fn add_app(&mut self, launched: &Launched) -> Result<AppState, BuildError> {
        let context = self.context;
        let is_plain =
            launched.slices.is_empty() && context.app.is_untouched(&context.workspace)?;
        let fingerprint = context.app.fingerprint.filter(|_| is_plain);
        if let Some(old) = self.unchanged_app(fingerprint) {
            self.add_app_layer("app", Why::Kept, &old.packed);
            return Ok(old);
        }
        let slices = split(
            &context.workspace,
            &launched.slices,
            &context.scratch.join("slices"),
        )?;
        for (number, slice) in slices.into_iter().enumerate() {
            self.pack_app(&format!("slice {}", number + 1), slice)?;
        }
        let packed = self.pack_app("app", context.workspace.clone())?;
        Ok(AppState {
            packed,
            fingerprint,
        })
    }

    /// The last build's app, if it was made of the very same files.
    fn unchanged_app(&self, fingerprint: Option<Digest>) -> Option<AppState> {
        let request = self.context.request;
        let old = self.cache.state.app.as_ref()?;
        let is_same = fingerprint.is_some() && old.fingerprint == fingerprint;
        let blob = &old.packed.layer;
        let is_usable = unusable(&request.store, blob, request.compression).is_none();
        (is_same && is_usable).then(|| old.clone())
    }

    fn pack_app(&mut self, name: &str, from: PathBuf) -> Result<Packed, BuildError> {
        let tree = Tree {
            from,
            to: self.context.site.app.path().to_owned(),
            modes: Modes::Normalized,
        };
        let packed = self.pack(name, tree)?;
        let old = |state: &State| Some(state.app.as_ref()?.packed.layer.diff_id);
        let why = self.compared(old, packed.layer.diff_id);
        self.add_app_layer(name, why, &packed);
        Ok(packed)
    }

    fn add_app_layer(&mut self, name: &str, why: Why, packed: &Packed) {
        self.report
            .push(reported(None, name, why, Some(&packed.layer)));
        self.layers.push((LayerKind::App, packed.layer.clone()));
        self.elf.push(packed.elf.clone());
    }
}

fn reported(
    buildpack: Option<&BuildpackId>,
    name: &str,
    why: Why,
    blob: Option<&LayerBlob>,
) -> BuiltLayer {
    BuiltLayer {
        buildpack: buildpack.cloned(),
        name: name.to_owned(),
        why,
        digest: blob.map(|blob| blob.digest),
        tar_bytes: blob.map_or(0, |blob| blob.tar_bytes),
        size_bytes: blob.map_or(0, |blob| blob.size_bytes),
    }
}

fn processes(launched: &Launched) -> Vec<SlugProcess> {
    let process = |(buildpack, process): &(BuildpackId, Process)| SlugProcess {
        process_type: process.process_type.clone(),
        command: process.command.clone(),
        args: process.args.clone(),
        direct: process.direct,
        working_dir: process.working_dir.clone(),
        buildpack: buildpack.clone(),
        default: launched.default.as_ref() == Some(&process.process_type),
    };
    launched.processes.values().map(process).collect()
}

fn slug_buildpack(built: &BuiltBy) -> SlugBuildpack {
    let buildpack = &built.buildpack;
    SlugBuildpack {
        id: buildpack.id.clone(),
        version: buildpack.version.clone(),
        api: buildpack.api.to_string(),
        homepage: buildpack.homepage.clone(),
    }
}

/// The buildpacks' labels, and what the source says of itself.
fn labels(context: &Context<'_>, source: &Source, launched: &Launched) -> BTreeMap<String, String> {
    let mut labels = launched.labels.clone();
    let exec_env = context.request.exec_env.to_string();
    labels.insert("io.buildpacks.exec-env".to_owned(), exec_env);
    for (key, own) in source.slug_toml.labels() {
        let value = match labels.get(&key) {
            Some(of_buildpacks) if key == PROCESS_LABEL => over(of_buildpacks, &own),
            _ => own,
        };
        labels.insert(key, value);
    }
    // A project that states its version or its place is that; else it is its commit. pack does the same.
    let of_git = |Commit { id, dirty }: &Commit| {
        let version = serde_json::json!({ "commit": id });
        serde_json::json!({ "type": "git", "version": version, "metadata": { "dirty": dirty } })
    };
    let stated = source.project.metadata();
    if let Some(source) = stated.or_else(|| source.commit.as_ref().map(of_git)) {
        labels.insert(
            "io.buildpacks.project.metadata".to_owned(),
            serde_json::json!({ "source": source }).to_string(),
        );
    }
    labels
}

/// How processes run, as `slug.toml` says it over what buildpacks say: what it leaves out stays theirs.
fn over(of_buildpacks: &str, own: &str) -> String {
    fn merge(below: &mut Value, above: Value) {
        match (below, above) {
            (Value::Object(below), Value::Object(above)) => {
                for (key, value) in above {
                    merge(below.entry(key).or_insert(Value::Null), value);
                }
            }
            (below, above) => *below = above,
        }
    }
    match (
        serde_json::from_str(of_buildpacks),
        serde_json::from_str(own),
    ) {
        (Ok(mut below), Ok(above)) => {
            merge(&mut below, above);
            below.to_string()
        }
        _ => own.to_owned(),
    }
}

impl Exported {
    /// What the next build will know of this one's buildpacks; and whether the cache took over anything new.
    pub(super) fn remember(
        &self,
        cache: &Cache,
        executed: Executed,
        scratch: &Path,
    ) -> Result<(BTreeMap<BuildpackId, BuildpackState>, bool), PathError> {
        let mut has_new_roots = false;
        let mut states = BTreeMap::new();
        for built in executed.by {
            let id = built.buildpack.id;
            let (sboms, is_new) = built.sboms.remember(cache, &id, scratch)?;
            has_new_roots |= is_new;
            let mut state = BuildpackState {
                version: built.buildpack.version,
                store: built.store,
                sboms,
                layers: BTreeMap::new(),
            };
            for (name, layer) in built.layers {
                let packed = self.packed.get(&(id.clone(), name.clone())).cloned();
                let (roots, is_new) = cached_roots(cache, &name, &layer, scratch)?;
                has_new_roots |= is_new;
                let Layer {
                    types,
                    metadata,
                    content: _,
                } = layer;
                state.layers.insert(
                    name,
                    LayerState {
                        types,
                        metadata,
                        roots,
                        packed,
                    },
                );
            }
            states.insert(id, state);
        }
        Ok((states, has_new_roots))
    }
}

/// The roots of a layer that is cached; and whether one of them is new.
fn cached_roots(
    cache: &Cache,
    name: &LayerName,
    layer: &Layer,
    scratch: &Path,
) -> Result<(Vec<String>, bool), PathError> {
    let Some(content) = layer.content.as_ref().filter(|_| layer.types.cache) else {
        return Ok((Vec::new(), false));
    };
    let Some(own) = &content.own else {
        return Ok((content.below.clone(), false));
    };
    if content.below.len() < STACK_MAX {
        let own = cache.adopt(own, name.as_str())?;
        return Ok((
            std::iter::once(own)
                .chain(content.below.iter().cloned())
                .collect(),
            true,
        ));
    }
    let flat = scratch.join("squashed").join(name.as_str());
    crate::sys::fs::remove_tree(&flat)?;
    std::fs::create_dir_all(scratch.join("squashed")).map_err(|source| PathError {
        doing: "create the folder",
        path: flat.clone(),
        source,
    })?;
    super::tree::flatten(&content.stack(cache, name), &flat)?;
    Ok((vec![cache.adopt(&flat, name.as_str())?], true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_slug_toml_says_of_a_process_lies_over_what_a_buildpack_does() {
        let of_buildpack = r#"{"rake":{"instances":0},"web":{"grace":"5s"}}"#;
        let own = r#"{"rake":{"grace":"9s"},"web":{"grace":"1s"},"worker":{}}"#;
        assert_eq!(
            over(of_buildpack, own),
            r#"{"rake":{"grace":"9s","instances":0},"web":{"grace":"1s"},"worker":{}}"#
        );
        assert_eq!(over("what?", own), own);
    }
}
