//! What runs, against what should run.

use std::num::NonZeroU32;
use std::time::Duration;

use super::Action;
use super::Generation;
use super::Mode;
use super::Moment;
use super::Phase;
use super::Process;
use super::ProcessId;
use super::SETTLE;
use super::Slot;
use super::Supervisor;
use crate::ident::Instance;
use crate::ident::ProcessType;
use crate::run::formation::TypePlan;

impl Supervisor {
    /// Brings what runs to what should run. Routes change before anything that was routed is stopped.
    pub(super) fn reconcile(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.pass_gate(actions);
        let surplus = self.surplus();
        self.retire(&surplus, now, actions);
        self.publish(actions);
        self.start_missing(now, actions);
        self.forget(actions);
    }

    /// The incoming generation goes on to its next stage if it is ready for it.
    fn pass_gate(&mut self, actions: &mut Vec<Action>) {
        if let Some(incoming) = self.incoming {
            let beside_is_ready = self.is_ready(incoming, |plan| plan.overlap);
            if let Some(era) = self.generations.get_mut(&incoming) {
                era.claims = beside_is_ready;
            }
            if beside_is_ready && self.is_ready(incoming, |_| true) {
                (self.current, self.incoming) = (Some(incoming), None);
            }
        }
        if let Some(current) = self.current
            && !self.generations[&current].is_settled
            && self.is_ready(current, |_| true)
        {
            if let Some(era) = self.generations.get_mut(&current) {
                era.is_settled = true;
            }
            let version = self.generations[&current].plan.version;
            actions.push(Action::Switched {
                generation: current,
                version,
            });
        }
    }

    /// Is there a ready process for each slot of those types?
    fn is_ready(&self, generation: Generation, of: impl Fn(&TypePlan) -> bool) -> bool {
        let era = &self.generations[&generation];
        self.slots(generation)
            .filter(|instance| era.plan.types.get(&instance.process_type).is_some_and(&of))
            .all(|instance| {
                let is_up = self.processes.values().any(|process| {
                    process.generation == generation
                        && process.instance == instance
                        && process.phase == Phase::Up
                });
                is_up || era.slots.get(&instance).is_some_and(|slot| slot.ended_well)
            })
    }

    /// The instances that a generation should have.
    fn slots(&self, generation: Generation) -> impl Iterator<Item = Instance> {
        let types = &self.generations[&generation].plan.types;
        types.iter().flat_map(|(process_type, plan)| {
            let count = self
                .scaled
                .get(process_type)
                .copied()
                .unwrap_or(plan.instances);
            let numbers = (1..=count).filter_map(NonZeroU32::new);
            numbers.map(|number| Instance {
                process_type: process_type.clone(),
                number,
            })
        })
    }

    /// The slots that no process fills, not even one that is being stopped: two `web.1` of a generation never run at once.
    pub(super) fn missing(&self, generation: Generation) -> impl Iterator<Item = (Instance, Slot)> {
        let era = &self.generations[&generation];
        let is_filled = move |instance: &Instance| {
            self.processes
                .values()
                .any(|process| process.generation == generation && process.instance == *instance)
        };
        let missing = self
            .slots(generation)
            .filter(move |instance| !is_filled(instance));
        missing.map(|instance| {
            let slot = era.slots.get(&instance).copied().unwrap_or_default();
            (instance, slot)
        })
    }

    /// What runs and should not.
    fn surplus(&self) -> Vec<ProcessId> {
        let is_wanted = |process: &Process| {
            let is_current = self.current == Some(process.generation);
            let is_serving = is_current || self.incoming == Some(process.generation);
            let makes_room = is_current
                && self.is_claimed()
                && !self.type_plan(process).is_some_and(|plan| plan.overlap);
            is_serving
                && !makes_room
                && self
                    .slots(process.generation)
                    .any(|instance| instance == process.instance)
        };
        self.processes
            .iter()
            .filter(|(_, process)| !is_wanted(process))
            .map(|(id, _)| *id)
            .collect()
    }

    fn is_claimed(&self) -> bool {
        self.incoming
            .is_some_and(|incoming| self.generations[&incoming].claims)
    }

