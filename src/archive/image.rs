//! A slug as an OCI image without a base.

use crate::ident::{Digest, DigestPrefix};
use crate::store::Store;

use super::{ArchiveError, Slug};

/// Writes config and manifest, and `slugs/<hex>.json`, which names the manifest that the store
/// holds for the slug. Gives the slug's name, the digest of the config. The same slug again,
/// recompressed, replaces that file.
pub fn write_image(store: &Store, slug: &Slug) -> Result<Digest, ArchiveError> {
    let _ = (store, slug);
    todo!()
}

/// Reads what a slug is. Every byte is checked: digests, sizes, unknown and repeated keys.
pub fn read_image(store: &Store, slug: &Digest) -> Result<Slug, ArchiveError> {
    let _ = (store, slug);
    todo!()
}

/// The blobs that a slug consists of, and their sizes in bytes: manifest, config, layers. For garbage collection.
pub fn image_blobs(store: &Store, slug: &Digest) -> Result<Vec<(Digest, u64)>, ArchiveError> {
    let _ = (store, slug);
    todo!()
}

/// All slugs of the store, sorted.
pub fn list_slugs(store: &Store) -> Result<Vec<Digest>, ArchiveError> {
    let _ = store;
    todo!()
}

/// The one slug whose digest begins so.
pub fn resolve_slug(store: &Store, prefix: &DigestPrefix) -> Result<Digest, ArchiveError> {
    let _ = (store, prefix);
    todo!()
}
