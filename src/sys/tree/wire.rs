//! What travels between the caller, the fork server and an init. Both ends are
//! the same binary: what does not decode was not written by us.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::sys::channel;
use crate::sys::sandbox::Exit;
use crate::sys::sandbox::Program;

/// The largest message in bytes; the paths in one are at most half of it.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// What an init is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Looked up on the `PATH` of its environment. Its standard input is empty.
    pub program: Program,
    /// What asks the program to end when the caller is gone.
    pub stop_signal: i32,
    /// How long what the program leaves behind has to end before it is killed.
    pub grace: Duration,
}

/// What an init tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The program's process is there.
    Started {
        /// Its id.
        pid: u32,
    },
    /// The program could not be executed: nothing of it ran.
    NotExecuted {
        /// What could not be done, with its name in backticks.
        doing: String,
        /// The system's error number.
        errno: i32,
    },
    /// The program ended.
    Ended {
        /// How.
        exit: Exit,
        /// How many processes it left behind; they have been asked to end.
        left: u32,
    },
    /// Nothing of the tree is left, but for `left`.
    Empty {
        /// How many of those that the program left behind had to be killed.
        killed: u32,
        /// How many could not be: they are another user's.
        left: u32,
    },
    /// The init has ended. Without `Empty` before it: it was killed.
    Gone,
}

/// Whom a signal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whom {
    /// The program's process.
    Leader,
    /// Its process group.
    Group,
}

/// What the caller tells an init.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Command {
    Signal { signal: i32, whom: Whom },
    Kill,
}

/// A report as it travels; `Gone` is the end of the socket.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Told {
    Init { pid: u32 },
    Started { pid: u32 },
    NotExecuted { doing: String, errno: i32 },
    Exited { code: i32, left: u32 },
    Signalled { signal: i32, left: u32 },
    Empty { killed: u32, left: u32 },
}

impl Told {
    pub(super) fn ended(exit: Exit, left: u32) -> Self {
        match exit {
            Exit::Code(code) => Self::Exited { code, left },
            Exit::Signal(signal) => Self::Signalled { signal, left },
        }
    }
}

/// Sends a message; one to an end that is gone is lost, which its sender learns from the socket.
pub(super) fn tell(socket: BorrowedFd<'_>, message: &impl Serialize) {
    if let Ok(bytes) = serde_json::to_vec(message) {
        let _ = channel::send(socket, &bytes);
    }
}

/// What a message says.
pub(super) fn read<'a, T: Deserialize<'a>>(message: &'a [u8]) -> io::Result<T> {
    serde_json::from_slice(message).map_err(io::Error::other)
}

impl Order {
    /// Texts that each end with NUL, which none of them can hold: numbers, the folder, arguments, assignments.
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        let Self {
            program: Program { argv, env, cwd },
            stop_signal,
            grace,
        } = self;
        let mut bytes = Vec::new();
        let mut put = |parts: &[&[u8]]| {
            let is_text = parts.iter().all(|part| !part.contains(&0));
            for part in parts {
                bytes.extend_from_slice(part);
            }
            bytes.push(0);
            let bad = || io::Error::new(io::ErrorKind::InvalidInput, "a NUL in its environment");
            is_text.then_some(()).ok_or_else(bad)
        };
        put(&[stop_signal.to_string().as_bytes()])?;
        put(&[grace.as_millis().to_string().as_bytes()])?;
        put(&[argv.len().to_string().as_bytes()])?;
        put(&[cwd.as_os_str().as_bytes()])?;
        argv.iter().try_for_each(|word| put(&[word.as_bytes()]))?;
        env.iter()
            .try_for_each(|(key, value)| put(&[key.as_bytes(), b"=", value.as_bytes()]))?;
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a damaged order");
        let mut texts = bytes
            .strip_suffix(b"\0")
            .ok_or_else(damaged)?
            .split(|byte| *byte == 0);
        let mut text = || texts.next().ok_or_else(damaged);
        let (stop_signal, grace_ms) = (number(text()?)?, number(text()?)?);
        let arguments: usize = number(text()?)?;
        let cwd = OsStr::from_bytes(text()?).into();
        let word = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
        let argv: Vec<OsString> = texts.by_ref().take(arguments).map(word).collect();
        let env = texts.map(|assignment| {
            let at = assignment.iter().position(|byte| *byte == b'=');
            let (key, value) = assignment.split_at(at.ok_or_else(damaged)?);
            Ok((word(key), word(&value[1..])))
        });
        Ok(Self {
            program: Program {
                argv,
                env: env.collect::<io::Result<_>>()?,
                cwd,
            },
            stop_signal,
            grace: Duration::from_millis(grace_ms),
        })
    }
}

fn number<T: std::str::FromStr>(text: &[u8]) -> io::Result<T> {
    let parsed = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a damaged order"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(env: &[(&str, &str)]) -> Order {
        Order {
            program: Program {
                argv: ["bash", "-c", "echo \n", ""].map(Into::into).to_vec(),
                env: env
                    .iter()
                    .map(|(key, value)| (key.into(), value.into()))
                    .collect(),
                cwd: "/a b".into(),
            },
            stop_signal: 15,
            grace: Duration::from_millis(1500),
        }
    }

    #[test]
    fn an_order_arrives_as_it_was() {
        for env in [
            &[][..],
            &[("A", "")],
            &[("A", "b=c\n"), ("BASH_FUNC_x%%", "() { :; }")],
        ] {
            let order = order(env);
            assert_eq!(Order::decode(&order.encode().unwrap()).unwrap(), order);
        }
    }

    #[test]
    fn a_nul_is_refused_and_damage_is_no_order() {
        assert!(order(&[("A", "b\0c")]).encode().is_err());
        for damaged in [&b""[..], b"15", b"15\0x\0", b"15\x001\x000\x00/\0A\0"] {
            assert!(Order::decode(damaged).is_err(), "{damaged:?}");
        }
    }
}
