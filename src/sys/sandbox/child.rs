//! The caller's side: starting a sandbox, and the hold on a running one.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};

use crate::sys::channel;
use crate::sys::channel::Patience;
use crate::sys::channel::Received;
use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::Spec;
use crate::sys::sandbox::Streams;
use crate::sys::sandbox::error::setup;
use crate::sys::sandbox::wire;
use crate::sys::sandbox::wire::MESSAGE_BYTES_MAX;
use crate::sys::sandbox::wire::Order;
use crate::sys::sandbox::wire::Report;

/// The name by which `main` knows that it was started as the shim.
pub const SHIM: &str = "slug-shim";

/// The shim's only argument. It does nothing for the shim; a program that knows no shim, such as
/// a test binary that forgot to name one, refuses it instead of starting over from `main`.
const SHIM_ARGUMENT: &str = "--sandbox-shim";

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It called exit.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

impl Exit {
    /// As a shell tells it: 128 + n for signal n.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// Whom a signal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The process that was executed.
    Leader,
    /// Every process in the sandbox.
    All,
}

/// A started process. Dropping it closes the lifeline: all in the sandbox are killed.
#[derive(Debug)]
pub struct Child {
    pub(super) pid: Pid,
    pub(super) init: OwnedFd,
    pub(super) lifeline: OwnedFd,
    /// Reports that came before the init's pid was known.
    pub(super) early: VecDeque<Report>,
    /// The caller's side of the sandbox's terminal, until it is taken.
    pub(super) terminal: Option<OwnedFd>,
    pub(super) executed: bool,
    pub(super) reaped: bool,
    pub(super) ended: Option<Exit>,
    pub(super) next_errand: u32,
    /// Those that have ended, until they are asked for.
    pub(super) errands: BTreeMap<u32, Exit>,
}

/// Starts the program of `spec` with this very program as the shim; returns when it was
/// executed, or why it was not.
///
/// Blocks for a few milliseconds and for as long as `Spec::prepare` works: a reactor uses
/// `launch` and `Child::started`.
pub fn spawn(spec: &Spec, streams: Streams) -> Result<Child, SandboxError> {
    let mut child = launch(Path::new("/proc/self/exe"), spec, streams)?;
    child.started()?;
    Ok(child)
}

/// Begins the sandbox of `spec` with the program `shim`, whose `main` calls `shim()` when its
/// `argv[0]` is `SHIM`. Tests name the built `slug`; all else uses `spawn`.
///
/// Returns once the sandbox has its init, in a millisecond or two; what comes of it, tells `Child::started`.
pub fn launch(shim: &Path, spec: &Spec, streams: Streams) -> Result<Child, SandboxError> {
    let (lifeline, ended) = hand_order(shim, spec, None, streams)?;
    let (pid, early, terminal) = begun(lifeline.as_fd(), shim, &ended)?;
    let init = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .map_err(|error| setup("watch over the sandbox", error.into()))?;
    Ok(Child {
        pid,
        init,
        lifeline,
        early,
        terminal,
        executed: false,
        reaped: false,
        ended: None,
        next_errand: errands_from(),
        errands: BTreeMap::new(),
    })
}

/// Hands the shim its order (to enter a running sandbox, if there is a `target`: the pidfd of a process in it, and which
/// namespaces are others), and waits for its end, which comes in a millisecond or two. Gives the socket to the sandbox,
/// and how the shim ended.
pub(super) fn hand_order(
    shim: &Path,
    spec: &Spec,
    target: Option<(BorrowedFd<'_>, u32)>,
    streams: Streams,
) -> Result<(OwnedFd, String), SandboxError> {
    let Streams {
        stdin,
        stdout,
        stderr,
    } = streams;
    let (lifeline, theirs) = channel::pair().map_err(|error| setup("make the lifeline", error))?;
    let namespaces = target.map(|(_, namespaces)| namespaces);
    let order = memory_file(&Order::encode(spec, namespaces))
        .map_err(|error| setup("write the order", error))?;
    let mut fds = vec![order.as_fd(), stdin.as_fd()];
    fds.extend(target.map(|(process, _)| process));
    channel::send_with(lifeline.as_fd(), &[0], &fds)
        .map_err(|error| setup("send the order", error))?;
    let ended = run_shim(shim, theirs, stdout, stderr)?;
    Ok((lifeline, ended))
}
/// A file without a name, which only its descriptor leads to: no path shows the environment in it.
pub(in crate::sys) fn memory_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    use std::io::Write as _;
    let file = rustix::fs::memfd_create("slug-order", MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(file);
    file.write_all(bytes)?;
    Ok(file.into())
}

/// Runs the shim to its end, which comes as soon as it cloned the init; says how it ended.
fn run_shim(
    shim: &Path,
    socket: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
) -> Result<String, SandboxError> {
    // No `pre_exec` and no uid: so std uses vfork, and nothing runs between fork and exec.
    let mut command = Command::new(shim);
    command.arg0(SHIM).arg(SHIM_ARGUMENT).env_clear();
    command
        .stdin(Stdio::from(socket))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::from(stderr));
    let mut process = command
        .spawn()
        .map_err(|error| setup(&format!("start the shim `{}`", shim.display()), error))?;
    // Fails only where the caller ignores SIGCHLD; the shim is gone then all the same.
    Ok(process
        .wait()
        .map_or_else(|error| error.to_string(), |status| status.to_string()))
}

