//! The caller's side of entering a sandbox that runs: finding it for certain,
//! and the hold on the process that was put into it.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::thread::ThreadNameSpaceType;

use crate::sys::channel;
use crate::sys::channel::Patience;
use crate::sys::sandbox::Exit;
use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::Scope;
use crate::sys::sandbox::Spec;
use crate::sys::sandbox::Streams;
use crate::sys::sandbox::child::Heard;
use crate::sys::sandbox::child::SHIM;
use crate::sys::sandbox::child::hand_order;
use crate::sys::sandbox::child::hear;
use crate::sys::sandbox::child::readable;
use crate::sys::sandbox::error::setup;
use crate::sys::sandbox::wire;
use crate::sys::sandbox::wire::Report;

/// The program of a sandbox is the second process in it: the first is its init.
const LEADER: &str = "2";

/// The files below `/proc/<pid>/ns` that tell whether a namespace is another, and its kind.
const NAMESPACES: [(&str, ThreadNameSpaceType); 7] = [
    ("user", ThreadNameSpaceType::USER),
    ("mnt", ThreadNameSpaceType::MOUNT),
    ("pid", ThreadNameSpaceType::PROCESS_ID),
    ("ipc", ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION),
    ("net", ThreadNameSpaceType::NETWORK),
    ("uts", ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME),
    ("cgroup", ThreadNameSpaceType::CONTROL_GROUP),
];

/// A sandbox that runs.
#[derive(Debug)]
pub struct Running {
    init: OwnedFd,
    leader: OwnedFd,
    namespaces: ThreadNameSpaceType,
}

/// What was found under the number of an init.
#[derive(Debug)]
pub enum Found {
    /// A sandbox whose program was executed.
    Running(Running),
    /// A sandbox whose program was not executed yet.
    Starting,
    /// Nothing: it has ended.
    Nothing,
}

impl Running {
    /// The sandbox whose init has this number now. A number can be another process's by now: whoever gave it is to be
    /// asked again, and then `is_alive`; only if both agree, it is that sandbox.
    pub fn find(init: u32) -> Result<Found, SandboxError> {
        let gone = |error: Errno| match error {
            Errno::SRCH => Ok(Found::Nothing),
            error => Err(setup("find the process", error.into())),
        };
        let init_fd = match open(init) {
            Ok(fd) => fd,
            Err(error) => return gone(error),
        };
        let Some(leader) = leader_of(init).map_err(|error| setup("list the processes", error))?
        else {
            return Ok(Found::Starting);
        };
        let leader_fd = match open(leader) {
            Ok(fd) => fd,
            Err(error) => return gone(error),
        };
        // Its parent is looked at after it was opened, and so is that it lives: what was read is of this process.
        if parent_and_place(leader).is_none_or(|(parent, _)| parent != init) {
            return Ok(Found::Nothing);
        }
        let command = fs::read(proc(leader, "cmdline")).unwrap_or_default();
        if command.split(|byte| *byte == 0).next() == Some(SHIM.as_bytes()) {
            return Ok(Found::Starting);
        }
        let namespaces =
            namespaces(leader).map_err(|error| setup("look into the sandbox", error))?;
        let running = Self {
            init: init_fd,
            leader: leader_fd,
            namespaces,
        };
        Ok(if has_ended(&running.leader)? {
            Found::Nothing
        } else {
            Found::Running(running)
        })
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> Result<bool, SandboxError> {
        Ok(!has_ended(&self.init)? && !has_ended(&self.leader)?)
    }
}

fn open(pid: u32) -> Result<OwnedFd, Errno> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    rustix::process::pidfd_open(pid.ok_or(Errno::SRCH)?, PidfdFlags::empty())
}

fn has_ended(process: &OwnedFd) -> Result<bool, SandboxError> {
    readable(process.as_fd(), Patience::DoNotWait)
}

fn proc(pid: u32, file: &str) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join(file)
}

