//! `slug exec`: another process in a running instance: its files, its network,
//! its environment, its rights; and no longer than it.

use std::cmp::Reverse;
use std::ffi::OsString;
use std::num::NonZeroU32;
use std::time::Duration;

use thiserror::Error;

use super::control;
use super::control::ControlError;
use super::control::Reply;
use super::control::Request;
use super::formation;
use super::launch::Command;
use super::launch::LaunchError;
use super::launch::Loaded;
use super::one_off::RunError;
use super::one_off::attend;
use super::one_off::attend::Attended;
use super::one_off::attend::Stop;
use super::one_off::own_streams;
use super::one_off::own_terminal;
use super::one_off::registry;
use super::one_off::show;
use crate::ident::AppName;
use crate::ident::Instance;
use crate::ident::ProcessType;
use crate::ident::ReleaseVersion;
use crate::store::Ledger;
use crate::store::Store;
use crate::sys::sandbox;
use crate::sys::sandbox::Exit;
use crate::sys::sandbox::Found;
use crate::sys::sandbox::Guest;
use crate::sys::sandbox::Running;
use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::Scope;

/// How long an end that was asked for may take.
const GRACE: Duration = formation::GRACE;

/// What `slug exec` was asked for.
#[derive(Debug)]
pub struct Entering<'a> {
    /// Where releases and slugs are.
    pub store: &'a Store,
    /// Of which app.
    pub app: &'a AppName,
    /// Which instance: `web.1`, `run.3`; of a type alone (`web`) the only one that runs.
    pub process_type: ProcessType,
    /// Its number, if it was named.
    pub number: Option<NonZeroU32>,
    /// The command.
    pub argv: Vec<OsString>,
    /// `TERM` of a process that has a terminal, unless the release says another.
    pub term: OsString,
}

/// Why an instance could not be entered.
#[derive(Debug, Error)]
pub enum EnterError {
    /// No such instance runs.
    #[error("{app} has no running process `{wanted}` on this host")]
    NotThere {
        /// Of which app.
        app: AppName,
        /// What was asked for.
        wanted: String,
        /// Those that run.
        there: Vec<Instance>,
    },
    /// A type was named, and several of it run.
    #[error("several processes of the type `{0}` run")]
    Several(ProcessType, Vec<Instance>),
    /// It has not been executed yet.
    #[error("`{0}` is starting: there is nothing to enter yet")]
    Starting(Instance),
    /// It ended while it was looked for.
    #[error("`{0}` has just ended")]
    Ended(Instance),
    /// The supervisor could not be asked.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The process could not be started.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl From<SandboxError> for EnterError {
    fn from(error: SandboxError) -> Self {
        Self::Run(error.into())
    }
}

/// A process that runs, or will.
#[derive(Clone, Debug, PartialEq, Eq)]
struct There {
    instance: Instance,
    release: ReleaseVersion,
    pid: Option<u32>,
    port: Option<u16>,
}

impl Attended for Guest {
    fn ended_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.ended_fd()
    }

    fn try_wait(&mut self) -> Result<Option<Exit>, SandboxError> {
        Self::try_wait(self)
    }

    fn signal(&self, signal: i32, scope: Scope) {
        Self::signal(self, signal, scope);
    }

    fn kill(&self) {
        Self::signal(self, libc::SIGKILL, Scope::Leader);
    }

    fn take_terminal(&mut self) -> Option<std::os::fd::OwnedFd> {
        Self::take_terminal(self)
    }
}

