//! What the supervisor says is to be done, done.

use super::Message;
use super::Reactor;
use super::tell;
use crate::ident::Instance;
use crate::ident::ReleaseVersion;
use crate::logs::Voice;
use crate::run::control::Reply;
use crate::run::front::Target;
use crate::run::launch::LaunchError;
use crate::run::one_off::chain;
use crate::run::process::Process;
use crate::run::supervisor::Action;
use crate::run::supervisor::Ending;
use crate::run::supervisor::Event;
use crate::run::supervisor::Generation;
use crate::run::supervisor::ProcessId;

use std::time::Duration;

impl Reactor {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Start(id, generation, instance) => self.start(id, generation, &instance),
            Action::Signal(id) => self
                .processes
                .get(&id)
                .into_iter()
                .for_each(Process::signal),
            Action::Kill { id, overdue } => self.kill(id, overdue),
            Action::Route { targets, hold } => self.route(&targets, hold),
            Action::WatchIdle(id) => self.watch_idle(id),
            Action::Cut(id) => self.options.front.cut(id.0),
            Action::Switched { version, .. } => self.switched(version),
            Action::Undone {
                version,
                failed,
                why,
                ..
            } => self.undone(version, failed, &why),
            Action::Failing {
                version,
                failed,
                why,
            } => self.failing(version, failed, &why),
            Action::Proven(version) => self.proven(version),
            Action::Kept {
                failed,
                instance,
                why,
            } => self.kept(failed, &instance, &why),
            Action::EndedAll { id, ending } => self.ended_all(id, &ending),
            Action::Superseded(version) => self.superseded(version),
            Action::Backoff {
                version,
                instance,
                pause,
                crashes,
            } => self.backoff(version, &instance, pause, crashes),
            Action::Forget(_) => self.forget(),
            Action::CloseFront => self.options.front.close(),
            Action::Finished => self.is_finished = true,
        }
    }

    pub(super) fn watch_idle(&self, id: ProcessId) {
        let inbox = self.inbox.clone();
        let tell = move || drop(inbox.send(Message::Happened(Event::Idle(id))));
        self.options.front.when_idle(id.0, Box::new(tell));
    }

    fn start(&mut self, id: ProcessId, generation: Generation, instance: &Instance) {
        let started = self.try_start(generation, instance);
        match started {
            Ok(process) => {
                self.progress(process.version, &format!("{instance} is starting"));
                self.watch(id, process, false);
            }
            Err(error) => {
                let text = format!("could not be started: {}", chain(&error));
                self.say(None, &format!("{instance} {text}"));
                let ending = Ending { code: None, text };
                let _ = self.inbox.send(Message::Exited(id, ending));
            }
        }
    }

    /// From now on it is known when the process is ready, unless it is so already, and when it has ended.
    pub(super) fn watch(&mut self, id: ProcessId, process: Process, is_ready: bool) {
        tokio::task::spawn_local(tell(
            id,
            process.clone(),
            is_ready,
            self.options.pump.clone(),
            self.inbox.clone(),
        ));
        self.processes.insert(id, process);
    }

    fn try_start(
        &mut self,
        generation: Generation,
        instance: &Instance,
    ) -> Result<Process, LaunchError> {
        let nothing = || LaunchError::NotLoaded(instance.clone());
        let plan = self.supervisor.plan(generation).ok_or_else(nothing)?;
        let loaded = self.loaded.get(&plan.version).ok_or_else(nothing)?;
        let type_plan = plan.types.get(&instance.process_type).ok_or_else(nothing)?;
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Process::start(
            loaded,
            instance,
            type_plan,
            &self.options.pump,
            self.options.enforcer.tree(),
            self.random >> 33,
        )
    }

    fn kill(&self, id: ProcessId, overdue: bool) {
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        if overdue {
            let grace = process.plan.grace.as_secs();
            self.say(
                Some(process.version),
                &format!(
                    "{} did not end within {grace} s of its stop signal and is killed (R12)",
                    process.instance
                ),
            );
        }
        process.kill();
    }

    pub(super) fn route(&self, targets: &[ProcessId], hold: bool) {
        let target = |id: &ProcessId| {
            let process = self.processes.get(id)?;
            let (instance, release) = (process.instance.clone(), process.version);
            Some(Target {
                id: id.0,
                instance,
                release,
                address: process.address()?,
            })
        };
        let targets: Vec<Target> = targets.iter().filter_map(target).collect();
        self.options.front.route(&targets, hold);
    }

    fn switched(&mut self, version: ReleaseVersion) {
        self.say(Some(version), &format!("{version} is up"));
        self.settle_followers(version, &Reply::Switched { version });
    }

    fn proven(&mut self, version: ReleaseVersion) {
        if self.proven != Some(version) {
            self.proven = Some(version);
            self.memory.proven(version);
        }
    }

    fn kept(&self, failed: ProcessId, instance: &Instance, why: &str) {
        let release = self
            .ended
            .get(&failed)
            .and_then(|voice| voice.labels().release);
        self.say(
            release,
            &format!("the restart of {instance} is undone: {why}; the one before goes on"),
        );
    }

    fn ended_all(&mut self, id: ProcessId, ending: &Ending) {
        let source = self
            .ended
            .get(&id)
            .map(|voice| voice.labels().source.clone());
        let source = source.unwrap_or_default();
        self.say(
            None,
            &format!(
                "{source} {}: everything is stopped, as `--exit-on` says",
                ending.text
            ),
        );
        self.is_stopping = true;
        // One that could not be started has no code of its own.
        self.exit_code = ending.code.or(Some(1));
    }

    fn undone(&mut self, version: ReleaseVersion, failed: ProcessId, why: &str) {
        let tail = self.tail(failed);
        if self.supervisor.current() == Some(version) {
            self.say(Some(version), &format!("the restart was undone: {why}"));
            return;
        }
        self.reject(version, why, &tail);
    }

    fn failing(&mut self, version: ReleaseVersion, failed: ProcessId, why: &str) {
        self.manager.failing(version);
        let tail = self.tail(failed);
        let why = format!(
            "{version} is not up: {why}; it is tried again, for there is no release to go back to\n{tail}"
        );
        self.settle_followers(
            version,
            &Reply::Refused {
                why: why.trim_end().to_owned(),
            },
        );
    }

    fn superseded(&mut self, version: ReleaseVersion) {
        let by = self.supervisor.incoming().or(self.supervisor.current());
        // A release can take its own place: a restart that is asked for again.
        if let Some(by) = by.filter(|by| *by != version) {
            self.say(
                Some(version),
                &format!("{version} is given up before it was ready: {by} is released"),
            );
            self.settle_followers(version, &Reply::Superseded { by });
        }
    }

    fn backoff(&self, version: ReleaseVersion, instance: &Instance, pause: Duration, crashes: u32) {
        let times = if crashes == 1 {
            "once".to_owned()
        } else {
            format!("{crashes} times")
        };
        self.say(
            Some(version),
            &format!(
                "{instance} is started again in {:.1} s (it has ended {times})",
                pause.as_secs_f64()
            ),
        );
    }

    fn forget(&mut self) {
        let supervisor = &self.supervisor;
        let needed: Vec<ReleaseVersion> = supervisor.versions().collect();
        self.loaded.retain(|version, _| needed.contains(version));
    }

    pub(super) fn tail(&self, id: ProcessId) -> String {
        let voice = self
            .ended
            .get(&id)
            .or_else(|| self.processes.get(&id).map(|process| &process.voice));
        voice.map(Voice::tail).unwrap_or_default()
    }

    pub(super) fn progress(&self, version: ReleaseVersion, text: &str) {
        for (_, replies) in self
            .followers
            .iter()
            .filter(|(followed, _)| *followed == version)
        {
            let _ = replies.send(Reply::Progress {
                text: text.to_owned(),
            });
        }
    }

    /// Tells those who follow this release how it ended.
    pub(super) fn settle_followers(&mut self, version: ReleaseVersion, reply: &Reply) {
        self.followers.retain(|(followed, replies)| {
            let is_over = *followed == version;
            if is_over {
                let _ = replies.send(reply.clone());
            }
            !is_over
        });
    }
}
