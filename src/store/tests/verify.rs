//! What was changed, removed or exchanged is named.

use std::fs;
use std::path::PathBuf;

use super::{app, at, draft, store, v, vars};
use crate::ident::Digest;
use crate::store::{Draft, Event, Finding, Ledger, Store, StoreError};

/// A ledger of four releases, all of which succeeded but the third, which is pending.
fn ledger(store: &Store) -> Ledger {
    let ledger = Ledger::open(store, &app());
    for slug in ["a", "b", "c", "d"] {
        ledger.append(&draft(slug)).unwrap();
    }
    for version in [1, 2, 4] {
        ledger.record(v(version), at(1), &Event::Succeeded).unwrap();
    }
    assert_eq!(ledger.verify(), []);
    ledger
}

fn record(ledger: &Ledger, version: u32) -> PathBuf {
    ledger.folder().join(format!("{version:06}.json"))
}

fn edit(path: &PathBuf, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    crate::sys::fs::write_atomic(path, text.replace(from, to).as_bytes(), 0o644).unwrap();
}

/// Takes the events of a release away, so that only the chain speaks for its record.
fn remove_events(ledger: &Ledger, version: u32) {
    for event in ["pending", "succeeded"] {
        let _ = fs::remove_file(ledger.folder().join(format!("{version:06}.{event}.json")));
    }
}

#[test]
fn a_changed_record_is_named_wherever_it_stands() {
    for version in [1, 2, 3, 4] {
        for without_events in [false, true] {
            let (_folder, store) = store();
            let ledger = ledger(&store);
            edit(&record(&ledger, version), "alice", "mallory");
            if without_events {
                remove_events(&ledger, version);
            }
            let findings = ledger.verify();
            assert!(
                matches!(findings[..], [Finding::RecordChanged { version: named, .. }] if named == v(version)),
                "v{version}, without events: {without_events}: {findings:?}"
            );
        }
    }
}

#[test]
fn nothing_runs_from_a_changed_record() {
    let (_folder, store) = store();
    let ledger = ledger(&store);
    edit(
        &record(&ledger, 4),
        &Digest::of(b"d").to_string(),
        &Digest::of(b"evil").to_string(),
    );
    let refused = ledger.current("one").unwrap_err();
    assert!(
        matches!(refused, StoreError::RecordChanged { version, .. } if version == v(4)),
        "{refused}"
    );
}

#[test]
fn a_missing_record_is_named_the_last_one_too() {
    for version in [1, 2, 3, 4] {
        for without_events in [false, true] {
            let (_folder, store) = store();
            let ledger = ledger(&store);
            fs::remove_file(record(&ledger, version)).unwrap();
            if without_events {
                remove_events(&ledger, version);
            }
            let expected = Finding::RecordMissing {
                app: app(),
                version: v(version),
            };
            assert_eq!(
                ledger.verify(),
                [expected],
                "v{version}, without events: {without_events}"
            );
        }
    }
}

#[test]
fn exchanged_records_are_named_both() {
    let (_folder, store) = store();
    let ledger = ledger(&store);
    let aside = ledger.folder().join("aside");
    fs::rename(record(&ledger, 2), &aside).unwrap();
    fs::rename(record(&ledger, 4), record(&ledger, 2)).unwrap();
    fs::rename(&aside, record(&ledger, 4)).unwrap();
    let misplaced = |version, holds| Finding::RecordMisplaced {
        app: app(),
        version: v(version),
        of_app: app(),
        holds: v(holds),
    };
    let findings = ledger.verify();
    assert!(
        findings.contains(&misplaced(2, 4)) && findings.contains(&misplaced(4, 2)),
        "{findings:?}"
    );
}

#[test]
fn a_record_that_names_another_predecessor_is_named() {
    let (_folder, store) = store();
    let ledger = ledger(&store);
    let previous = ledger.get(v(4)).unwrap().record.previous.unwrap();
    edit(
        &record(&ledger, 4),
        &previous.to_string(),
        &Digest::of(b"forged").to_string(),
    );
    let findings = ledger.verify();
    let is_v4 = |finding: &Finding| matches!(finding, Finding::RecordChanged { version, .. } | Finding::ChainBroken { version, .. } if *version == v(4));
    assert!(
        !findings.is_empty() && findings.iter().all(is_v4),
        "{findings:?}"
    );
}

