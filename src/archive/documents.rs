//! The JSON documents of an OCI image (image specification 1.1), as far as a
//! slug uses them: what they do not know is refused, and so is what is said twice.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::ident::{Digest, shown};

use super::limits::{DOCUMENT_BYTES_MAX, LAYERS_MAX};
use super::{ArchiveError, BadImage, Compression};

/// "OCI Image Manifest Specification".
pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// "OCI Image Configuration".
pub(super) const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// "OCI Image Index Specification".
pub(super) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// Of manifests and indexes.
pub(super) const SCHEMA_VERSION: u32 = 2;

/// A blob, and what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Descriptor {
    #[serde(default, skip_serializing_if = "Unique::is_empty")]
    pub(super) annotations: Unique,
    pub(super) digest: Digest,
    pub(super) media_type: String,
    /// Engines state it in an index; the config decides.
    #[serde(default, skip_serializing)]
    platform: Option<serde_json::Value>,
    pub(super) size: u64,
}

impl Descriptor {
    pub(super) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            annotations: Unique::default(),
            digest,
            media_type: media_type.to_owned(),
            platform: None,
            size,
        }
    }
}

/// An image: its config and its layers, lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Manifest {
    #[serde(default, skip_serializing_if = "Unique::is_empty")]
    pub(super) annotations: Unique,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
    pub(super) media_type: String,
    pub(super) schema_version: u32,
}

impl Manifest {
    pub(super) fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        let media_type = MANIFEST_TYPE.to_owned();
        Self {
            annotations: Unique::default(),
            config,
            layers,
            media_type,
            schema_version: SCHEMA_VERSION,
        }
    }

    /// Unknown keys are refused: what has both `layers` and `manifests` would be an image to one reader and an index to another (CVE-2021-41190).
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BadImage> {
        let manifest: Self = serde_json::from_slice(bytes)?;
        expect(
            "schemaVersion",
            &manifest.schema_version.to_string(),
            &SCHEMA_VERSION.to_string(),
        )?;
        expect("mediaType", &manifest.media_type, MANIFEST_TYPE)?;
        expect(
            "the config's mediaType",
            &manifest.config.media_type,
            CONFIG_TYPE,
        )?;
        if manifest.config.size > DOCUMENT_BYTES_MAX {
            return Err(BadImage::Says(format!(
                "its config has more than {DOCUMENT_BYTES_MAX} bytes"
            )));
        }
        if manifest.layers.len() > LAYERS_MAX {
            return Err(BadImage::Says(format!(
                "it has more than {LAYERS_MAX} layers"
            )));
        }
        for layer in &manifest.layers {
            if Compression::of_media_type(&layer.media_type).is_none() {
                let media_type = shown(&layer.media_type);
                return Err(BadImage::Says(format!(
                    "the layer {} is of the type `{media_type}`",
                    layer.digest
                )));
            }
        }
        Ok(manifest)
    }
}

/// What an `app.slug` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Index {
    #[serde(default, skip_serializing_if = "Unique::is_empty")]
    pub(super) annotations: Unique,
    pub(super) manifests: Vec<Descriptor>,
    /// skopeo of 2022 leaves it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) media_type: Option<String>,
    pub(super) schema_version: u32,
}

impl Index {
    pub(super) fn new(manifest: Descriptor) -> Self {
        let media_type = Some(INDEX_TYPE.to_owned());
        Self {
            annotations: Unique::default(),
            manifests: vec![manifest],
            media_type,
            schema_version: SCHEMA_VERSION,
        }
    }

    /// The manifest of the one image in it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Descriptor, BadImage> {
        let index: Self = serde_json::from_slice(bytes)?;
        expect(
            "schemaVersion",
            &index.schema_version.to_string(),
            &SCHEMA_VERSION.to_string(),
        )?;
        expect(
            "mediaType",
            index.media_type.as_deref().unwrap_or(INDEX_TYPE),
            INDEX_TYPE,
        )?;
        let [manifest] = <[Descriptor; 1]>::try_from(index.manifests).map_err(|images| {
            BadImage::Says(format!("it names {} images instead of one", images.len()))
        })?;
        expect("the image's mediaType", &manifest.media_type, MANIFEST_TYPE)?;
        Ok(manifest)
    }
}

/// "OCI Image Configuration": what a slug's name is the digest of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) architecture: String,
    #[serde(rename = "config")]
    pub(super) execution: Execution,
    pub(super) created: String,
    pub(super) history: Vec<History>,
    pub(super) os: String,
    pub(super) rootfs: RootFs,
}

/// What an engine would run it with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Execution {
    pub(super) env: Vec<String>,
    pub(super) labels: Unique,
    pub(super) working_dir: String,
}

/// How a layer came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct History {
    pub(super) created: String,
    pub(super) created_by: String,
}

/// The layers by the digests of their uncompressed tars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RootFs {
    pub(super) diff_ids: Vec<Digest>,
    #[serde(rename = "type")]
    pub(super) kind: String,
}

/// A map of texts that refuses a key said twice, which parsers read differently.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Unique(pub(super) BTreeMap<String, String>);

impl Unique {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Unique;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if entries.contains_key(&key) {
                        return Err(A::Error::custom(format!(
                            "repeated key `{}`",
                            key.escape_debug()
                        )));
                    }
                    entries.insert(key, value);
                }
                Ok(Unique(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

fn expect(what: &str, found: &str, expected: &str) -> Result<(), BadImage> {
    if found == expected {
        return Ok(());
    }
    Err(BadImage::Says(format!(
        "{what} is `{}`, not `{expected}`",
        shown(found)
    )))
}

/// The one spelling of a document: no blanks, keys sorted (the structs above declare them so).
pub(super) fn to_json(what: &str, document: &impl Serialize) -> Result<Vec<u8>, ArchiveError> {
    serde_json::to_vec(document).map_err(|error| refuse(what.to_owned(), BadImage::Json(error)))
}

pub(super) fn refuse(what: String, why: BadImage) -> ArchiveError {
    ArchiveError::Image { what, why }
}
