//! What is done about what happens: a pure state machine. It starts no process,
//! reads no clock and no file; `up` does what it says and tells it what came of it.
//!
//! A *generation* is one release as it was started once (a restart of everything
//! is a new generation of the same release). At most two matter: the *current*
//! one, which alone is ever routed, and the *incoming* one, which is started
//! beside it and takes its place once all its processes are ready. Every other
//! generation is on its way out: drained, signalled, killed.
//!
//! Each `step` changes the state by one event, then `reconcile` compares what
//! runs with what should, so that no order of events needs a case of its own.

mod backoff;
mod reconcile;

use std::collections::BTreeMap;
use std::time::Duration;

use backoff::jittered;
pub use backoff::{BACKOFF_MAX, BACKOFF_MIN};

use super::formation::TypePlan;
use crate::ident::Instance;
use crate::ident::ProcessType;
use crate::ident::ReleaseVersion;

/// A process that was up so long has no past: its next crash is its first.
pub const UPTIME_MIN: Duration = Duration::from_mins(1);
/// A process that has no port to be asked at is ready when it has run so long.
pub const SETTLE: Duration = Duration::from_secs(1);

/// An instant: the time since the supervisor began, by a clock that never steps.
pub type Moment = Duration;

/// One started process; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub u64);

/// One start of a release; later is higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// A release that is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Which.
    pub version: ReleaseVersion,
    /// Its process types, without `release`.
    pub types: BTreeMap<ProcessType, TypePlan>,
    /// There is something to go back to: it may be rejected. Without that it is tried for ever.
    pub has_fallback: bool,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// It called exit with 0.
    pub is_clean: bool,
    /// In words: `exited with code 1`.
    pub text: String,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A release is to take the place of the current one, or the current one is to be started anew.
    Released(Plan),
    /// So many of these types from now on.
    Scaled(BTreeMap<ProcessType, u32>),
    /// These are to be stopped and started again.
    Recycled(Which),
    /// The check of a routed process passed.
    Ready(ProcessId),
    /// It ended, or could not be started.
    Exited(ProcessId, Ending),
    /// No request is in flight at it.
    Idle(ProcessId),
    /// Everything is to end, each with its grace.
    Stop,
    /// Everything is to end at once.
    StopNow,
    /// Time passed.
    Tick,
}

/// Which processes of the current generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All of a type.
    Type(ProcessType),
    /// This one.
    Instance(Instance),
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start it, and check whether it is ready if its type is routed.
    Start(ProcessId, Generation, Instance),
    /// Send its stop signal.
    Signal(ProcessId),
    /// Kill all of it. `overdue`: it did not end within its grace.
    Kill {
        /// Which.
        id: ProcessId,
        /// It was signalled first and did not end within its grace.
        overdue: bool,
    },
    /// Send requests to these alone, from now on.
    Route {
        /// Of one generation, all ready.
        targets: Vec<ProcessId>,
        /// If there is none: one is expected.
        hold: bool,
    },
    /// Say `Idle` when no request is in flight at it.
    WatchIdle(ProcessId),
    /// All its processes are ready for the first time: it is what the host runs now.
    Switched {
        /// Which.
        generation: Generation,
        /// Of which release.
        version: ReleaseVersion,
    },
    /// It failed before it took over; what was current stays so.
    Undone {
        /// Which.
        generation: Generation,
        /// Of which release.
        version: ReleaseVersion,
        /// The process that failed.
        failed: ProcessId,
        /// In words.
        why: String,
    },
    /// It is not ready yet, has no fallback, and failed: it will be tried again.
    Failing {
        /// Of which release.
        version: ReleaseVersion,
        /// The process that failed.
        failed: ProcessId,
        /// In words.
        why: String,
    },
    /// Another came before it was ready.
    Superseded(ReleaseVersion),
    /// A process ended unasked and is started again after a pause.
    Backoff {
        /// Which ended.
        id: ProcessId,
        /// Until the next start.
        pause: Duration,
        /// How often it has ended so.
        crashes: u32,
    },
    /// Nothing of it runs any more.
    Forget(Generation),
    /// Take no new connection.
    CloseFront,
    /// Nothing runs; the supervisor ends.
    Finished,
}

