//! Releases on a real store, with slugs of a few small files.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{
    Changes, CommandOutcome, ConfigChange, Ineligible, Planned, ReleaseError, ReleasePlan, Request,
    diff, eligibility, plan_collection, plan_config_change, plan_deploy, plan_rollback, verify,
};
use crate::archive::{
    AppFolder, BaseNeeds, Compression, Host, LayerKind, Modes, Slug, SlugProcess, Target, Tree,
    pack, write_image,
};
use crate::ident::{AppName, Digest, ReleaseVersion};
use crate::store::gc::Garbage;
use crate::store::{
    Event, Ledger, Outcome, Reason, Release, ReleaseRecord, Retention, Secret, Store,
};
use crate::sys::clock::Timestamp;

/// A store, a host, and a clock that goes on by a second each time it is asked.
struct World {
    _folder: tempfile::TempDir,
    store: Store,
    app: AppName,
    host: Host,
    seconds: Cell<i64>,
}

fn v(number: u32) -> ReleaseVersion {
    ReleaseVersion::from_number(number).unwrap()
}

fn target() -> Target {
    let [os, arch, distro_name, distro_version] =
        ["linux", "amd64", "debian", "12"].map(str::to_owned);
    Target {
        os,
        arch,
        distro_name,
        distro_version,
    }
}

fn process(line: &str) -> SlugProcess {
    let (process_type, command) = line.split_once(": ").unwrap();
    SlugProcess {
        process_type: process_type.parse().unwrap(),
        command: command.split(' ').map(str::to_owned).collect(),
        args: Vec::new(),
        direct: true,
        working_dir: None,
        buildpack: "slug/procfile".parse().unwrap(),
        default: false,
    }
}

fn passes(_: &ReleaseRecord) -> CommandOutcome {
    CommandOutcome {
        exit: Some(0),
        tail: String::new(),
    }
}

fn must_not_run(record: &ReleaseRecord) -> CommandOutcome {
    panic!("the release command of {} ran", record.version)
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("root"), &folder.path().join("host")).unwrap();
        let host = Host {
            target: target(),
            libraries: BTreeSet::new(),
            glibc: Some("2.36".to_owned()),
        };
        Self {
            _folder: folder,
            store,
            app: "shop".parse().unwrap(),
            host,
            seconds: Cell::new(0),
        }
    }

    fn slug_of(
        &self,
        files: &[(&str, &str)],
        processes: &[&str],
        edit: impl FnOnce(&mut Slug),
    ) -> Digest {
        let source = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = source.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            crate::sys::fs::write_atomic(&path, content.as_bytes(), 0o644).unwrap();
        }
        let to = Path::new("/workspace").to_owned();
        let tree = Tree {
            from: source.path().to_owned(),
            to,
            modes: Modes::Normalized,
        };
        let layer = pack(&self.store, &[tree], Compression::Zstd, &mut |_| {})
            .unwrap()
            .layer;
        let mut slug = Slug {
            layers: vec![(LayerKind::App, layer)],
            app: AppFolder::default(),
            processes: processes.iter().map(|line| process(line)).collect(),
            buildpacks: Vec::new(),
            target: target(),
            base: BaseNeeds::default(),
            labels: BTreeMap::new(),
        };
        edit(&mut slug);
        write_image(&self.store, &slug).unwrap()
    }

    /// A slug with one file, which makes it another slug.
    fn slug(&self, content: &str) -> Digest {
        self.slug_of(&[("app.py", content)], &["web: python app.py"], |_| {})
    }

    fn with<T>(&self, ask: impl FnOnce(&Request<'_>) -> T) -> T {
        let clock = || {
            self.seconds.set(self.seconds.get() + 1);
            Timestamp::from_unix_us((1_795_000_000 + self.seconds.get()) * 1_000_000).unwrap()
        };
        ask(&Request {
            store: &self.store,
            app: &self.app,
            host: "one",
            base: &self.host,
            by: "alice",
            message: Some("because"),
            clock: &clock,
        })
    }

    fn plan_deploy(&self, slug: &Digest) -> Result<Planned, ReleaseError> {
        self.with(|request| plan_deploy(request, slug))
    }

    fn plan_rollback(&self, to: Option<u32>) -> Result<Planned, ReleaseError> {
        self.with(|request| plan_rollback(request, to.map(v)))
    }

    fn plan_config(&self, set: &[(&str, &str)], unset: &[&str]) -> Result<Planned, ReleaseError> {
        let set = set
            .iter()
            .map(|(key, value)| (key.parse().unwrap(), Secret::new(value.as_bytes().to_vec())));
        let unset = unset.iter().map(|key| key.parse().unwrap()).collect();
        let change = ConfigChange {
            set: set.collect(),
            unset,
        };
        self.with(|request| plan_config_change(request, &change))
    }

    fn apply(
        &self,
        planned: Result<Planned, ReleaseError>,
        command: &mut dyn FnMut(&ReleaseRecord) -> CommandOutcome,
    ) -> Result<Release, ReleaseError> {
        let plan = release(planned);
        let lock = self
            .store
            .lock_app(&self.app, "alice", &mut |_| {})
            .unwrap();
        self.with(|request| plan.apply(request, &lock, command))
    }

    fn deploy(&self, slug: &Digest) -> ReleaseVersion {
        self.apply(self.plan_deploy(slug), &mut passes)
            .unwrap()
            .record
            .version
    }

    fn rollback(&self, to: Option<u32>) -> ReleaseRecord {
        self.apply(self.plan_rollback(to), &mut passes)
            .unwrap()
            .record
    }

    fn set(&self, key: &str, value: &str) -> ReleaseVersion {
        self.apply(self.plan_config(&[(key, value)], &[]), &mut passes)
            .unwrap()
            .record
            .version
    }

    fn ledger(&self) -> Ledger {
        Ledger::open(&self.store, &self.app)
    }

    fn current(&self) -> ReleaseRecord {
        self.ledger().current("one").unwrap().unwrap().record
    }

    /// `KEY=value` of the current config.
    fn config(&self) -> Vec<String> {
        let vars = self
            .store
            .unseal(&self.app, &self.current().config)
            .unwrap();
        vars.iter()
            .map(|(key, value)| format!("{key}={}", String::from_utf8_lossy(value.expose())))
            .collect()
    }
}

