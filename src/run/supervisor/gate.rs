//! From one generation to the next, and back.

use super::Supervisor;
use super::era::Era;
use super::era::Mode;
use super::era::Phase;
use super::event::Action;
use super::event::Generation;
use super::event::Moment;
use super::event::Plan;
use super::event::ProcessId;
use crate::ident::Instance;
use crate::run::formation::TypePlan;

/// For so long after a switch, a crash of the new release undoes it; the old one's routed processes stay for that.
pub const GATE: Moment = Moment::from_secs(5);

impl Supervisor {
    pub(super) fn released(&mut self, plan: Plan, actions: &mut Vec<Action>) {
        if self.mode != Mode::Running {
            return;
        }
        let generation = Generation(self.next_generation);
        self.next_generation += 1;
        // With nothing to keep and nothing to go back to, there is no gate: what is ready serves.
        let is_gated = self.current.is_some() || plan.has_fallback;
        self.generations
            .insert(generation, Era::new(plan, &self.scaled));
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

    /// The incoming generation goes on to its next stage if it is ready for it; so does the current one.
    pub(super) fn pass_gate(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.take_over(now);
        let Some(current) = self.current else { return };
        if self.probation.is_some_and(|until| now >= until) {
            (self.probation, self.standby) = (None, None);
        }
        let is_ready = self.is_ready(current, |_| true);
        let on_probation = self.probation.is_some();
        let Some(era) = self.generations.get_mut(&current) else {
            return;
        };
        let version = era.plan.version;
        if !era.is_settled && is_ready {
            era.is_settled = true;
            actions.push(Action::Switched {
                generation: current,
                version,
            });
        }
        if era.is_settled && !era.is_proven && !on_probation {
            era.is_proven = true;
            actions.push(Action::Proven(version));
        }
    }

    fn take_over(&mut self, now: Moment) {
        let Some(incoming) = self.incoming else {
            return;
        };
        let beside_is_ready = self.is_ready(incoming, |plan| plan.overlap);
        if let Some(era) = self.generations.get_mut(&incoming) {
            era.claims = beside_is_ready;
        }
        if !(beside_is_ready && self.is_ready(incoming, |_| true)) {
            return;
        }
        // What was never ready itself is nothing to go back to.
        let before = self.current.filter(|id| self.generations[id].is_settled);
        let has_fallback = before.is_some() || self.generations[&incoming].plan.has_fallback;
        self.standby = before;
        self.probation = has_fallback.then_some(now + GATE);
        (self.current, self.incoming) = (Some(incoming), None);
    }

    /// Is there a ready process for each slot of those types?
    fn is_ready(&self, generation: Generation, of: impl Fn(&TypePlan) -> bool) -> bool {
        let era = &self.generations[&generation];
        let is_meant = |instance: &Instance| era.type_plan(instance).is_some_and(&of);
        let mut slots = era.slots.iter();
        slots.all(|(instance, slot)| {
            let is_up = |id| self.processes.get(id).map(|process| process.phase) == Some(Phase::Up);
            !is_meant(instance) || slot.ended_well || slot.process.as_ref().is_some_and(is_up)
        })
    }

    /// A process of a generation failed: the generation is undone if its gate is open, and something is there to go
    /// back to.
    pub(super) fn failed(
        &mut self,
        id: ProcessId,
        generation: Generation,
        why: String,
        actions: &mut Vec<Action>,
    ) {
        let era = &self.generations[&generation];
        let (version, is_settled) = (era.plan.version, era.is_settled);
        if self.can_undo(generation) {
            if self.incoming == Some(generation) {
                self.incoming = None;
            } else {
                (self.current, self.probation) = (self.standby.take(), None);
            }
            actions.push(Action::Undone {
                generation,
                version,
                failed: id,
                why,
            });
        } else if !is_settled {
            actions.push(Action::Failing {
                version,
                failed: id,
                why,
            });
        }
    }

    pub(super) fn can_undo(&self, generation: Generation) -> bool {
        let is_incoming = self.incoming == Some(generation);
        let has_fallback =
            self.current.is_some() || self.generations[&generation].plan.has_fallback;
        let is_on_probation = self.current == Some(generation) && self.probation.is_some();
        (is_incoming && has_fallback) || is_on_probation
    }
}
