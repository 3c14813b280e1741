//! Standing by a process in the foreground until it has ended: its signals, its
//! terminal, its time.

use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::process::Signal;

use super::RunError;
use crate::sys::relay::Relay;
use crate::sys::sandbox::Child;
use crate::sys::sandbox::Exit;
use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::Scope;
use crate::sys::signal::Signals;

/// What is passed on to the process. Those of the keyboard reach a process with a terminal by themselves.
pub(in crate::run) const PASSED_ON: [i32; 6] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
];
/// What concerns `slug` itself while it stands by: Ctrl-Z and `fg`, and the size of the terminal.
const OWN: [i32; 3] = [libc::SIGTSTP, libc::SIGCONT, libc::SIGWINCH];

/// A process that is stood by.
pub(in crate::run) trait Attended {
    /// Readable when `try_wait` may know more.
    fn ended_fd(&self) -> BorrowedFd<'_>;
    /// How it ended, if it has.
    fn try_wait(&mut self) -> Result<Option<Exit>, SandboxError>;
    /// Sends a signal.
    fn signal(&self, signal: i32, scope: Scope);
    /// Ends it at once.
    fn kill(&self);
    /// The side of its terminal that has no name.
    fn take_terminal(&mut self) -> Option<OwnedFd>;
}

impl Attended for Child {
    fn ended_fd(&self) -> BorrowedFd<'_> {
        self.exited_fd()
    }

    fn try_wait(&mut self) -> Result<Option<Exit>, SandboxError> {
        Self::try_wait(self)
    }

    fn signal(&self, signal: i32, scope: Scope) {
        Self::signal(self, signal, scope);
    }

    fn kill(&self) {
        Self::kill(self);
    }

    fn take_terminal(&mut self) -> Option<OwnedFd> {
        Self::take_terminal(self)
    }
}

/// How it is brought to its end.
#[derive(Clone, Copy, Debug)]
pub(in crate::run) struct Stop {
    /// What SIGTERM to `slug` is for the process.
    pub(in crate::run) signal: i32,
    /// From the first signal that asks for an end to SIGKILL.
    pub(in crate::run) grace: Duration,
    /// From its start to that first signal.
    pub(in crate::run) time_limit: Option<Duration>,
}

/// How it ended.
#[derive(Clone, Copy, Debug)]
pub(in crate::run) struct Ended {
    pub(in crate::run) exit: Exit,
    /// Its time limit was over.
    pub(in crate::run) timed_out: bool,
    /// It had to be killed: its grace was over, or it was asked twice.
    pub(in crate::run) killed: bool,
}

/// The signals of whoever stands by; to be caught before the process is started, so that none is missed.
pub(in crate::run) fn catch() -> Result<Signals, RunError> {
    let all = [&PASSED_ON[..], &OWN].concat();
    Signals::catch(&all).map_err(|error| RunError::Io("catch signals", error))
}

/// Until it has ended. `before_reaping` is called while its number is still its own.
pub(in crate::run) fn attend(
    process: &mut dyn Attended,
    signals: &Signals,
    mut relay: Option<Relay>,
    stop: Stop,
    before_reaping: &mut dyn FnMut(),
) -> Result<Ended, RunError> {
    let mut end = End {
        stop,
        time_limit: stop.time_limit.map(|limit| Instant::now() + limit),
        deadline: None,
        timed_out: false,
        killed: false,
    };
    loop {
        let fds = [process.ended_fd(), signals.as_fd()];
        let ready = match &mut relay {
            Some(relay) => relay
                .wait(&fds, end.patience())
                .map_err(|error| RunError::Io("watch the terminal", error))?,
            None => wait_for(&fds, end.patience())?,
        };
        if ready.first() == Some(&true) {
            before_reaping();
            if let Some(exit) = process.try_wait()? {
                relay.map(Relay::finish).unwrap_or_default();
                let End {
                    timed_out, killed, ..
                } = end;
                return Ok(Ended {
                    exit,
                    timed_out,
                    killed,
                });
            }
        }
        while let Some(signal) = signals.take() {
            match signal {
                libc::SIGWINCH => relay.iter().for_each(Relay::resize),
                libc::SIGCONT => resume(relay.as_ref())?,
                libc::SIGTSTP => pause(process, relay.as_ref())?,
                libc::SIGTERM | libc::SIGINT | libc::SIGHUP => end.asked(process, signal),
                other => process.signal(other, Scope::Leader),
            }
        }
        end.tick(process);
    }
}

/// How far its end has come.
struct End {
    stop: Stop,
    time_limit: Option<Instant>,
    /// When it is killed.
    deadline: Option<Instant>,
    timed_out: bool,
    killed: bool,
}

impl End {
    /// Until something is due.
    fn patience(&self) -> Option<Duration> {
        let due = self.deadline.or(self.time_limit)?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    fn asked(&mut self, process: &dyn Attended, signal: i32) {
        if self.deadline.is_some() {
            self.kill(process);
            return;
        }
        let meant = if signal == libc::SIGTERM {
            self.stop.signal
        } else {
            signal
        };
        process.signal(meant, Scope::Leader);
        self.deadline = Some(Instant::now() + self.stop.grace);
    }

    fn tick(&mut self, process: &dyn Attended) {
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= Instant::now());
        if is_due(self.deadline) {
            self.kill(process);
        } else if self.deadline.is_none() && is_due(self.time_limit) {
            self.timed_out = true;
            self.time_limit = None;
            self.asked(process, libc::SIGTERM);
        }
    }

    fn kill(&mut self, process: &dyn Attended) {
        process.kill();
        self.killed = true;
        self.time_limit = None;
        // What is killed ends; should it take long, it is killed again.
        self.deadline = Some(Instant::now() + self.stop.grace.max(Duration::from_secs(1)));
    }
}

/// Ctrl-Z where the process has no terminal of its own to stop it: it is stopped with `slug`. One with a terminal goes on,
/// for its own shell may have stopped some of its jobs.
fn pause(process: &dyn Attended, relay: Option<&Relay>) -> Result<(), RunError> {
    match relay {
        Some(relay) => relay.pause(),
        None => process.signal(libc::SIGSTOP, Scope::All),
    }
    rustix::process::kill_process(rustix::process::getpid(), Signal::STOP)
        .map_err(|error| RunError::Io("stop", error.into()))?;
    if relay.is_none() {
        process.signal(libc::SIGCONT, Scope::All);
    }
    resume(relay)
}

fn resume(relay: Option<&Relay>) -> Result<(), RunError> {
    let resumed = relay.map_or(Ok(()), Relay::resume);
    resumed.map_err(|error| RunError::Io("take the terminal", error))
}

/// Which of these can be read; none if time ran out.
pub(in crate::run) fn wait_for(
    fds: &[BorrowedFd<'_>],
    patience: Option<Duration>,
) -> Result<Vec<bool>, RunError> {
    let mut polled: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
    match rustix::event::poll(&mut polled, patience.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {
            Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect())
        }
        Err(error) => Err(RunError::Io("wait for a process", io::Error::from(error))),
    }
}