fn release(planned: Result<Planned, ReleaseError>) -> ReleasePlan {
    match planned.unwrap() {
        Planned::Release(plan) => *plan,
        Planned::Unchanged(unchanged) => panic!("{unchanged:?}"),
    }
}

fn unchanged(planned: Result<Planned, ReleaseError>) -> Option<ReleaseVersion> {
    match planned.unwrap() {
        Planned::Unchanged(unchanged) => unchanged.current,
        Planned::Release(plan) => panic!("{plan:?}"),
    }
}

fn refusal(planned: Result<Planned, ReleaseError>) -> String {
    planned.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn deploy_config_and_rollback_are_releases_of_one_ledger() {
    let world = World::new();
    let (one, two) = (world.slug("1"), world.slug("2"));
    assert_eq!(world.deploy(&one), v(1));
    assert_eq!(world.set("GREETING", "hi"), v(2));
    assert_eq!(world.deploy(&two), v(3));
    let back = world.rollback(Some(1));
    assert_eq!(
        (back.version, back.slug, &back.reason),
        (v(4), Some(one), &Reason::Rollback { to: v(1) })
    );
    assert_eq!(world.config(), [""; 0]);
    assert_eq!(world.rollback(Some(3)).slug, Some(two));
    assert_eq!(world.config(), ["GREETING=hi"]);
    let second = world.ledger().get(v(2)).unwrap().record;
    let Reason::Config { set, unset } = &second.reason else {
        panic!("{second:?}")
    };
    assert_eq!(
        (set.len(), set[0].as_str(), unset.len()),
        (1, "GREETING", 0)
    );
    assert_eq!(
        (second.slug, second.by.as_str(), second.message.as_deref()),
        (Some(one), "alice", Some("because"))
    );
    assert_eq!(verify(&world.store, &mut |_| {}), []);
}

#[test]
fn what_is_so_already_makes_no_release() {
    let world = World::new();
    assert_eq!(unchanged(world.plan_config(&[], &["A"])), None);
    let slug = world.slug("1");
    world.deploy(&slug);
    world.set("A", "1");
    assert_eq!(unchanged(world.plan_deploy(&slug)), Some(v(2)));
    assert_eq!(
        unchanged(world.plan_config(&[("A", "1")], &["B"])),
        Some(v(2))
    );
    world.set("A", "2");
    world.set("A", "1");
    // v2 and v4 have the same slug and the same values, sealed twice.
    assert_eq!(unchanged(world.plan_rollback(Some(2))), Some(v(4)));
    assert_eq!(world.ledger().releases().unwrap().len(), 4);
}

#[test]
fn config_may_come_before_the_first_slug() {
    let world = World::new();
    assert_eq!(world.set("A", "1"), v(1));
    assert_eq!(world.current().slug, None);
    assert_eq!(world.set("B", "2"), v(2));
    let slug = world.slug("1");
    world.deploy(&slug);
    assert_eq!(
        (world.current().slug, world.config()),
        (Some(slug), vec!["A=1".to_owned(), "B=2".to_owned()])
    );
    assert_eq!(
        refusal(world.plan_rollback(Some(1))),
        "shop cannot be rolled back to v1: it has no slug"
    );
    assert_eq!(verify(&world.store, &mut |_| {}), []);
}

#[test]
fn a_missing_required_var_is_named_with_what_it_is() {
    let world = World::new();
    let contract = r#"{"DATABASE_URL": {"required": true, "secret": true, "description": "PostgreSQL"},
        "GREETING": {"description": "a word"}, "QUEUE": {"required": true}}"#;
    let slug = world.slug_of(&[("a", "")], &["web: a"], |slug| {
        slug.labels
            .insert(super::CONTRACT_LABEL.to_owned(), contract.to_owned());
    });
    let refused = refusal(world.plan_deploy(&slug));
    assert_eq!(
        refused,
        "shop needs config vars that are not set: DATABASE_URL (PostgreSQL); QUEUE"
    );
    world
        .apply(
            world.plan_config(&[("DATABASE_URL", "x"), ("QUEUE", "")], &[]),
            &mut passes,
        )
        .unwrap();
    world.deploy(&slug);
    let refused = refusal(world.plan_config(&[], &["QUEUE"]));
    assert_eq!(refused, "shop needs config vars that are not set: QUEUE");
}

