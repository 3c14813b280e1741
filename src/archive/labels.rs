//! A slug as an OCI image config, and back. What OCI has no field for stands in
//! labels: those that a CNB image carries, and `slug.*`.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ident::{BuildpackId, Digest, shown};

use super::documents::{Config, Execution, History, Manifest, RootFs, Unique, to_json};
use super::{
    AppFolder, ArchiveError, BadImage, LayerBlob, LayerKind, Slug, SlugBuildpack, SlugProcess,
    Target,
};

/// The instant that lifecycle gives every image: a build has no date, so that it has one name.
const CREATED: &str = "1980-01-01T00:00:01Z";
/// Of the slug's labels: `1`.
const SCHEMA: &str = "slug.schema";
const SCHEMA_KNOWN: &str = "1";
const LAYERS: &str = "slug.layers";
const BUILDPACKS: &str = "slug.buildpacks";
const BASE: &str = "slug.base";
const DISTRO_NAME: &str = "io.buildpacks.base.distro.name";
const DISTRO_VERSION: &str = "io.buildpacks.base.distro.version";
/// Processes, as lifecycle writes them.
const BUILD_METADATA: &str = "io.buildpacks.build.metadata";
/// Layers by buildpack, as lifecycle writes them.
const LIFECYCLE_METADATA: &str = "io.buildpacks.lifecycle.metadata";

/// The labels that a slug's fields become.
const OWN_LABELS: &[&str] = &[
    SCHEMA,
    LAYERS,
    BUILDPACKS,
    BASE,
    DISTRO_NAME,
    DISTRO_VERSION,
    BUILD_METADATA,
    LIFECYCLE_METADATA,
];

/// `slug.layers`: what each layer holds, and the bound of its unpacking.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LayerLabel {
    holds: LayerKind,
    tar_bytes: u64,
}

/// `io.buildpacks.build.metadata` (CNB platform specification).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BuildMetadata {
    buildpacks: Vec<BuildMetadataBuildpack>,
    processes: Vec<SlugProcess>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BuildMetadataBuildpack {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    homepage: Option<String>,
    id: String,
    version: String,
}

/// `io.buildpacks.lifecycle.metadata` (CNB platform specification).
#[derive(Serialize)]
struct LifecycleMetadata {
    app: Vec<Sha>,
    buildpacks: Vec<LifecycleBuildpack>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sbom: Option<Sha>,
}

#[derive(Serialize)]
struct Sha {
    sha: Digest,
}

#[derive(Serialize)]
struct LifecycleBuildpack {
    key: String,
    layers: BTreeMap<String, LifecycleLayer>,
    version: String,
}

#[derive(Serialize)]
struct LifecycleLayer {
    build: bool,
    cache: bool,
    launch: bool,
    sha: Digest,
}

/// The bytes whose digest is the slug's name.
pub(super) fn config_of(slug: &Slug) -> Result<Vec<u8>, ArchiveError> {
    let config = Config {
        architecture: slug.target.arch.clone(),
        execution: Execution {
            env: vec![
                format!("CNB_APP_DIR={}", slug.app.text()),
                "CNB_LAYERS_DIR=/layers".to_owned(),
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            ],
            labels: Unique(labels_of(slug)?),
            working_dir: slug.app.text().to_owned(),
        },
        created: CREATED.to_owned(),
        history: history_of(slug),
        os: slug.target.os.clone(),
        rootfs: RootFs {
            diff_ids: slug.layers.iter().map(|(_, blob)| blob.diff_id).collect(),
            kind: "layers".to_owned(),
        },
    };
    to_json("the config", &config)
}