/// The init's pid, what it may have reported before it was known, and the terminal that may have come with that.
type Begun = (Pid, VecDeque<Report>, Option<OwnedFd>);

/// The init's pid, from what the shim left in the socket, and what the init itself may have
/// reported before that.
fn begun(lifeline: BorrowedFd<'_>, shim: &Path, ended: &str) -> Result<Begun, SandboxError> {
    let silent = || {
        setup(
            &format!("start the shim `{}`", shim.display()),
            io::Error::other(ended.to_owned()),
        )
    };
    let mut early = VecDeque::new();
    let mut terminal = None;
    loop {
        match hear(lifeline, Patience::DoNotWait)? {
            Heard::Report(Report::Init { pid }) => {
                let pid = Pid::from_raw(pid.cast_signed()).ok_or_else(silent)?;
                return Ok((pid, early, terminal));
            }
            Heard::Report(report) => early.push_back(report),
            Heard::Terminal(received) => terminal = Some(received),
            Heard::Nothing | Heard::Closed => break,
        }
    }
    match early.pop_front() {
        Some(Report::Failed(error)) => Err(error),
        _ => Err(silent()),
    }
}

/// The number of the first errand: another program that goes on with this child begins with another.
pub(super) fn errands_from() -> u32 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u32::try_from((now.tv_sec & 0xffff) << 16).unwrap_or_default()
}

/// What came over the lifeline.
#[derive(Debug)]
pub(super) enum Heard {
    Report(Report),
    /// The caller's side of the sandbox's terminal.
    Terminal(OwnedFd),
    Nothing,
    /// The init has ended, or is about to.
    Closed,
}

pub(super) fn hear(lifeline: BorrowedFd<'_>, patience: Patience) -> Result<Heard, SandboxError> {
    let heard = match channel::receive(lifeline, patience, MESSAGE_BYTES_MAX) {
        Ok(Received::Message(bytes, fds)) => {
            Report::decode(&bytes).map(|report| match fds.into_iter().next() {
                Some(fd) => Heard::Terminal(fd),
                None => Heard::Report(report),
            })
        }
        Ok(Received::Nothing) => Ok(Heard::Nothing),
        Ok(Received::Closed) => Ok(Heard::Closed),
        Err(error) => Err(error),
    };
    heard.map_err(|error| setup("hear from the sandbox", error))
}

