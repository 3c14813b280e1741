//! One process of a release in the foreground: `slug run`, and the release
//! command. Threads and a reactor would cost more than `true` does: there is
//! one `poll`.

pub(super) mod attend;
mod detached;
mod events;
pub mod registry;
mod release_command;
mod stop;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;

use self::attend::Attended;
use self::attend::Ended;
use self::attend::Stop;
use self::registry::Entry;
use self::registry::Registration;
use super::formation;
use super::launch::Command;
use super::launch::LaunchError;
use super::launch::Loaded;
use crate::ident::AppName;
use crate::ident::Instance;
use crate::store::Event;
use crate::store::Ledger;
use crate::store::Ran;
use crate::store::Store;
use crate::store::StoreError;
use crate::sys::At as _;
use crate::sys::PathError;
use crate::sys::clock::Timestamp;
use crate::sys::relay::Relay;
use crate::sys::sandbox;
use crate::sys::sandbox::Exit;
use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::Spec;
use crate::sys::sandbox::Streams;
use crate::sys::sandbox::Terminal;
use crate::sys::signal::Signals;

pub use detached::run_detached;
pub use release_command::RELEASE_COMMAND_MAX;
pub use release_command::release_command;
pub use stop::stop_one_off;

/// A one-off: what `slug run` was asked for.
#[derive(Debug)]
pub struct OneOff<'a> {
    /// Where releases and slugs are.
    pub store: &'a Store,
    /// Of which app: its current release on this host.
    pub app: &'a AppName,
    /// This host's name, as rejections write it.
    pub host: &'a str,
    /// What is run.
    pub command: Command,
    /// Who runs it: `user@host`, for the ledger.
    pub by: String,
    /// `TERM` of a process that has a terminal, unless the release says another.
    pub term: OsString,
    /// How long it may take; then it is asked to end, and killed after its grace.
    pub time_limit: Option<Duration>,
}

