//! Runs the process types of a folder as they lie there, for who writes the app:
//! no build, no sandbox, no router, no store. The same supervisor decides and the
//! same pump reads as in production; each process is a `Tree`, so that nothing of
//! it outlives this one.

mod plan;
mod reactor;
mod running;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

pub use plan::BadStart;
pub use plan::PORT;
pub use plan::PORT_STEP;
pub use plan::StartType;
pub use plan::Wish;
pub use plan::plan;

use crate::ident::Instance;
use crate::ident::ProcessType;
use crate::logs::Pump;
use crate::sys::sandbox::Program;
use crate::sys::signal::Signals;
use crate::sys::tree::ForkServer;

/// What is caught, before any thread is started. SIGINT and SIGHUP that were ignored (`nohup`, `&` in a script) stay so.
pub const SIGNALS: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGCHLD];

/// What `start` is given.
#[derive(Debug)]
pub struct StartOptions {
    /// What runs.
    pub types: Vec<StartType>,
    /// The environment of every process, without what differs from one to the next.
    pub env: BTreeMap<OsString, OsString>,
    /// Their working folder.
    pub cwd: PathBuf,
    /// Whose end ends everything.
    pub exit_on: ExitOn,
    /// What starts them.
    pub server: ForkServer,
    /// `SIGNALS`, caught.
    pub signals: Signals,
    /// Who reads every process's output.
    pub pump: Pump,
}

/// Whose end ends everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ExitOn {
    /// Nobody's: what ends is started again.
    #[default]
    Nobody,
    /// Any process's.
    Any,
    /// A process's of one of these types.
    Types(Vec<ProcessType>),
}

impl ExitOn {
    fn names(&self, process_type: &ProcessType) -> bool {
        match self {
            Self::Nobody => false,
            Self::Any => true,
            Self::Types(types) => types.contains(process_type),
        }
    }
}

/// Why supervising did not begin, or could not go on: what could not be done, and what the system said.
#[derive(Debug, Error)]
#[error("could not {0}")]
pub struct StartError(pub &'static str, #[source] pub io::Error);

/// Runs the types until SIGINT, SIGTERM or SIGHUP, or the end that `exit_on` names. Returns when every process is
/// gone: the exit code of the process that ended it, or 128 and the number of the signal.
pub fn start(options: StartOptions) -> Result<i32, StartError> {
    reactor::Reactor::new(options)?.run()
}

/// What one process executes: bash, as the slug of the same folder would have it.
fn program(options: &StartOptions, of: &StartType, instance: &Instance) -> Program {
    let mut env = options.env.clone();
    // An app whose output is a pipe and not a terminal holds it back: Python's says nothing for minutes.
    env.entry("PYTHONUNBUFFERED".into())
        .or_insert_with(|| "1".into());
    let port = u32::from(of.port) + instance.number.get() - 1;
    let own = [
        ("PORT", port.to_string()),
        ("DYNO", instance.to_string()),
        ("SLUG_PROCESS", instance.to_string()),
    ];
    env.extend(own.map(|(key, value)| (key.into(), value.into())));
    Program {
        argv: ["bash", "-c", &of.command].map(Into::into).to_vec(),
        env,
        cwd: options.cwd.clone(),
    }
}
