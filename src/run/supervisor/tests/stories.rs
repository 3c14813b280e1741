//! Single stories, told step by step.

use std::collections::BTreeMap;
use std::time::Duration;

use super::world::*;
use super::*;

#[test]
fn a_switch_routes_the_new_before_it_drains_and_drains_before_it_signals() {
    let mut world = World::new(1);
    world.step(Event::Released(plan_of(1, true, false, false)));
    world.settle();
    let old = world.of(1);
    world.step(Event::Released(plan_of(2, true, false, true)));
    assert_eq!(world.targets, old);
    let from = world.log.len();
    world.settle();
    let new = world.of(2);
    let switch = [
        Action::Switched {
            generation: Generation(2),
            version: ReleaseVersion::from_number(2).unwrap(),
        },
        Action::Route {
            targets: new,
            hold: true,
        },
    ];
    assert_eq!(world.log[from..], switch, "the old ones stand by");
    let from = world.log.len();
    world.pass(GATE);
    let closed = [
        Action::Proven(ReleaseVersion::from_number(2).unwrap()),
        Action::WatchIdle(old[0]),
        Action::WatchIdle(old[1]),
    ];
    assert_eq!(world.log[from..], closed);
    world.step(Event::Idle(old[0]));
    assert_eq!(world.log.last(), Some(&Action::Signal(old[0])));
    world.pass(Duration::from_secs(10).saturating_sub(GATE));
    assert_eq!(
        world.log.last(),
        Some(&Action::Cut(old[1])),
        "a request that never ends delays for the time to drain alone, which began with the switch"
    );
    world.step(Event::Idle(old[1]));
    assert_eq!(world.log.last(), Some(&Action::Signal(old[1])));
    world.pass(Duration::from_secs(10));
    assert!(world.log.contains(&Action::Kill {
        id: old[1],
        overdue: true
    }));
}

#[test]
fn a_release_that_crashes_or_never_listens_is_undone_and_the_old_is_not_touched() {
    for listens_never in [false, true] {
        let mut world = World::new(1);
        world.step(Event::Released(plan_of(1, true, true, false)));
        world.settle();
        let old = world.of(1);
        world.step(Event::Released(plan_of(2, true, true, true)));
        let new = world.of(2);
        if listens_never {
            world.pass(Duration::from_secs(20));
        } else {
            world.step(Event::Exited(new[0], crash()));
        }
        assert!(world.undone.contains(&Generation(2)));
        assert_eq!(world.of(1), old);
        assert_eq!(world.targets.len(), 2);
        assert!(old.iter().all(|id| !world.signalled.contains(id)));
        assert!(
            new.iter()
                .all(|id| world.signalled.contains(id) || !world.running.contains_key(id))
        );
    }
}

#[test]
fn a_broken_worker_undoes_a_release_and_one_that_ends_well_does_not() {
    for is_clean in [false, true] {
        let mut world = World::new(1);
        world.step(Event::Released(plan_of(1, true, false, false)));
        world.settle();
        world.step(Event::Released(plan_of(2, true, true, true)));
        let worker = world
            .of(2)
            .into_iter()
            .find(|id| !world.is_routed(*id))
            .unwrap();
        world.step(Event::Exited(
            worker,
            if is_clean { well() } else { crash() },
        ));
        world.settle();
        let expected = if is_clean { 2 } else { 1 };
        assert_eq!(
            world.supervisor.current(),
            ReleaseVersion::from_number(expected)
        );
    }
}

#[test]
fn a_type_that_must_be_alone_stops_before_its_successor_starts_and_comes_back_if_that_fails() {
    let mut world = World::new(1);
    world.step(Event::Released(plan_of(1, false, true, false)));
    world.settle();
    let old = world
        .of(1)
        .into_iter()
        .find(|id| !world.is_routed(*id))
        .unwrap();
    world.step(Event::Released(plan_of(2, false, true, true)));
    assert_eq!(
        world.of(2).len(),
        2,
        "the worker waits until all others are ready"
    );
    world.settle();
    assert!(world.signalled.contains(&old));
    assert_eq!(
        world.of(2).len(),
        2,
        "the worker waits until the old one has ended"
    );
    world.step(Event::Exited(old, crash()));
    let new = world
        .of(2)
        .into_iter()
        .find(|id| !world.is_routed(*id))
        .unwrap();
    assert_eq!(world.supervisor.current(), ReleaseVersion::from_number(1));
    world.step(Event::Exited(new, crash()));
    assert!(world.undone.contains(&Generation(2)));
    assert_eq!(world.of(1).len(), 3, "the old worker runs again");
}