/// Why a one-off could not be run.
#[derive(Debug, Error)]
pub enum RunError {
    /// The app has no release that this host may run.
    #[error("the app `{0}` has no release that this host can run")]
    NoRelease(AppName),
    /// The release, or the process, cannot be started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The ledger could not be read, or the end not be recorded.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A system call.
    #[error("could not {0}")]
    Io(&'static str, #[source] io::Error),
}

impl From<SandboxError> for RunError {
    fn from(error: SandboxError) -> Self {
        Self::Launch(error.into())
    }
}

/// Runs it on the caller's own standard streams, passes signals on, and records its end in the ledger.
/// `progress` is told the bytes unpacked, if the slug was not unpacked on this host yet.
///
/// Where standard input and output are a terminal, the process has one of its own, shown on it. Any other streams are
/// the process's as they are.
pub fn run(one_off: &OneOff<'_>, progress: &mut dyn FnMut(u64)) -> Result<Exit, RunError> {
    let Prepared {
        ledger,
        loaded,
        mut spec,
        mut registration,
    } = Prepared::new(one_off, false, progress)?;
    spec.terminal = own_terminal();
    if spec.terminal.is_any() {
        let term = || one_off.term.clone();
        spec.program.env.entry("TERM".into()).or_insert_with(term);
    }
    let signals = attend::catch()?;
    let mut child = sandbox::spawn(&spec, own_streams(spec.terminal)?)?;
    registration
        .started(child.pid())
        .map_err(LaunchError::from)?;
    let entry = registration.entry().clone();
    let note = |text: &str| events::note(one_off.store, one_off.app, &entry, text);
    note(&events::started(&entry));
    let stop = stop(&loaded, one_off);
    let ended = show(&mut child, &signals, stop, &mut || registration.take_off())?;
    note(&events::ended(&entry, ended));
    record(one_off, &ledger, &entry, ended)?;
    Ok(ended.exit)
}

/// What is to be started, entered under its name.
struct Prepared {
    ledger: Ledger,
    loaded: Loaded,
    spec: Spec,
    registration: Registration,
}

impl Prepared {
    fn new(
        one_off: &OneOff<'_>,
        detached: bool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, RunError> {
        let ledger = Ledger::open(one_off.store, one_off.app);
        let release = ledger
            .current(one_off.host)?
            .ok_or_else(|| RunError::NoRelease(one_off.app.clone()))?;
        let loaded = Loaded::load(one_off.store, &release.record, progress)?;
        let entry = |instance: Instance| Entry {
            instance,
            release: release.record.version,
            command: first_word(&one_off.command),
            by: one_off.by.clone(),
            detached,
            runner: std::process::id(),
            pid: None,
            since: Timestamp::now(),
        };
        let registration =
            Registration::new(one_off.store, one_off.app, entry).map_err(LaunchError::from)?;
        let spec = loaded.spec(&one_off.command, &registration.entry().instance, None)?;
        Ok(Self {
            ledger,
            loaded,
            spec,
            registration,
        })
    }
}

/// Its end, in the ledger.
fn record(
    one_off: &OneOff<'_>,
    ledger: &Ledger,
    entry: &Entry,
    ended: Ended,
) -> Result<(), StoreError> {
    let ran = Ran {
        by: one_off.by.clone(),
        host: one_off.host.to_owned(),
        process: words(&one_off.command),
        started: entry.since,
        exit: ended.exit.code(),
    };
    ledger
        .record(entry.release, Timestamp::now(), &Event::Ran(ran))
        .map(drop)
}

/// Stands by a process on the caller's terminal until it has ended.
pub(super) fn show(
    process: &mut dyn Attended,
    signals: &Signals,
    stop: Stop,
    before_reaping: &mut dyn FnMut(),
) -> Result<Ended, RunError> {
    let master = process.take_terminal();
    let relay = master.map(|master| {
        let started = Relay::start(master, io::stdin().as_fd(), io::stdout().as_fd());
        started.map_err(|error| RunError::Io("take the terminal", error))
    });
    attend::attend(process, signals, relay.transpose()?, stop, before_reaping)
}

/// How it is asked to end: as its type is, if it is of one.
fn stop(loaded: &Loaded, one_off: &OneOff<'_>) -> Stop {
    let Command::Type(Some(process_type), _) = &one_off.command else {
        return Stop {
            signal: libc::SIGTERM,
            grace: formation::GRACE,
            time_limit: one_off.time_limit,
        };
    };
    // A slug whose formation is wrong can still run what is asked for by name.
    let types = formation::types(loaded.slug()).unwrap_or_default();
    let plan = types.get(process_type);
    Stop {
        signal: plan.map_or(libc::SIGTERM, |plan| plan.stop_signal),
        grace: plan.map_or(formation::GRACE, |plan| plan.grace),
        time_limit: one_off.time_limit,
    }
}

/// A terminal, if somebody types and reads: both ends of a pipe line are not.
pub(super) fn own_terminal() -> Terminal {
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    Terminal {
        stdin: is_terminal,
        stdout: is_terminal,
        stderr: is_terminal && io::stderr().is_terminal(),
    }
}

pub(super) fn own_streams(terminal: Terminal) -> Result<Streams, RunError> {
    let own = |fd: BorrowedFd<'_>| {
        fd.try_clone_to_owned()
            .map_err(|error| RunError::Io("duplicate a standard stream", error))
    };
    let stdin = if !terminal.stdin && is_in_background(io::stdin().as_fd()) {
        nothing().map_err(LaunchError::from)?
    } else {
        own(io::stdin().as_fd())?
    };
    Ok(Streams {
        stdin,
        stdout: own(io::stdout().as_fd())?,
        stderr: own(io::stderr().as_fd())?,
    })
}

/// A job in the background, whose process is not to take the keys that the shell is typed.
fn is_in_background(stdin: BorrowedFd<'_>) -> bool {
    rustix::termios::tcgetpgrp(stdin)
        .is_ok_and(|foreground| foreground != rustix::process::getpgrp())
}

/// What the ledger says was run: a process type, or a program with its arguments.
fn words(command: &Command) -> String {
    match command {
        Command::Type(None, _) => "(default)".to_owned(),
        Command::Type(Some(process_type), _) => process_type.to_string(),
        Command::Direct(argv) => argv
            .iter()
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" "),
    }
}

/// What others may read of it: its arguments may hold secrets.
fn first_word(command: &Command) -> String {
    match command {
        Command::Type(None, _) => "(default)".to_owned(),
        Command::Type(Some(process_type), _) => process_type.to_string(),
        Command::Direct(argv) => argv
            .first()
            .map(|program| program.to_string_lossy().into_owned())
            .unwrap_or_default(),
    }
}

/// Standard input of a process that nobody types to.
pub(super) fn nothing() -> Result<OwnedFd, PathError> {
    let path = Path::new("/dev/null");
    File::open(path).at("open", path).map(OwnedFd::from)
}

/// An error and what it came from, as one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
