//! What runs, against what should run.

use super::SETTLE;
use super::Supervisor;
use super::era::Era;
use super::era::Mode;
use super::era::Phase;
use super::era::Process;
use super::era::Slot;
use super::event::Action;
use super::event::Generation;
use super::event::Moment;
use super::event::ProcessId;
use super::event::Which;
use crate::ident::Instance;

impl Supervisor {
    /// Brings what runs to what should run. Routes change before anything that was routed is stopped.
    pub(super) fn reconcile(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.pass_gate(now, actions);
        let surplus = self.surplus();
        self.retire(&surplus, now, actions);
        self.publish(now, actions);
        self.start_missing(now, actions);
        self.forget(actions);
    }

    /// New ones are to take the place of these. Where two may run at once, an old one goes on until the new one is ready.
    pub(super) fn recycle(&mut self, which: &Which) {
        let current = self.current.and_then(|id| self.generations.get_mut(&id));
        let Some(era) = current else { return };
        let Era { plan, slots, .. } = era;
        for (instance, slot) in slots.iter_mut().filter(|(instance, _)| which.has(instance)) {
            let overlaps = plan.types.get(&instance.process_type);
            if overlaps.is_some_and(|plan| plan.overlap) {
                slot.renew = slot.process.is_some();
            } else {
                slot.process = None; // what filled it is surplus now
            }
            // Whoever waits out a pause is started now.
            (slot.crashes, slot.not_before, slot.ended_well) = (0, Moment::ZERO, false);
        }
    }

    pub(super) fn ready(&mut self, id: ProcessId, now: Moment) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        if !matches!(process.phase, Phase::Starting { .. }) {
            return;
        }
        (process.phase, process.since) = (Phase::Up, now);
        let era = self.generations.get_mut(&process.generation);
        if let Some(slot) = era.and_then(|era| era.slots.get_mut(&process.instance))
            && slot.successor == Some(id)
        {
            (slot.process, slot.successor, slot.renew) = (Some(id), None, false);
        }
    }

    /// What runs and should not.
    fn surplus(&self) -> Vec<ProcessId> {
        let is_claimed = self.is_claimed();
        let is_wanted = |id: ProcessId, process: &Process| {
            let era = &self.generations[&process.generation];
            let is_of = |generation: Option<Generation>| generation == Some(process.generation);
            let makes_room = is_of(self.current) && is_claimed && !era.overlaps(&process.instance);
            let stands_by = is_of(self.standby)
                && process.phase == Phase::Up
                && era.is_routed(&process.instance);
            (is_of(self.current) && !makes_room || is_of(self.incoming) || stands_by)
                && era
                    .slots
                    .get(&process.instance)
                    .is_some_and(|slot| slot.is_filled_by(id))
        };
        let serving = self.processes.iter();
        let serving = serving.filter(|(_, process)| process.phase.is_serving());
        let surplus = serving.filter(|(id, process)| !is_wanted(**id, process));
        surplus.map(|(id, _)| *id).collect()
    }

    fn is_claimed(&self) -> bool {
        self.incoming
            .is_some_and(|incoming| self.generations[&incoming].claims)
    }

    /// Tells the front, if what it should know has changed. Comes before every `WatchIdle` of the same step.
    fn publish(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let mut targets = Vec::new();
        for (id, process) in &mut self.processes {
            let era = &self.generations[&process.generation];
            let is_target = self.current == Some(process.generation)
                && process.phase == Phase::Up
                && era.is_routed(&process.instance);
            if is_target {
                (process.was_routed, process.unrouted_at) = (true, None);
                targets.push(*id);
            } else if process.was_routed {
                process.unrouted_at.get_or_insert(now);
            }
        }
        let hold = self.mode == Mode::Running && self.expects_target();
        if self.routed.0 != targets || self.routed.1 != hold {
            self.routed = (targets.clone(), hold);
            let at = actions
                .iter()
                .position(|action| matches!(action, Action::WatchIdle(_) | Action::Signal(_)));
            actions.insert(at.unwrap_or(actions.len()), Action::Route { targets, hold });
        }
    }

    /// Nothing is known yet, or a routed type has instances.
    fn expects_target(&self) -> bool {
        let mut serving = self.serving().peekable();
        serving.peek().is_none()
            || serving.any(|generation| {
                let era = &self.generations[&generation];
                era.slots.keys().any(|instance| era.is_routed(instance))
            })
    }

    fn start_missing(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let serving: Vec<Generation> = self.serving().collect();
        for generation in serving {
            let slots = self.generations[&generation].slots.iter();
            let wants = |slot: &Slot| match slot.process {
                None => now >= slot.not_before,
                Some(_) => slot.renew && slot.successor.is_none(),
            };
            let missing: Vec<Instance> = slots
                .filter(|(instance, slot)| wants(slot) && self.may_start(generation, instance))
                .map(|(instance, _)| instance.clone())
                .collect();
            for instance in missing {
                self.start(generation, instance, now, actions);
            }
        }
    }

    /// A type that must be alone waits until no other generation has one, and until the one before it has ended.
    fn may_start(&self, generation: Generation, instance: &Instance) -> bool {
        let era = &self.generations[&generation];
        if era.overlaps(instance) {
            return true;
        }
        let is_its_turn = if self.incoming == Some(generation) {
            era.claims
        } else {
            !self.is_claimed()
        };
        let is_in_the_way = |process: &Process| {
            process.instance == *instance
                || process.generation != generation
                    && process.instance.process_type == instance.process_type
        };
        is_its_turn && !self.processes.values().any(is_in_the_way)
    }

    fn start(
        &mut self,
        generation: Generation,
        instance: Instance,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        let id = ProcessId(self.next_process);
        self.next_process += 1;
        let Some(era) = self.generations.get_mut(&generation) else {
            return;
        };
        let checked = era.type_plan(&instance).filter(|plan| plan.is_checked());
        let within = checked.map_or(SETTLE, |plan| plan.ready_within);
        if let Some(slot) = era.slots.get_mut(&instance) {
            if slot.process.is_none() {
                slot.process = Some(id);
            } else {
                slot.successor = Some(id);
            }
        }
        let process = Process {
            generation,
            instance: instance.clone(),
            phase: Phase::Starting {
                until: now + within,
            },
            since: now,
            was_routed: false,
            unrouted_at: None,
            failure: None,
        };
        self.processes.insert(id, process);
        actions.push(Action::Start(id, generation, instance));
    }

    fn forget(&mut self, actions: &mut Vec<Action>) {
        let serving = [self.current, self.incoming, self.standby];
        let mut needed: Vec<Generation> = serving.into_iter().flatten().collect();
        needed.extend(self.processes.values().map(|process| process.generation));
        let ids = self.generations.keys().copied();
        let gone: Vec<Generation> = ids.filter(|id| !needed.contains(id)).collect();
        for generation in gone {
            self.generations.remove(&generation);
            actions.push(Action::Forget(generation));
        }
        if self.mode == Mode::Stopping && self.processes.is_empty() {
            self.mode = Mode::Finished;
            actions.push(Action::Finished);
        }
    }
}
