//! The first process of a sandbox: it sets the sandbox up, starts the program,
//! reaps, forwards signals, tells how the program ended. With it the kernel ends
//! every process in the sandbox, so all that it does at the end is to end.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::net::{AddressFamily, SocketType};
use rustix::pipe::PipeFlags;
use rustix::process::{DumpableBehavior, Pid, WaitOptions, WaitStatus};

use crate::sys::channel;
use crate::sys::channel::Patience;
use crate::sys::channel::Received;
use crate::sys::sandbox::Exit;
use crate::sys::sandbox::Mount;
use crate::sys::sandbox::Network;
use crate::sys::sandbox::Prepare;
use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::Scope;
use crate::sys::sandbox::Spec;
use crate::sys::sandbox::base;
use crate::sys::sandbox::errand::Errands;
use crate::sys::sandbox::error::setup;
use crate::sys::sandbox::identity::Identity;
use crate::sys::sandbox::limits;
use crate::sys::sandbox::overlay;
use crate::sys::sandbox::program;
use crate::sys::sandbox::root::GUARDED;
use crate::sys::sandbox::root::Kind;
use crate::sys::sandbox::root::READ_ONLY;
use crate::sys::sandbox::root::Root;
use crate::sys::sandbox::root::file_system;
use crate::sys::sandbox::root::kind_of;
use crate::sys::sandbox::scope;
use crate::sys::sandbox::terminal;
use crate::sys::sandbox::wire::Command;
use crate::sys::sandbox::wire::MESSAGE_BYTES_MAX;
use crate::sys::sandbox::wire::Order;
use crate::sys::sandbox::wire::Report;
use crate::sys::syscall;

/// The whole life of the init; `caller` is the lifeline.
pub(super) fn live(caller: &OwnedFd, order: Order, identity: &Identity, prepare: Prepare) -> ! {
    let lived = set_up(&order.spec, identity)
        .and_then(|()| start(caller.as_fd(), order, prepare))
        .and_then(|started| {
            watch(caller, started, syscall::ALL_OTHERS)
                .map_err(|error| setup("watch over the sandbox", error))
        });
    let report = match lived {
        Ok(Watched::Ended(exit)) => Some(Report::Ended(exit)),
        Ok(Watched::Abandoned) => None,
        Err(error) => Some(Report::Failed(error)),
    };
    // A caller that is gone needs no report.
    let _ = report.map(|report| channel::send(caller.as_fd(), &report.encode()));
    syscall::exit_now(0)
}

/// Makes the sandbox around this process, and gives up every right to change it.
fn set_up(spec: &Spec, identity: &Identity) -> Result<(), SandboxError> {
    syscall::hold_back(syscall::ALL_SIGNALS).map_err(|error| setup("hold signals back", error))?;
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    rustix::thread::set_name(c"slug-init").map_err(|error| setup("take a name", error.into()))?;
    identity.map()?;
    if spec.network == Network::None {
        loopback().map_err(|error| setup("bring up the loopback network", error))?;
    }
    let root = Root::new()?;
    let home = spec.program.env.get(OsStr::new("HOME"));
    base::lay_out(&root, identity, home.map_or(OsStr::new(""), |home| home))?;
    for mount in &spec.mounts {
        put(&root, mount, identity)?;
    }
    root.enter()?;
    for stream in [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ] {
        identity.own_pipe(stream)?;
    }
    if let Some(nofile) = spec.limits.nofile {
        limits::allow(nofile)?;
    }
    identity.take_on()?;
    scope::restrict()?;
    // The program has the same uid: it is not to trace the init.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| setup("hide the memory of the init", error.into()))
}

fn loopback() -> io::Result<()> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    syscall::loopback_up(socket.as_fd())
}

