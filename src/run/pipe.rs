//! A pipe for what a process says.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::Gid;
use rustix::fs::Uid;

/// The reading and the writing end. They belong to the process's uid, or it could not open its own
/// `/dev/stdout`, which many programs that want a log file are given.
pub(super) fn pipe(uid: u32) -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    if rustix::process::getuid().as_raw() != uid {
        rustix::fs::fchown(&writer, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))?;
    }
    Ok((reader.into(), writer.into()))
}
