//! The way of another process into a sandbox that runs. The shim joins its
//! namespaces; a grandchild of the shim, which belongs to the sandbox's init
//! from then on, gives up every right, starts the program, and sweeps up after it.
//!
//! Nobody inside can look at or change what comes from outside: until the exec
//! it is not dumpable, so not to be traced, whatever its uid. No descriptor of
//! the host's is left open, and root and working folder are the sandbox's.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;

use rustix::fs::Mode;
use rustix::process::DumpableBehavior;
use rustix::process::Pid;
use rustix::process::WaitOptions;
use rustix::thread::ThreadNameSpaceType;

use crate::sys::channel;
use crate::sys::sandbox::Prepare;
use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::error::refused;
use crate::sys::sandbox::error::setup;
use crate::sys::sandbox::identity::Identity;
use crate::sys::sandbox::init;
use crate::sys::sandbox::init::Watched;
use crate::sys::sandbox::scope;
use crate::sys::sandbox::shim::alone;
use crate::sys::sandbox::wire::Order;
use crate::sys::sandbox::wire::Report;
use crate::sys::syscall;

/// In the shim: joins the namespaces of the process `target`, and leaves a process there that does the rest.
pub(super) fn enter(
    caller: &OwnedFd,
    target: &OwnedFd,
    namespaces: u32,
    order: Order,
    prepare: Prepare,
) -> Result<(), SandboxError> {
    let identity = Identity::of_caller(order.spec.uid)?;
    closed_to_others()?;
    alone().map_err(|error| setup("enter the sandbox", error))?;
    let namespaces = ThreadNameSpaceType::from_bits_retain(namespaces);
    rustix::thread::move_into_thread_name_spaces(target.as_fd(), namespaces)
        .map_err(|error| refused("setns", error.into()))?;
    let failed = |error| setup("start a process in the sandbox", error);
    // SAFETY: `alone` just counted one thread, and a process with one thread is the only one who can start another.
    #[expect(unsafe_code, reason = "a fork; see above")]
    let between = unsafe { syscall::clone(libc::SIGCHLD) }.map_err(failed)?;
    if between.is_some() {
        // It ends at once. The kernel does not let a sandbox's init end while a process inside waits for a parent
        // outside to reap it: this one has been reaped, and the next has its parent inside.
        rustix::io::retry_on_intr(|| rustix::process::wait(WaitOptions::empty()))
            .map_err(|error| failed(error.into()))?;
        return Ok(());
    }
    // SAFETY: this process was cloned from one with a single thread, and started none.
    #[expect(unsafe_code, reason = "a fork; see above")]
    let host = match unsafe { syscall::clone(libc::SIGCHLD) } {
        Ok(Some(_)) => syscall::exit_now(0),
        Ok(None) => live(caller, order, &identity, prepare),
        Err(error) => failed(error),
    };
    let _ = channel::send(caller.as_fd(), &Report::Failed(host).encode());
    syscall::exit_now(0)
}

fn closed_to_others() -> Result<(), SandboxError> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| setup("hide the memory of the shim", error.into()))
}

/// The whole life of the process that stands by the program inside.
fn live(caller: &OwnedFd, order: Order, identity: &Identity, prepare: Prepare) -> ! {
    let lived = settle(identity)
        .and_then(|()| init::start(caller.as_fd(), order, prepare))
        .and_then(|started| {
            let leader = started.leader;
            let watched = init::watch(caller, started, -leader.as_raw_pid());
            sweep(leader)
                .and(watched)
                .map_err(|error| setup("stand by the process", error))
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

/// Becomes what a process of the sandbox is.
fn settle(identity: &Identity) -> Result<(), SandboxError> {
    let failed = |error: rustix::io::Errno| setup("settle in the sandbox", error.into());
    syscall::hold_back(syscall::ALL_SIGNALS).map_err(|error| setup("hold signals back", error))?;
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    rustix::thread::set_name(c"slug-guest").map_err(failed)?;
    // What the program leaves behind comes to this process, which ends it.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(failed)?;
    for stream in [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ] {
        identity.own_pipe(stream)?;
    }
    identity.take_on()?;
    scope::restrict_sockets()?;
    // A change of uid made it dumpable anew, or not, by a setting of the host's.
    closed_to_others()
}

/// Ends all that the program started: what lost its parent is this process's child, and what has one is once that ended.
fn sweep(leader: Pid) -> io::Result<()> {
    let _ = syscall::kill(-leader.as_raw_pid(), libc::SIGKILL); // it may have ended
    let own = rustix::process::getpid().as_raw_pid();
    loop {
        for child in children(own)? {
            let _ = syscall::kill(child, libc::SIGKILL);
        }
        match rustix::io::retry_on_intr(|| rustix::process::wait(WaitOptions::empty())) {
            Ok(_) => {}
            Err(rustix::io::Errno::CHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The children of a process, as the sandbox's `/proc` shows them.
fn children(parent: i32) -> io::Result<Vec<i32>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let name = entry.file_name();
        let pid = name.to_str().and_then(|pid| pid.parse::<i32>().ok());
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // After the name, which may hold anything: state and parent.
        let found = stat.rsplit_once(") ").and_then(|(_, rest)| {
            rest.split(' ')
                .nth(1)
                .and_then(|parent| parent.parse::<i32>().ok())
        });
        if found == Some(parent) {
            children.extend(pid);
        }
    }
    Ok(children)
}
