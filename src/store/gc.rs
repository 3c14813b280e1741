//! Garbage: what no kept release needs. `plan_gc` reads no disk and
//! `GcPlan::apply` decides nothing; both are handed the same plan, which
//! `--dry-run` prints.
//!
//! | thing | kept while |
//! |---|---|
//! | release | current on any host; pending; among the last `releases` before the current one that succeeded; succeeded and superseded less than `days` ago |
//! | slug | a kept release names it; or no record names it and it is younger than `unreleased_days` |
//! | blob | a kept slug has it; or no slug has it and it is younger than an hour |
//! | unpacked layer | a kept slug has it |
//! | config | a record names it, whatever became of the release; or it is younger than an hour |
//! | artifact, fetched buildpack | it was used in the last `cache_days`, and is among those used last that `cache_bytes` hold |
//! | build cache of an app | the same; and while a build of the app runs |
//! | temporary file | it is younger than an hour |
//!
//! The hour is for writers that do not hold the store (`Store::hold`); nothing else depends on clocks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::build_cache::remove_whole;
use super::{CollectLock, Entry, Listing, Outcome, Release, Store, StoreError};
use crate::ident::{AppName, Digest, ReleaseVersion};
use crate::sys::At as _;
use crate::sys::PathError;
use crate::sys::clock::Timestamp;
use crate::sys::fs::{remove_tree, step, sync_parent};

/// Younger than this, in seconds, nothing is taken for left behind.
const UNDER_WAY_S: i64 = 60 * 60;
const DAY_S: i64 = 24 * 60 * 60;
/// Room for the caches of a dozen apps with 1 GB of dependencies each, and their runtimes.
const CACHE_BYTES: u64 = 20_000_000_000;

/// How much history can be rolled back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Retention {
    /// How many releases that succeeded are kept for each app, besides the current one.
    pub releases: usize,
    /// For how long after it was superseded a release is kept besides, in days; 0: not at all.
    pub days: u32,
    /// How long a slug that was never released is kept, in days.
    pub unreleased_days: u32,
    /// How long what this host's caches hold is kept after it was used last, in days.
    pub cache_days: u32,
    /// How much this host's caches may hold together, in bytes: what was used the longest ago goes first.
    pub cache_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            releases: 10,
            days: 0,
            unreleased_days: 7,
            cache_days: 90,
            cache_bytes: CACHE_BYTES,
        }
    }
}

/// What a slug consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlugObjects {
    /// Manifest, config and layers.
    pub blobs: Vec<Digest>,
    /// The layers by the digests of their uncompressed tars: the names of their unpacked folders.
    pub layers: Vec<Digest>,
}

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct GcInput<'a> {
    /// All releases of all apps.
    pub releases: &'a BTreeMap<AppName, Vec<Release>>,
    /// What each slug of the store consists of, where that can be read.
    pub slugs: &'a BTreeMap<Digest, SlugObjects>,
    /// What lies there.
    pub listing: &'a Listing,
    /// How much is to be kept.
    pub retention: Retention,
    /// The time.
    pub now: Timestamp,
}

/// What a collection would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GcPlan {
    /// The releases that stay, and why.
    pub keep: Vec<Kept>,
    /// What goes, in this order.
    pub delete: Vec<Deletion>,
    /// What deleting frees.
    pub bytes: u64,
}

/// A release that stays whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Whose.
    pub app: AppName,
    /// Which.
    pub version: ReleaseVersion,
    /// Why.
    pub why: KeptFor,
}

/// Why a release stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeptFor {
    /// A host runs it, or will.
    Current,
    /// It is being made.
    Pending,
    /// Among the last that succeeded.
    Recent,
    /// It was current not long ago.
    LatelyCurrent,
}

/// One thing that goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deletion {
    /// What it is.
    pub garbage: Garbage,
    /// Its size.
    pub bytes: u64,
}

/// Things that can go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Garbage {
    /// `slugs/<hex>.json`. First, so that a kill leaves no slug without its blobs.
    Slug(Digest),
    /// A blob that no slug left has.
    Blob(Digest),
    /// Sealed config that no record names.
    Config(AppName, Digest),
    /// An unpacked layer.
    Layer(Digest),
    /// A fetched runtime or tool.
    Artifact(Digest),
    /// A fetched buildpack.
    Buildpack(Digest),
    /// The content of an app's cached layers: its next build makes them again.
    #[serde(rename = "build-cache")]
    BuildCache(AppName),
    /// A file or folder that a kill has left behind.
    Temporary(PathBuf),
}

/// A kept release's slug cannot be read, so nobody knows what it needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the slug {slug} of {version} of {app} cannot be read, so what it needs is not known")]
pub struct UnknownNeeds {
    /// Whose release.
    pub app: AppName,
    /// Which.
    pub version: ReleaseVersion,
    /// Its slug.
    pub slug: Digest,
}

