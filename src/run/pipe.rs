//! A pipe for what a process says.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::Gid;
use rustix::fs::Uid;
use rustix::pty::OpenptFlags;
use rustix::termios::LocalModes;
use rustix::termios::OptionalActions;
use rustix::termios::OutputModes;

/// The reading and the writing end. They belong to the process's uid, or it could not open its own
/// `/dev/stdout`, which many programs that want a log file are given.
pub(super) fn pipe(uid: u32) -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    if rustix::process::getuid().as_raw() != uid {
        rustix::fs::fchown(&writer, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))?;
    }
    Ok((reader.into(), writer.into()))
}

/// A terminal in the place of a pipe: what is read from, and what is written to. A line ends as it does in a pipe, by a
/// newline alone, and nothing that is written comes back.
pub(super) fn terminal(uid: u32) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let reader = rustix::pty::openpt(flags)?;
    rustix::pty::unlockpt(&reader)?;
    let writer = rustix::pty::ioctl_tiocgptpeer(&reader, flags)?;
    let mut settings = rustix::termios::tcgetattr(&writer)?;
    settings.output_modes.remove(OutputModes::ONLCR);
    settings.local_modes.remove(LocalModes::ECHO);
    rustix::termios::tcsetattr(&writer, OptionalActions::Now, &settings)?;
    if rustix::process::getuid().as_raw() != uid {
        rustix::fs::fchown(&writer, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))?;
    }
    Ok((reader, writer))
}
