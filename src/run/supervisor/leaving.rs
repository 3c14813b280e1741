//! The end of processes, asked for or not.

use std::time::Duration;

use super::Supervisor;
use super::UPTIME_MIN;
use super::backoff::jittered;
use super::era::Mode;
use super::era::Phase;
use super::era::Process;
use super::event::Action;
use super::event::Ending;
use super::event::Moment;
use super::event::ProcessId;
use crate::run::formation::TypePlan;

/// What is in flight when the time to drain is over has so long to be ended cleanly.
const CUT_MAX: Duration = Duration::from_secs(10);

impl Supervisor {
    pub(super) fn exited(
        &mut self,
        id: ProcessId,
        ending: Ending,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        let Some(process) = self.processes.remove(&id) else {
            return;
        };
        let was_successor = self.leave_slot(id, &process);
        let is_asked = !process.phase.is_serving() && process.failure.is_none();
        let is_serving = self.serving().any(|serving| serving == process.generation);
        if is_asked || !is_serving || self.mode != Mode::Running {
            return;
        }
        let Process {
            generation,
            instance,
            failure,
            ..
        } = &process;
        let is_failure = failure.is_some();
        let why = match failure {
            Some(failure) => failure.clone(),
            None => format!("{instance} {}", ending.text),
        };
        if was_successor {
            let instance = instance.clone();
            return actions.push(Action::Kept {
                failed: id,
                instance,
                why,
            });
        }
        let is_routed = self.generations[generation].is_routed(instance);
        let ended_well = ending.is_clean() && !is_routed && !is_failure;
        if !ended_well {
            self.failed(id, *generation, why, actions);
        }
        if self.exit_on.as_ref() == Some(&instance.process_type)
            && self.serving().any(|serving| serving == *generation)
        {
            actions.push(Action::EndedAll { id, ending });
            return self.stop(actions);
        }
        self.back_off(&process, ended_well, now, actions);
    }

    /// Was it to take another's place? If one was to take its own, that has it now.
    fn leave_slot(&mut self, id: ProcessId, process: &Process) -> bool {
        let era = self.generations.get_mut(&process.generation);
        let Some(slot) = era.and_then(|era| era.slots.get_mut(&process.instance)) else {
            return false;
        };
        let was_successor = slot.successor == Some(id);
        if was_successor {
            (slot.successor, slot.renew) = (None, false);
        } else if slot.process == Some(id) {
            (slot.process, slot.renew) = (slot.successor.take(), false);
        }
        was_successor
    }

    fn back_off(
        &mut self,
        process: &Process,
        ended_well: bool,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        if !self.serving().any(|serving| serving == process.generation) {
            return; // undone: it is not started again
        }
        let Some(era) = self.generations.get_mut(&process.generation) else {
            return;
        };
        let version = era.plan.version;
        let Some(slot) = era.slots.get_mut(&process.instance) else {
            return; // scaled away meanwhile
        };
        let was_long_up =
            process.phase == Phase::Up && now.saturating_sub(process.since) >= UPTIME_MIN;
        slot.crashes = if was_long_up {
            1
        } else {
            slot.crashes.saturating_add(1)
        };
        slot.ended_well |= ended_well;
        if slot.process.is_some() {
            return; // its successor was there already
        }
        let pause = jittered(slot.crashes, &mut self.random);
        (slot.not_before, slot.waiting_since) = (now + pause, now);
        actions.push(Action::Backoff {
            version,
            instance: process.instance.clone(),
            pause,
            crashes: slot.crashes,
        });
    }

    /// What does not live any more is ended with its grace; that counts as a crash.
    pub(super) fn unhealthy(
        &mut self,
        id: ProcessId,
        why: String,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let generation = process.generation;
        if process.phase != Phase::Up || self.mode != Mode::Running {
            return;
        }
        if self.can_undo(generation) {
            return self.failed(id, generation, why, actions);
        }
        if let Some(process) = self.processes.get_mut(&id) {
            process.failure = Some(why);
        }
        self.signal(id, now, actions);
    }