/// Plans a collection. Refused where a kept release's slug lies in the store and cannot be read.
pub fn plan_gc(input: &GcInput<'_>) -> Result<GcPlan, UnknownNeeds> {
    let mut keep = Vec::new();
    let mut kept_slugs = BTreeSet::new();
    for (app, releases) in input.releases {
        for (version, why) in kept_releases(releases, input.retention, input.now) {
            keep.push(Kept {
                app: app.clone(),
                version,
                why,
            });
            let slug = releases
                .iter()
                .find(|release| release.record.version == version)
                .and_then(|found| found.record.slug);
            let Some(slug) = slug else { continue };
            if input.listing.slugs.contains_key(&slug) && !input.slugs.contains_key(&slug) {
                return Err(UnknownNeeds {
                    app: app.clone(),
                    version,
                    slug,
                });
            }
            kept_slugs.insert(slug);
        }
    }
    let awaited = input
        .listing
        .slugs
        .iter()
        .filter(|(slug, entry)| awaits_release(input, slug, entry));
    kept_slugs.extend(awaited.map(|(slug, _)| *slug));
    let delete = garbage(input, &kept_slugs);
    let bytes = delete.iter().map(|deletion| deletion.bytes).sum();
    Ok(GcPlan {
        keep,
        delete,
        bytes,
    })
}

/// Was the slug built, or built again, not long ago, and not released since?
fn awaits_release(input: &GcInput<'_>, slug: &Digest, entry: &Entry) -> bool {
    let mut records = input
        .releases
        .values()
        .flatten()
        .map(|release| &release.record);
    age_s(entry, input.now) < i64::from(input.retention.unreleased_days) * DAY_S
        && !records.any(|record| record.slug == Some(*slug) && record.at >= entry.changed)
}

/// What goes, in the order in which it has to.
fn garbage(input: &GcInput<'_>, kept_slugs: &BTreeSet<Digest>) -> Vec<Deletion> {
    let listing = input.listing;
    let left_behind = |entry: &Entry| age_s(entry, input.now) >= UNDER_WAY_S;
    let mut delete = Vec::new();
    let mut add = |garbage, entry: &Entry| {
        delete.push(Deletion {
            garbage,
            bytes: entry.bytes,
        });
    };
    for (slug, entry) in listing
        .slugs
        .iter()
        .filter(|(slug, _)| !kept_slugs.contains(*slug))
    {
        add(Garbage::Slug(*slug), entry);
    }
    let needs = Needs::of(input, kept_slugs);
    for (blob, entry) in &listing.blobs {
        let has_slug = needs.blobs_of_any.contains(blob);
        if !needs.blobs.contains(blob) && (has_slug || left_behind(entry)) {
            add(Garbage::Blob(*blob), entry);
        }
    }
    for ((app, config), entry) in &listing.configs {
        if !needs.configs.contains(&(app, config)) && left_behind(entry) {
            add(Garbage::Config(app.clone(), *config), entry);
        }
    }
    for (layer, entry) in listing
        .layers
        .iter()
        .filter(|(layer, _)| !needs.layers.contains(layer))
    {
        add(Garbage::Layer(*layer), entry);
    }
    for (cached, entry) in spent_caches(input) {
        add(cached, &entry);
    }
    for (path, entry) in listing
        .temporaries
        .iter()
        .filter(|(_, entry)| left_behind(entry))
    {
        add(Garbage::Temporary(path.clone()), entry);
    }
    delete
}

/// What goes of this host's caches: what was not used for long, and of the rest what was used the longest ago, until
/// the budget holds it.
fn spent_caches(input: &GcInput<'_>) -> Vec<(Garbage, Entry)> {
    let Listing {
        artifacts,
        buildpacks,
        build_caches,
        ..
    } = input.listing;
    let artifacts = artifacts
        .iter()
        .map(|(digest, entry)| (Garbage::Artifact(*digest), *entry));
    let buildpacks = buildpacks
        .iter()
        .map(|(digest, entry)| (Garbage::Buildpack(*digest), *entry));
    let build_caches = build_caches
        .iter()
        .filter(|(_, entry)| entry.bytes > 0)
        .map(|(app, entry)| (Garbage::BuildCache(app.clone()), *entry));
    let mut caches: Vec<_> = artifacts.chain(buildpacks).chain(build_caches).collect();
    caches.sort_by(|(one, one_entry), (other, other_entry)| {
        (one_entry.changed, one).cmp(&(other_entry.changed, other))
    });
    let days = i64::from(input.retention.cache_days);
    let mut left: u64 = caches.iter().map(|(_, entry)| entry.bytes).sum();
    let goes = |(_, entry): &(Garbage, Entry)| {
        let goes = age_s(entry, input.now) >= days * DAY_S || left > input.retention.cache_bytes;
        left -= entry.bytes;
        goes
    };
    caches.into_iter().take_while(goes).collect()
}