#[test]
fn with_nothing_to_go_back_to_a_release_is_tried_for_ever_and_says_so() {
    let mut world = World::new(1);
    world.step(Event::Released(plan_of(1, true, false, false)));
    let mut longest = Duration::ZERO;
    for _ in 0..40 {
        for id in world.of(1) {
            world.step(Event::Exited(id, crash()));
        }
        let due = world.supervisor.next_tick().unwrap();
        longest = longest.max(due.saturating_sub(world.now));
        world.now = due;
        world.step(Event::Tick);
    }
    assert!(world.undone.is_empty());
    assert!(
        world
            .log
            .iter()
            .any(|action| matches!(action, Action::Failing { .. }))
    );
    assert!(longest > BACKOFF_MAX / 4 && longest <= BACKOFF_MAX);
    world.pass(BACKOFF_MAX);
    world.settle();
    world.pass(UPTIME_MIN);
    let up = world.targets[0];
    world.step(Event::Exited(up, crash()));
    let last = world
        .log
        .iter()
        .rev()
        .find(|action| matches!(action, Action::Backoff { .. }));
    assert!(
        matches!(last, Some(Action::Backoff { crashes: 1, .. })),
        "a minute up is a new life"
    );
}

#[test]
fn a_second_stop_kills_at_once() {
    let mut world = World::new(1);
    world.step(Event::Released(plan_of(1, true, true, false)));
    world.settle();
    world.step(Event::Stop);
    assert!(world.killed.is_empty());
    world.step(Event::StopNow);
    assert_eq!(world.killed.len(), 3);
    for id in world.killed.clone() {
        world.step(Event::Exited(id, crash()));
    }
    assert!(world.finished);
}

#[test]
fn scaling_and_restarting_one_type_leave_the_others_alone() {
    let mut world = World::new(1);
    world.step(Event::Released(plan_of(1, true, true, false)));
    world.settle();
    world.step(Event::Scaled(BTreeMap::from([(ProcessType::web(), 1)])));
    assert_eq!((world.targets.len(), world.watched.len()), (1, 1));
    world.step(Event::Scaled(BTreeMap::from([(ProcessType::web(), 3)])));
    world.settle();
    let before = world.targets.clone();
    let worker = world
        .of(1)
        .into_iter()
        .find(|id| !world.is_routed(*id))
        .unwrap();
    world.step(Event::Recycled(Which::Type(ProcessType::web())));
    assert_eq!(
        world.targets, before,
        "the old ones serve until the new ones are ready"
    );
    world.settle();
    assert_eq!(world.targets.len(), 3);
    assert!(world.targets.iter().all(|id| !before.contains(id)));
    assert!(!world.leaving.contains(&worker));
}

#[test]
fn a_restart_that_fails_leaves_the_one_before_in_its_place() {
    for listens_never in [false, true] {
        let mut world = World::new(1);
        world.step(Event::Released(plan_of(1, true, false, false)));
        world.settle();
        let before = world.targets.clone();
        world.step(Event::Recycled(Which::Instance("web.1".parse().unwrap())));
        let new = *world.running.keys().last().unwrap();
        if listens_never {
            world.pass(Duration::from_secs(20));
            assert!(world.killed.contains(&new));
        }
        world.step(Event::Exited(new, crash()));
        assert!(matches!(world.log.last(), Some(Action::Kept { failed, .. }) if *failed == new));
        assert_eq!(world.targets, before);
        assert!(before.iter().all(|id| !world.leaving.contains(id)));
    }
}

