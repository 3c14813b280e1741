//! Writes a buildpackage of one buildpack (CNB distribution specification,
//! "Buildpackage"): an image layout in a tar, `.cnb`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::documents::{CONFIG_TYPE, Descriptor as Blob, Manifest, to_json};
use super::oci_archive::export_archive;
use super::package::PACKAGE_LABEL;
use super::{ArchiveError, Compression, LayerBlob, Modes, Tree, pack};
use crate::buildpack::descriptor::Descriptor;
use crate::ident::Digest;
use crate::store::Store;

/// The label that says which layer has which buildpack.
const LAYERS_LABEL: &str = "io.buildpacks.buildpack.layers";

/// Writes the component buildpack to the file `to`. `store` is for the time of writing alone; `arch` is that of its programs.
pub fn write_package(
    store: &Store,
    buildpack: &Descriptor,
    arch: &str,
    to: &Path,
) -> Result<(), ArchiveError> {
    let tree = Tree {
        from: buildpack.folder.clone(),
        to: Path::new("/cnb/buildpacks").join(folder_of(buildpack)),
        modes: Modes::Normalized,
    };
    // gzip: every reader of images knows it.
    let layer = pack(store, &[tree], Compression::Gzip, &mut |_| {})?.layer;
    let config = to_json("the config", &config(buildpack, arch, &layer)?)?;
    let manifest = Manifest::new(
        Blob::new(CONFIG_TYPE, Digest::of(&config), config.len() as u64),
        vec![Blob::new(&layer.media_type, layer.digest, layer.size_bytes)],
    );
    let manifest = to_json("the manifest", &manifest)?;
    let name = store.put_blob(&config)?;
    let digest = store.put_blob(&manifest)?;
    store.put_slug(&name, &digest, manifest.len() as u64)?;
    export_archive(store, &name, to)
}

fn folder_of(buildpack: &Descriptor) -> PathBuf {
    Path::new(&buildpack.id.folder()).join(&buildpack.version)
}

fn config(buildpack: &Descriptor, arch: &str, layer: &LayerBlob) -> Result<Value, ArchiveError> {
    let (id, version) = (buildpack.id.as_str(), buildpack.version.as_str());
    // Platforms before Buildpack API 0.10 look for stacks.
    let stacks = json!([{ "id": "*" }]);
    let package = json!({ "id": id, "version": version, "stacks": stacks });
    let about = json!({ "api": buildpack.api, "stacks": stacks, "layerDiffID": layer.diff_id });
    let layers = json!({ id: { version: about } });
    let label = |what: &str, value: &Value| -> Result<Value, ArchiveError> {
        let bytes = to_json(what, value)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned().into())
    };
    Ok(json!({
        "architecture": arch,
        "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [layer.diff_id] },
        "config": {
            "Labels": {
                PACKAGE_LABEL: label(PACKAGE_LABEL, &package)?,
                LAYERS_LABEL: label(LAYERS_LABEL, &layers)?,
            },
        },
    }))
}