#[test]
fn a_contract_that_cannot_be_read_is_no_consent() {
    let world = World::new();
    let slug = world.slug_of(&[("a", "")], &["web: a"], |slug| {
        slug.labels.insert(
            super::CONTRACT_LABEL.to_owned(),
            r#"{"A": {"requred": true}}"#.to_owned(),
        );
    });
    assert!(refusal(world.plan_deploy(&slug)).contains("unknown field `requred`"));
}

#[test]
fn the_release_command_runs_while_pending_and_its_failure_changes_nothing() {
    let world = World::new();
    let first = world.slug("1");
    world.deploy(&first);
    let slug = world.slug_of(
        &[("b", "")],
        &["web: b", "release: python manage.py migrate"],
        |_| {},
    );
    let plan = release(world.plan_deploy(&slug));
    assert_eq!(
        plan.release_command.as_deref().unwrap().join(" "),
        "python manage.py migrate"
    );
    let mut seen = None;
    let failed = world.apply(Ok(Planned::Release(Box::new(plan))), &mut |record| {
        seen = Some((
            record.version,
            record.slug,
            world.ledger().get(record.version).unwrap().outcome,
        ));
        assert_eq!(world.current().version, v(1));
        CommandOutcome {
            exit: Some(137),
            tail: "no such table".to_owned(),
        }
    });
    assert_eq!(seen, Some((v(2), Some(slug), Outcome::Pending)));
    let failed = failed.unwrap_err();
    assert_eq!(
        failed.to_string(),
        "the release command of v2 of shop was ended by signal 9"
    );
    assert!(matches!(failed, ReleaseError::CommandFailed { tail, .. } if tail == "no such table"));
    let outcome = world.ledger().get(v(2)).unwrap().outcome;
    assert!(
        matches!(outcome, Outcome::Failed { exit: Some(137), tail, .. } if tail == "no such table")
    );
    assert_eq!(world.current().version, v(1));
    assert_eq!(
        refusal(world.plan_rollback(Some(2))),
        "shop cannot be rolled back to v2: it failed (release-command)"
    );
    // It failed, so it is not current: the same slug may be tried again.
    assert_eq!(world.deploy(&slug), v(3));
}