#[test]
fn a_type_that_must_be_alone_is_stopped_before_it_is_started_again() {
    let mut world = World::new(1);
    world.step(Event::Released(plan_of(1, false, true, false)));
    world.settle();
    let old = *world.running.keys().last().unwrap();
    assert!(!world.is_routed(old));
    world.step(Event::Recycled(Which::Type("worker".parse().unwrap())));
    assert!(world.signalled.contains(&old));
    assert_eq!(world.running.len(), 3);
    world.step(Event::Exited(old, crash()));
    assert_eq!(world.running.len(), 3, "the new one runs");
}

#[test]
fn a_release_that_is_ready_and_falls_over_right_after_is_undone() {
    let mut world = World::new(1);
    world.step(Event::Released(plan_of(1, true, true, false)));
    world.settle();
    let old = world.targets.clone();
    world.step(Event::Released(plan_of(2, true, true, true)));
    world.settle();
    let new = world.targets.clone();
    assert!(old.iter().all(|id| !new.contains(id)));
    world.pass(GATE.saturating_sub(Duration::from_millis(1)));
    assert_eq!(
        world
            .supervisor
            .seen()
            .iter()
            .filter(|seen| seen.state == "standby")
            .count(),
        2
    );
    world.step(Event::Exited(new[0], crash()));
    assert!(world.undone.contains(&Generation(2)));
    assert_eq!(world.targets, old, "requests go to the old ones at once");
    assert_eq!(world.supervisor.current(), ReleaseVersion::from_number(1));
    assert!(
        !world
            .proven
            .contains(&ReleaseVersion::from_number(2).unwrap())
    );
    let workers = world.of(1).into_iter().filter(|id| !world.is_routed(*id));
    assert_eq!(
        workers.filter(|id| !world.leaving.contains(id)).count(),
        0,
        "the old one still ends"
    );
    for id in world.signalled.clone() {
        if world.running.contains_key(&id) {
            world.step(Event::Exited(id, crash()));
        }
    }
    assert_eq!(
        world.of(1).len(),
        3,
        "and then its successor of the same release is started"
    );
}

#[test]
fn a_crash_after_the_gate_is_a_crash_and_nothing_more() {
    let mut world = World::new(1);
    world.step(Event::Released(plan_of(1, true, false, false)));
    world.settle();
    world.step(Event::Released(plan_of(2, true, false, true)));
    world.settle();
    world.pass(GATE);
    let up = world.targets[0];
    world.step(Event::Exited(up, crash()));
    assert!(world.undone.is_empty());
    assert_eq!(world.targets.len(), 1);
}

#[test]
fn what_does_not_live_gets_no_request_and_is_started_again() {
    let mut world = World::new(1);
    world.step(Event::Released(plan_of(1, true, false, false)));
    world.settle();
    let stuck = world.targets[0];
    world.step(Event::Unhealthy(stuck, "web.1 did not answer".to_owned()));
    assert!(world.signalled.contains(&stuck));
    assert!(!world.targets.contains(&stuck));
    world.pass(Duration::from_secs(10));
    assert!(world.killed.contains(&stuck), "it has its grace");
    world.step(Event::Exited(stuck, crash()));
    assert!(matches!(
        world
            .log
            .iter()
            .rev()
            .find(|action| matches!(action, Action::Backoff { .. })),
        Some(Action::Backoff { crashes: 1, .. })
    ));
    world.pass(BACKOFF_MIN);
    world.settle();
    assert_eq!(world.targets.len(), 2);
}

#[test]
fn everything_ends_with_the_type_that_was_named() {
    let mut world = World::new(1);
    world.supervisor = Supervisor::new(BTreeMap::new(), Some("worker".parse().unwrap()), 1);
    world.step(Event::Released(plan_of(1, true, true, false)));
    world.settle();
    let web = world.targets[0];
    world.step(Event::Exited(web, crash()));
    assert!(!world.finished, "the others do not stop for it");
    let worker = world
        .of(1)
        .into_iter()
        .find(|id| !world.is_routed(*id))
        .unwrap();
    world.step(Event::Exited(worker, well()));
    assert!(
        world
            .log
            .iter()
            .any(|action| matches!(action, Action::EndedAll { ending, .. } if ending.is_clean()))
    );
    world.end();
}
