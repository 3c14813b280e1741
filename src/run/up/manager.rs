//! What the service manager that started us is told: `READY=1`, a status, that
//! it takes longer, and a beat of the reactor itself, so that a stuck one is
//! started anew.

use std::time::Duration;
use std::time::Instant;

use super::Reactor;
use crate::ident::ReleaseVersion;
use crate::sys::notify::Notify;

/// How much time is asked for, each time, while a release is unpacked or started, and while processes are stopped: their
/// own limits (`ready_within`, `grace`) are what ends it.
const MORE_TIME: Duration = Duration::from_secs(30);
/// How often.
const MORE_TIME_EVERY: Duration = Duration::from_secs(10);

/// Where the supervisor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is no release.
    Waiting,
    /// The first release is unpacked or started.
    Starting(ReleaseVersion),
    /// This one serves.
    Up(ReleaseVersion),
    /// This one serves, and the other is unpacked or started.
    Switching(ReleaseVersion, ReleaseVersion),
    /// Everything ends.
    Stopping,
}

/// The service manager, and what it knows.
pub(super) struct Manager {
    notify: Notify,
    told: Option<Stage>,
    is_ready: bool,
    /// It was told that another program of this process takes over, which says when it has.
    is_reloading: bool,
    /// The first release does not come up, and is tried again.
    failing: Option<ReleaseVersion>,
    last_beat: Instant,
}

impl Manager {
    pub(super) fn new(notify: Notify) -> Self {
        Self {
            notify,
            told: None,
            is_ready: false,
            is_reloading: false,
            failing: None,
            last_beat: Instant::now(),
        }
    }

    /// Whether it was told that we are ready.
    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Another program of this process takes over, and says when it has.
    pub(super) fn leave(&self) {
        if self.is_ready {
            let now_us = super::handover::monotonic_ns() / 1000;
            self.say(vec![
                "RELOADING=1".to_owned(),
                format!("MONOTONIC_USEC={now_us}"),
            ]);
        }
    }

    /// This program has taken over.
    pub(super) fn resume(&mut self, was_ready: bool) {
        (self.is_ready, self.is_reloading) = (was_ready, was_ready);
    }

    /// The first release does not come up. The supervisor is at work all the same: to be started anew would not help.
    pub(super) fn failing(&mut self, version: ReleaseVersion) {
        if self.failing != Some(version) {
            self.failing = Some(version);
            self.told = None;
        }
    }

    /// Says where we are, if that is new. `Starting` is no readiness; everything else is.
    pub(super) fn tell(&mut self, stage: Stage) {
        if self.told == Some(stage) || !self.notify.is_wanted() {
            return;
        }
        self.told = Some(stage);
        let mut words = Vec::new();
        let status = match stage {
            Stage::Waiting => "waiting for the first release".to_owned(),
            Stage::Starting(version) if self.failing == Some(version) => {
                format!("{version} does not come up, and is tried again")
            }
            Stage::Starting(version) => format!("{version} is starting"),
            Stage::Up(version) => format!("{version} is up"),
            Stage::Switching(from, to) => format!("{from} is up, {to} is starting"),
            Stage::Stopping => "stopping".to_owned(),
        };
        let is_starting =
            matches!(stage, Stage::Starting(version) if self.failing != Some(version));
        if stage == Stage::Stopping {
            words.push("STOPPING=1".to_owned());
        } else if self.is_reloading || (!self.is_ready && !is_starting) {
            (self.is_ready, self.is_reloading) = (true, false);
            words.push("READY=1".to_owned());
        }
        words.push(format!("STATUS={status}"));
        self.say(words);
        self.last_beat = Instant::now();
    }

    /// When to say something though nothing has happened; never, if nobody listens.
    pub(super) fn next_beat(&self) -> Option<Instant> {
        // Half of it, as sd_watchdog_enabled(3) says.
        let watchdog = self.notify.watchdog().map(|limit| limit / 2);
        let more_time = (self.takes_longer() && self.notify.is_wanted()).then_some(MORE_TIME_EVERY);
        let every = [watchdog, more_time].into_iter().flatten().min()?;
        Some(self.last_beat + every)
    }

    /// Says that the reactor is alive, and that it takes longer.
    pub(super) fn beat(&mut self) {
        self.last_beat = Instant::now();
        self.say(Vec::new());
    }

    fn takes_longer(&self) -> bool {
        match self.told {
            Some(Stage::Stopping) => true,
            Some(Stage::Starting(_)) => !self.is_ready,
            _ => false,
        }
    }

    /// A manager that cannot be reached does its own part when its patience ends: there is nothing to do here.
    fn say(&self, mut words: Vec<String>) {
        if self.takes_longer() {
            words.push(format!("EXTEND_TIMEOUT_USEC={}", MORE_TIME.as_micros()));
        }
        if self.notify.watchdog().is_some() {
            words.push("WATCHDOG=1".to_owned());
        }
        let _ = self.notify.say(&words);
    }
}

impl Reactor {
    /// Where we are now.
    pub(super) fn stage(&self) -> Stage {
        let next = self.supervisor.incoming().or(self.loading);
        match (self.is_stopping, self.supervisor.current(), next) {
            (true, ..) => Stage::Stopping,
            (_, Some(current), Some(next)) => Stage::Switching(current, next),
            // The first release is current before it is ready: there is nothing else.
            (_, Some(current), None) if self.supervisor.is_settled() => Stage::Up(current),
            (_, Some(current), None) => Stage::Starting(current),
            (_, None, Some(next)) => Stage::Starting(next),
            (_, None, None) => Stage::Waiting,
        }
    }
}
