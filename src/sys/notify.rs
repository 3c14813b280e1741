//! What a service manager is told: `sd_notify(3)`, by the socket that it named
//! in the environment. Without one, nothing is told.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// What a service manager says in the environment: no child is given it.
pub const VARIABLES: [&str; 3] = [SOCKET, WATCHDOG_MICROSECONDS, WATCHDOG_PROCESS];

const SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG_MICROSECONDS: &str = "WATCHDOG_USEC";
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";
/// How long a manager may leave its socket full, before a word to it is given up.
const PATIENCE: Duration = Duration::from_millis(200);

/// The way to a service manager.
#[derive(Debug, Default)]
pub struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// Reads what the environment says to the process `pid`: a path, or `@` and an abstract name. A socket of another
    /// kind (`vsock:…`) is an error.
    pub fn from_environment(env: &BTreeMap<OsString, OsString>, pid: u32) -> io::Result<Self> {
        let Some(name) = env.get(OsStr::new(SOCKET)).filter(|name| !name.is_empty()) else {
            return Ok(Self::default());
        };
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                let why = "neither a path nor the name of an abstract socket";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let number =
            |key: &str| -> Option<u64> { env.get(OsStr::new(key))?.to_str()?.parse().ok() };
        let is_for_us = match env.get(OsStr::new(WATCHDOG_PROCESS)) {
            None => true,
            Some(_) => number(WATCHDOG_PROCESS) == Some(u64::from(pid)),
        };
        let watchdog = number(WATCHDOG_MICROSECONDS).filter(|limit| *limit > 0 && is_for_us);
        Ok(Self {
            socket: Some((socket, address)),
            watchdog: watchdog.map(Duration::from_micros),
        })
    }

    /// Does anybody listen?
    pub fn is_wanted(&self) -> bool {
        self.socket.is_some()
    }

    /// The manager takes us for stuck, and starts us anew, if it hears no `WATCHDOG=1` for so long.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Says `words`, such as `READY=1`, each a line of its own.
    pub fn say(&self, words: &[String]) -> io::Result<()> {
        match &self.socket {
            None => Ok(()),
            Some((socket, address)) => socket
                .send_to_addr(words.join("\n").as_bytes(), address)
                .map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(vars: &[(&str, &str)]) -> BTreeMap<OsString, OsString> {
        let owned = |(key, value): &(&str, &str)| ((*key).into(), (*value).into());
        vars.iter().map(owned).collect()
    }

    #[test]
    fn a_watchdog_is_that_of_this_process() {
        let watchdog = |more: &[(&str, &str)]| {
            let vars = [&[(SOCKET, "@x")], more].concat();
            let notify = Notify::from_environment(&environment(&vars), 7).unwrap();
            notify.watchdog().map(|limit| limit.as_micros())
        };
        assert_eq!(watchdog(&[]), None);
        assert_eq!(
            watchdog(&[(WATCHDOG_MICROSECONDS, "5000000")]),
            Some(5_000_000)
        );
        for (limit, pid, expected) in [
            ("5", "7", Some(5)),
            ("5", "8", None),
            ("5", "x", None),
            ("0", "7", None),
            ("-1", "7", None),
        ] {
            let vars = [(WATCHDOG_MICROSECONDS, limit), (WATCHDOG_PROCESS, pid)];
            assert_eq!(watchdog(&vars), expected, "{vars:?}");
        }
    }

    #[test]
    fn a_socket_is_a_path_or_an_abstract_name() {
        let read = |vars: &[(&str, &str)]| Notify::from_environment(&environment(vars), 7);
        assert!(!read(&[]).unwrap().is_wanted());
        assert!(!read(&[(SOCKET, "")]).unwrap().is_wanted());
        assert!(read(&[(SOCKET, "/run/x")]).unwrap().is_wanted());
        assert!(read(&[(SOCKET, "@x")]).unwrap().is_wanted());
        assert!(read(&[(SOCKET, "vsock:2:1234")]).is_err());
        assert!(read(&[(SOCKET, &format!("/{}", "x".repeat(200)))]).is_err());
        let none = Notify::default();
        none.say(&["READY=1".to_owned()]).unwrap();
        assert!(none.watchdog().is_none());
    }
}
