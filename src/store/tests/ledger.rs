//! Numbers, events, and what is current.

use std::fs;

use super::{app, at, draft, store, v};
use crate::ident::EnvKey;
use crate::store::{Draft, Event, Ledger, Outcome, Ran, Reason, StoreError, TAIL_BYTES_MAX};

fn failed(tail: &str) -> Event {
    Event::Failed {
        step: "release-command".to_owned(),
        exit: Some(3),
        tail: tail.to_owned(),
    }
}

#[test]
fn each_record_is_numbered_and_names_the_one_before() {
    let (_folder, store) = store();
    let ledger = Ledger::open(&store, &app());
    assert!(ledger.releases().unwrap().is_empty());
    let first = ledger.append(&draft("a")).unwrap();
    let set: Vec<EnvKey> = vec!["A".parse().unwrap()];
    let reason = Reason::Config {
        set,
        unset: Vec::new(),
    };
    let message = Some("more workers".to_owned());
    let second = ledger
        .append(&Draft {
            reason,
            message,
            ..draft("a")
        })
        .unwrap();
    let third = ledger
        .append(&Draft {
            reason: Reason::Rollback { to: v(1) },
            ..draft("a")
        })
        .unwrap();
    assert_eq!((first.version, first.previous), (v(1), None));
    assert_eq!((second.version, third.version), (v(2), v(3)));
    assert!(second.previous.is_some() && third.previous != second.previous);
    let records: Vec<_> = ledger
        .releases()
        .unwrap()
        .into_iter()
        .map(|release| release.record)
        .collect();
    assert_eq!(records, [first, second.clone(), third]);
    assert_eq!(ledger.get(v(2)).unwrap().record, second);
    let refused = ledger.get(v(4)).unwrap_err();
    assert!(
        matches!(refused, StoreError::NoRelease { newest: Some(newest), .. } if newest == v(3)),
        "{refused}"
    );
    assert!(ledger.verify().is_empty());
}

#[test]
fn current_is_the_highest_that_succeeded_and_was_not_rejected_here() {
    let (_folder, store) = store();
    let ledger = Ledger::open(&store, &app());
    let current = |host: &str| {
        ledger
            .current(host)
            .unwrap()
            .map(|release| release.record.version)
    };
    for slug in ["a", "b", "c", "d"] {
        ledger.append(&draft(slug)).unwrap();
    }
    assert_eq!(current("one"), None);
    for version in [1, 2] {
        ledger.record(v(version), at(1), &Event::Succeeded).unwrap();
    }
    ledger
        .record(v(3), at(1), &failed("no such table"))
        .unwrap();
    assert_eq!(current("one"), Some(v(2)));
    assert_eq!(ledger.pending().unwrap(), [v(4)]);
    let host = "db/1 é".to_owned();
    ledger
        .record(
            v(2),
            at(2),
            &Event::Rejected {
                host: host.clone(),
                why: "never listened".to_owned(),
            },
        )
        .unwrap();
    assert_eq!((current("one"), current(&host)), (Some(v(2)), Some(v(1))));
    let second = ledger.get(v(2)).unwrap();
    assert_eq!(second.rejected, [(host, "never listened".to_owned())]);
    assert_eq!(second.outcome, Outcome::Succeeded { at: at(1) });
    assert!(ledger.verify().is_empty());
}

#[test]
fn an_outcome_is_recorded_once() {
    let (_folder, store) = store();
    let ledger = Ledger::open(&store, &app());
    ledger.append(&draft("a")).unwrap();
    ledger
        .record(v(1), at(1), &failed(&"x".repeat(TAIL_BYTES_MAX + 1)))
        .unwrap();
    let refused = ledger.record(v(1), at(2), &Event::Succeeded).unwrap_err();
    assert!(
        matches!(
            refused,
            StoreError::EventExists {
                event: "failed",
                ..
            }
        ),
        "{refused}"
    );
    let Outcome::Failed {
        at: when,
        exit,
        tail,
        ..
    } = ledger.get(v(1)).unwrap().outcome
    else {
        panic!("not failed")
    };
    assert_eq!((when, exit, tail.len()), (at(1), Some(3), TAIL_BYTES_MAX));
    assert!(matches!(
        ledger.record(v(2), at(1), &Event::Succeeded),
        Err(StoreError::NoRelease { .. })
    ));
}

#[test]
fn one_offs_are_kept_with_who_what_and_exit() {
    let (_folder, store) = store();
    let ledger = Ledger::open(&store, &app());
    ledger.append(&draft("a")).unwrap();
    let ran = |second, exit| Ran {
        by: "alice".to_owned(),
        host: "one".to_owned(),
        process: "python manage.py migrate".to_owned(),
        started: at(second),
        exit,
    };
    for (second, exit) in [(9, 1), (5, 0), (7, 0)] {
        ledger
            .record(v(1), at(10), &Event::Ran(ran(second, exit)))
            .unwrap();
    }
    assert_eq!(ledger.ran(v(1)).unwrap(), [ran(5, 0), ran(7, 0), ran(9, 1)]);
    assert!(ledger.verify().is_empty());
}

#[test]
fn the_last_number_has_no_successor() {
    let (_folder, store) = store();
    let ledger = Ledger::open(&store, &app());
    ledger.append(&draft("a")).unwrap();
    fs::rename(
        ledger.folder().join("000001.json"),
        ledger.folder().join("4294967295.json"),
    )
    .unwrap();
    assert!(matches!(
        ledger.append(&draft("b")),
        Err(StoreError::LastVersion { .. })
    ));
}

#[test]
fn names_that_are_not_ours_are_passed_over() {
    let (_folder, store) = store();
    let ledger = Ledger::open(&store, &app());
    ledger.append(&draft("a")).unwrap();
    for name in [
        "README",
        "7.json",
        "0000002.json",
        "000000.json",
        "+00002.json",
        ".tmp-1",
        "000002.json~",
    ] {
        fs::copy(
            ledger.folder().join("000001.json"),
            ledger.folder().join(name),
        )
        .unwrap();
    }
    assert_eq!(ledger.releases().unwrap().len(), 1);
    assert_eq!(ledger.append(&draft("b")).unwrap().version, v(2));
}

#[test]
fn a_number_whose_events_are_left_is_not_given_again() {
    let (_folder, store) = store();
    let ledger = Ledger::open(&store, &app());
    ledger.append(&draft("a")).unwrap();
    ledger.record(v(1), at(1), &Event::Succeeded).unwrap();
    fs::remove_file(ledger.folder().join("000001.json")).unwrap();
    let refused = ledger.append(&draft("evil")).unwrap_err();
    assert!(
        matches!(refused, StoreError::RecordMissing { .. }),
        "{refused}"
    );
}

#[test]
fn a_store_that_cannot_be_written_says_where_and_stays_as_it_was() {
    let (_folder, store) = store();
    let ledger = Ledger::open(&store, &app());
    ledger.append(&draft("a")).unwrap();
    // A file where a folder is to be: the same refusal for root as for everybody else.
    let blocked = "blocked".parse().unwrap();
    fs::create_dir_all(store.root().join("apps/blocked")).unwrap();
    fs::copy(
        ledger.folder().join("000001.json"),
        store.root().join("apps/blocked/releases"),
    )
    .unwrap();
    let refused = Ledger::open(&store, &blocked)
        .append(&draft("a"))
        .unwrap_err();
    let StoreError::Path(refused) = refused else {
        panic!("{refused}")
    };
    assert!(refused.path.ends_with("apps/blocked/releases"), "{refused}");
    assert_eq!(ledger.releases().unwrap().len(), 1);
}
