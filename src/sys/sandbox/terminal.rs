//! Whose the terminal is: the caller's before, the program's for its life, the
//! caller's again.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::process::Pid;
use rustix::termios::{self, OptionalActions, Termios};

use crate::sys::syscall;

/// Where the program stands towards the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// In a session of its own, without one.
    Away = 0,
    /// In the caller's session, whose terminal it has the foreground of. A new session could
    /// take the terminal only from the caller, for good.
    Foreground = 1,
    /// In the caller's session, and in the background as the caller is.
    Background = 2,
    /// In a session of its own, whose terminal it is: a pseudo-terminal that the caller made.
    Own = 3,
}

/// The caller's terminal as it was before the program had it. Dropped, it is so again.
#[derive(Debug)]
pub(super) struct Lent {
    terminal: OwnedFd,
    foreground: Pid,
    settings: Termios,
}

/// Which seat a program takes whose standard input is `stdin`, and what to give back later.
pub(super) fn seat(stdin: BorrowedFd<'_>) -> io::Result<(Seat, Option<Lent>)> {
    let Ok(foreground) = termios::tcgetpgrp(stdin) else {
        return Ok((Seat::Own, None)); // not the terminal of the caller's session
    };
    if foreground != rustix::process::getpgrp() {
        return Ok((Seat::Background, None));
    }
    let settings = termios::tcgetattr(stdin)?;
    Ok((
        Seat::Foreground,
        Some(Lent {
            terminal: stdin.try_clone_to_owned()?,
            foreground,
            settings,
        }),
    ))
}

impl Drop for Lent {
    fn drop(&mut self) {
        // A process in the background, which the caller is now, is stopped by SIGTTOU for this.
        let Ok(before) = syscall::hold_back(syscall::ALL_SIGNALS) else {
            return;
        };
        // A terminal that hung up meanwhile has neither a foreground nor settings: nothing is lost.
        let _ = termios::tcsetpgrp(self.terminal.as_fd(), self.foreground);
        let _ = termios::tcsetattr(self.terminal.as_fd(), OptionalActions::Now, &self.settings);
        let _ = syscall::hold_back(before);
    }
}

/// Takes the seat, in the process that will be the program. Every signal is held back, so
/// SIGTTOU does not stop it here.
pub(super) fn take(seat: Seat) -> io::Result<()> {
    let stdin = rustix::stdio::stdin();
    match seat {
        Seat::Away => rustix::process::setsid().map(drop)?,
        Seat::Own => {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(stdin)?;
        }
        Seat::Background => rustix::process::setpgid(None, None)?,
        Seat::Foreground => {
            rustix::process::setpgid(None, None)?;
            termios::tcsetpgrp(stdin, rustix::process::getpid())?;
        }
    }
    Ok(())
}
