//! How the processes of one type are run: what their slug says, else the defaults.

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::archive::settings::CheckSettings;
use crate::archive::settings::LivenessSettings;
use crate::archive::settings::ProcessSettings;
use crate::archive::settings::Question;
use crate::archive::settings::StopScope;
use crate::archive::settings::TimeSpan;

/// From start to the first passed check (Heroku: 60 s, then R10).
pub const READY_WITHIN: Duration = Duration::from_mins(1);
/// From stop signal to SIGKILL (Heroku: 30 s, then R12); peers' 5 s cuts Sidekiq and Puma short.
pub const GRACE: Duration = Duration::from_secs(30);
/// How long requests and websockets of a process may go on after a switch.
pub const DRAIN: Duration = Duration::from_secs(30);
/// How often a liveness check asks.
pub const LIVENESS_EVERY: Duration = Duration::from_secs(10);
/// After so many failures in a row a process does not live any more.
pub const LIVENESS_FAILURES: u32 = 3;

/// How the processes of one type are run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypePlan {
    /// How many, unless the operator scaled it.
    pub instances: u32,
    /// It gets `PORT`, and requests.
    pub is_routed: bool,
    /// When one is ready.
    pub check: Check,
    /// Whether one still lives; none if nobody asks.
    pub liveness: Option<Liveness>,
    /// How long it may take to become ready.
    pub ready_within: Duration,
    /// From stop signal to SIGKILL.
    pub grace: Duration,
    /// How long requests and websockets in flight are waited for, before the stop signal.
    pub drain: Duration,
    /// The number of the signal.
    pub stop_signal: i32,
    /// Whom it reaches.
    pub stop_scope: StopScope,
    /// A new one starts beside the old one. If not: the old ends before the new starts.
    pub overlap: bool,
    /// What an instance may use.
    pub limits: Limits,
    /// Its output goes to a terminal of its own.
    pub tty: bool,
}

/// When a process is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// Its port accepts a connection. One that has no port is ready when it has run for a second.
    Port,
    /// `GET` of this path is answered with this status; if none is named, with one from 200 to 399.
    Path {
        /// As in the request line.
        path: String,
        /// The one that is expected.
        status: Option<u16>,
    },
    /// This line for `sh -c`, run inside its sandbox, ends with 0.
    Command(String),
}

/// Whether a process still lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    /// What it is asked; never `Check::Port`.
    pub check: Check,
    /// How often.
    pub every: Duration,
    /// After so many failures in a row it is restarted.
    pub failures: u32,
}

/// What an instance may use; `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// In bytes, of all its processes together.
    pub memory: Option<u64>,
    /// In thousandths of a processor.
    pub cpu_milli: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u32>,
    /// Open descriptors of each process.
    pub nofile: Option<u32>,
}

impl TypePlan {
    /// The plan of a type of which the slug says this.
    pub fn new(settings: &ProcessSettings, is_routed: bool) -> Self {
        let ProcessSettings {
            instances,
            check,
            liveness,
            ready_within,
            grace,
            drain,
            stop_signal,
            stop_scope,
            overlap,
            memory,
            cpu,
            pids,
            nofile,
            tty,
        } = settings;
        Self {
            instances: instances.map_or(1, u32::from),
            is_routed,
            check: check.as_ref().map_or(Check::Port, Check::of),
            liveness: liveness.as_ref().map(Liveness::of),
            ready_within: span(ready_within.as_ref(), READY_WITHIN),
            grace: span(grace.as_ref(), GRACE),
            drain: span(drain.as_ref(), DRAIN),
            stop_signal: stop_signal
                .as_ref()
                .map_or(libc::SIGTERM, |signal| *signal.value()),
            stop_scope: stop_scope.unwrap_or_default(),
            overlap: overlap.unwrap_or(true),
            limits: Limits {
                memory: memory.as_ref().map(|bytes| *bytes.value()),
                cpu_milli: cpu.as_ref().map(|cpus| *cpus.value()),
                pids: pids.map(u32::from),
                nofile: nofile.map(u32::from),
            },
            tty: tty.unwrap_or(false),
        }
    }

    /// Is there something to ask, so that it is not ready before that is answered well?
    pub fn is_checked(&self) -> bool {
        self.is_routed || matches!(self.check, Check::Command(_))
    }
}

impl Check {
    fn of(settings: &CheckSettings) -> Self {
        match settings {
            CheckSettings::Port => Self::Port,
            CheckSettings::Path(path, status) => Self::Path {
                path: path.value().clone(),
                status: status.map(u16::from),
            },
            CheckSettings::Command(line) => Self::Command(line.value().clone()),
        }
    }
}

impl Liveness {
    fn of(settings: &LivenessSettings) -> Self {
        let LivenessSettings {
            question,
            every,
            failures,
        } = settings;
        let check = match question {
            Question::Path(path) => Check::Path {
                path: path.value().clone(),
                status: None,
            },
            Question::Command(line) => Check::Command(line.value().clone()),
        };
        Self {
            check,
            every: span(every.as_ref(), LIVENESS_EVERY),
            failures: failures.map_or(LIVENESS_FAILURES, u32::from),
        }
    }
}

fn span(written: Option<&TimeSpan>, default: Duration) -> Duration {
    written.map_or(default, |span| *span.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> TypePlan {
        TypePlan::new(&serde_json::from_str(json).unwrap(), true)
    }

    #[test]
    fn what_is_not_said_has_the_defaults_of_the_interface() {
        let plan = plan("{}");
        assert_eq!(
            (plan.instances, plan.overlap, plan.stop_signal, plan.tty),
            (1, true, libc::SIGTERM, false)
        );
        assert_eq!(
            (plan.check, plan.ready_within, plan.grace, plan.drain),
            (Check::Port, READY_WITHIN, GRACE, DRAIN)
        );
        assert_eq!((plan.limits, plan.liveness), (Limits::default(), None));
    }

    #[test]
    fn what_is_said_is_followed() {
        let plan = plan(
            r#"{"instances": 500, "check": {"path": "/up", "status": 204}, "liveness": {"path": "/l"}, "cpu": "1.5", "memory": "1G", "stop_scope": "group"}"#,
        );
        let path = |path: &str, status| Check::Path {
            path: path.to_owned(),
            status,
        };
        assert_eq!(plan.check, path("/up", Some(204)));
        let liveness = Liveness {
            check: path("/l", None),
            every: LIVENESS_EVERY,
            failures: LIVENESS_FAILURES,
        };
        assert_eq!(plan.liveness, Some(liveness));
        assert_eq!(
            (plan.instances, plan.limits.cpu_milli, plan.limits.memory),
            (500, Some(1500), Some(1 << 30))
        );
        assert_eq!(plan.stop_scope, StopScope::Group);
    }
}