fn labels_of(slug: &Slug) -> Result<BTreeMap<String, String>, ArchiveError> {
    let Slug {
        layers,
        app: _, // WorkingDir and CNB_APP_DIR say it
        processes,
        buildpacks,
        target,
        base,
        labels,
    } = slug;
    if let Some(label) = OWN_LABELS.iter().find(|label| labels.contains_key(**label)) {
        return Err(ArchiveError::ReservedLabel {
            label: (*label).to_owned(),
        });
    }
    let mut processes = processes.clone();
    processes.sort_by(|one, other| one.process_type.cmp(&other.process_type));
    let layer_labels: Vec<LayerLabel> = layers
        .iter()
        .map(|(kind, blob)| LayerLabel {
            holds: kind.clone(),
            tar_bytes: blob.tar_bytes,
        })
        .collect();
    let named = |buildpack: &SlugBuildpack| BuildMetadataBuildpack {
        homepage: buildpack.homepage.clone(),
        id: buildpack.id.to_string(),
        version: buildpack.version.clone(),
    };
    let metadata = BuildMetadata {
        buildpacks: buildpacks.iter().map(named).collect(),
        processes,
    };
    let mut labels = labels.clone();
    let mut add = |key: &str, value: String| labels.insert(key.to_owned(), value);
    add(SCHEMA, SCHEMA_KNOWN.to_owned());
    add(LAYERS, json(LAYERS, &layer_labels)?);
    add(BUILDPACKS, json(BUILDPACKS, buildpacks)?);
    add(BASE, json(BASE, base)?);
    add(DISTRO_NAME, target.distro_name.clone());
    add(DISTRO_VERSION, target.distro_version.clone());
    add(BUILD_METADATA, json(BUILD_METADATA, &metadata)?);
    add(
        LIFECYCLE_METADATA,
        json(LIFECYCLE_METADATA, &lifecycle_metadata(slug))?,
    );
    Ok(labels)
}

fn lifecycle_metadata(slug: &Slug) -> LifecycleMetadata {
    let shas = |of: LayerKind| {
        let layers = slug.layers.iter().filter(move |(kind, _)| *kind == of);
        layers.map(|(_, blob)| Sha { sha: blob.diff_id })
    };
    let of_buildpack = |buildpack: &SlugBuildpack| LifecycleBuildpack {
        key: buildpack.id.to_string(),
        layers: lifecycle_layers(slug, &buildpack.id),
        version: buildpack.version.clone(),
    };
    LifecycleMetadata {
        app: shas(LayerKind::App).collect(),
        buildpacks: slug.buildpacks.iter().map(of_buildpack).collect(),
        sbom: shas(LayerKind::Sbom).next(),
    }
}

fn lifecycle_layers(slug: &Slug, of: &BuildpackId) -> BTreeMap<String, LifecycleLayer> {
    let own = slug.layers.iter().filter_map(|(kind, blob)| match kind {
        LayerKind::Buildpack { buildpack, layer } if buildpack == of => Some((layer, blob)),
        _ => None,
    });
    let layer = |blob: &LayerBlob| LifecycleLayer {
        build: false,
        cache: false,
        launch: true,
        sha: blob.diff_id,
    };
    own.map(|(name, blob)| (name.to_string(), layer(blob)))
        .collect()
}

/// One line a layer, worded as lifecycle words it.
fn history_of(slug: &Slug) -> Vec<History> {
    let slices = slug
        .layers
        .iter()
        .filter(|(kind, _)| *kind == LayerKind::App)
        .count();
    let mut slice = 0;
    let mut worded = |kind: &LayerKind| match kind {
        LayerKind::Buildpack { buildpack, layer } => {
            let by = slug.buildpacks.iter().find(|one| one.id == *buildpack);
            let version = by.map_or("", |by| by.version.as_str());
            format!("Layer: '{layer}', Created by buildpack: {buildpack}@{version}")
        }
        LayerKind::Sbom => "Software Bill-of-Materials".to_owned(),
        LayerKind::App if slices == 1 => "Application Layer".to_owned(),
        LayerKind::App => {
            slice += 1;
            format!("Application Slice: {slice}")
        }
    };
    let line = |created_by| History {
        created: CREATED.to_owned(),
        created_by,
    };
    slug.layers
        .iter()
        .map(|(kind, _)| line(worded(kind)))
        .collect()
}

