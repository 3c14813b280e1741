//! A world without processes: what the supervisor says is believed, what it must never say is looked for.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::run::formation::Check;

fn plan_of(version: u32, overlap: bool, worker: bool, has_fallback: bool) -> Plan {
    let routed = TypePlan {
        instances: 2,
        is_routed: true,
        check: Check::Port,
        ready_within: Duration::from_secs(20),
        grace: Duration::from_secs(10),
        stop_signal: 15,
        overlap: true,
    };
    let mut types = BTreeMap::from([("web".parse().unwrap(), routed.clone())]);
    if worker {
        types.insert(
            "worker".parse().unwrap(),
            TypePlan {
                instances: 1,
                is_routed: false,
                overlap,
                ..routed
            },
        );
    }
    Plan {
        version: ReleaseVersion::from_number(version).unwrap(),
        types,
        has_fallback,
    }
}

fn crash() -> Ending {
    Ending {
        is_clean: false,
        text: "exited with code 1".to_owned(),
    }
}

/// Believes the supervisor and holds it to its promises.
struct World {
    supervisor: Supervisor,
    now: Moment,
    running: BTreeMap<ProcessId, (Generation, Instance)>,
    ready: BTreeSet<ProcessId>,
    signalled: BTreeSet<ProcessId>,
    killed: BTreeSet<ProcessId>,
    watched: BTreeSet<ProcessId>,
    targets: Vec<ProcessId>,
    switched: Vec<Generation>,
    undone: BTreeSet<Generation>,
    finished: bool,
    log: Vec<Action>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            supervisor: Supervisor::new(BTreeMap::new(), seed),
            now: Duration::ZERO,
            running: BTreeMap::new(),
            ready: BTreeSet::new(),
            signalled: BTreeSet::new(),
            killed: BTreeSet::new(),
            watched: BTreeSet::new(),
            targets: Vec::new(),
            switched: Vec::new(),
            undone: BTreeSet::new(),
            finished: false,
            log: Vec::new(),
        }
    }

    fn step(&mut self, event: Event) {
        match &event {
            Event::Ready(id) => drop(self.ready.insert(*id)),
            Event::Exited(id, _) => drop(self.running.remove(id)),
            _ => {}
        }
        for action in self.supervisor.step(event, self.now) {
            self.believe(&action);
            self.log.push(action);
        }
        for target in &self.targets {
            assert!(
                self.running.contains_key(target),
                "requests go to {target:?}, which has ended"
            );
        }
        assert!(
            self.supervisor.next_tick().is_none_or(|due| due > self.now),
            "the next tick is due already"
        );
    }

    fn believe(&mut self, action: &Action) {
        match action {
            Action::Start(id, generation, instance) => {
                assert!(
                    !self.undone.contains(generation),
                    "an undone generation was started"
                );
                assert!(
                    !self
                        .running
                        .values()
                        .any(|(of, name)| of == generation && name == instance),
                    "two {instance}"
                );
                self.running.insert(*id, (*generation, instance.clone()));
            }
            Action::Signal(id) => {
                assert!(self.signalled.insert(*id), "signalled twice");
                assert!(
                    !self.targets.contains(id),
                    "stopped while requests go to it"
                );
            }
            Action::Kill { id, .. } => assert!(self.killed.insert(*id), "killed twice"),
            Action::Route { targets, .. } => self.route(targets),
            Action::WatchIdle(id) => {
                assert!(
                    !self.targets.contains(id),
                    "drained while requests go to it"
                );
                self.watched.insert(*id);
            }
            Action::Switched { generation, .. } => self.switched.push(*generation),
            Action::Undone { generation, .. } => drop(self.undone.insert(*generation)),
            Action::Backoff { pause, crashes, .. } => {
                let bound = BACKOFF_MIN * 2_u32.pow(crashes.saturating_sub(1).min(10));
                assert!(
                    *pause <= bound.min(BACKOFF_MAX),
                    "a pause of {pause:?} after {crashes} crashes"
                );
            }
            Action::Finished => {
                assert!(self.running.is_empty(), "finished with processes running");
                self.finished = true;
            }
            Action::Failing { .. }
            | Action::Superseded(_)
            | Action::Forget(_)
            | Action::CloseFront => {}
        }
    }

    fn route(&mut self, targets: &[ProcessId]) {
        let generations: BTreeSet<Generation> =
            targets.iter().map(|id| self.running[id].0).collect();
        assert!(generations.len() <= 1, "two generations are routed");
        assert!(
            generations.is_disjoint(&self.undone),
            "a rejected generation is routed"
        );
        assert!(
            targets.iter().all(|id| self.ready.contains(id)),
            "one that is not ready is routed"
        );
        targets.clone_into(&mut self.targets);
    }

    fn nth(&self, n: usize) -> Option<ProcessId> {
        self.running
            .keys()
            .copied()
            .nth(n % self.running.len().max(1))
    }

    fn is_routed(&self, id: ProcessId) -> bool {
        self.running[&id].1.process_type == ProcessType::web()
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.step(Event::Tick);
    }

    /// All routed processes pass their check, all others settle.
    fn settle(&mut self) {
        let starting: Vec<ProcessId> = self
            .running
            .keys()
            .copied()
            .filter(|id| self.is_routed(*id) && !self.ready.contains(id))
            .collect();
        for id in starting {
            self.step(Event::Ready(id));
        }
        self.pass(SETTLE);
    }

    fn of(&self, generation: u64) -> Vec<ProcessId> {
        self.running
            .iter()
            .filter(|(_, (of, _))| *of == Generation(generation))
            .map(|(id, _)| *id)
            .collect()
    }

    fn end(&mut self) {
        self.step(Event::Stop);
        for _ in 0..10_000 {
            if self.finished {
                return;
            }
            let ended = self
                .killed
                .iter()
                .copied()
                .find(|id| self.running.contains_key(id));
            match (ended, self.supervisor.next_tick()) {
                (Some(id), _) => self.step(Event::Exited(id, crash())),
                (None, Some(due)) => {
                    self.now = due;
                    self.step(Event::Tick);
                }
                (None, None) => break,
            }
        }
        panic!("stopping never ends: {:?} runs", self.running);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Release {
        overlap: bool,
        worker: bool,
        has_fallback: bool,
    },
    Ready(usize),
    Crash(usize),
    EndWell(usize),
    EndSignalled(usize),
    Idle(usize),
    Pass(u64),
    Scale(u32, u32),
    Recycle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(overlap, worker, has_fallback)| Step::Release { overlap, worker, has_fallback }),
        8 => any::<usize>().prop_map(Step::Ready),
        2 => any::<usize>().prop_map(Step::Crash),
        1 => any::<usize>().prop_map(Step::EndWell),
        4 => any::<usize>().prop_map(Step::EndSignalled),
        3 => any::<usize>().prop_map(Step::Idle),
        6 => (0u64..30_000).prop_map(Step::Pass),
        1 => (0u32..4, 0u32..3).prop_map(|(web, worker)| Step::Scale(web, worker)),
        1 => Just(Step::Recycle),
    ];
    prop::collection::vec(step, 0..80)
}