/// What must not go.
struct Needs<'a> {
    blobs: BTreeSet<&'a Digest>,
    /// The blobs of all slugs, kept or not.
    blobs_of_any: BTreeSet<&'a Digest>,
    layers: BTreeSet<&'a Digest>,
    configs: BTreeSet<(&'a AppName, &'a Digest)>,
}

impl<'a> Needs<'a> {
    fn of(input: &GcInput<'a>, kept_slugs: &BTreeSet<Digest>) -> Self {
        let kept = || {
            input
                .slugs
                .iter()
                .filter(|(slug, _)| kept_slugs.contains(*slug))
                .map(|(_, objects)| objects)
        };
        let releases = input
            .releases
            .iter()
            .flat_map(|(app, of_app)| of_app.iter().map(move |release| (app, release)));
        Self {
            blobs: kept().flat_map(|objects| &objects.blobs).collect(),
            blobs_of_any: input
                .slugs
                .values()
                .flat_map(|objects| &objects.blobs)
                .collect(),
            layers: kept().flat_map(|objects| &objects.layers).collect(),
            configs: releases
                .map(|(app, release)| (app, &release.record.config))
                .collect(),
        }
    }
}

/// Which releases of one app stay, oldest first, each with its first reason.
fn kept_releases(
    releases: &[Release],
    retention: Retention,
    now: Timestamp,
) -> BTreeMap<ReleaseVersion, KeptFor> {
    let mut kept = BTreeMap::new();
    let mut keep = |release: &Release, why: KeptFor| {
        kept.entry(release.record.version).or_insert(why);
    };
    let succeeded: Vec<&Release> = releases
        .iter()
        .filter(|release| release.succeeded())
        .collect();
    let hosts: BTreeSet<&str> = releases
        .iter()
        .flat_map(|release| release.rejected.iter().map(|(host, _)| host.as_str()))
        .collect();
    if let Some(newest) = succeeded.last() {
        keep(newest, KeptFor::Current);
    }
    for host in hosts {
        if let Some(current) = succeeded
            .iter()
            .rev()
            .find(|release| !release.rejected_by(host))
        {
            keep(current, KeptFor::Current);
        }
    }
    for pending in releases
        .iter()
        .filter(|release| release.outcome == Outcome::Pending)
    {
        keep(pending, KeptFor::Pending);
    }
    let with_slug = succeeded
        .iter()
        .rev()
        .filter(|release| release.record.slug.is_some());
    for recent in with_slug.take(retention.releases.saturating_add(1)) {
        keep(recent, KeptFor::Recent);
    }
    for pair in succeeded.windows(2) {
        if let Outcome::Succeeded { at } = pair[1].outcome
            && now.unix_s() - at.unix_s() < i64::from(retention.days) * DAY_S
        {
            keep(pair[0], KeptFor::LatelyCurrent);
        }
    }
    kept
}

fn age_s(entry: &Entry, now: Timestamp) -> i64 {
    now.unix_s() - entry.changed.unix_s()
}

impl GcPlan {
    /// Deletes what the plan names; `deleted` is told each. The plan must have been made, and its
    /// listing taken, under this same lock.
    pub fn apply(
        &self,
        store: &Store,
        _lock: &CollectLock,
        deleted: &mut dyn FnMut(&Deletion),
    ) -> Result<(), StoreError> {
        let slug_count = self
            .delete
            .iter()
            .filter(|deletion| matches!(deletion.garbage, Garbage::Slug(_)))
            .count();
        let (slugs, rest) = self.delete.split_at(slug_count);
        for deletion in slugs {
            remove(store, &deletion.garbage)?;
            deleted(deletion);
        }
        if slug_count > 0 {
            // After a power cut no slug may be back whose blobs are gone.
            sync_parent(&store.root().join("slugs/any"))?;
        }
        for deletion in rest {
            remove(store, &deletion.garbage)?;
            deleted(deletion);
        }
        Ok(())
    }
}

fn remove(store: &Store, garbage: &Garbage) -> Result<(), PathError> {
    match garbage {
        Garbage::Slug(slug) => remove_file(&store.slug_path(slug)),
        Garbage::Blob(blob) => remove_file(&store.blob_path(blob)),
        Garbage::Config(app, config) => remove_file(&store.config_folder(app).join(config.hex())),
        Garbage::Artifact(artifact) => remove_file(&store.artifacts().join(artifact.hex())),
        Garbage::Buildpack(buildpack) => remove_whole(&store.buildpacks().join(buildpack.hex())),
        Garbage::BuildCache(app) => store.empty_build_cache(app),
        Garbage::Layer(layer) => remove_whole(&store.layers().join(layer.hex())),
        Garbage::Temporary(path) => remove_tree(path),
    }
}

fn remove_file(path: &Path) -> Result<(), PathError> {
    step();
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.at("remove", path),
    }
}