/// The slug that this config and this manifest are of. A config that `config_of` would not have
/// written byte for byte is refused: it says something twice, or something that slug does not know.
pub(super) fn slug_of(config_bytes: &[u8], manifest: &Manifest) -> Result<Slug, BadImage> {
    check_schema(config_bytes)?;
    let config: Config = serde_json::from_slice(config_bytes)?;
    let Config {
        architecture,
        execution:
            Execution {
                labels: Unique(mut labels),
                working_dir,
                ..
            },
        os,
        rootfs,
        ..
    } = config;
    let mut take = |key: &str| {
        labels
            .remove(key)
            .ok_or_else(|| BadImage::Says(format!("the label `{key}` is missing")))
    };
    let held: Vec<LayerLabel> = parse(LAYERS, &take(LAYERS)?)?;
    let metadata: BuildMetadata = parse(BUILD_METADATA, &take(BUILD_METADATA)?)?;
    let buildpacks = parse(BUILDPACKS, &take(BUILDPACKS)?)?;
    let base = parse(BASE, &take(BASE)?)?;
    let target = Target {
        os,
        arch: architecture,
        distro_name: take(DISTRO_NAME)?,
        distro_version: take(DISTRO_VERSION)?,
    };
    take(LIFECYCLE_METADATA)?;
    take(SCHEMA)?;
    let layers = layers_of(held, &rootfs.diff_ids, manifest)?;
    let app = AppFolder::of(&working_dir).ok_or_else(|| {
        BadImage::Says(format!(
            "its app is at `{}`, where no slug has it",
            working_dir.escape_debug()
        ))
    })?;
    let slug = Slug {
        layers,
        app,
        processes: metadata.processes,
        buildpacks,
        target,
        base,
        labels,
    };
    match config_of(&slug) {
        Ok(canonical) if canonical == config_bytes => Ok(slug),
        _ => Err(BadImage::Says(
            "it is not written as slug writes it".to_owned(),
        )),
    }
}

/// Before anything else is looked at: a newer slug may say things in other ways.
fn check_schema(config_bytes: &[u8]) -> Result<(), BadImage> {
    #[derive(Deserialize)]
    struct Outer {
        config: Option<Inner>,
    }
    #[derive(Deserialize)]
    struct Inner {
        #[serde(rename = "Labels")]
        labels: Option<Unique>,
    }
    let outer: Outer = serde_json::from_slice(config_bytes)?;
    let labels = outer
        .config
        .and_then(|inner| inner.labels)
        .unwrap_or_default();
    match labels.0.get(SCHEMA).map(String::as_str) {
        Some(SCHEMA_KNOWN) => Ok(()),
        Some(found) => Err(BadImage::Schema {
            found: shown(found),
        }),
        None => Err(BadImage::Says(format!(
            "it is an image but no slug: it has no label `{SCHEMA}`"
        ))),
    }
}

fn layers_of(
    held: Vec<LayerLabel>,
    diff_ids: &[Digest],
    manifest: &Manifest,
) -> Result<Vec<(LayerKind, LayerBlob)>, BadImage> {
    let counts = [held.len(), diff_ids.len(), manifest.layers.len()];
    if counts.iter().any(|count| *count != counts[0]) {
        let [held, diff_ids, blobs] = counts;
        let says = format!(
            "it has {blobs} layers, {diff_ids} digests of layers, and says what {held} hold"
        );
        return Err(BadImage::Says(says));
    }
    let layers = held.into_iter().zip(diff_ids).zip(&manifest.layers);
    Ok(layers
        .map(|((LayerLabel { holds, tar_bytes }, diff_id), blob)| {
            let (digest, size_bytes, media_type) =
                (blob.digest, blob.size, blob.media_type.clone());
            (
                holds,
                LayerBlob {
                    diff_id: *diff_id,
                    digest,
                    size_bytes,
                    tar_bytes,
                    media_type,
                },
            )
        })
        .collect())
}

fn json(label: &str, value: &impl Serialize) -> Result<String, ArchiveError> {
    let bytes = to_json(label, value)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn parse<T: DeserializeOwned>(label: &str, text: &str) -> Result<T, BadImage> {
    serde_json::from_str(text)
        .map_err(|error| BadImage::Says(format!("the label `{label}`: {error}")))
}
