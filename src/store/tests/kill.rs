//! `kill -9` at every step of a write, and many writers at once: this test
//! program runs itself again as a child, which does one scenario.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use super::{app, at, draft, store, v, vars};
use crate::ident::Digest;
use crate::store::{Draft, Event, Ledger, Store};
use crate::sys::fs::failpoint;

const SCENARIO: &str = "SLUG_TEST_SCENARIO";

/// What a child does; a plain argument would be taken for a test's name.
fn scenario_of(store: &Store, kill_at: i64, what: &str) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        "store::tests::kill::child",
        "--ignored",
        "--nocapture",
    ]);
    child.env(
        SCENARIO,
        format!(
            "{}\n{}\n{kill_at}\n{what}",
            store.root().display(),
            store.host().display()
        ),
    );
    child.stdout(Stdio::null()).stderr(Stdio::null());
    child
}

fn run(store: &Store, kill_at: i64, what: &str) -> ExitStatus {
    scenario_of(store, kill_at, what).status().unwrap()
}

#[test]
#[ignore = "a child of the tests below"]
fn child() {
    #[expect(clippy::disallowed_methods, reason = "how a test talks to itself")]
    let Ok(scenario) = std::env::var(SCENARIO) else {
        return;
    };
    let [root, host, kill_at, what] = scenario.split('\n').collect::<Vec<_>>()[..] else {
        panic!("{scenario}")
    };
    let store = Store::open(Path::new(root), Path::new(host)).unwrap();
    if kill_at != "0" {
        failpoint::kill_at(kill_at.parse().unwrap());
    }
    match what {
        "release" => release(&store, "new"),
        "append" => append_many(&store),
        other => panic!("{other}"),
    }
}

/// All the writes of a deploy.
fn release(store: &Store, slug: &str) {
    let manifest = store
        .put_blob(format!("manifest of {slug}").as_bytes())
        .unwrap();
    store
        .put_slug(&Digest::of(slug.as_bytes()), &manifest, 5)
        .unwrap();
    let config = store.seal(&app(), &vars("A", slug)).unwrap();
    let ledger = Ledger::open(store, &app());
    let record = ledger
        .append(&Draft {
            config,
            ..draft(slug)
        })
        .unwrap();
    ledger
        .record(record.version, at(1), &Event::Succeeded)
        .unwrap();
}

const APPENDS: usize = 8;

fn append_many(store: &Store) {
    let ledger = Ledger::open(store, &app());
    for number in 0..APPENDS {
        ledger.append(&draft(&number.to_string())).unwrap();
    }
}

/// Runs the scenario with a kill at the first step, the second, … until it gets to its end.
fn at_every_step(check: impl Fn(&Store, i64)) {
    for step in 1.. {
        assert!(step < 500, "the scenario never ends");
        let (_folder, store) = store();
        release(&store, "old");
        let status = run(&store, step, "release");
        check(&store, step);
        if status.success() {
            assert!(step > 20, "only {step} steps: the failpoints are gone");
            return;
        }
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(9), "step {step}: {status}");
    }
}

#[test]
fn a_kill_at_any_step_leaves_the_old_state_or_the_new() {
    at_every_step(|store, step| {
        let ledger = Ledger::open(store, &app());
        assert_whole(store, step);
        let current = ledger.current("one").unwrap().unwrap().record;
        let expected = if current.version == v(1) {
            "old"
        } else {
            "new"
        };
        assert_eq!(
            current.slug,
            Some(Digest::of(expected.as_bytes())),
            "step {step}"
        );
        assert_eq!(
            store.unseal(&app(), &current.config).unwrap(),
            vars("A", expected),
            "step {step}"
        );

        let before = ledger.releases().unwrap().len();
        release(store, "next");
        assert_whole(store, step);
        assert_eq!(
            ledger
                .current("one")
                .unwrap()
                .unwrap()
                .record
                .version
                .number() as usize,
            before + 1
        );
        assert_eq!(ledger.releases().unwrap().len(), before + 1, "step {step}");
        // Every file is a thing of the store, or a temporary one that `gc` sweeps.
        let swept: BTreeSet<_> = store.list().unwrap().temporaries.into_keys().collect();
        for path in [store.root(), store.host()]
            .into_iter()
            .flat_map(temporaries_below)
        {
            assert!(
                swept.contains(&path),
                "step {step}: {} would stay for ever",
                path.display()
            );
        }
    });
}

fn assert_whole(store: &Store, step: i64) {
    assert_eq!(Ledger::open(store, &app()).verify(), [], "step {step}");
    assert_eq!(store.verify_blobs(&mut |_| {}), [], "step {step}");
    assert_eq!(store.verify_configs(&app()), [], "step {step}");
    for slug in store.slugs().unwrap() {
        let manifest = store.slug(&slug).unwrap().unwrap().manifest;
        assert!(
            store.has_blob(&manifest, None),
            "step {step}: a slug without its manifest"
        );
    }
}

fn temporaries_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(crate::sys::fs::TEMPORARY_PREFIX)
        {
            found.push(path);
        } else if path.is_dir() {
            found.extend(temporaries_below(&path));
        }
    }
    found
}

#[test]
fn appends_of_many_threads_and_processes_have_no_gap_and_no_double() {
    let (_folder, store) = store();
    let mut children: Vec<_> = (0..4)
        .map(|_| scenario_of(&store, 0, "append").spawn().unwrap())
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| append_many(&store));
        }
    });
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let ledger = Ledger::open(&store, &app());
    let releases = ledger.releases().unwrap();
    let versions: Vec<_> = releases
        .iter()
        .map(|release| release.record.version)
        .collect();
    assert_eq!(versions, (1..=64).map(v).collect::<Vec<_>>());
    let nonces: BTreeSet<_> = releases
        .iter()
        .map(|release| &release.record.nonce)
        .collect();
    assert_eq!(nonces.len(), 8 * APPENDS);
    assert_eq!(ledger.verify(), []);
}
