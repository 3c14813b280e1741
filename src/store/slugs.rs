//! `slugs/<hex>.json`: which manifest the store holds for a slug. The slug's
//! name is the digest of its image config, which does not change when layers
//! are compressed anew; the manifest's does.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::json::{self, Reader, Schema};
use super::{PUBLIC_DIR, PUBLIC_FILE, Store, StoreError, names_in};
use crate::ident::Digest;
use crate::sys::fs::{create_dir_durable, touch, write_atomic};

/// What the store knows of a slug.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlugPointer {
    schema: Schema,
    reader: Reader,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The size of its manifest, in bytes.
    pub manifest_bytes: u64,
}

impl Store {
    /// Names the manifest of a slug, durably. Its blobs must be there already.
    pub fn put_slug(
        &self,
        slug: &Digest,
        manifest: &Digest,
        manifest_bytes: u64,
    ) -> Result<(), StoreError> {
        let path = self.slug_path(slug);
        let pointer = SlugPointer {
            schema: Schema,
            reader: Reader,
            manifest: *manifest,
            manifest_bytes,
        };
        if json::read::<SlugPointer>(&path)?.is_some_and(|(found, _)| found == pointer) {
            return Ok(touch(&path)?); // built again: as young as a new one, for gc
        }
        create_dir_durable(&self.root().join("slugs"), PUBLIC_DIR)?;
        Ok(write_atomic(
            &path,
            &json::to_bytes(&path, &pointer)?,
            PUBLIC_FILE,
        )?)
    }

    /// The manifest of a slug; none if the store does not hold that slug.
    pub fn slug(&self, slug: &Digest) -> Result<Option<SlugPointer>, StoreError> {
        Ok(json::read(&self.slug_path(slug))?.map(|(pointer, _)| pointer))
    }

    /// The slugs that the store holds, sorted.
    pub fn slugs(&self) -> Result<Vec<Digest>, StoreError> {
        let names = names_in(&self.root().join("slugs"))?;
        let hex = names.iter().filter_map(|name| name.strip_suffix(".json"));
        let mut slugs: Vec<Digest> = hex.filter_map(|hex| Digest::from_hex(hex).ok()).collect();
        slugs.sort();
        Ok(slugs)
    }

    pub(super) fn slug_path(&self, slug: &Digest) -> PathBuf {
        self.root()
            .join("slugs")
            .join(format!("{}.json", slug.hex()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::store;

    #[test]
    fn a_slug_whose_layers_were_compressed_anew_names_the_new_manifest() {
        let (_folder, store) = store();
        let slug = Digest::of(b"config");
        assert_eq!(store.slug(&slug).unwrap(), None);
        store.put_slug(&slug, &Digest::of(b"zstd"), 4).unwrap();
        store.put_slug(&slug, &Digest::of(b"gzip"), 4).unwrap();
        assert_eq!(
            store.slug(&slug).unwrap().unwrap().manifest,
            Digest::of(b"gzip")
        );
        assert_eq!(store.slugs().unwrap(), [slug]);
    }
}