#[test]
fn events_of_another_release_are_named() {
    let (_folder, store) = store();
    let ledger = ledger(&store);
    let event =
        |version: u32, kind: &str| ledger.folder().join(format!("{version:06}.{kind}.json"));
    fs::copy(event(2, "succeeded"), event(3, "succeeded")).unwrap();
    fs::copy(event(1, "succeeded"), event(1, "failed")).unwrap();
    let findings = ledger.verify();
    let misplaced = |version: u32, file: &str| Finding::EventMisplaced {
        app: app(),
        version: v(version),
        file: file.to_owned(),
    };
    assert!(
        findings.contains(&misplaced(1, "000001.failed.json")),
        "{findings:?}"
    );
    assert!(
        findings.contains(&Finding::TwoOutcomes {
            app: app(),
            version: v(1)
        }),
        "{findings:?}"
    );
    let of_v3 = |finding: &&Finding| matches!(finding, Finding::EventMisplaced { version, .. } if *version == v(3));
    assert_eq!(findings.iter().filter(of_v3).count(), 1, "{findings:?}");
    assert!(ledger.get(v(3)).is_err());
}

#[test]
fn changed_blobs_and_lost_config_are_named() {
    let (_folder, store) = store();
    let blob = store.put_blob(b"layer").unwrap();
    let config = store.seal(&app(), &vars("A", "1")).unwrap();
    Ledger::open(&store, &app())
        .append(&Draft {
            config,
            ..draft("a")
        })
        .unwrap();
    assert_eq!(
        (
            store.verify_blobs(&mut |_| {}),
            store.verify_configs(&app())
        ),
        (vec![], vec![])
    );
    crate::sys::fs::write_atomic(&store.blob_path(&blob), b"Layer", 0o644).unwrap();
    fs::remove_file(store.config_folder(&app()).join(config.hex())).unwrap();
    assert_eq!(
        store.verify_blobs(&mut |_| {}),
        [Finding::BlobChanged {
            blob,
            found: Digest::of(b"Layer")
        }]
    );
    let [Finding::Unreadable { what }] = &store.verify_configs(&app())[..] else {
        panic!("not one finding")
    };
    assert_eq!(
        *what,
        format!("the config {} of shop is not in the store", config.short())
    );
}

#[test]
fn hostile_records_are_findings_and_not_panics() {
    let (_folder, store) = store();
    let ledger = ledger(&store);
    for (version, text) in [
        (1, "{"),
        (2, "\0\0\0"),
        (3, r#"{"schema": 9, "reader": "3.0.0"}"#),
    ] {
        crate::sys::fs::write_atomic(&record(&ledger, version), text.as_bytes(), 0o644).unwrap();
    }
    crate::sys::fs::write_atomic(&record(&ledger, 4), &vec![b' '; (1 << 20) + 1], 0o644).unwrap();
    let findings: Vec<String> = ledger.verify().iter().map(ToString::to_string).collect();
    assert_eq!(findings.len(), 4, "{findings:?}");
    assert!(
        findings[2].contains("schema 9, which slug 3.0.0 and newer can read"),
        "{findings:?}"
    );
    assert!(
        findings[3].contains("larger than 1048576 bytes"),
        "{findings:?}"
    );
}

#[test]
fn a_number_from_nowhere_costs_one_finding_and_no_time() {
    let (_folder, store) = store();
    let ledger = ledger(&store);
    fs::copy(record(&ledger, 1), ledger.folder().join("4294967295.json")).unwrap();
    let last = v(u32::MAX);
    let expected = [
        Finding::RecordsMissing {
            app: app(),
            from: v(5),
            to: last.previous().unwrap(),
        },
        Finding::RecordMisplaced {
            app: app(),
            version: last,
            of_app: app(),
            holds: v(1),
        },
    ];
    assert_eq!(ledger.verify(), expected);
}
