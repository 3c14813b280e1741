//! What is known of a generation, of an instance in it, and of a process.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::Deserialize;
use serde::Serialize;

use super::event::Generation;
use super::event::Moment;
use super::event::Plan;
use super::event::ProcessId;
use crate::ident::Instance;
use crate::ident::ProcessType;
use crate::run::formation::TypePlan;

/// Whether anything is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mode {
    Running,
    Stopping,
    Finished,
}

/// A generation's own state.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Era {
    pub(super) plan: Plan,
    /// All its processes were ready once.
    pub(super) is_settled: bool,
    /// It was up until its gate closed.
    pub(super) is_proven: bool,
    /// Incoming, and all is ready but the types that must be alone: the current generation's are to go.
    pub(super) claims: bool,
    /// One for each instance that it should have.
    pub(super) slots: BTreeMap<Instance, Slot>,
}

impl Era {
    pub(super) fn new(plan: Plan, scaled: &BTreeMap<ProcessType, u32>) -> Self {
        let mut era = Self {
            plan,
            is_settled: false,
            is_proven: false,
            claims: false,
            slots: BTreeMap::new(),
        };
        era.fit(scaled);
        era
    }

    /// Makes the slots that are missing, and forgets those that are too many. `scaled` wins over the plan.
    pub(super) fn fit(&mut self, scaled: &BTreeMap<ProcessType, u32>) {
        let count = |process_type: &ProcessType, plan: &TypePlan| {
            scaled.get(process_type).copied().unwrap_or(plan.instances)
        };
        let types = &self.plan.types;
        self.slots.retain(|instance, _| {
            let plan = types.get(&instance.process_type);
            plan.is_some_and(|plan| instance.number.get() <= count(&instance.process_type, plan))
        });
        for (process_type, plan) in types {
            for number in (1..=count(process_type, plan)).filter_map(NonZeroU32::new) {
                let process_type = process_type.clone();
                let instance = Instance {
                    process_type,
                    number,
                };
                self.slots.entry(instance).or_default();
            }
        }
    }

    pub(super) fn type_plan(&self, instance: &Instance) -> Option<&TypePlan> {
        self.plan.types.get(&instance.process_type)
    }

    pub(super) fn is_routed(&self, instance: &Instance) -> bool {
        self.type_plan(instance).is_some_and(|plan| plan.is_routed)
    }

    pub(super) fn overlaps(&self, instance: &Instance) -> bool {
        self.type_plan(instance).is_some_and(|plan| plan.overlap)
    }
}

/// An instance within a generation: who fills it, and its past.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Slot {
    /// Starting or up.
    pub(super) process: Option<ProcessId>,
    /// Started beside `process`, which it replaces once it is ready.
    pub(super) successor: Option<ProcessId>,
    /// `process` is to be replaced.
    pub(super) renew: bool,
    pub(super) crashes: u32,
    /// It is not started again before that.
    pub(super) not_before: Moment,
    pub(super) waiting_since: Moment,
    /// Not routed, and ended cleanly: that is success for it, though it is started again.
    pub(super) ended_well: bool,
}

impl Slot {
    pub(super) fn is_filled_by(&self, id: ProcessId) -> bool {
        self.process == Some(id) || self.successor == Some(id)
    }
}

/// A process, from its start until its end was told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) generation: Generation,
    pub(super) instance: Instance,
    pub(super) phase: Phase,
    pub(super) since: Moment,
    pub(super) was_routed: bool,
    /// When requests stopped to go to it.
    pub(super) unrouted_at: Option<Moment>,
    /// Why it is being ended, if that counts as a crash: it did not become ready, or does not live.
    pub(super) failure: Option<String>,
}

/// Where a process stands between its start and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    Starting {
        until: Moment,
    },
    Up,
    /// Nothing new goes to it; what is in flight goes on.
    Draining {
        until: Moment,
    },
    /// What is in flight at it is being ended.
    Cutting {
        until: Moment,
    },
    Stopping {
        until: Moment,
    },
    Killed,
}

impl Phase {
    /// Nobody has asked it to end.
    pub(super) fn is_serving(self) -> bool {
        matches!(self, Self::Starting { .. } | Self::Up)
    }
}
