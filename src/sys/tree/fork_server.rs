//! The fork server: this same binary, executed afresh, so with a single thread
//! and nothing of its caller's memory. What it forks shares its memory until it
//! writes to it: fifty programs cost little more than one.

use std::fs;
use std::io::Read as _;
use std::io::Seek as _;
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::Mode;
use rustix::fs::OFlags;

use super::init;
use super::wire::Order;
use super::wire::Told;
use super::wire::tell;
use crate::sys::channel;
use crate::sys::channel::Patience;
use crate::sys::channel::Received;
use crate::sys::sandbox::alone;
use crate::sys::syscall;
use crate::sys::syscall::Descriptors;

/// The life of the fork server: `main` calls it, before any thread, when `argv[0]` is `FORK_SERVER`.
///
/// Its standard input is the socket to the caller, with whom it ends.
pub fn fork_server() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE, // not started by `ForkServer::start`: there is nobody to tell
    }
}

fn serve() -> std::io::Result<()> {
    syscall::hold_back(syscall::ALL_SIGNALS)?;
    syscall::default_all_signals(); // a SIGCHLD that is ignored would take the ends of children away
    syscall::close_from(3, Descriptors::Close)?;
    let caller = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open(
        Path::new("/dev/null"),
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::thread::set_name(c"slug-forkserver")?;
    rustix::process::setsid()?; // Ctrl-C and Ctrl-Z are the caller's to answer
    alone()?;
    // Ends with the caller's end of the socket.
    while let Some([order, lifeline, stdout, stderr]) = receive(caller.as_fd())? {
        let order = match read_order(order) {
            Ok(order) => order,
            Err(error) => {
                refuse(&lifeline, "read the order", &error);
                continue;
            }
        };
        // SAFETY: `alone` counted one thread, and nothing here starts another.
        #[expect(unsafe_code, reason = "a fork; see above")]
        let cloned = unsafe { syscall::clone(libc::CLONE_PARENT) };
        match cloned {
            Ok(Some(_)) => {}
            Ok(None) => {
                drop(caller);
                init::live(lifeline, &order, [stdout, stderr])
            }
            Err(error) => refuse(&lifeline, "start a process", &error),
        }
    }
    Ok(())
}

/// What a tree is to be made of; none once the caller is gone.
fn receive(caller: BorrowedFd<'_>) -> std::io::Result<Option<[OwnedFd; 4]>> {
    match channel::receive(caller, Patience::Wait, 1)? {
        Received::Message(_, fds) => {
            let count =
                |fds: Vec<OwnedFd>| std::io::Error::other(format!("{} descriptors", fds.len()));
            fds.try_into().map(Some).map_err(count)
        }
        Received::Nothing | Received::Closed => Ok(None),
    }
}

fn read_order(order: OwnedFd) -> std::io::Result<Order> {
    let mut file = fs::File::from(order);
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Order::decode(&bytes)
}

fn refuse(lifeline: &OwnedFd, doing: &str, error: &std::io::Error) {
    let (doing, errno) = (doing.to_owned(), error.raw_os_error().unwrap_or_default());
    tell(lifeline.as_fd(), &Told::NotExecuted { doing, errno });
}