/// The program of the sandbox of this init.
fn leader_of(init: u32) -> io::Result<Option<u32>> {
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if parent_and_place(pid).is_some_and(|(parent, place)| parent == init && place == LEADER) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// The parent of a process, and its number in the innermost namespace that it is in.
fn parent_and_place(pid: u32) -> Option<(u32, String)> {
    let status = fs::read_to_string(proc(pid, "status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let parent = field("PPid:")?.trim().parse().ok()?;
    let place = field("NSpid:")?.split_whitespace().last()?;
    Some((parent, place.to_owned()))
}

/// Those in which this process is not.
fn namespaces(pid: u32) -> io::Result<ThreadNameSpaceType> {
    let mut others = ThreadNameSpaceType::empty();
    for (name, kind) in NAMESPACES {
        let theirs = fs::metadata(proc(pid, "ns").join(name))?;
        let ours = fs::metadata(Path::new("/proc/self/ns").join(name))?;
        if (theirs.dev(), theirs.ino()) != (ours.dev(), ours.ino()) {
            others |= kind;
        }
    }
    Ok(others)
}

/// A process that was put into a running sandbox. Dropping it ends the process and all that it started; it ends with the
/// sandbox at the latest.
#[derive(Debug)]
pub struct Guest {
    lifeline: OwnedFd,
    terminal: Option<OwnedFd>,
    /// What came while something else was waited for.
    early: VecDeque<Heard>,
    ended: Option<Exit>,
}

/// Puts the program of `spec` into a running sandbox, with the user, the rights and the terminal that `spec` names; its
/// mounts and network are those of the sandbox. Returns when it was executed, or why it was not.
pub fn enter(running: &Running, spec: &Spec, streams: Streams) -> Result<Guest, SandboxError> {
    let shim = Path::new("/proc/self/exe");
    let target = Some((running.leader.as_fd(), running.namespaces.bits()));
    let (lifeline, _) = hand_order(shim, spec, target, streams)?;
    let mut guest = Guest {
        lifeline,
        terminal: None,
        early: VecDeque::new(),
        ended: None,
    };
    loop {
        match hear(guest.lifeline.as_fd(), Patience::Wait)? {
            Heard::Report(Report::Executed) => return Ok(guest),
            Heard::Report(Report::Failed(error)) => return Err(error),
            Heard::Terminal(terminal) => guest.terminal = Some(terminal),
            other @ Heard::Report(Report::Ended(_)) => {
                guest.early.push_back(other);
                return Ok(guest);
            }
            Heard::Closed => {
                let source = io::Error::other("the sandbox has ended");
                return Err(setup("enter the sandbox", source));
            }
            Heard::Report(_) | Heard::Nothing => {}
        }
    }
}

impl Guest {
    /// As `Child::take_terminal`.
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// Readable when `try_wait`, having said no, will know more.
    pub fn ended_fd(&self) -> BorrowedFd<'_> {
        self.lifeline.as_fd()
    }

    /// How it ended, if it and all that it started has: by SIGKILL, if the sandbox ended.
    pub fn try_wait(&mut self) -> Result<Option<Exit>, SandboxError> {
        loop {
            let heard = match self.early.pop_front() {
                Some(heard) => heard,
                None => hear(self.lifeline.as_fd(), Patience::DoNotWait)?,
            };
            match heard {
                Heard::Report(Report::Ended(exit)) => self.ended = Some(exit),
                Heard::Closed => {
                    return Ok(Some(self.ended.unwrap_or(Exit::Signal(libc::SIGKILL))));
                }
                Heard::Nothing => return Ok(None),
                Heard::Report(_) | Heard::Terminal(_) => {}
            }
        }
    }

    /// Sends a signal; a process that has ended is no error. `Scope::All` is its process group, never the sandbox.
    pub fn signal(&self, signal: i32, scope: Scope) {
        let command = wire::Command::Signal { signal, scope };
        let _ = channel::send(self.lifeline.as_fd(), &command.encode());
    }
}
