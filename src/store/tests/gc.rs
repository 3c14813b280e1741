//! What is kept and what goes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{app, at, draft, store, v};
use crate::ident::{AppName, Digest};
use crate::store::gc::{Deletion, Garbage, GcInput, Kept, KeptFor, SlugObjects, plan_gc};
use crate::store::{Draft, Entry, Event, GcPlan, Ledger, Listing, Release, Retention, Store};
use crate::sys::clock::Timestamp;

const DAY: i64 = 24 * 60 * 60;

const TWO: Retention = Retention {
    releases: 1,
    days: 1,
    unreleased_days: 1,
    cache_days: 1,
    cache_bytes: 1000,
};

fn name(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn entry(changed: Timestamp) -> Entry {
    Entry { bytes: 10, changed }
}

/// Releases of these slugs, a day apart, all succeeded.
fn releases(store: &Store, slugs: &[&str]) -> Vec<Release> {
    let ledger = Ledger::open(store, &app());
    for (day, slug) in (0..).zip(slugs) {
        let config = name(&format!("config of {slug}"));
        let record = ledger
            .append(&Draft {
                config,
                ..draft(slug)
            })
            .unwrap();
        ledger
            .record(record.version, at(day * DAY), &Event::Succeeded)
            .unwrap();
    }
    ledger.releases().unwrap()
}

/// Every slug has a blob and a layer of its own, and all share one.
fn objects(slugs: &[&str]) -> BTreeMap<Digest, SlugObjects> {
    let of = |slug: &str| SlugObjects {
        blobs: vec![name(&format!("blob of {slug}")), name("shared blob")],
        layers: vec![name(&format!("layer of {slug}")), name("shared layer")],
    };
    slugs.iter().map(|slug| (name(slug), of(slug))).collect()
}

fn listing(slugs: &BTreeMap<Digest, SlugObjects>, changed: Timestamp) -> Listing {
    let entries = |digests: &mut dyn Iterator<Item = Digest>| {
        digests.map(|digest| (digest, entry(changed))).collect()
    };
    Listing {
        slugs: entries(&mut slugs.keys().copied()),
        blobs: entries(&mut slugs.values().flat_map(|objects| objects.blobs.clone())),
        layers: entries(&mut slugs.values().flat_map(|objects| objects.layers.clone())),
        ..Listing::default()
    }
}

fn plan(
    releases: Vec<Release>,
    slugs: &BTreeMap<Digest, SlugObjects>,
    listing: &Listing,
    now: Timestamp,
) -> Result<GcPlan, crate::store::gc::UnknownNeeds> {
    let releases: BTreeMap<AppName, Vec<Release>> = [(app(), releases)].into();
    plan_gc(&GcInput {
        releases: &releases,
        slugs,
        listing,
        retention: TWO,
        now,
    })
}

fn garbage(plan: &GcPlan) -> Vec<Garbage> {
    plan.delete
        .iter()
        .map(|deletion| deletion.garbage.clone())
        .collect()
}

#[test]
fn what_the_last_releases_need_stays_and_what_only_older_ones_need_goes() {
    let (_folder, store) = store();
    let slugs = objects(&["a", "b", "c", "d"]);
    let releases = releases(&store, &["a", "b", "c", "a", "d"]);
    let plan = plan(releases, &slugs, &listing(&slugs, at(0)), at(100 * DAY)).unwrap();
    // v4 is the slug of v1: its number is old, its slug is needed.
    assert_eq!(
        plan.keep
            .iter()
            .map(|kept| kept.version)
            .collect::<Vec<_>>(),
        [v(4), v(5)]
    );
    let mut expected: Vec<Garbage> = Vec::new();
    let mut gone = ["b", "c"];
    gone.sort_by_key(|slug| name(slug));
    expected.extend(gone.map(|slug| Garbage::Slug(name(slug))));
    gone.sort_by_key(|slug| name(&format!("blob of {slug}")));
    expected.extend(gone.map(|slug| Garbage::Blob(name(&format!("blob of {slug}")))));
    gone.sort_by_key(|slug| name(&format!("layer of {slug}")));
    expected.extend(gone.map(|slug| Garbage::Layer(name(&format!("layer of {slug}")))));
    assert_eq!(garbage(&plan), expected);
    assert_eq!(plan.bytes, 60);
}

#[test]
fn a_release_that_was_current_lately_stays_however_many_came_after_it() {
    let (_folder, store) = store();
    let slugs = objects(&["a", "b", "c", "d"]);
    let releases = releases(&store, &["a", "b", "c", "d"]);
    // v2 was superseded by v3 on day 2.
    let half_a_day_later = at(2 * DAY + DAY / 2);
    let plan = plan(
        releases,
        &slugs,
        &listing(&slugs, at(-100 * DAY)),
        half_a_day_later,
    )
    .unwrap();
    let kept: Vec<_> = plan
        .keep
        .iter()
        .map(|kept| (kept.version, kept.why))
        .collect();
    assert_eq!(
        kept,
        [
            (v(2), KeptFor::LatelyCurrent),
            (v(3), KeptFor::Recent),
            (v(4), KeptFor::Current)
        ]
    );
}

#[test]
fn what_another_host_still_runs_and_what_is_being_made_stay() {
    let (_folder, store) = store();
    let slugs = objects(&["a", "b", "c", "d"]);
    releases(&store, &["a", "b", "c"]);
    let ledger = Ledger::open(&store, &app());
    for version in [2, 3] {
        let event = Event::Rejected {
            host: "slow".to_owned(),
            why: "never ready".to_owned(),
        };
        ledger.record(v(version), at(1), &event).unwrap();
    }
    ledger.append(&draft("d")).unwrap();
    let plan = plan(
        ledger.releases().unwrap(),
        &slugs,
        &listing(&slugs, at(0)),
        at(100 * DAY),
    )
    .unwrap();
    let kept: Vec<_> = plan
        .keep
        .iter()
        .map(|kept| (kept.version, kept.why))
        .collect();
    let expected = [
        (v(1), KeptFor::Current),
        (v(2), KeptFor::Recent),
        (v(3), KeptFor::Current),
        (v(4), KeptFor::Pending),
    ];
    assert_eq!(kept, expected);
    assert_eq!(garbage(&plan), []);
}

#[test]
fn what_was_just_written_stays() {
    let (_folder, store) = store();
    let now = at(100 * DAY);
    let slugs = objects(&["built"]);
    let mut listing = listing(&slugs, at(99 * DAY + 1));
    let hour_ago = |seconds| entry(at(100 * DAY - 60 * 60 + seconds));
    let (young, old) = (hour_ago(1), hour_ago(0));
    listing
        .blobs
        .extend([(name("young"), young), (name("old"), old)]);
    listing
        .configs
        .extend([((app(), name("young")), young), ((app(), name("old")), old)]);
    listing
        .temporaries
        .extend([("/young".into(), young), ("/old".into(), old)]);
    listing
        .artifacts
        .extend([(name("young"), young), (name("old"), entry(at(99 * DAY)))]);
    let plan = plan(releases(&store, &[]), &slugs, &listing, now).unwrap();
    let expected = [
        Garbage::Blob(name("old")),
        Garbage::Config(app(), name("old")),
        Garbage::Artifact(name("old")),
        Garbage::Temporary("/old".into()),
    ];
    assert_eq!(garbage(&plan), expected);
}

/// Three caches of 10 bytes: an artifact of day 0, a build cache of day 1, a buildpack of day 2.
fn spent(cache_bytes: u64, cache_days: u32) -> Vec<Garbage> {
    let mut listing = Listing::default();
    listing.artifacts.insert(name("artifact"), entry(at(0)));
    listing.build_caches.insert(app(), entry(at(DAY)));
    listing
        .buildpacks
        .insert(name("buildpack"), entry(at(2 * DAY)));
    let retention = Retention {
        cache_days,
        cache_bytes,
        ..TWO
    };
    let input = GcInput {
        releases: &BTreeMap::new(),
        slugs: &BTreeMap::new(),
        listing: &listing,
        retention,
        now: at(3 * DAY),
    };
    garbage(&plan_gc(&input).unwrap())
}

#[test]
fn caches_go_by_age_and_then_oldest_first_until_the_budget_holds_the_rest() {
    let all = [
        Garbage::Artifact(name("artifact")),
        Garbage::BuildCache(app()),
        Garbage::Buildpack(name("buildpack")),
    ];
    for (cache_bytes, cache_days, expected) in [
        (30, 4, 0),
        (29, 4, 1),
        (20, 4, 1),
        (19, 4, 2),
        (0, 4, 3),
        (30, 3, 1),
        (30, 2, 2),
    ] {
        let case = format!("{cache_bytes} bytes, {cache_days} days");
        assert_eq!(spent(cache_bytes, cache_days), all[..expected], "{case}");
    }
}

#[test]
fn a_slug_that_was_built_again_after_its_release_waits_for_the_next() {
    let (_folder, store) = store();
    let slugs = objects(&["a", "b", "c"]);
    let releases: BTreeMap<_, _> = [(app(), releases(&store, &["a", "b", "c"]))].into();
    let retention = Retention {
        days: 0,
        unreleased_days: 10,
        ..TWO
    };
    let goes = |built: Timestamp| {
        let (listing, now) = (listing(&slugs, built), at(5 * DAY));
        let input = GcInput {
            releases: &releases,
            slugs: &slugs,
            listing: &listing,
            retention,
            now,
        };
        garbage(&plan_gc(&input).unwrap()).contains(&Garbage::Slug(name("a")))
    };
    // Its record is of second 0, and two have come after it.
    assert!(goes(at(0)));
    assert!(!goes(at(1)));
}

#[test]
fn config_that_a_record_names_stays_whatever_became_of_the_release() {
    let (_folder, store) = store();
    let releases = releases(&store, &["a", "b", "c", "d"]);
    let mut listing = Listing::default();
    for config in ["config of a", "config of d", "orphan"] {
        listing.configs.insert((app(), name(config)), entry(at(0)));
    }
    let plan = plan(releases, &BTreeMap::new(), &listing, at(100 * DAY)).unwrap();
    assert_eq!(garbage(&plan), [Garbage::Config(app(), name("orphan"))]);
}

#[test]
fn nothing_is_guessed_where_a_kept_slug_cannot_be_read() {
    let (_folder, store) = store();
    let slugs = objects(&["a"]);
    let releases = releases(&store, &["a"]);
    let listing = listing(&slugs, at(0));
    let refused = plan(releases.clone(), &BTreeMap::new(), &listing, at(100 * DAY)).unwrap_err();
    assert_eq!((refused.version, refused.slug), (v(1), name("a")));
    // One that is not there needs nothing that is.
    let plan = plan(
        releases,
        &BTreeMap::new(),
        &Listing::default(),
        at(100 * DAY),
    )
    .unwrap();
    assert_eq!(
        plan.keep,
        [Kept {
            app: app(),
            version: v(1),
            why: KeptFor::Current
        }]
    );
}

#[test]
fn a_plan_deletes_what_it_names_and_nothing_else() {
    let (_folder, store) = store();
    let (kept, gone) = (
        store.put_blob(b"kept").unwrap(),
        store.put_blob(b"gone").unwrap(),
    );
    let slug = name("slug");
    store.put_slug(&slug, &gone, 4).unwrap();
    let layer = store.layers().join(name("layer").hex());
    fs::create_dir_all(layer.join("workspace/empty")).unwrap();
    fs::set_permissions(layer.join("workspace"), fs::Permissions::from_mode(0o555)).unwrap();
    let temporary = store.root().join(".tmp-1");
    fs::create_dir(&temporary).unwrap();
    let listing = store.list().unwrap();
    assert_eq!(
        (
            listing.blobs[&kept].bytes,
            listing.temporaries.len(),
            listing.layers.len()
        ),
        (4, 1, 1)
    );
    let garbage = [
        Garbage::Slug(slug),
        Garbage::Blob(gone),
        Garbage::Layer(name("layer")),
        Garbage::Temporary(temporary.clone()),
        Garbage::Artifact(name("never there")),
    ];
    let delete = garbage
        .map(|garbage| Deletion { garbage, bytes: 0 })
        .to_vec();
    let plan = GcPlan {
        delete: delete.clone(),
        ..GcPlan::default()
    };
    let mut told = Vec::new();
    plan.apply(
        &store,
        &store.lock_for_gc(&mut || {}).unwrap(),
        &mut |deletion| {
            told.push(deletion.clone());
        },
    )
    .unwrap();
    assert_eq!(told, delete);
    assert!(store.has_blob(&kept, Some(4)) && !store.has_blob(&gone, None));
    assert_eq!(store.slugs().unwrap(), []);
    assert!(!layer.exists() && !temporary.exists());
    assert_eq!(fs::read_dir(store.layers()).unwrap().count(), 0);
}
