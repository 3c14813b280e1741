//! One process of a release in the foreground: `slug run`, and the release
//! command. Threads and a reactor would cost more than `true` does: there is
//! one `poll`.

use std::fs::File;
use std::io;
use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use thiserror::Error;

use super::launch::Command;
use super::launch::LaunchError;
use super::launch::Loaded;
use super::pipe::pipe;
use crate::ident::AppName;
use crate::ident::Instance;
use crate::ident::ProcessType;
use crate::logs::Framer;
use crate::logs::Piece;
use crate::logs::Tail;
use crate::release::CommandOutcome;
use crate::store::Event;
use crate::store::Ledger;
use crate::store::Ran;
use crate::store::ReleaseRecord;
use crate::store::Store;
use crate::store::StoreError;
use crate::sys::At as _;
use crate::sys::PathError;
use crate::sys::clock::Timestamp;
use crate::sys::sandbox;
use crate::sys::sandbox::Child;
use crate::sys::sandbox::Exit;
use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::Scope;
use crate::sys::sandbox::Streams;
use crate::sys::signal::Signals;

/// A release command may take so long (a migration of a large table), then it is killed.
pub const RELEASE_COMMAND_MAX: Duration = Duration::from_hours(1);
/// What is passed on to the process. Those of the terminal's keyboard reach it by themselves where it has the terminal.
const PASSED_ON: [i32; 6] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
];
/// How much of a pipe is read at once, in bytes.
const READ_BYTES: usize = 64 * 1024;

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
pub fn run(one_off: &OneOff<'_>, progress: &mut dyn FnMut(u64)) -> Result<Exit, RunError> {
    let ledger = Ledger::open(one_off.store, one_off.app);
    let release = ledger
        .current(one_off.host)?
        .ok_or_else(|| RunError::NoRelease(one_off.app.clone()))?;
    let loaded = Loaded::load(one_off.store, &release.record, progress)?;
    let mut spec = loaded.spec(&one_off.command, &name(), None)?;
    spec.terminal = io::stdin().is_terminal();
    let signals =
        Signals::catch(&PASSED_ON).map_err(|error| RunError::Io("catch signals", error))?;
    let started = Timestamp::now();
    let mut child = sandbox::spawn(&spec, own_streams()?)?;
    let exit = attend(&mut child, &signals)?;
    let ran = Ran {
        by: one_off.by.clone(),
        host: one_off.host.to_owned(),
        process: words(&one_off.command),
        started,
        exit: exit.code(),
    };
    ledger.record(release.record.version, Timestamp::now(), &Event::Ran(ran))?;
    Ok(exit)
}

/// `run.4711`: another number than most that run at the same time, which is all that a name in a log line needs.
fn name() -> Instance {
    let number = std::num::NonZeroU32::MIN.saturating_add(999 + std::process::id() % 9000);
    Instance {
        process_type: ProcessType::run(),
        number,
    }
}

fn own_streams() -> Result<Streams, RunError> {
    let own = |fd: BorrowedFd<'_>| {
        fd.try_clone_to_owned()
            .map_err(|error| RunError::Io("duplicate a standard stream", error))
    };
    Ok(Streams {
        stdin: own(io::stdin().as_fd())?,
        stdout: own(io::stdout().as_fd())?,
        stderr: own(io::stderr().as_fd())?,
    })
}

/// Until it has ended; every signal that comes is its.
fn attend(child: &mut Child, signals: &Signals) -> Result<Exit, RunError> {
    loop {
        if let Some(exit) = child.try_wait()? {
            return Ok(exit);
        }
        wait_for(&[child.exited_fd(), signals.as_fd()], None)?;
        while let Some(signal) = signals.take() {
            child.signal(signal, Scope::Leader);
        }
    }
}

