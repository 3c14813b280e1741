//! What is done about what happens: a pure state machine. It starts no process,
//! reads no clock and no file; `up` does what it says and tells it what came of it.
//! All of its state can be written down and read back: an upgrade goes on with it.
//!
//! A *generation* is one release as it was started once (a restart of everything
//! is a new generation of the same release). At most three matter: the *current*
//! one, which alone is ever routed; the *incoming* one, which is started beside it
//! and takes its place once all its processes are ready; and for `GATE` after that
//! the one *on standby*, which was current before: its routed processes stay, so
//! that a release that was ready and falls over right after is undone at once.
//! Every other generation is on its way out: drained, signalled, killed.
//!
//! Each `step` changes the state by its events, then `reconcile` compares what
//! runs with what should, so that no order of events needs a case of its own.

mod backoff;
mod era;
mod event;
mod gate;
mod leaving;
mod reconcile;
mod seen;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

pub(in crate::run) use backoff::jittered;
pub use backoff::{BACKOFF_MAX, BACKOFF_MIN};
use era::Era;
use era::Mode;
use era::Phase;
use era::Process;
pub use event::Action;
pub use event::Ending;
pub use event::Event;
pub use event::Generation;
pub use event::Moment;
pub use event::Plan;
pub use event::ProcessId;
pub use event::Which;
pub use gate::GATE;
pub use seen::Seen;

use crate::ident::ProcessType;
use crate::ident::ReleaseVersion;

/// A process that was up so long has no past: its next crash is its first.
pub const UPTIME_MIN: Duration = Duration::from_mins(1);
/// A process that cannot be asked whether it is ready is so when it has run so long.
pub const SETTLE: Duration = Duration::from_secs(1);

/// The state of everything.
///
/// Written down, it is JSON of its fields. A field that a later version adds has a default, so that it reads what an
/// earlier one wrote.
#[derive(Debug, Serialize, Deserialize)]
pub struct Supervisor {
    scaled: BTreeMap<ProcessType, u32>,
    generations: BTreeMap<Generation, Era>,
    current: Option<Generation>,
    incoming: Option<Generation>,
    standby: Option<Generation>,
    /// A crash of the current generation undoes the switch to it until then.
    probation: Option<Moment>,
    processes: BTreeMap<ProcessId, Process>,
    /// What the front was told last.
    routed: (Vec<ProcessId>, bool),
    mode: Mode,
    /// Everything ends when a process of this type does.
    exit_on: Option<ProcessType>,
    next_process: u64,
    next_generation: u64,
    random: u64,
    /// When the last step was: what was due then has been done, or waits for something else than time.
    stepped: Moment,
}

impl Supervisor {
    /// Nothing runs yet. `scaled` is what was remembered of earlier `scale`s; with the end of a process of type
    /// `exit_on` everything ends; `seed` makes the jitter.
    pub fn new(
        scaled: BTreeMap<ProcessType, u32>,
        exit_on: Option<ProcessType>,
        seed: u64,
    ) -> Self {
        Self {
            scaled,
            generations: BTreeMap::new(),
            current: None,
            incoming: None,
            standby: None,
            probation: None,
            processes: BTreeMap::new(),
            routed: (Vec::new(), true),
            mode: Mode::Running,
            exit_on,
            next_process: 1,
            next_generation: 1,
            random: seed,
            stepped: Moment::ZERO,
        }
    }

    /// What the front was told last: where requests go, and whether they are held if there is nowhere.
    pub fn routed(&self) -> (&[ProcessId], bool) {
        (&self.routed.0, self.routed.1)
    }

    /// Takes in what happened, in this order; says what is to be done about it, in order.
    pub fn step(&mut self, events: impl IntoIterator<Item = Event>, now: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        self.stepped = now;
        for event in events {
            self.take(event, now, &mut actions);
        }
        self.expire(now, &mut actions);
        self.reconcile(now, &mut actions);
        actions
    }

    fn take(&mut self, event: Event, now: Moment, actions: &mut Vec<Action>) {
        match event {
            Event::Released(plan) => self.released(plan, actions),
            Event::Scaled(counts) => self.scale(counts),
            Event::Recycled(which) => self.recycle(&which),
            Event::Ready(id) => self.ready(id, now),
            Event::Unhealthy(id, why) => self.unhealthy(id, why, now, actions),
            Event::Exited(id, ending) => self.exited(id, ending, now, actions),
            Event::Idle(id) => self.idle(id, now, actions),
            Event::Stop => self.stop(actions),
            Event::StopNow => self.stop_now(actions),
            Event::Tick => {}
        }
    }

    fn scale(&mut self, counts: BTreeMap<ProcessType, u32>) {
        self.scaled.extend(counts);
        for era in self.generations.values_mut() {
            era.fit(&self.scaled);
        }
    }

    /// When `Tick` is due, if nothing else happens before.
    pub fn next_tick(&self) -> Option<Moment> {
        let phases = self
            .processes
            .values()
            .filter_map(|process| match process.phase {
                Phase::Starting { until }
                | Phase::Draining { until }
                | Phase::Cutting { until }
                | Phase::Stopping { until } => Some(until),
                Phase::Up | Phase::Killed => None,
            });
        let slots = self
            .serving()
            .flat_map(|generation| self.generations[&generation].slots.values());
        let pauses = slots.filter(|slot| slot.process.is_none() && slot.not_before > self.stepped);
        phases
            .chain(pauses.map(|slot| slot.not_before))
            .chain(self.probation)
            .min()
    }

    /// The generations whose processes are started, and started again.
    fn serving(&self) -> impl Iterator<Item = Generation> + use<> {
        [self.current, self.incoming].into_iter().flatten()
    }

    /// The version that requests go to, or that was started first.
    pub fn current(&self) -> Option<ReleaseVersion> {
        self.current
            .map(|generation| self.generations[&generation].plan.version)
    }

    /// The version that is being started beside it.
    pub fn incoming(&self) -> Option<ReleaseVersion> {
        self.incoming
            .map(|generation| self.generations[&generation].plan.version)
    }

    /// Are all processes of the current generation known to have been ready?
    pub fn is_settled(&self) -> bool {
        self.current
            .is_some_and(|generation| self.generations[&generation].is_settled)
    }

    /// The release of a generation that is not forgotten.
    pub fn plan(&self, generation: Generation) -> Option<&Plan> {
        self.generations.get(&generation).map(|era| &era.plan)
    }

    /// The plan of the current generation.
    pub fn current_plan(&self) -> Option<&Plan> {
        self.current.and_then(|generation| self.plan(generation))
    }

    /// The releases of all generations that are not forgotten.
    pub fn versions(&self) -> impl Iterator<Item = ReleaseVersion> {
        self.generations.values().map(|era| era.plan.version)
    }
}

#[cfg(test)]
mod tests;