fn take(world: &mut World, step: &Step, version: u32) {
    match *step {
        Step::Release {
            overlap,
            worker,
            has_fallback,
        } => {
            world.step(Event::Released(plan_of(
                version,
                overlap,
                worker,
                has_fallback,
            )));
        }
        Step::Ready(n) => {
            if let Some(id) = world
                .nth(n)
                .filter(|id| world.is_routed(*id) && !world.signalled.contains(id))
            {
                world.step(Event::Ready(id));
            }
        }
        Step::Crash(n) => {
            if let Some(id) = world.nth(n) {
                world.step(Event::Exited(id, crash()));
            }
        }
        Step::EndWell(n) => {
            if let Some(id) = world.nth(n) {
                world.step(Event::Exited(
                    id,
                    Ending {
                        is_clean: true,
                        text: "exited with code 0".to_owned(),
                    },
                ));
            }
        }
        Step::EndSignalled(n) => {
            let ending: Vec<ProcessId> = world
                .running
                .keys()
                .copied()
                .filter(|id| world.signalled.contains(id) || world.killed.contains(id))
                .collect();
            if let Some(id) = ending.get(n % ending.len().max(1)) {
                world.step(Event::Exited(*id, crash()));
            }
        }
        Step::Idle(n) => {
            let watched: Vec<ProcessId> = world.watched.iter().copied().collect();
            if let Some(id) = watched.get(n % watched.len().max(1)) {
                world.step(Event::Idle(*id));
            }
        }
        Step::Pass(ms) => world.pass(Duration::from_millis(ms)),
        Step::Scale(web, worker) => {
            let counts = BTreeMap::from([
                ("web".parse().unwrap(), web),
                ("worker".parse().unwrap(), worker),
            ]);
            world.step(Event::Scaled(counts));
        }
        Step::Recycle => world.step(Event::Recycled(Which::Type(ProcessType::web()))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// `World` asserts all along: one generation routed, only what is ready and alive, nothing stopped while
    /// routed, no undone generation routed or started, bounds of backoff; and that everything ends.
    #[test]
    fn whatever_happens_in_whatever_order_the_promises_hold(steps in steps(), seed in any::<u64>()) {
        let mut world = World::new(seed);
        for (version, step) in (1..).zip(&steps) {
            take(&mut world, step, version);
        }
        world.end();
        let started = world.log.iter().filter(|action| matches!(action, Action::Start(..))).count();
        prop_assert!(started == 0 || world.running.is_empty());
    }

    /// Without scaling and recycling, a process of the generation that serves is stopped only after a later one has
    /// taken over; types that must be alone excepted.
    #[test]
    fn the_old_is_never_stopped_before_the_new_is_ready(steps in steps(), seed in any::<u64>()) {
        let mut world = World::new(seed);
        let calm = steps.iter().filter(|step| !matches!(step, Step::Scale(..) | Step::Recycle));
        for (version, step) in (1..).zip(calm) {
            let before = world.log.len();
            let running = world.running.clone();
            let serving = world.switched.last().copied();
            take(&mut world, step, version);
            for action in &world.log[before..] {
                let Action::Signal(id) = action else { continue };
                let (generation, instance) = &running[id];
                let is_web = instance.process_type == ProcessType::web();
                let is_over = world.switched.last() > Some(generation) || world.undone.contains(generation);
                prop_assert!(!is_web || Some(*generation) != serving || is_over, "{instance} was stopped");
            }
        }
        world.end();
    }

    #[test]
    fn when_nothing_fails_the_newest_release_ends_up_serving_alone(releases in 1u32..6, overlap in any::<bool>(), seed in any::<u64>()) {
        let mut world = World::new(seed);
        for version in 1..=releases {
            world.step(Event::Released(plan_of(version, overlap, true, version > 1)));
        }
        for _ in 0..20 {
            world.settle();
            for id in world.watched.clone() {
                world.step(Event::Idle(id));
            }
            for id in world.signalled.clone() {
                if world.running.contains_key(&id) {
                    world.step(Event::Exited(id, crash()));
                }
            }
        }
        prop_assert_eq!(world.supervisor.current(), ReleaseVersion::from_number(releases));
        prop_assert_eq!(world.targets.len(), 2);
        prop_assert_eq!(world.running.len(), 3);
        prop_assert!(world.supervisor.is_settled());
    }
}

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
        Action::WatchIdle(old[0]),
        Action::WatchIdle(old[1]),
    ];
    assert_eq!(world.log[from..], switch);
    world.step(Event::Idle(old[0]));
    assert_eq!(world.log.last(), Some(&Action::Signal(old[0])));
    world.pass(Duration::from_secs(10));
    assert_eq!(
        world.log.last(),
        Some(&Action::Signal(old[1])),
        "a request that never ends delays for the grace alone"
    );
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
            Ending {
                is_clean,
                text: "ended".to_owned(),
            },
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
    let worker = world
        .of(1)
        .into_iter()
        .find(|id| !world.is_routed(*id))
        .unwrap();
    world.step(Event::Recycled(Which::Type(ProcessType::web())));
    assert!(world.targets.is_empty());
    assert!(!world.signalled.contains(&worker) && !world.watched.contains(&worker));
}
