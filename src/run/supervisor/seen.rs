//! What is seen of the processes from outside: `slug ps`.

use super::Supervisor;
use super::era::Phase;
use super::era::Process;
use super::event::Moment;
use super::event::ProcessId;
use crate::ident::Instance;
use crate::ident::ReleaseVersion;

/// What is seen of a process from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// None while it waits to be started again.
    pub id: Option<ProcessId>,
    /// Which.
    pub instance: Instance,
    /// Of which.
    pub version: ReleaseVersion,
    /// `starting`, `up`, `standby` (of the release before, until the gate closes), `waiting`, `draining`, `stopping`.
    pub state: &'static str,
    /// Since when.
    pub since: Moment,
    /// How often it ended unasked since it was last up for `UPTIME_MIN`.
    pub crashes: u32,
    /// While it waits: when it is started again.
    pub next: Option<Moment>,
}

impl Supervisor {
    /// Every process, and every one that waits to be started again; by name, then age.
    pub fn seen(&self) -> Vec<Seen> {
        let processes = self.processes.iter();
        let mut seen: Vec<Seen> = processes
            .map(|(id, process)| self.see(*id, process))
            .collect();
        for generation in self.serving() {
            let era = &self.generations[&generation];
            let waiting = era.slots.iter();
            let waiting = waiting.filter(|(_, slot)| slot.process.is_none() && slot.crashes > 0);
            seen.extend(waiting.map(|(instance, slot)| Seen {
                id: None,
                instance: instance.clone(),
                version: era.plan.version,
                state: "waiting",
                since: slot.waiting_since,
                crashes: slot.crashes,
                next: Some(slot.not_before),
            }));
        }
        seen.sort_by(|a, b| (&a.instance, a.version, a.id).cmp(&(&b.instance, b.version, b.id)));
        seen
    }

    fn see(&self, id: ProcessId, process: &Process) -> Seen {
        let era = &self.generations[&process.generation];
        let state = match process.phase {
            Phase::Starting { .. } => "starting",
            Phase::Up if self.standby == Some(process.generation) => "standby",
            Phase::Up => "up",
            Phase::Draining { .. } | Phase::Cutting { .. } => "draining",
            Phase::Stopping { .. } | Phase::Killed => "stopping",
        };
        let slot = era.slots.get(&process.instance);
        Seen {
            id: Some(id),
            instance: process.instance.clone(),
            version: era.plan.version,
            state,
            since: process.since,
            crashes: slot.map_or(0, |slot| slot.crashes),
            next: None,
        }
    }
}