#[test]
fn a_release_whose_maker_died_is_failed_by_the_next() {
    let world = World::new();
    let slug = world.slug_of(&[("a", "")], &["web: a", "release: b"], |_| {});
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.apply(world.plan_deploy(&slug), &mut must_not_run)
    }));
    assert!(died.is_err());
    assert_eq!(world.ledger().get(v(1)).unwrap().outcome, Outcome::Pending);
    assert_eq!(
        refusal(world.plan_rollback(Some(1))),
        "shop cannot be rolled back to v1: it has not succeeded yet"
    );
    let plan = release(world.plan_deploy(&slug));
    assert_eq!((plan.version, &plan.interrupted[..]), (v(2), &[v(1)][..]));
    world.deploy(&slug);
    let outcome = world.ledger().get(v(1)).unwrap().outcome;
    assert!(matches!(outcome, Outcome::Failed { step, exit: None, .. } if step == "interrupted"));
    assert_eq!(world.current().version, v(2));
}

#[test]
fn a_plan_that_was_overtaken_is_not_applied() {
    let world = World::new();
    let (one, two) = (world.slug("1"), world.slug("2"));
    let stale = world.plan_deploy(&one);
    world.deploy(&two);
    let refused = world.apply(stale, &mut must_not_run).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "v1 of shop was planned, but the next release is v2 by now"
    );
    let other: AppName = "other".parse().unwrap();
    let lock = world.store.lock_app(&other, "alice", &mut |_| {}).unwrap();
    let plan = release(world.plan_deploy(&one));
    let refused = world
        .with(|request| plan.apply(request, &lock, &mut must_not_run))
        .unwrap_err();
    assert!(
        matches!(refused, ReleaseError::WrongLock { .. }),
        "{refused}"
    );
    assert_eq!(world.ledger().releases().unwrap().len(), 1);
}

#[test]
fn a_slug_that_this_host_cannot_run_is_refused_before_anything_is_written() {
    let mut world = World::new();
    let slug = world.slug_of(&[("a", "")], &["web: a"], |slug| {
        slug.base
            .sonames
            .insert("libpq.so.5".to_owned(), "/layers/x/psycopg.so".to_owned());
        slug.base.glibc = Some("2.40".to_owned());
    });
    let refused = refusal(world.plan_deploy(&slug));
    assert!(
        refused.contains("needs glibc 2.40, and this host has 2.36"),
        "{refused}"
    );
    assert!(refused.contains("`libpq.so.5`"), "{refused}");
    assert!(world.ledger().releases().unwrap().is_empty());
    world.host.libraries.insert("libpq.so.5".to_owned());
    world.host.glibc = Some("2.41".to_owned());
    world.deploy(&slug);
    world.deploy(&world.slug("2"));
    world.host.libraries.clear();
    let refused = refusal(world.plan_rollback(Some(1)));
    assert!(
        refused.starts_with("shop cannot be rolled back to v1: its slug cannot run on this host: "),
        "{refused}"
    );
}

#[test]
fn the_default_target_of_a_rollback_is_the_last_eligible_one_before_the_current() {
    let world = World::new();
    let [one, two, three] = ["1", "2", "3"].map(|content| world.slug(content));
    let refused = world.plan_rollback(None).map(|_| ()).unwrap_err();
    assert!(matches!(
        refused,
        ReleaseError::NothingToRollBackTo { current: None, .. }
    ));
    world.deploy(&one);
    let refused = world.plan_rollback(None).map(|_| ()).unwrap_err();
    assert_eq!(refused.to_string(), "shop has no release to roll back to");
    world.deploy(&two);
    world.deploy(&three);
    assert_eq!(world.rollback(None).reason, Reason::Rollback { to: v(2) });
    // v4 is v2 again: going back once more undoes that.
    assert_eq!(world.rollback(None).reason, Reason::Rollback { to: v(3) });
    fs::remove_file(world.store.root().join(format!("slugs/{}.json", two.hex()))).unwrap();
    assert_eq!(world.rollback(None).reason, Reason::Rollback { to: v(1) });
    assert_eq!(
        refusal(world.plan_rollback(Some(6))),
        "shop cannot be rolled back to v6: it is the current release"
    );
    assert_eq!(
        refusal(world.plan_rollback(Some(7))),
        "shop has no release v7"
    );
}