/// Puts one mount of the spec over what is there.
fn put(root: &Root, mount: &Mount, identity: &Identity) -> Result<(), SandboxError> {
    match mount {
        Mount::Bind {
            from,
            to,
            read_only,
        } => root.bind(from, to, if *read_only { READ_ONLY } else { GUARDED }),
        Mount::File { to, bytes } => root.file(to, bytes),
        Mount::Private { to, files } => private(root, to, files, identity),
        Mount::Scratch { to } => {
            let (uid, gid) = (identity.uid.to_string(), identity.gid.to_string());
            let memory = file_system(
                "tmpfs",
                &[("mode", "0700"), ("uid", &uid), ("gid", &gid)],
                GUARDED,
            )?;
            root.attach(memory.as_fd(), to, Kind::Folder)
        }
        Mount::Overlay { lower, upper, to } => match (lower.as_slice(), upper) {
            // One folder over nothing needs no overlay.
            ([], Some((upper, _))) => root.bind(upper, to, GUARDED),
            ([only], None) => root.bind(only, to, READ_ONLY),
            ([], None) => root.attach(
                file_system("tmpfs", &[("mode", "0755")], READ_ONLY)?.as_fd(),
                to,
                Kind::Folder,
            ),
            (lower, upper) => {
                let failed = |source| SandboxError::Overlay {
                    to: to.clone(),
                    source,
                };
                let mount = overlay::overlay(root, lower, upper.as_ref()).map_err(failed)?;
                let kind = kind_of(mount.as_fd()).map_err(failed)?;
                root.attach(mount.as_fd(), to, kind)
            }
        },
    }
}

/// A folder in memory with files that the program's uid alone may read.
fn private(
    root: &Root,
    to: &Path,
    files: &BTreeMap<OsString, Vec<u8>>,
    identity: &Identity,
) -> Result<(), SandboxError> {
    let (uid, gid) = (identity.uid.to_string(), identity.gid.to_string());
    let options = [("mode", "0500"), ("uid", &*uid), ("gid", &*gid)];
    let memory = file_system("tmpfs", &options, GUARDED)?;
    let owner = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    let fill = || -> io::Result<()> {
        for (name, bytes) in files {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&memory, name, flags, Mode::RUSR)?;
            rustix::fs::fchown(&file, Some(owner.0), Some(owner.1))?;
            std::fs::File::from(file).write_all(bytes)?;
        }
        syscall::mount_setattr(memory.as_fd(), READ_ONLY.bits().into(), false)
    };
    fill().map_err(|error| setup(&format!("fill `{}`", to.display()), error))?;
    root.attach(memory.as_fd(), to, Kind::Folder)
}

/// The process that is, or will be, the program.
pub(super) struct Started {
    pub(super) leader: Pid,
    /// Open for the life of the sandbox, although nobody reads it.
    _terminal: Option<OwnedFd>,
    errands: Errands,
    /// Holds the words of its failure until the exec closes it.
    failure: OwnedFd,
}

pub(super) fn start(
    caller: BorrowedFd<'_>,
    order: Order,
    prepare: Prepare,
) -> Result<Started, SandboxError> {
    let terminal = terminal::make(order.spec.terminal, caller)
        .map_err(|error| setup("make the terminal", error))?;
    let errands = Errands::new(order.spec.program.clone(), order.spec.limits.nofile);
    let failed = |error: rustix::io::Errno| setup("start the process", error.into());
    let (failure, words) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    // SAFETY: the init was cloned from the shim, which has a single thread, and started none.
    #[expect(unsafe_code, reason = "a fork; see above")]
    let forked = unsafe { syscall::clone(libc::SIGCHLD) }
        .map_err(|error| setup("start the process", error))?;
    let Some(pid) = forked else {
        let error = Report::Failed(program::become_program(order, prepare));
        let _ = rustix::io::write(&words, &error.encode());
        syscall::exit_now(127)
    };
    let leader = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(rustix::io::Errno::RANGE)
        .map_err(failed)?;
    let_go().map_err(|error| setup("let go of the standard streams", error))?;
    Ok(Started {
        leader,
        _terminal: terminal,
        errands,
        failure,
    })
}

