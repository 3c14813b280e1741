//! Sockets that a service manager opened for this process: `sd_listen_fds(3)`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use rustix::io::FdFlags;
use thiserror::Error;

/// The variables by which it says so: for this process, and for no child.
pub const LISTEN_VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];
/// Descriptors 0 to 2 are the standard streams.
const FIRST: u32 = 3;
/// The most that are taken.
pub const SOCKETS_MAX: u32 = 64;

/// What was handed over is not as `sd_listen_fds(3)` says.
#[derive(Debug, Error)]
pub enum BadInherited {
    /// `LISTEN_FDS` is no number of descriptors.
    #[error("LISTEN_FDS is `{0}`, not a number from 0 to {SOCKETS_MAX}")]
    Count(String),
    /// One of them is not open.
    #[error("LISTEN_FDS is {count}, and descriptor {number} is not open")]
    NotOpen {
        /// What `LISTEN_FDS` says.
        count: u32,
        /// Which.
        number: u32,
    },
}

/// The sockets for the process `pid`, with their names (`LISTEN_FDNAMES`; systemd names each after its unit). None if
/// the variables are for another process. They stay open as long as this process, and no child gets them.
pub fn sockets(
    variables: &BTreeMap<OsString, OsString>,
    pid: u32,
) -> Result<Vec<(OwnedFd, String)>, BadInherited> {
    let text = |name: &str| {
        let value = variables.get(OsStr::new(name));
        value.map(|value| value.to_string_lossy().into_owned())
    };
    let Some(count) = text("LISTEN_FDS").filter(|_| text("LISTEN_PID") == Some(pid.to_string()))
    else {
        return Ok(Vec::new());
    };
    let count = count
        .parse()
        .ok()
        .filter(|count| *count <= SOCKETS_MAX)
        .ok_or(BadInherited::Count(count))?;
    let names = text("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let take = |number: u32| {
        let socket = copy_of(number).map_err(|_| BadInherited::NotOpen { count, number })?;
        Ok((socket, names.next().unwrap_or_default().to_owned()))
    };
    (FIRST..FIRST + count).map(take).collect()
}

/// A descriptor of our own for the same socket. The one that was handed over stays, for whoever else might name it by
/// its number, and is closed by the next exec.
fn copy_of(number: u32) -> io::Result<OwnedFd> {
    let number = i32::try_from(number).map_err(io::Error::other)?;
    #[expect(unsafe_code, reason = "a number is all that an exec leaves")]
    // SAFETY: it is not -1, and used for two calls alone, which look the number up and say so where it is not open.
    let handed = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(handed, FdFlags::CLOEXEC)?;
    Ok(rustix::io::fcntl_dupfd_cloexec(
        handed,
        FIRST.cast_signed(),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(count: &str, pid: &str) -> Result<usize, String> {
        let variables = [("LISTEN_FDS", count), ("LISTEN_PID", pid)]
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        sockets(&variables.into(), 77)
            .map(|sockets| sockets.len())
            .map_err(|bad| bad.to_string())
    }

    #[test]
    fn sockets_for_another_process_are_none_and_a_count_that_is_none_is_refused() {
        assert_eq!(check("3", "78"), Ok(0));
        assert_eq!(check("0", "77"), Ok(0));
        for bad in ["", "-1", "x", "65"] {
            assert!(check(bad, "77").is_err_and(|text| text.contains("LISTEN_FDS")));
        }
        assert_eq!(sockets(&BTreeMap::new(), 77).unwrap().len(), 0);
    }
}