#[test]
fn a_rejected_release_is_not_gone_back_to_unasked() {
    let world = World::new();
    let [one, two, three] = ["1", "2", "3"].map(|content| world.slug(content));
    for slug in [one, two] {
        world.deploy(&slug);
    }
    let rejected = Event::Rejected {
        host: "one".to_owned(),
        why: "never listened".to_owned(),
    };
    world
        .with(|request| world.ledger().record(v(2), (request.clock)(), &rejected))
        .unwrap();
    assert_eq!(world.current().version, v(1));
    world.deploy(&three);
    assert_eq!(world.rollback(None).slug, Some(one));
    assert_eq!(world.rollback(Some(2)).slug, Some(two));
}

#[test]
fn what_is_not_whole_is_not_eligible_and_the_reason_is_given() {
    let world = World::new();
    let (one, two) = (world.slug("1"), world.slug("2"));
    world.deploy(&one);
    world.set("A", "1");
    world.deploy(&two);
    let ask = |version: u32| {
        let release = world.ledger().get(v(version)).unwrap();
        world.with(|request| eligibility(request, &release, None))
    };
    assert_eq!((ask(1), ask(2), ask(3)), (Ok(()), Ok(()), Ok(())));
    let config = world.ledger().get(v(2)).unwrap().record.config;
    fs::remove_file(
        world
            .store
            .root()
            .join("apps/shop/config")
            .join(config.hex()),
    )
    .unwrap();
    let Err(Ineligible::Config { reason }) = ask(2) else {
        panic!("{:?}", ask(2))
    };
    assert_eq!(
        reason,
        format!("the config {} of shop is not in the store", config.short())
    );
    let blobs = crate::archive::image_blobs(&world.store, &one).unwrap();
    let (layer, _) = blobs.last().unwrap();
    fs::OpenOptions::new()
        .write(true)
        .open(world.store.blob_path(layer))
        .unwrap()
        .set_len(1)
        .unwrap();
    let Err(Ineligible::Slug { reason }) = ask(1) else {
        panic!("{:?}", ask(1))
    };
    assert!(reason.contains(&layer.to_string()), "{reason}");
    let findings: Vec<String> = verify(&world.store, &mut |_| {})
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        findings
            .iter()
            .any(|finding| finding.contains(&layer.hex())),
        "{findings:?}"
    );
}

#[test]
fn a_plan_writes_nothing_and_tells_every_effect_but_no_value() {
    let world = World::new();
    let one = world.slug_of(&[("a", "")], &["web: a", "worker: b"], |_| {});
    world.deploy(&one);
    world
        .apply(
            world.plan_config(&[("KEPT", "canary-1"), ("GONE", "canary-2")], &[]),
            &mut passes,
        )
        .unwrap();
    let before = world.store.list().unwrap();
    let plan = release(world.plan_config(&[("KEPT", "canary-3"), ("NEW", "canary-4")], &["GONE"]));
    let json = serde_json::to_value(&plan).unwrap();
    let expected = serde_json::json!({"added": ["NEW"], "removed": ["GONE"], "changed": ["KEPT"]});
    assert_eq!(json["config"], expected);
    assert_eq!(json["rollback_targets"], serde_json::json!(["v2", "v1"]));
    assert_eq!(
        (&json["version"], &json["replaces"]),
        (&serde_json::json!("v3"), &serde_json::json!("v2"))
    );
    assert_eq!(json["layers"]["unpacked"], 1);
    let two = world.slug_of(&[("c", "")], &["web: c", "clock: d"], |_| {});
    let deploy = serde_json::to_value(release(world.plan_deploy(&two))).unwrap();
    assert_eq!(
        (&deploy["processes_added"], &deploy["processes_removed"]),
        (
            &serde_json::json!(["clock"]),
            &serde_json::json!(["worker"])
        )
    );
    assert!(!format!("{plan:?}{json}{deploy}").contains("canary"));
    assert_eq!(world.store.list().unwrap().configs, before.configs);
    assert_eq!(world.ledger().releases().unwrap().len(), 2);
}