/// Leaves the streams to the program, so that their readers see its end; leaves the caller's session, whose terminal
/// would signal it.
fn let_go() -> io::Result<()> {
    let null = rustix::fs::open(
        Path::new("/dev/null"),
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    rustix::process::setsid()?;
    Ok(())
}

/// Why the watch over a program is over.
pub(super) enum Watched {
    /// It ended.
    Ended(Exit),
    /// The caller is gone.
    Abandoned,
}

/// Serves until the program ended or the caller is gone. `all` is whom `Scope::All` means, as `kill` takes it.
pub(super) fn watch(caller: &OwnedFd, started: Started, all: i32) -> io::Result<Watched> {
    let signals = syscall::signalfd(syscall::only(libc::SIGCHLD))?;
    let Started {
        leader,
        _terminal,
        mut errands,
        failure,
    } = started;
    let mut failure = Some(failure);
    loop {
        let ready = wait_for(&[
            Some(caller.as_fd()),
            Some(signals.as_fd()),
            failure.as_ref().map(|fd| fd.as_fd()),
        ])?;
        let [caller_ready, signals_ready, failure_ready] = ready;
        if failure_ready && let Some(failure) = failure.take() {
            report_start(caller.as_fd(), failure)?;
        }
        let caller_fd = caller.as_fd();
        if signals_ready
            && let Some(exit) = reap(signals.as_fd(), leader, &mut |pid, exit| {
                errands.reaped(caller_fd, pid, exit);
            })?
        {
            if let Some(failure) = failure.take() {
                report_start(caller.as_fd(), failure)?;
            }
            return Ok(Watched::Ended(exit));
        }
        if caller_ready {
            match channel::receive(caller.as_fd(), Patience::DoNotWait, MESSAGE_BYTES_MAX)? {
                Received::Message(message, _) => match Command::decode(&message)? {
                    Command::Signal { signal, scope } => deliver(signal, scope, leader, all),
                    Command::Errand { id, line } => errands.begin(caller_fd, id, line),
                    Command::EndErrand { id } => errands.end(id),
                },
                Received::Nothing => {}
                Received::Closed => return Ok(Watched::Abandoned),
            }
        }
    }
}

/// Which of the descriptors are readable, or closed at the other end.
fn wait_for<const N: usize>(fds: &[Option<BorrowedFd<'_>>; N]) -> io::Result<[bool; N]> {
    let mut watched: Vec<PollFd<'_>> = fds
        .iter()
        .flatten()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut watched, None))?;
    let mut happened = watched.iter().map(|fd| !fd.revents().is_empty());
    Ok(fds.map(|fd| fd.is_some() && happened.next().unwrap_or(false)))
}

/// The exec closed the pipe, or its failure is in it.
fn report_start(caller: BorrowedFd<'_>, failure: OwnedFd) -> io::Result<()> {
    let mut words = Vec::new();
    std::fs::File::from(failure).read_to_end(&mut words)?;
    let report = if words.is_empty() {
        Report::Executed.encode()
    } else {
        words
    };
    channel::send(caller, &report)
}

/// Reaps all that ended; says how the leader did, if it is among them. `other` is told of each of the others.
fn reap(
    signals: BorrowedFd<'_>,
    leader: Pid,
    other: &mut dyn FnMut(i32, Option<Exit>),
) -> io::Result<Option<Exit>> {
    const SIGNALFD_SIGINFO_BYTES: usize = 128;
    // One record at most: the same signal is pending once, however many children ended.
    match rustix::io::read(signals, &mut [0; SIGNALFD_SIGINFO_BYTES]) {
        Ok(_) | Err(rustix::io::Errno::AGAIN) => {}
        Err(error) => return Err(error.into()),
    }
    let mut exit = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == leader => exit = exit_of(status),
            Ok(Some((pid, status))) => other(pid.as_raw_pid(), exit_of(status)),
            Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(exit),
            Err(error) => return Err(error.into()),
        }
    }
}

fn exit_of(status: WaitStatus) -> Option<Exit> {
    status
        .exit_status()
        .map(Exit::Code)
        .or(status.terminating_signal().map(Exit::Signal))
}

/// A process that has ended, or a number that is no signal, is no error.
fn deliver(signal: i32, scope: Scope, leader: Pid, all: i32) {
    let whom = match scope {
        Scope::All => all,
        Scope::Leader => leader.as_raw_pid(),
    };
    let _ = syscall::kill(whom, signal);
}