/// Which of these can be read; none if time ran out.
fn wait_for(fds: &[BorrowedFd<'_>], patience: Option<Duration>) -> Result<Vec<bool>, RunError> {
    let mut polled: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
    match rustix::event::poll(&mut polled, patience.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {
            Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect())
        }
        Err(error) => Err(RunError::Io("wait for a process", error.into())),
    }
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

/// Runs the process type `release` of a release that is being made, for `ReleasePlan::apply`. `output` gets
/// what it says as it says it, both streams in one order.
pub fn release_command(
    store: &Store,
    record: &ReleaseRecord,
    output: &mut dyn FnMut(&[u8]),
    progress: &mut dyn FnMut(u64),
) -> CommandOutcome {
    let mut tail = LineTail::default();
    match try_release_command(
        store,
        record,
        &mut |bytes| {
            output(bytes);
            tail.add(bytes);
        },
        progress,
    ) {
        Ok(exit) => CommandOutcome {
            exit: Some(exit.code()),
            tail: tail.text(),
        },
        Err(error) => CommandOutcome {
            exit: None,
            tail: chain(&error),
        },
    }
}

fn try_release_command(
    store: &Store,
    record: &ReleaseRecord,
    output: &mut dyn FnMut(&[u8]),
    progress: &mut dyn FnMut(u64),
) -> Result<Exit, RunError> {
    let loaded = Loaded::load(store, record, progress)?;
    let command = Command::Type(Some(ProcessType::release()), Vec::new());
    let instance = Instance {
        process_type: ProcessType::release(),
        number: std::num::NonZeroU32::MIN,
    };
    let spec = loaded.spec(&command, &instance, None)?;
    let signals =
        Signals::catch(&PASSED_ON).map_err(|error| RunError::Io("catch signals", error))?;
    let (reader, writer) = pipe(spec.uid).map_err(|error| RunError::Io("make a pipe", error))?;
    let stderr = writer
        .try_clone()
        .map_err(|error| RunError::Io("duplicate a pipe", error))?;
    let streams = Streams {
        stdin: nothing().map_err(LaunchError::from)?,
        stdout: writer,
        stderr,
    };
    let mut child = sandbox::spawn(&spec, streams)?;
    hear_out(&mut child, &reader, &signals, output)
}

/// Reads its output until it has ended and the pipe is empty: the sandbox leaves nobody who could write more.
fn hear_out(
    child: &mut Child,
    pipe: &OwnedFd,
    signals: &Signals,
    output: &mut dyn FnMut(&[u8]),
) -> Result<Exit, RunError> {
    let deadline = Instant::now() + RELEASE_COMMAND_MAX;
    let mut buffer = vec![0; READ_BYTES];
    let mut is_open = true;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            child.kill();
        }
        let patience = if left.is_zero() { None } else { Some(left) };
        let fds = [child.exited_fd(), signals.as_fd(), pipe.as_fd()];
        let watched = if is_open { &fds[..] } else { &fds[..2] };
        let ready = wait_for(watched, patience)?;
        while let Some(signal) = signals.take() {
            child.signal(signal, Scope::Leader);
        }
        if ready.get(2).copied().unwrap_or_default() {
            // Interrupted reads are made again by the loop.
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) => is_open = false,
                Ok(count) => output(&buffer[..count]),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(RunError::Io("read a pipe", error.into())),
            }
        } else if let Some(exit) = child.try_wait()? {
            return Ok(exit);
        }
    }
}

/// Standard input of a process that nobody types to.
pub(super) fn nothing() -> Result<OwnedFd, PathError> {
    let path = Path::new("/dev/null");
    File::open(path).at("open", path).map(OwnedFd::from)
}

/// The last lines of a stream of bytes.
#[derive(Default)]
struct LineTail {
    framer: Framer,
    tail: Tail,
}

impl LineTail {
    fn add(&mut self, bytes: &[u8]) {
        let tail = &mut self.tail;
        self.framer
            .feed(bytes, &mut |piece: Piece<'_>| tail.push(piece.bytes));
    }

    fn text(mut self) -> String {
        let tail = &mut self.tail;
        self.framer
            .finish(&mut |piece: Piece<'_>| tail.push(piece.bytes));
        self.tail.text()
    }
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
