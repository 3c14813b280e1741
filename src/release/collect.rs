//! What `slug gc` would delete: reads what `store::gc` plans from.

use std::collections::BTreeMap;

use super::ReleaseError;
use crate::archive::{image_blobs, read_image};
use crate::ident::Digest;
use crate::store::gc::{GcInput, SlugObjects, plan_gc};
use crate::store::{GcPlan, Ledger, Retention, Store};
use crate::sys::clock::Timestamp;

/// Plans a collection of the whole store. To apply it, take `Store::lock_for_gc` first.
pub fn plan_collection(
    store: &Store,
    retention: Retention,
    now: Timestamp,
) -> Result<GcPlan, ReleaseError> {
    let mut releases = BTreeMap::new();
    for app in store.apps()? {
        let of_app = Ledger::open(store, &app).releases()?;
        releases.insert(app, of_app);
    }
    let listing = store.list()?;
    let readable = listing
        .slugs
        .keys()
        .filter_map(|slug| Some((*slug, objects(store, slug)?)));
    let slugs: BTreeMap<Digest, SlugObjects> = readable.collect();
    Ok(plan_gc(&GcInput {
        releases: &releases,
        slugs: &slugs,
        listing: &listing,
        retention,
        now,
    })?)
}

/// None if the slug cannot be read; whether that matters is for the plan to say.
fn objects(store: &Store, slug: &Digest) -> Option<SlugObjects> {
    let blobs = image_blobs(store, slug).ok()?;
    let image = read_image(store, slug).ok()?;
    Some(SlugObjects {
        blobs: blobs.into_iter().map(|(blob, _)| blob).collect(),
        layers: image
            .layers
            .iter()
            .map(|(_, layer)| layer.diff_id)
            .collect(),
    })
}
