//! A world without processes: what the supervisor says is believed, what it must never say is looked for.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::archive::settings::ProcessSettings;
use crate::ident::Instance;
use crate::run::formation::TypePlan;

pub(super) fn plan_of(version: u32, overlap: bool, worker: bool, has_fallback: bool) -> Plan {
    let routed = TypePlan {
        instances: 2,
        ready_within: Duration::from_secs(20),
        grace: Duration::from_secs(10),
        drain: Duration::from_secs(10),
        ..TypePlan::new(&ProcessSettings::default(), true)
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

pub(super) fn crash() -> Ending {
    Ending {
        code: Some(1),
        text: "exited with code 1".to_owned(),
    }
}

pub(super) fn well() -> Ending {
    Ending {
        code: Some(0),
        text: "exited with code 0".to_owned(),
    }
}

/// Believes the supervisor and holds it to its promises.
pub(super) struct World {
    pub(super) supervisor: Supervisor,
    pub(super) now: Moment,
    pub(super) running: BTreeMap<ProcessId, (Generation, Instance)>,
    pub(super) ready: BTreeSet<ProcessId>,
    pub(super) signalled: BTreeSet<ProcessId>,
    pub(super) killed: BTreeSet<ProcessId>,
    pub(super) watched: BTreeSet<ProcessId>,
    pub(super) targets: Vec<ProcessId>,
    pub(super) switched: Vec<Generation>,
    pub(super) undone: BTreeSet<Generation>,
    pub(super) proven: Vec<ReleaseVersion>,
    /// Those that were asked to end, in whatever way.
    pub(super) leaving: BTreeSet<ProcessId>,
    /// Each that was ever started.
    pub(super) started: BTreeSet<ProcessId>,
    pub(super) finished: bool,
    pub(super) log: Vec<Action>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            supervisor: Supervisor::new(BTreeMap::new(), None, seed),
            now: Duration::ZERO,
            running: BTreeMap::new(),
            ready: BTreeSet::new(),
            signalled: BTreeSet::new(),
            killed: BTreeSet::new(),
            watched: BTreeSet::new(),
            targets: Vec::new(),
            switched: Vec::new(),
            undone: BTreeSet::new(),
            proven: Vec::new(),
            leaving: BTreeSet::new(),
            started: BTreeSet::new(),
            finished: false,
            log: Vec::new(),
        }
    }

    pub(super) fn step(&mut self, event: Event) {
        match &event {
            Event::Ready(id) => drop(self.ready.insert(*id)),
            Event::Exited(id, _) => drop(self.running.remove(id)),
            _ => {}
        }
        for action in self.supervisor.step([event], self.now) {
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
            Action::Start(id, generation, instance) => self.start(*id, *generation, instance),
            Action::Signal(id) => {
                assert!(self.signalled.insert(*id), "signalled twice");
                assert!(
                    !self.targets.contains(id),
                    "stopped while requests go to it"
                );
                self.leaving.insert(*id);
            }
            Action::Kill { id, .. } => {
                assert!(self.killed.insert(*id), "killed twice");
                self.leaving.insert(*id);
            }
            Action::Route { targets, .. } => self.route(targets),
            Action::WatchIdle(id) => {
                assert!(
                    !self.targets.contains(id),
                    "drained while requests go to it"
                );
                self.watched.insert(*id);
                self.leaving.insert(*id);
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
            Action::Proven(version) => self.proven.push(*version),
            Action::Cut(id) => assert!(self.watched.contains(id), "cut, and nobody waits for it"),
            Action::Failing { .. }
            | Action::Kept { .. }
            | Action::EndedAll { .. }
            | Action::Superseded(_)
            | Action::Forget(_)
            | Action::CloseFront => {}
        }
    }

    fn start(&mut self, id: ProcessId, generation: Generation, instance: &Instance) {
        assert!(
            !self.undone.contains(&generation),
            "an undone generation was started"
        );
        assert!(self.started.insert(id), "started twice");
        let plan = &self.supervisor.plan(generation).unwrap().types[&instance.process_type];
        let others: Vec<ProcessId> = self
            .running
            .iter()
            .filter(|(_, (of, other))| {
                if plan.overlap {
                    *of == generation && other == instance
                } else {
                    (*of != generation || other == instance)
                        && other.process_type == instance.process_type
                }
            })
            .map(|(id, _)| *id)
            .collect();
        let staying = others
            .iter()
            .filter(|id| !self.leaving.contains(id))
            .count();
        assert!(plan.overlap || others.is_empty(), "{instance} is not alone");
        assert!(staying <= 1, "a third {instance}");
        self.running.insert(id, (generation, instance.clone()));
    }

    fn route(&mut self, targets: &[ProcessId]) {
        let generations: BTreeSet<Generation> =
            targets.iter().map(|id| self.running[id].0).collect();
        assert!(generations.len() <= 1, "two generations are routed");
        let instances: BTreeSet<&Instance> = targets.iter().map(|id| &self.running[id].1).collect();
        assert_eq!(
            instances.len(),
            targets.len(),
            "two of an instance are routed"
        );
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

    pub(super) fn nth(&self, n: usize) -> Option<ProcessId> {
        self.running
            .keys()
            .copied()
            .nth(n % self.running.len().max(1))
    }

    pub(super) fn is_routed(&self, id: ProcessId) -> bool {
        self.running[&id].1.process_type == ProcessType::web()
    }

    /// The state is written down, and another supervisor goes on with it.
    pub(super) fn upgrade(&mut self) {
        let written = serde_json::to_string(&self.supervisor).unwrap();
        self.supervisor = serde_json::from_str(&written).unwrap();
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.step(Event::Tick);
    }

    /// All routed processes pass their check, all others settle.
    pub(super) fn settle(&mut self) {
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

    pub(super) fn of(&self, generation: u64) -> Vec<ProcessId> {
        self.running
            .iter()
            .filter(|(_, (of, _))| *of == Generation(generation))
            .map(|(id, _)| *id)
            .collect()
    }

    pub(super) fn end(&mut self) {
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