/// Runs a command inside a running instance, on the caller's own standard streams, until it or the instance has ended.
/// Its terminal and its signals are those of a one-off in the foreground.
pub fn enter(entering: &Entering<'_>) -> Result<Exit, EnterError> {
    let there = choose(entering, &all(entering)?)?;
    let running = find(entering, &there)?;
    let ledger = Ledger::open(entering.store, entering.app);
    let release = ledger.get(there.release).map_err(RunError::from)?;
    let loaded =
        Loaded::load(entering.store, &release.record, &mut |_| ()).map_err(RunError::from)?;
    let command = Command::Direct(entering.argv.clone());
    let mut spec = loaded
        .spec(&command, &there.instance, there.port)
        .map_err(RunError::from)?;
    spec.terminal = own_terminal();
    if spec.terminal.is_any() {
        let term = || entering.term.clone();
        spec.program.env.entry("TERM".into()).or_insert_with(term);
    }
    spec.mounts.clear();
    let signals = attend::catch()?;
    let mut guest = sandbox::enter(&running, &spec, own_streams(spec.terminal)?)?;
    let stop = Stop {
        signal: libc::SIGTERM,
        grace: GRACE,
        time_limit: None,
    };
    Ok(show(&mut guest, &signals, stop, &mut || ())?.exit)
}

/// Every process of the app that is known on this host.
fn all(entering: &Entering<'_>) -> Result<Vec<There>, EnterError> {
    let Entering { store, app, .. } = entering;
    let one_offs = registry::list(store, app).map_err(LaunchError::from);
    let one_offs = one_offs.map_err(RunError::from)?.into_iter();
    let mut all: Vec<There> = one_offs
        .map(|entry| There {
            instance: entry.instance,
            release: entry.release,
            pid: entry.pid,
            port: None,
        })
        .collect();
    let socket = control::socket_path(store, app);
    match control::ask(&socket, app, &Request::Ps, &mut |_| ()) {
        Ok(Reply::Processes { processes }) => {
            all.extend(processes.into_iter().map(|process| There {
                instance: process.instance,
                release: process.release,
                pid: process.pid,
                port: process.port,
            }));
        }
        Ok(other) => return Err(ControlError::Answer(format!("{other:?}")).into()),
        Err(ControlError::NotUp(_)) => {}
        Err(error) => return Err(error.into()),
    }
    // Of a release that takes another's place both have a `web.1`: the later one that runs is meant.
    all.sort_by_key(|there| {
        let instance = there.instance.clone();
        (instance, there.pid.is_none(), Reverse(there.release))
    });
    all.dedup_by(|next, first| next.instance == first.instance);
    Ok(all)
}

fn choose(entering: &Entering<'_>, all: &[There]) -> Result<There, EnterError> {
    let wanted = |there: &There| {
        there.instance.process_type == entering.process_type
            && entering
                .number
                .is_none_or(|number| number == there.instance.number)
    };
    let mut fit: Vec<There> = all.iter().filter(|there| wanted(there)).cloned().collect();
    let names = |all: &[There]| all.iter().map(|there| there.instance.clone()).collect();
    if entering.number.is_none() && fit.len() > 1 {
        let several = names(&fit);
        return Err(EnterError::Several(entering.process_type.clone(), several));
    }
    if fit.is_empty() {
        let number = entering.number.map(|number| format!(".{number}"));
        return Err(EnterError::NotThere {
            app: entering.app.clone(),
            wanted: format!("{}{}", entering.process_type, number.unwrap_or_default()),
            there: names(all),
        });
    }
    Ok(fit.swap_remove(0))
}

/// The sandbox of this instance, for certain: whoever told its number says the same once it was opened, and what was opened
/// lives after that. So it was that instance's all the while, for none is reaped before its number is given up.
fn find(entering: &Entering<'_>, there: &There) -> Result<Running, EnterError> {
    let starting = || EnterError::Starting(there.instance.clone());
    let ended = || EnterError::Ended(there.instance.clone());
    let running = match Running::find(there.pid.ok_or_else(starting)?)? {
        Found::Running(running) => running,
        Found::Starting => return Err(starting()),
        Found::Nothing => return Err(ended()),
    };
    if !all(entering)?.contains(there) || !running.is_alive()? {
        return Err(ended());
    }
    Ok(running)
}
