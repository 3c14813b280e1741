//! The caller's side: the fork server, and the hold on a tree.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::WaitOptions;

use super::FORK_SERVER;
use super::sweep;
use super::wire;
use super::wire::MESSAGE_BYTES_MAX;
use super::wire::Order;
use super::wire::Report;
use super::wire::Told;
use super::wire::Whom;
use crate::sys::channel;
use crate::sys::channel::Patience;
use crate::sys::channel::Received;
use crate::sys::sandbox::Exit;
use crate::sys::sandbox::memory_file;
use crate::sys::syscall;

/// The fork server's only argument. It does nothing for it; a program that knows no fork server, such as a test
/// binary that forgot to name one, refuses it instead of starting over from `main`.
const ARGUMENT: &str = "--fork-server";

/// What starts trees. They outlive it.
#[derive(Debug)]
pub struct ForkServer {
    program: PathBuf,
    socket: OwnedFd,
    pid: Pid,
}

/// A running tree. Dropping it closes the lifeline: the tree is ended.
#[derive(Debug)]
pub struct Tree {
    lifeline: OwnedFd,
    init: Option<Pid>,
}

impl ForkServer {
    /// Starts `program` (`/proc/self/exe`, but in tests) as the fork server. From now on what loses its parent below
    /// this process comes to this process: `reap_strays`. A SIGCHLD that was ignored is not any more.
    pub fn start(program: &Path) -> io::Result<Self> {
        syscall::default_signal(libc::SIGCHLD);
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let (socket, pid) = start(program)?;
        Ok(Self {
            program: program.to_owned(),
            socket,
            pid,
        })
    }

    /// Starts a tree, whose program says what it has to say into these pipes. What came of it, `Tree::report` tells.
    pub fn tree(&mut self, order: &Order, stdout: &OwnedFd, stderr: &OwnedFd) -> io::Result<Tree> {
        let (lifeline, theirs) = channel::pair()?;
        let order = memory_file(&order.encode()?)?;
        let send = |to: BorrowedFd<'_>| {
            let fds = [
                order.as_fd(),
                theirs.as_fd(),
                stdout.as_fd(),
                stderr.as_fd(),
            ];
            channel::send_with(to, &[0], &fds)
        };
        if send(self.socket.as_fd()).is_err() {
            // It was killed: by hand, or because memory ran out.
            (self.socket, self.pid) = start(&self.program)?;
            send(self.socket.as_fd())?;
        }
        Ok(Tree {
            lifeline,
            init: None,
        })
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        self.pid
    }
}

/// Its trees go on.
impl Drop for ForkServer {
    fn drop(&mut self) {
        let wait = |options| rustix::process::waitpid(Some(self.pid), options);
        // Reaped already, with the strays, if it was killed: its number may be another's then.
        if matches!(wait(WaitOptions::NOHANG), Ok(None)) {
            let _ = rustix::process::kill_process(self.pid, Signal::KILL);
            let _ = rustix::io::retry_on_intr(|| wait(WaitOptions::empty()));
        }
    }
}

fn start(program: &Path) -> io::Result<(OwnedFd, Pid)> {
    let (socket, theirs) = channel::pair()?;
    // No `pre_exec`: so std uses vfork, and nothing runs between fork and exec. It is reaped with the strays.
    let child = Command::new(program)
        .arg0(FORK_SERVER)
        .arg(ARGUMENT)
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok((socket, Pid::from_child(&child)))
}

impl Tree {
    /// The next report, if there is one. After `Report::Gone` there is nothing more to be asked.
    pub fn report(&mut self) -> io::Result<Option<Report>> {
        loop {
            let message = match channel::receive(
                self.lifeline.as_fd(),
                Patience::DoNotWait,
                MESSAGE_BYTES_MAX,
            )? {
                Received::Nothing => return Ok(None),
                Received::Closed => {
                    self.reap();
                    return Ok(Some(Report::Gone));
                }
                Received::Message(message, _) => message,
            };
            return Ok(Some(match wire::read(&message)? {
                Told::Init { pid } => {
                    self.init = Pid::from_raw(pid.cast_signed());
                    continue;
                }
                Told::Started { pid } => Report::Started { pid },
                Told::NotExecuted { doing, errno } => Report::NotExecuted { doing, errno },
                Told::Exited { code, left } => Report::Ended {
                    exit: Exit::Code(code),
                    left,
                },
                Told::Signalled { signal, left } => Report::Ended {
                    exit: Exit::Signal(signal),
                    left,
                },
                Told::Empty { killed, left } => Report::Empty { killed, left },
            }));
        }
    }

    /// Sends a signal to the program, and lets it go on if it was stopped.
    pub fn signal(&self, signal: i32, whom: Whom) {
        wire::tell(
            self.lifeline.as_fd(),
            &wire::Command::Signal { signal, whom },
        );
    }

    /// Kills the whole tree.
    pub fn kill(&self) {
        wire::tell(self.lifeline.as_fd(), &wire::Command::Kill);
    }

    /// Its init, once that is known.
    pub fn init(&self) -> Option<Pid> {
        self.init
    }

    /// The init closed its end by ending.
    fn reap(&mut self) {
        if let Some(init) = self.init.take() {
            let wait = || rustix::process::waitpid(Some(init), WaitOptions::empty());
            let _ = rustix::io::retry_on_intr(wait);
        }
    }
}

/// Readable when `report` has something to tell.
impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lifeline.as_fd()
    }
}

/// Reaps the children that came to this process when their parents ended (or because it is the first of its PID
/// namespace), never one of `inits`: their ends are told by `Tree::report`.
pub fn reap_strays(inits: &[Pid]) {
    while let Ok(Some(ended)) = syscall::peek_ended() {
        let Some(ended) = Pid::from_raw(ended).filter(|ended| !inits.contains(ended)) else {
            return; // looked at again once it was reaped
        };
        let _ = rustix::process::waitpid(Some(ended), WaitOptions::NOHANG);
    }
}

/// Kills all that descends from this process but `keep` and what descends from them: what is left of a tree whose
/// init was killed.
pub fn end_strays(keep: &[Pid]) -> io::Result<()> {
    sweep::kill_all(keep).map(drop)
}
