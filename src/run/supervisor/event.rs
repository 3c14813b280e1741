//! What the supervisor is told, and what it says is to be done.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::ident::Instance;
use crate::ident::ProcessType;
use crate::ident::ReleaseVersion;
use crate::run::formation::TypePlan;

/// An instant: the time since the supervisor began, by a clock that never steps.
pub type Moment = Duration;

/// One started process; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId(pub u64);

/// One start of a release; later is higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation(pub u64);

/// A release that is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Which.
    pub version: ReleaseVersion,
    /// Its process types, without `release`.
    pub types: BTreeMap<ProcessType, TypePlan>,
    /// There is something to go back to: it may be rejected. Without that it is tried for ever.
    pub has_fallback: bool,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// As a shell tells it: 128 + n for signal n; none if it could not be started.
    pub code: Option<i32>,
    /// In words: `exited with code 1`.
    pub text: String,
}

impl Ending {
    /// It called exit with 0.
    pub fn is_clean(&self) -> bool {
        self.code == Some(0)
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A release is to take the place of the current one, or the current one is to be started anew.
    Released(Plan),
    /// So many of these types from now on.
    Scaled(BTreeMap<ProcessType, u32>),
    /// New processes of the current release are to take the place of these.
    Recycled(Which),
    /// Its check passed.
    Ready(ProcessId),
    /// It does not answer its liveness check any more; why, in words.
    Unhealthy(ProcessId, String),
    /// It ended, or could not be started.
    Exited(ProcessId, Ending),
    /// No request is in flight at it.
    Idle(ProcessId),
    /// Everything is to end, each with its grace.
    Stop,
    /// Everything is to end at once.
    StopNow,
    /// Time passed.
    Tick,
}

/// Which processes of the current generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All of a type.
    Type(ProcessType),
    /// This one.
    Instance(Instance),
}

impl Which {
    /// Is this one of them?
    pub fn has(&self, instance: &Instance) -> bool {
        match self {
            Self::Type(process_type) => instance.process_type == *process_type,
            Self::Instance(meant) => instance == meant,
        }
    }
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start it, and check whether it is ready if its type is checked.
    Start(ProcessId, Generation, Instance),
    /// Send its stop signal.
    Signal(ProcessId),
    /// Kill all of it.
    Kill {
        /// Which.
        id: ProcessId,
        /// It was signalled first and did not end within its grace.
        overdue: bool,
    },
    /// Send requests to these alone, from now on.
    Route {
        /// Of one generation, all ready.
        targets: Vec<ProcessId>,
        /// If there is none: one is expected.
        hold: bool,
    },
    /// Say `Idle` when no request is in flight at it.
    WatchIdle(ProcessId),
    /// Its time to drain is over: end what is in flight at it. It is `Idle` then.
    Cut(ProcessId),
    /// All its processes are ready for the first time: it is what the host runs now.
    Switched {
        /// Which.
        generation: Generation,
        /// Of which release.
        version: ReleaseVersion,
    },
    /// It was up until the gate closed behind it: it is not undone any more.
    Proven(ReleaseVersion),
    /// It failed before it took over, or right after: what was current is so again.
    Undone {
        /// Which.
        generation: Generation,
        /// Of which release.
        version: ReleaseVersion,
        /// The process that failed.
        failed: ProcessId,
        /// In words.
        why: String,
    },
    /// It is not ready yet, has no fallback, and failed: it will be tried again.
    Failing {
        /// Of which release.
        version: ReleaseVersion,
        /// The process that failed.
        failed: ProcessId,
        /// In words.
        why: String,
    },
    /// What was started to take the place of a running process failed: that one goes on.
    Kept {
        /// The process that failed.
        failed: ProcessId,
        /// Of which instance.
        instance: Instance,
        /// In words.
        why: String,
    },
    /// Another came before it was ready.
    Superseded(ReleaseVersion),
    /// A process ended unasked and is started again after a pause.
    Backoff {
        /// Of which release.
        version: ReleaseVersion,
        /// Which ended.
        instance: Instance,
        /// Until the next start.
        pause: Duration,
        /// How often it has ended so.
        crashes: u32,
    },
    /// A process ended of the type that everything ends with: a `Stop` was begun.
    EndedAll {
        /// Which ended.
        id: ProcessId,
        /// How.
        ending: Ending,
    },
    /// Nothing of it runs any more.
    Forget(Generation),
    /// Take no new connection.
    CloseFront,
    /// Nothing runs; the supervisor ends.
    Finished,
}