#[test]
fn a_diff_names_files_processes_and_keys_and_no_value() {
    let world = World::new();
    let old = [
        ("same", "x"),
        ("gone", "x"),
        ("changed", "xy"),
        ("sub/moved", "x"),
    ];
    let new = [
        ("same", "x"),
        ("come", "x"),
        ("changed", "xz"),
        ("sub2/moved", "x"),
    ];
    let one = world.slug_of(&old, &["web: a", "worker: b"], |_| {});
    let two = world.slug_of(&new, &["web: a --fast", "clock: b"], |slug| {
        slug.base.glibc = Some("2.34".to_owned());
    });
    world.deploy(&one);
    world.set("A", "canary-1");
    world.deploy(&two);
    world
        .apply(
            world.plan_config(&[("A", "canary-2"), ("B", "canary-3")], &[]),
            &mut passes,
        )
        .unwrap();
    let diff_of = |from, to| diff(&world.store, &world.app, (v(from), v(to)), &mut |_| {}).unwrap();
    let found = diff_of(2, 4);
    let paths = |paths: &[&str]| {
        paths
            .iter()
            .map(|path| format!("/workspace/{path}"))
            .collect()
    };
    let files = Changes {
        added: paths(&["come", "sub2/moved"]),
        removed: paths(&["gone", "sub/moved"]),
        changed: paths(&["changed"]),
    };
    assert_eq!(found.files, files);
    let json = serde_json::to_string(&found).unwrap();
    assert!(
        json.contains(r#""processes":{"added":["clock"],"changed":["web"],"removed":["worker"]}"#)
            || json.contains(
                r#""processes":{"added":["clock"],"removed":["worker"],"changed":["web"]}"#
            ),
        "{json}"
    );
    assert_eq!(
        (
            found.config.added.len(),
            found.config.changed.len(),
            found.config.removed.len()
        ),
        (1, 1, 0)
    );
    assert_eq!(
        (found.base.from_glibc, found.base.to_glibc.as_deref()),
        (None, Some("2.34"))
    );
    assert!(!json.contains("canary"));
    let same = diff_of(1, 2);
    assert!(same.files.is_empty() && same.processes.is_empty());
    assert_eq!(same.config.added.len(), 1);
}

#[test]
fn a_collection_leaves_every_eligible_release_eligible() {
    let world = World::new();
    let [one, two, three] = ["1", "2", "3"].map(|content| world.slug(content));
    for slug in [one, two, three, two] {
        world.deploy(&slug);
    }
    let retention = Retention {
        releases: 1,
        days: 0,
        unreleased_days: 0,
        cache_days: 0,
        cache_bytes: 0,
    };
    let much_later = Timestamp::now();
    let lock = world.store.lock_for_gc(&mut || {}).unwrap();
    let plan = plan_collection(&world.store, retention, much_later).unwrap();
    let slugs: Vec<_> = plan
        .delete
        .iter()
        .filter(|deletion| matches!(deletion.garbage, Garbage::Slug(_)))
        .collect();
    assert_eq!(
        slugs
            .iter()
            .map(|deletion| &deletion.garbage)
            .collect::<Vec<_>>(),
        [&Garbage::Slug(one)]
    );
    plan.apply(&world.store, &lock, &mut |_| {}).unwrap();
    drop(lock);
    assert_eq!(verify(&world.store, &mut |_| {}), []);
    assert!(refusal(world.plan_rollback(Some(1))).contains("its slug cannot be used"));
    assert_eq!(world.rollback(Some(3)).slug, Some(three));
    assert_eq!(world.rollback(Some(4)).slug, Some(two));
}

#[test]
fn releases_made_at_once_have_no_gap() {
    let world = World::new();
    let (store, app, host) = (&world.store, &world.app, &world.host);
    let slugs: Vec<Digest> = (0..8)
        .map(|number| world.slug(&number.to_string()))
        .collect();
    std::thread::scope(|scope| {
        for slug in &slugs {
            scope.spawn(move || {
                let clock = Timestamp::now;
                let request = Request {
                    store,
                    app,
                    host: "one",
                    base: host,
                    by: "ci",
                    message: None,
                    clock: &clock,
                };
                let lock = store.lock_app(app, "ci", &mut |_| {}).unwrap();
                let plan = release(plan_deploy(&request, slug));
                plan.apply(&request, &lock, &mut passes).unwrap();
            });
        }
    });
    let releases = world.ledger().releases().unwrap();
    assert!(releases.iter().all(Release::succeeded));
    assert_eq!(
        releases
            .iter()
            .map(|release| release.record.version)
            .collect::<Vec<_>>(),
        (1..=8).map(v).collect::<Vec<_>>()
    );
    let released: BTreeSet<_> = releases
        .iter()
        .filter_map(|release| release.record.slug)
        .collect();
    assert_eq!(released, slugs.into_iter().collect());
}
