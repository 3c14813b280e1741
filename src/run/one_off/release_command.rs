//! The release command: the process type `release`, run while a release is made.

use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use super::RunError;
use super::attend::PASSED_ON;
use super::attend::wait_for;
use super::chain;
use super::nothing;
use crate::ident::Instance;
use crate::ident::ProcessType;
use crate::logs::Framer;
use crate::logs::Piece;
use crate::logs::Tail;
use crate::release::CommandOutcome;
use crate::run::launch::Command;
use crate::run::launch::LaunchError;
use crate::run::launch::Loaded;
use crate::run::pipe::pipe;
use crate::store::ReleaseRecord;
use crate::store::Store;
use crate::sys::sandbox;
use crate::sys::sandbox::Child;
use crate::sys::sandbox::Exit;
use crate::sys::sandbox::Scope;
use crate::sys::sandbox::Streams;
use crate::sys::signal::Signals;

/// A release command may take so long (a migration of a large table), then it is killed.
pub const RELEASE_COMMAND_MAX: Duration = Duration::from_hours(1);
/// How much of a pipe is read at once, in bytes.
const READ_BYTES: usize = 64 * 1024;

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
