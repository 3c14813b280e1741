//! The control socket: JSON lines over `<host>/run/<app>.sock`, for its owner alone.

use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;
use thiserror::Error;

use crate::ident::AppName;
use crate::ident::ProcessType;
use crate::ident::ReleaseVersion;
use crate::store::Store;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The processes; answered by one `Reply::Processes`.
    Ps,
    /// So many instances of each of these types from now on; answered by `Reply::Done`.
    Scale {
        /// Types and counts.
        counts: std::collections::BTreeMap<ProcessType, u32>,
    },
    /// New processes of the same release: all (beside the old, then switched), or those of one type or instance.
    Restart {
        /// `web`, `web.1`; all if none.
        which: Option<String>,
    },
    /// Ends the supervisor and all its processes.
    Stop,
    /// Looks into the ledger now, and tells how the switch to this release goes; ends with one of
    /// `Switched`, `Rejected`, `Superseded`.
    Follow {
        /// The release.
        version: ReleaseVersion,
    },
}

/// A process, as `slug ps` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// `web.1`.
    pub instance: crate::ident::Instance,
    /// Its release.
    pub release: ReleaseVersion,
    /// `starting`, `up`, `waiting` (to be started again), `stopping`.
    pub state: String,
    /// The init of its sandbox, as the host numbers it, if it runs.
    pub pid: Option<u32>,
    /// Since when it is in this state.
    pub since: crate::sys::clock::Timestamp,
    /// How often it ended unasked since it was last up for a minute.
    pub crashes: u32,
}

/// What the supervisor answers: one a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Reply {
    /// To `Ps`.
    Processes {
        /// Sorted by name.
        processes: Vec<Process>,
    },
    /// It was done, or begun.
    Done,
    /// A step on the way.
    Progress {
        /// In words.
        text: String,
    },
    /// Requests go to this release now (or it is up, if nothing is routed).
    Switched {
        /// The release.
        version: ReleaseVersion,
    },
    /// It did not become ready; the one before serves on.
    Rejected {
        /// The release.
        version: ReleaseVersion,
        /// Why, in words.
        why: String,
        /// The last lines of the process that failed.
        tail: String,
    },
    /// A later release took its place before it was ready.
    Superseded {
        /// By which.
        by: ReleaseVersion,
    },
    /// The request could not be done.
    Refused {
        /// Why, in words.
        why: String,
    },
}

/// Why the supervisor could not be asked.
#[derive(Debug, Error)]
pub enum ControlError {
    /// No supervisor is up.
    #[error("no supervisor of `{0}` is up on this host")]
    NotUp(AppName),
    /// The connection failed.
    #[error("could not talk to the supervisor over `{}`", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The answer is not one that this version knows.
    #[error("the supervisor's answer was not understood: {0}")]
    Answer(String),
}

/// Where the socket of an app's supervisor is.
pub fn socket_path(store: &Store, app: &AppName) -> PathBuf {
    store.host().join("run").join(format!("{app}.sock"))
}

/// Asks the supervisor of `app`; `heard` gets each reply, the last one included, which is returned.
pub fn ask(
    socket: &Path,
    app: &AppName,
    request: &Request,
    heard: &mut dyn FnMut(&Reply),
) -> Result<Reply, ControlError> {
    let _ = (socket, app, request, heard);
    todo!()
}
