//! Promises that hold whatever happens, in whatever order.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::world::*;
use super::*;

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
    RecycleOne(u32, bool),
    Unhealthy(usize),
    /// The state is written down and read back, as an upgrade does.
    Upgrade,
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
        2 => (1u32..3, any::<bool>()).prop_map(|(number, web)| Step::RecycleOne(number, web)),
        1 => any::<usize>().prop_map(Step::Unhealthy),
        1 => Just(Step::Upgrade),
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
                world.step(Event::Exited(id, well()));
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
        Step::RecycleOne(number, web) => {
            let name = format!("{}.{number}", if web { "web" } else { "worker" });
            world.step(Event::Recycled(Which::Instance(name.parse().unwrap())));
        }
        Step::Unhealthy(n) => {
            if let Some(id) = world.nth(n) {
                world.step(Event::Unhealthy(id, "it does not answer".to_owned()));
            }
        }
        Step::Upgrade => world.upgrade(),
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

    /// An upgrade at any moment is not to be told from none: the same actions, to the end.
    #[test]
    fn what_is_written_down_and_read_back_goes_on_as_if_nothing_was(
        steps in steps(), at in any::<usize>(), seed in any::<u64>(),
    ) {
        let (mut calm, mut upgraded) = (World::new(seed), World::new(seed));
        let at = at % (steps.len() + 1);
        for (number, step) in steps.iter().enumerate() {
            let version = u32::try_from(number).unwrap() + 1;
            if number == at {
                upgraded.upgrade();
            }
            if !matches!(step, Step::Upgrade) {
                take(&mut calm, step, version);
                take(&mut upgraded, step, version);
            }
        }
        upgraded.upgrade();
        prop_assert_eq!(calm.supervisor.seen(), upgraded.supervisor.seen());
        prop_assert_eq!(calm.supervisor.next_tick(), upgraded.supervisor.next_tick());
        calm.end();
        upgraded.end();
        prop_assert_eq!(calm.log, upgraded.log);
    }

    /// Restarts of what may overlap leave somebody to send requests to, if all goes well.
    #[test]
    fn a_restart_never_leaves_nobody_to_send_requests_to(
        restarts in prop::collection::vec((0u32..3, any::<bool>()), 1..10), seed in any::<u64>(),
    ) {
        let mut world = World::new(seed);
        world.step(Event::Released(plan_of(1, true, true, false)));
        world.settle();
        for (number, settles) in restarts {
            let which = match number {
                0 => Which::Type(ProcessType::web()),
                number => Which::Instance(format!("web.{number}").parse().unwrap()),
            };
            world.step(Event::Recycled(which));
            prop_assert_eq!(world.targets.len(), 2);
            if settles {
                world.settle();
            }
            prop_assert_eq!(world.targets.len(), 2);
        }
        world.settle();
        let staying = world.running.keys().filter(|id| !world.leaving.contains(id)).count();
        prop_assert_eq!(staying, 3);
        world.end();
    }

    /// Without scaling and recycling, a process of the generation that serves is stopped only after a later one has
    /// taken over; types that must be alone excepted.
    #[test]
    fn the_old_is_never_stopped_before_the_new_is_ready(steps in steps(), seed in any::<u64>()) {
        let mut world = World::new(seed);
        let calm = steps.iter().filter(|step| {
            !matches!(step, Step::Scale(..) | Step::Recycle | Step::RecycleOne(..) | Step::Unhealthy(_))
        });
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
            world.pass(GATE);
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
        prop_assert_eq!(world.proven.last().copied(), ReleaseVersion::from_number(releases));
    }
}
