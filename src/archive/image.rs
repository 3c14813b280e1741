//! A slug in the store, as an OCI image without a base.

use crate::ident::{Digest, DigestPrefix};
use crate::store::Store;
use crate::sys::fs::read_if_present;

use super::documents::{CONFIG_TYPE, Descriptor, MANIFEST_TYPE, Manifest, refuse, to_json};
use super::labels::{config_of, slug_of};
use super::limits::DOCUMENT_BYTES_MAX;
use super::{ArchiveError, BadImage, Slug};

/// Writes config and manifest, and `slugs/<hex>.json`, which names the manifest that the store
/// holds for the slug. Gives the slug's name, the digest of the config. The same slug again,
/// recompressed, replaces that file; the layers must be in the store.
pub fn write_image(store: &Store, slug: &Slug) -> Result<Digest, ArchiveError> {
    for (_, layer) in &slug.layers {
        if !store.has_blob(&layer.digest, Some(layer.size_bytes)) {
            return Err(ArchiveError::MissingBlob {
                digest: layer.digest,
            });
        }
    }
    let config = config_of(slug)?;
    let layers = slug
        .layers
        .iter()
        .map(|(_, layer)| Descriptor::new(&layer.media_type, layer.digest, layer.size_bytes));
    let manifest = Manifest::new(
        Descriptor::new(CONFIG_TYPE, Digest::of(&config), config.len() as u64),
        layers.collect(),
    );
    let manifest = to_json("the manifest", &manifest)?;
    for (what, document) in [("the config", &config), ("the manifest", &manifest)] {
        if document.len() as u64 > DOCUMENT_BYTES_MAX {
            let why = BadImage::Says(format!("it has more than {DOCUMENT_BYTES_MAX} bytes"));
            return Err(refuse(what.to_owned(), why));
        }
    }
    let name = store.put_blob(&config)?;
    let manifest_digest = store.put_blob(&manifest)?;
    store.put_slug(&name, &manifest_digest, manifest.len() as u64)?;
    Ok(name)
}

/// Reads what a slug is. Every byte is checked: digests, sizes, unknown and repeated keys.
pub fn read_image(store: &Store, slug: &Digest) -> Result<Slug, ArchiveError> {
    let (_, manifest) = read_manifest(store, slug)?;
    let config = read_document(store, &manifest.config)?;
    slug_of(&config, &manifest).map_err(|why| refuse(format!("the slug {slug}"), why))
}

/// The blobs that a slug consists of, and their sizes in bytes: manifest, config, layers.
pub fn image_blobs(store: &Store, slug: &Digest) -> Result<Vec<(Digest, u64)>, ArchiveError> {
    let (manifest, Manifest { config, layers, .. }) = read_manifest(store, slug)?;
    Ok([manifest, config]
        .into_iter()
        .chain(layers)
        .map(|blob| (blob.digest, blob.size))
        .collect())
}

/// All slugs of the store, sorted.
pub fn list_slugs(store: &Store) -> Result<Vec<Digest>, ArchiveError> {
    Ok(store.slugs()?)
}

/// The one slug whose digest begins so.
pub fn resolve_slug(store: &Store, prefix: &DigestPrefix) -> Result<Digest, ArchiveError> {
    let mut candidates = store.slugs()?;
    candidates.retain(|slug| prefix.matches(slug));
    match candidates[..] {
        [slug] => Ok(slug),
        [] => Err(ArchiveError::NoSlug {
            prefix: prefix.to_string(),
        }),
        _ => Err(ArchiveError::AmbiguousSlug {
            prefix: prefix.clone(),
            candidates,
        }),
    }
}

/// The manifest that the store holds for a slug, and its descriptor.
pub(super) fn read_manifest(
    store: &Store,
    slug: &Digest,
) -> Result<(Descriptor, Manifest), ArchiveError> {
    let pointer = store.slug(slug)?.ok_or_else(|| ArchiveError::NoSlug {
        prefix: slug.to_string(),
    })?;
    let descriptor = Descriptor::new(MANIFEST_TYPE, pointer.manifest, pointer.manifest_bytes);
    let bytes = read_document(store, &descriptor)?;
    let bad = |why| refuse(format!("the manifest {}", pointer.manifest), why);
    let manifest = Manifest::parse(&bytes).map_err(bad)?;
    if manifest.config.digest != *slug {
        return Err(bad(BadImage::Says(format!(
            "it is not of the slug {slug} but of {}",
            manifest.config.digest
        ))));
    }
    Ok((descriptor, manifest))
}

/// A small blob, checked.
pub(super) fn read_document(
    store: &Store,
    descriptor: &Descriptor,
) -> Result<Vec<u8>, ArchiveError> {
    let path = store.blob_path(&descriptor.digest);
    let bytes = read_if_present(&path, DOCUMENT_BYTES_MAX)?;
    let bytes = bytes.ok_or(ArchiveError::MissingBlob {
        digest: descriptor.digest,
    })?;
    check_document(&bytes, descriptor)?;
    Ok(bytes)
}

/// Are these the bytes that the descriptor describes?
pub(super) fn check_document(bytes: &[u8], descriptor: &Descriptor) -> Result<(), ArchiveError> {
    let Descriptor { digest, size, .. } = descriptor;
    if bytes.len() as u64 != *size {
        return Err(ArchiveError::Size {
            digest: *digest,
            expected: *size,
            actual: bytes.len() as u64,
        });
    }
    match Digest::of(bytes) {
        actual if actual == *digest => Ok(()),
        actual => Err(ArchiveError::Damaged {
            what: "the blob",
            expected: *digest,
            actual,
        }),
    }
}
