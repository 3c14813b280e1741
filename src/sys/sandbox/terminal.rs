//! The pseudo-terminal of a sandbox: made in its own `/dev/pts`, so that it has
//! a name there, and so that no program can type into the operator's terminal.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::pty::OpenptFlags;
use rustix::stdio;
use rustix::termios::{self, OptionalActions};

use crate::sys::channel;
use crate::sys::sandbox::spec::Terminal;
use crate::sys::sandbox::wire::Report;

const OPENING: OpenptFlags = OpenptFlags::RDWR
    .union(OpenptFlags::NOCTTY)
    .union(OpenptFlags::CLOEXEC);

/// Makes the pseudo-terminal, puts it in the place of the streams that are to be one, and sends its other side to the
/// caller. What is returned keeps it open, whatever its programs close, for as long as the sandbox lives.
pub(super) fn make(wanted: Terminal, caller: BorrowedFd<'_>) -> std::io::Result<Option<OwnedFd>> {
    if !wanted.is_any() {
        return Ok(None);
    }
    let master = rustix::pty::openpt(OPENING)?;
    rustix::pty::unlockpt(&master)?;
    let terminal = rustix::pty::ioctl_tiocgptpeer(&master, OPENING)?;
    take_after(wanted, terminal.as_fd())?;
    let Terminal {
        stdin,
        stdout,
        stderr,
    } = wanted;
    if stdin {
        stdio::dup2_stdin(&terminal)?;
    }
    if stdout {
        stdio::dup2_stdout(&terminal)?;
    }
    if stderr {
        stdio::dup2_stderr(&terminal)?;
    }
    channel::send_with(caller, &Report::Terminal.encode(), &[master.as_fd()])?;
    Ok(Some(terminal))
}

/// The settings and the size of the terminal that it stands for, if it stands for one.
fn take_after(wanted: Terminal, terminal: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let Terminal { stdin, stdout, .. } = wanted;
    let like = if stdin {
        stdio::stdin()
    } else if stdout {
        stdio::stdout()
    } else {
        stdio::stderr()
    };
    let (Ok(settings), Ok(size)) = (termios::tcgetattr(like), termios::tcgetwinsize(like)) else {
        return Ok(());
    };
    termios::tcsetattr(terminal, OptionalActions::Now, &settings)?;
    termios::tcsetwinsize(terminal, size)
}

/// Begins a session, in the process that will be the program: with the pseudo-terminal, if there is one, as its own.
pub(super) fn take(wanted: Terminal) -> std::io::Result<()> {
    rustix::process::setsid()?;
    let Terminal { stdin, stdout, .. } = wanted;
    let terminal = if stdin {
        stdio::stdin()
    } else if stdout {
        stdio::stdout()
    } else {
        stdio::stderr()
    };
    if wanted.is_any() {
        rustix::process::ioctl_tiocsctty(terminal)?;
    }
    Ok(())
}