/// What is seen of a process from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// None while it waits to be started again.
    pub id: Option<ProcessId>,
    /// Which.
    pub instance: Instance,
    /// Of which.
    pub version: ReleaseVersion,
    /// `starting`, `up`, `waiting`, `draining`, `stopping`.
    pub state: &'static str,
    /// Since when.
    pub since: Moment,
    /// How often it ended unasked since it was last up for `UPTIME_MIN`.
    pub crashes: u32,
}

/// The state of everything.
#[derive(Debug)]
pub struct Supervisor {
    scaled: BTreeMap<ProcessType, u32>,
    generations: BTreeMap<Generation, Era>,
    current: Option<Generation>,
    incoming: Option<Generation>,
    processes: BTreeMap<ProcessId, Process>,
    routed: (Vec<ProcessId>, bool),
    mode: Mode,
    next_process: u64,
    next_generation: u64,
    random: u64,
    /// When the last step was: what was due then has been done, or waits for something else than time.
    stepped: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Running,
    Stopping,
    Finished,
}

/// A generation's own state.
#[derive(Debug)]
struct Era {
    plan: Plan,
    /// All its processes were ready once.
    is_settled: bool,
    /// Incoming, and all is ready but the types that must be alone: the current generation's are to go.
    claims: bool,
    slots: BTreeMap<Instance, Slot>,
}

/// The past of an instance within a generation.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    crashes: u32,
    not_before: Moment,
    waiting_since: Moment,
    /// Not routed, and ended cleanly: that is success for it, though it is started again.
    ended_well: bool,
}

#[derive(Debug)]
struct Process {
    generation: Generation,
    instance: Instance,
    phase: Phase,
    since: Moment,
    was_routed: bool,
    /// It is being ended because it did not become ready: its end is a crash.
    is_unready: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting { until: Moment },
    Up,
    Draining { until: Moment },
    Stopping { until: Moment },
    Killed,
}

impl Supervisor {
    /// Nothing runs yet. `scaled` is what was remembered of earlier `scale`s; `seed` makes the jitter.
    pub fn new(scaled: BTreeMap<ProcessType, u32>, seed: u64) -> Self {
        Self {
            scaled,
            generations: BTreeMap::new(),
            current: None,
            incoming: None,
            processes: BTreeMap::new(),
            routed: (Vec::new(), true),
            mode: Mode::Running,
            next_process: 1,
            next_generation: 1,
            random: seed,
            stepped: Moment::ZERO,
        }
    }

    /// Takes in one event; says what is to be done about it, in order.
    pub fn step(&mut self, event: Event, now: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        self.stepped = now;
        match event {
            Event::Released(plan) => self.released(plan, &mut actions),
            Event::Scaled(counts) => self.scaled.extend(counts),
            Event::Recycled(which) => self.recycle(&which, now, &mut actions),
            Event::Ready(id) => self.ready(id, now),
            Event::Exited(id, ending) => self.exited(id, &ending, now, &mut actions),
            Event::Idle(id) => self.idle(id, now, &mut actions),
            Event::Stop => self.stop(&mut actions),
            Event::StopNow => self.stop_now(&mut actions),
            Event::Tick => {}
        }
        self.expire(now, &mut actions);
        self.reconcile(now, &mut actions);
        actions
    }