    /// Ends those that are not being ended already: what was routed is drained first.
    pub(super) fn retire(&mut self, ids: &[ProcessId], now: Moment, actions: &mut Vec<Action>) {
        for id in ids {
            let Some(process) = self.processes.get(id) else {
                continue;
            };
            if !matches!(process.phase, Phase::Starting { .. } | Phase::Up) {
                continue;
            }
            if !process.was_routed {
                self.signal(*id, now, actions);
                continue;
            }
            let grace = self
                .type_plan(process)
                .map_or(Duration::ZERO, |plan| plan.grace);
            if let Some(process) = self.processes.get_mut(id) {
                (process.phase, process.since) = (Phase::Draining { until: now + grace }, now);
                actions.push(Action::WatchIdle(*id));
            }
        }
    }

    /// Tells the front, if what it should know has changed. Comes before every `WatchIdle` of the same step.
    fn publish(&mut self, actions: &mut Vec<Action>) {
        let mut targets = Vec::new();
        for (id, process) in &mut self.processes {
            let types = self
                .generations
                .get(&process.generation)
                .map(|era| &era.plan.types);
            let is_routed = types
                .and_then(|types| types.get(&process.instance.process_type))
                .is_some_and(|plan| plan.is_routed);
            if is_routed && self.current == Some(process.generation) && process.phase == Phase::Up {
                process.was_routed = true;
                targets.push(*id);
            }
        }
        let hold = self.mode == Mode::Running && self.expects_target();
        if self.routed != (targets.clone(), hold) {
            self.routed = (targets.clone(), hold);
            let at = actions
                .iter()
                .position(|action| matches!(action, Action::WatchIdle(_) | Action::Signal(_)));
            actions.insert(at.unwrap_or(actions.len()), Action::Route { targets, hold });
        }
    }

    /// Nothing is known yet, or a routed type has instances.
    fn expects_target(&self) -> bool {
        let mut serving = [self.current, self.incoming]
            .into_iter()
            .flatten()
            .peekable();
        serving.peek().is_none()
            || serving.any(|generation| {
                let types = &self.generations[&generation].plan.types;
                self.slots(generation).any(|instance| {
                    types
                        .get(&instance.process_type)
                        .is_some_and(|plan| plan.is_routed)
                })
            })
    }

    fn start_missing(&mut self, now: Moment, actions: &mut Vec<Action>) {
        for generation in [self.current, self.incoming].into_iter().flatten() {
            let missing: Vec<(Instance, Slot)> = self.missing(generation).collect();
            for (instance, slot) in missing {
                if now >= slot.not_before && self.may_start(generation, &instance.process_type) {
                    self.start(generation, instance, now, actions);
                }
            }
        }
    }

    /// A type that must be alone waits until no other generation has one.
    fn may_start(&self, generation: Generation, process_type: &ProcessType) -> bool {
        let era = &self.generations[&generation];
        if era
            .plan
            .types
            .get(process_type)
            .is_some_and(|plan| plan.overlap)
        {
            return true;
        }
        let is_its_turn = if self.incoming == Some(generation) {
            era.claims
        } else {
            !self.is_claimed()
        };
        let is_alone = !self.processes.values().any(|process| {
            process.generation != generation && process.instance.process_type == *process_type
        });
        is_its_turn && is_alone
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
        let plan = self
            .generations
            .get(&generation)
            .and_then(|era| era.plan.types.get(&instance.process_type));
        let within = plan.map_or(SETTLE, |plan| {
            if plan.is_routed {
                plan.ready_within
            } else {
                SETTLE
            }
        });
        let phase = Phase::Starting {
            until: now + within,
        };
        let process = Process {
            generation,
            instance: instance.clone(),
            phase,
            since: now,
            was_routed: false,
            is_unready: false,
        };
        self.processes.insert(id, process);
        actions.push(Action::Start(id, generation, instance));
    }

    fn forget(&mut self, actions: &mut Vec<Action>) {
        let is_needed = |generation: &Generation| {
            self.current == Some(*generation)
                || self.incoming == Some(*generation)
                || self
                    .processes
                    .values()
                    .any(|process| process.generation == *generation)
        };
        let gone: Vec<Generation> = self
            .generations
            .keys()
            .copied()
            .filter(|generation| !is_needed(generation))
            .collect();
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