impl Child {
    /// The init of the sandbox, as the host numbers it; for people, never to signal it.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_pid().cast_unsigned()
    }

    /// As `pid`, while nobody else can have the number: none once it was reaped.
    pub fn live_pid(&self) -> Option<u32> {
        (!self.reaped).then(|| self.pid())
    }

    /// Waits until the program was executed, or says why it was not; in that case all is over.
    pub fn started(&mut self) -> Result<(), SandboxError> {
        while !self.try_started()? {
            readable(self.lifeline.as_fd(), Patience::Wait)?;
        }
        Ok(())
    }

    /// As `started`, without waiting: whether it was executed, as far as is known.
    pub fn try_started(&mut self) -> Result<bool, SandboxError> {
        while !self.executed {
            match self.next(Patience::DoNotWait)? {
                Heard::Nothing => return Ok(false),
                Heard::Closed => {
                    self.reap()?;
                    let source = io::Error::other("the sandbox was killed");
                    return Err(setup("start the program", source));
                }
                heard => self.take(heard)?,
            }
        }
        Ok(true)
    }

    /// The side of the sandbox's terminal that has no name: what is written to it is typed there, what is read from it
    /// was shown there. There, once, when the program was executed; `None` if `Spec::terminal` wants none.
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// Readable when `try_started`, having said no, will know more: to be watched with `poll`.
    pub fn report_fd(&self) -> BorrowedFd<'_> {
        self.lifeline.as_fd()
    }

    /// Readable when the sandbox is empty: to be watched with `poll`.
    pub fn exited_fd(&self) -> BorrowedFd<'_> {
        self.init.as_fd()
    }

    /// Sends a signal; a process that has ended is no error.
    pub fn signal(&self, signal: i32, scope: Scope) {
        let _ = channel::send(
            self.lifeline.as_fd(),
            &wire::Command::Signal { signal, scope }.encode(),
        );
    }

    /// Has the shell run a line inside the sandbox, beside the program, with its rights, its environment as it was
    /// started with, and neither input nor output; says by which number its end is asked for.
    pub fn begin_errand(&mut self, line: &str) -> io::Result<u32> {
        let id = self.next_errand;
        self.next_errand = id.wrapping_add(1);
        let line = line.to_owned();
        let command = wire::Command::Errand { id, line };
        channel::send(self.lifeline.as_fd(), &command.encode()).map(|()| id)
    }

    /// How an errand ended, as far as is known; told once. `report_fd` is readable when more is.
    pub fn take_errand(&mut self, id: u32) -> Result<Option<Exit>, SandboxError> {
        loop {
            match self.next(Patience::DoNotWait)? {
                Heard::Nothing | Heard::Closed => return Ok(self.errands.remove(&id)),
                heard @ (Heard::Report(_) | Heard::Terminal(_)) => self.take(heard)?,
            }
        }
    }

    /// Kills an errand, and forgets it.
    pub fn end_errand(&mut self, id: u32) {
        self.errands.remove(&id);
        let command = wire::Command::EndErrand { id };
        let _ = channel::send(self.lifeline.as_fd(), &command.encode()); // the sandbox has ended, and it too
    }

    /// Kills everything in the sandbox.
    pub fn kill(&self) {
        if !self.reaped {
            // It can only fail where the init has ended already.
            let _ = rustix::process::pidfd_send_signal(&self.init, Signal::KILL);
        }
    }

    /// Waits until the sandbox is empty; says how the executed process ended: by SIGKILL, if the
    /// sandbox was killed as a whole.
    pub fn wait(&mut self) -> Result<Exit, SandboxError> {
        while !self.reaped {
            let heard = self.next(Patience::Wait)?;
            self.take(heard)?;
        }
        Ok(self.ended.unwrap_or(Exit::Signal(libc::SIGKILL)))
    }

    /// As `wait`, if it has ended.
    pub fn try_wait(&mut self) -> Result<Option<Exit>, SandboxError> {
        if !self.reaped && !readable(self.init.as_fd(), Patience::DoNotWait)? {
            return Ok(None);
        }
        self.wait().map(Some)
    }

    fn next(&mut self, patience: Patience) -> Result<Heard, SandboxError> {
        match self.early.pop_front() {
            Some(report) => Ok(Heard::Report(report)),
            None => hear(self.lifeline.as_fd(), patience),
        }
    }

    fn take(&mut self, heard: Heard) -> Result<(), SandboxError> {
        match heard {
            Heard::Nothing | Heard::Report(Report::Init { .. } | Report::Terminal) => {}
            Heard::Terminal(terminal) => self.terminal = Some(terminal),
            Heard::Report(Report::Executed) => self.executed = true,
            Heard::Report(Report::Ended(exit)) => {
                self.ended = Some(exit);
                self.executed = true;
            }
            Heard::Report(Report::Errand { id, exit }) => drop(self.errands.insert(id, exit)),
            Heard::Report(Report::Failed(error)) => {
                self.reap()?;
                return Err(error);
            }
            Heard::Closed => self.reap()?,
        }
        Ok(())
    }

    /// Waits for the init, and with it for all in the sandbox.
    fn reap(&mut self) -> Result<(), SandboxError> {
        readable(self.init.as_fd(), Patience::Wait)?;
        let options = WaitIdOptions::EXITED;
        match rustix::io::retry_on_intr(|| {
            rustix::process::waitid(WaitId::PidFd(self.init.as_fd()), options)
        }) {
            // A caller that ignores SIGCHLD has no children to wait for.
            Ok(_) | Err(rustix::io::Errno::CHILD) => {}
            Err(error) => return Err(setup("wait for the sandbox", error.into())),
        }
        self.reaped = true;
        Ok(())
    }
}

/// Whether a descriptor is readable, or its other end closed.
pub(super) fn readable(fd: BorrowedFd<'_>, patience: Patience) -> Result<bool, SandboxError> {
    const NOW: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let limit = if patience == Patience::Wait {
        None
    } else {
        Some(&NOW)
    };
    let mut watched = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let count = rustix::io::retry_on_intr(|| rustix::event::poll(&mut watched, limit));
    count
        .map(|count| count > 0)
        .map_err(|error| setup("wait for the sandbox", error.into()))
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            // Nobody is left to tell of a failure; the lifeline closes right after.
            let _ = self.reap();
        }
    }
}