    /// When `Tick` is due, if nothing else happens before.
    pub fn next_tick(&self) -> Option<Moment> {
        let phases = self
            .processes
            .values()
            .filter_map(|process| match process.phase {
                Phase::Starting { until }
                | Phase::Draining { until }
                | Phase::Stopping { until } => Some(until),
                Phase::Up | Phase::Killed => None,
            });
        let serving = [self.current, self.incoming].into_iter().flatten();
        let pauses = serving
            .flat_map(|generation| self.missing(generation))
            .map(|(_, slot)| slot.not_before);
        let pauses = pauses.filter(|pause| *pause > self.stepped);
        if self.mode == Mode::Running {
            phases.chain(pauses).min()
        } else {
            phases.min()
        }
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

    /// Every process, and every one that waits to be started again; by name, then age.
    pub fn seen(&self) -> Vec<Seen> {
        let mut seen: Vec<Seen> = self
            .processes
            .iter()
            .map(|(id, process)| self.see(*id, process))
            .collect();
        for generation in [self.current, self.incoming].into_iter().flatten() {
            let version = self.generations[&generation].plan.version;
            for (instance, slot) in self
                .missing(generation)
                .filter(|(_, slot)| slot.crashes > 0)
            {
                let (crashes, since) = (slot.crashes, slot.waiting_since);
                seen.push(Seen {
                    id: None,
                    instance,
                    version,
                    state: "waiting",
                    since,
                    crashes,
                });
            }
        }
        seen.sort_by(|a, b| (&a.instance, a.version, a.id).cmp(&(&b.instance, b.version, b.id)));
        seen
    }

    fn see(&self, id: ProcessId, process: &Process) -> Seen {
        let era = &self.generations[&process.generation];
        let state = match process.phase {
            Phase::Starting { .. } => "starting",
            Phase::Up => "up",
            Phase::Draining { .. } => "draining",
            Phase::Stopping { .. } | Phase::Killed => "stopping",
        };
        let crashes = era
            .slots
            .get(&process.instance)
            .map_or(0, |slot| slot.crashes);
        let (instance, version, since) =
            (process.instance.clone(), era.plan.version, process.since);
        Seen {
            id: Some(id),
            instance,
            version,
            state,
            since,
            crashes,
        }
    }

    fn released(&mut self, plan: Plan, actions: &mut Vec<Action>) {
        if self.mode != Mode::Running {
            return;
        }
        let generation = Generation(self.next_generation);
        self.next_generation += 1;
        // With nothing to keep and nothing to go back to, there is no gate: what is ready serves.
        let is_gated = self.current.is_some() || plan.has_fallback;
        let era = Era {
            plan,
            is_settled: false,
            claims: false,
            slots: BTreeMap::new(),
        };
        self.generations.insert(generation, era);
        if let Some(superseded) = self.incoming.take() {
            actions.push(Action::Superseded(
                self.generations[&superseded].plan.version,
            ));
        }
        if is_gated {
            self.incoming = Some(generation);
        } else {
            self.current = Some(generation);
        }
    }

    fn recycle(&mut self, which: &Which, now: Moment, actions: &mut Vec<Action>) {
        let is_meant = |process: &Process| match which {
            Which::Type(process_type) => process.instance.process_type == *process_type,
            Which::Instance(instance) => process.instance == *instance,
        };
        let meant = self
            .processes
            .iter()
            .filter(|(_, process)| Some(process.generation) == self.current && is_meant(process));
        let meant: Vec<ProcessId> = meant.map(|(id, _)| *id).collect();
        self.retire(&meant, now, actions);
        if let Some(era) = self
            .current
            .and_then(|current| self.generations.get_mut(&current))
        {
            for (instance, slot) in &mut era.slots {
                let is_meant = match which {
                    Which::Type(process_type) => instance.process_type == *process_type,
                    Which::Instance(meant) => instance == meant,
                };
                if is_meant {
                    *slot = Slot::default(); // whoever waits out a pause is started now
                }
            }
        }
    }

    fn ready(&mut self, id: ProcessId, now: Moment) {
        if let Some(process) = self.processes.get_mut(&id)
            && matches!(process.phase, Phase::Starting { .. })
        {
            process.phase = Phase::Up;
            process.since = now;
        }
    }

    fn exited(&mut self, id: ProcessId, ending: &Ending, now: Moment, actions: &mut Vec<Action>) {
        let Some(process) = self.processes.remove(&id) else {
            return;
        };
        let is_asked =
            !matches!(process.phase, Phase::Starting { .. } | Phase::Up) && !process.is_unready;
        let is_serving =
            self.current == Some(process.generation) || self.incoming == Some(process.generation);
        if is_asked || !is_serving || self.mode != Mode::Running {
            return;
        }
        let is_routed = self.type_plan(&process).is_some_and(|plan| plan.is_routed);
        let ended_well = ending.is_clean && !is_routed && !process.is_unready;
        if !ended_well {
            self.failed(id, &process, &ending.text, actions);
        }
        self.back_off(id, &process, ended_well, now, actions);
    }

    /// A process of a generation that is not ready yet failed.
    fn failed(&mut self, id: ProcessId, process: &Process, how: &str, actions: &mut Vec<Action>) {
        let generation = process.generation;
        let version = self.generations[&generation].plan.version;
        let why = format!("{} {how}", process.instance);
        if self.can_undo(generation) {
            self.incoming = None;
            actions.push(Action::Undone {
                generation,
                version,
                failed: id,
                why,
            });
        } else if !self.generations[&generation].is_settled {
            actions.push(Action::Failing {
                version,
                failed: id,
                why,
            });
        }
    }

    fn can_undo(&self, generation: Generation) -> bool {
        self.incoming == Some(generation)
            && (self.current.is_some() || self.generations[&generation].plan.has_fallback)
    }

    fn back_off(
        &mut self,
        id: ProcessId,
        process: &Process,
        ended_well: bool,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        if self.current != Some(process.generation) && self.incoming != Some(process.generation) {
            return; // undone: it is not started again
        }
        let Some(era) = self.generations.get_mut(&process.generation) else {
            return;
        };
        let slot = era.slots.entry(process.instance.clone()).or_default();
        let was_long_up =
            process.phase == Phase::Up && now.saturating_sub(process.since) >= UPTIME_MIN;
        slot.crashes = if was_long_up {
            1
        } else {
            slot.crashes.saturating_add(1)
        };
        slot.ended_well |= ended_well;
        let pause = jittered(slot.crashes, &mut self.random);
        (slot.not_before, slot.waiting_since) = (now + pause, now);
        actions.push(Action::Backoff {
            id,
            pause,
            crashes: slot.crashes,
        });
    }

    fn idle(&mut self, id: ProcessId, now: Moment, actions: &mut Vec<Action>) {
        if self
            .processes
            .get(&id)
            .is_some_and(|process| matches!(process.phase, Phase::Draining { .. }))
        {
            self.signal(id, now, actions);
        }
    }

    fn stop(&mut self, actions: &mut Vec<Action>) {
        if self.mode != Mode::Running {
            return;
        }
        self.mode = Mode::Stopping;
        actions.push(Action::CloseFront);
        (self.current, self.incoming) = (None, None);
    }

    fn stop_now(&mut self, actions: &mut Vec<Action>) {
        self.stop(actions);
        for (id, process) in &mut self.processes {
            if process.phase != Phase::Killed {
                process.phase = Phase::Killed;
                actions.push(Action::Kill {
                    id: *id,
                    overdue: false,
                });
            }
        }
    }

    /// What time alone does.
    fn expire(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let ids: Vec<ProcessId> = self.processes.keys().copied().collect();
        for id in ids {
            let Some(process) = self.processes.get(&id) else {
                continue;
            };
            match process.phase {
                Phase::Starting { until } if now >= until => {
                    self.starting_is_over(id, now, actions);
                }
                Phase::Draining { until } if now >= until => self.signal(id, now, actions),
                Phase::Stopping { until } if now >= until => self.kill(id, true, now, actions),
                _ => {}
            }
        }
    }

    fn starting_is_over(&mut self, id: ProcessId, now: Moment, actions: &mut Vec<Action>) {
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        let (generation, within) = match self.type_plan(process) {
            Some(plan) if plan.is_routed => (process.generation, plan.ready_within),
            _ => return self.ready(id, now), // it has no port to be asked at: it has settled
        };
        if self.can_undo(generation) {
            let version = self.generations[&generation].plan.version;
            let why = format!(
                "{} was not ready within {} s",
                process.instance,
                within.as_secs()
            );
            self.incoming = None;
            actions.push(Action::Undone {
                generation,
                version,
                failed: id,
                why,
            });
        } else if self.current == Some(generation) {
            if let Some(process) = self.processes.get_mut(&id) {
                process.is_unready = true;
            }
            self.kill(id, false, now, actions);
        }
    }

    fn signal(&mut self, id: ProcessId, now: Moment, actions: &mut Vec<Action>) {
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        let grace = self
            .type_plan(process)
            .map_or(Duration::ZERO, |plan| plan.grace);
        if let Some(process) = self.processes.get_mut(&id) {
            (process.phase, process.since) = (Phase::Stopping { until: now + grace }, now);
            actions.push(Action::Signal(id));
        }
    }

    fn kill(&mut self, id: ProcessId, overdue: bool, now: Moment, actions: &mut Vec<Action>) {
        if let Some(process) = self.processes.get_mut(&id) {
            (process.phase, process.since) = (Phase::Killed, now);
            actions.push(Action::Kill { id, overdue });
        }
    }

    fn type_plan(&self, process: &Process) -> Option<&TypePlan> {
        self.generations
            .get(&process.generation)?
            .plan
            .types
            .get(&process.instance.process_type)
    }
}

#[cfg(test)]
mod tests;