    pub(super) fn idle(&mut self, id: ProcessId, now: Moment, actions: &mut Vec<Action>) {
        if self.processes.get(&id).is_some_and(|process| {
            matches!(
                process.phase,
                Phase::Draining { .. } | Phase::Cutting { .. }
            )
        }) {
            self.signal(id, now, actions);
        }
    }

    pub(super) fn stop(&mut self, actions: &mut Vec<Action>) {
        if self.mode != Mode::Running {
            return;
        }
        self.mode = Mode::Stopping;
        actions.push(Action::CloseFront);
        (self.current, self.incoming) = (None, None);
        (self.standby, self.probation) = (None, None);
    }

    pub(super) fn stop_now(&mut self, actions: &mut Vec<Action>) {
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
    pub(super) fn expire(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let is_due = |phase: Phase| match phase {
            Phase::Starting { until }
            | Phase::Draining { until }
            | Phase::Cutting { until }
            | Phase::Stopping { until } => now >= until,
            Phase::Up | Phase::Killed => false,
        };
        let processes = self.processes.iter();
        let due = processes.filter(|(_, process)| is_due(process.phase));
        let due: Vec<(ProcessId, Phase)> = due.map(|(id, process)| (*id, process.phase)).collect();
        for (id, phase) in due {
            match phase {
                Phase::Starting { .. } => self.starting_is_over(id, now, actions),
                Phase::Draining { .. } => self.cut(id, now, actions),
                Phase::Cutting { .. } => self.signal(id, now, actions),
                Phase::Stopping { .. } => self.kill(id, true, now, actions),
                Phase::Up | Phase::Killed => {}
            }
        }
    }

    fn starting_is_over(&mut self, id: ProcessId, now: Moment, actions: &mut Vec<Action>) {
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        let (generation, within) = match self.type_plan(process) {
            Some(plan) if plan.is_checked() => (process.generation, plan.ready_within),
            _ => return self.ready(id, now), // nothing can be asked: it has settled
        };
        let seconds = within.as_secs_f64();
        let why = format!("{} was not ready within {seconds} s", process.instance);
        let slot = self.generations[&generation].slots.get(&process.instance);
        let is_successor = slot.is_some_and(|slot| slot.successor == Some(id));
        if !is_successor && self.can_undo(generation) {
            return self.failed(id, generation, why, actions);
        }
        if !self.serving().any(|serving| serving == generation) {
            return; // another's failure undid it in this very step
        }
        if let Some(process) = self.processes.get_mut(&id) {
            process.failure = Some(why);
        }
        self.kill(id, false, now, actions);
    }

    /// Ends those that are not being ended already: what was routed is drained first.
    pub(super) fn retire(&mut self, ids: &[ProcessId], now: Moment, actions: &mut Vec<Action>) {
        for id in ids {
            let Some(process) = self.processes.get(id) else {
                continue;
            };
            if !process.phase.is_serving() {
                continue;
            }
            let plan = self.type_plan(process);
            let drain = plan.map_or(Duration::ZERO, |plan| match self.mode {
                Mode::Running => plan.drain,
                // Who stops everything has asked for the grace, not for more.
                Mode::Stopping | Mode::Finished => plan.drain.min(plan.grace),
            });
            let until = process.unrouted_at.unwrap_or(now) + drain;
            if !process.was_routed {
                self.signal(*id, now, actions);
            } else if until <= now {
                actions.push(Action::WatchIdle(*id));
                self.cut(*id, now, actions);
            } else if let Some(process) = self.processes.get_mut(id) {
                (process.phase, process.since) = (Phase::Draining { until }, now);
                actions.push(Action::WatchIdle(*id));
            }
        }
    }

    fn cut(&mut self, id: ProcessId, now: Moment, actions: &mut Vec<Action>) {
        if let Some(process) = self.processes.get_mut(&id) {
            let until = now + CUT_MAX;
            (process.phase, process.since) = (Phase::Cutting { until }, now);
            actions.push(Action::Cut(id));
        }
    }

    fn signal(&mut self, id: ProcessId, now: Moment, actions: &mut Vec<Action>) {
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        let plan = self.type_plan(process);
        let grace = plan.map_or(Duration::ZERO, |plan| plan.grace);
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
        let era = self.generations.get(&process.generation)?;
        era.type_plan(&process.instance)
    }
}
