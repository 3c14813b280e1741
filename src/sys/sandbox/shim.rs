//! The shim: this same binary, executed afresh, so with a single thread and
//! nothing of its caller's memory. It clones the init as a child of the caller,
//! and is gone.

use std::fs;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use crate::sys::channel;
use crate::sys::channel::Patience;
use crate::sys::channel::Received;
use crate::sys::sandbox::Network;
use crate::sys::sandbox::Prepare;
use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::error::refused;
use crate::sys::sandbox::error::setup;
use crate::sys::sandbox::guest;
use crate::sys::sandbox::identity::Identity;
use crate::sys::sandbox::init;
use crate::sys::sandbox::wire::Order;
use crate::sys::sandbox::wire::Report;
use crate::sys::syscall;
use crate::sys::syscall::Descriptors;

/// As 125 of `slug run`: not the program failed, but what starts it.
const FAILED: u8 = 125;

/// The life of the shim: `main` calls it, before any thread, when `argv[0]` is `SHIM`.
///
/// Its standard input is the socket on which the caller sent the order; standard output and error
/// are already those of the program.
pub fn shim(prepare: Prepare) -> ExitCode {
    let Ok((caller, target, order)) = take_order() else {
        return ExitCode::from(FAILED); // not started by `launch`: there is nobody to tell
    };
    let done = order.and_then(|order| match (target, order.namespaces) {
        (Some(target), Some(namespaces)) => {
            guest::enter(&caller, &target, namespaces, order, prepare).map(|()| None)
        }
        _ => clone_init(&caller, order, prepare).map(|pid| Some(Report::Init { pid })),
    });
    let report = match done {
        Ok(Some(report)) => report,
        Ok(None) => return ExitCode::SUCCESS, // whoever is inside by now, tells the rest
        Err(error) => Report::Failed(error),
    };
    match channel::send(caller.as_fd(), &report.encode()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(FAILED),
    }
}

/// The socket, the process whose sandbox is to be entered, if any is, and the order.
type Taken = (OwnedFd, Option<OwnedFd>, Result<Order, SandboxError>);

/// Moves the socket off standard input, and puts the program's there.
fn take_order() -> io::Result<Taken> {
    // What the caller failed to mark close-on-exec ends here.
    syscall::close_from(3, Descriptors::Close)?;
    let caller = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let Received::Message(_, fds) = channel::receive(caller.as_fd(), Patience::Wait, 1)? else {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    };
    let mut fds = fds.into_iter();
    let (Some(order), Some(stdin), target) = (fds.next(), fds.next(), fds.next()) else {
        return Err(io::Error::other("an order is two descriptors or three"));
    };
    rustix::stdio::dup2_stdin(&stdin)?;
    Ok((
        caller,
        target,
        read_order(order).map_err(|error| setup("read the order", error)),
    ))
}

fn read_order(order: OwnedFd) -> io::Result<Order> {
    let mut file = fs::File::from(order);
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Order::decode(&bytes)
}

/// Clones the init into fresh namespaces, as a child of the caller; gives its pid.
fn clone_init(caller: &OwnedFd, order: Order, prepare: Prepare) -> Result<u32, SandboxError> {
    let identity = Identity::of_caller(order.spec.uid)?;
    alone().map_err(|error| setup("clone the init", error))?;
    if let Some(cgroup) = &order.spec.limits.cgroup {
        enter(cgroup).map_err(|error| setup(&format!("enter `{}`", cgroup.display()), error))?;
    }
    let mut flags =
        libc::CLONE_PARENT | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC;
    if identity.namespace {
        flags |= libc::CLONE_NEWUSER;
    }
    if order.spec.network == Network::None {
        flags |= libc::CLONE_NEWNET;
    }
    // SAFETY: `alone` just counted one thread, and a process with one thread is the only one who can start another.
    #[expect(unsafe_code, reason = "a clone; see above")]
    let cloned = unsafe { syscall::clone(flags) }.map_err(|error| refused("clone", error))?;
    match cloned {
        Some(pid) => Ok(pid),
        None => init::live(caller, order, &identity, prepare),
    }
}

/// Moves this process, and with it all that it will clone, into a cgroup.
fn enter(cgroup: &Path) -> io::Result<()> {
    let mut file = fs::File::options()
        .write(true)
        .open(cgroup.join("cgroup.procs"))?;
    file.write_all(b"0") // whoever writes
}

/// Whether this process has a single thread.
pub(in crate::sys) fn alone() -> io::Result<()> {
    match fs::read_dir("/proc/self/task")?.count() {
        1 => Ok(()),
        count => Err(io::Error::other(format!("the shim has {count} threads"))),
    }
}
