//! What travels between the caller, the shim, the init and the program before
//! its exec: length-prefixed bytes, because paths and environments are bytes.
//!
//! Both ends are the same binary, so there is no version and no leniency: what
//! does not decode was not written by us.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::io;

use crate::sys::sandbox::Exit;
use crate::sys::sandbox::Network;
use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::Scope;
use crate::sys::sandbox::Spec;
use crate::sys::sandbox::Terminal;
use read::Reader;
use write::Writer;

/// The largest report or command in bytes: longer words of an error are cut.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// The longest text in an error: four of them fit a message.
const TEXT_BYTES_MAX: usize = 3 * 1024;

/// What the shim is told.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) spec: Spec,
    /// To enter a running sandbox: which of its namespaces are not the caller's. None: to make one.
    pub(super) namespaces: Option<u32>,
}

/// What the caller is told.
#[derive(Debug)]
pub(super) enum Report {
    /// The shim cloned the init.
    Init { pid: u32 },
    /// The other side of the sandbox's terminal comes with this message.
    Terminal,
    /// The program was executed.
    Executed,
    /// It was not.
    Failed(SandboxError),
    /// The executed process ended.
    Ended(Exit),
}

/// What the init is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) signal: i32,
    pub(super) scope: Scope,
}

impl Order {
    pub(super) fn encode(spec: &Spec, namespaces: Option<u32>) -> Vec<u8> {
        let Spec {
            mounts,
            network,
            uid,
            program,
            terminal,
            prepare,
        } = spec;
        let mut to = Writer::default();
        to.option(namespaces.as_ref(), |to, flags| to.number(*flags));
        to.list(mounts, Writer::mount);
        to.flag(*network == Network::None);
        to.number(*uid);
        to.program(program);
        let Terminal {
            stdin,
            stdout,
            stderr,
        } = terminal;
        to.flag(*stdin);
        to.flag(*stdout);
        to.flag(*stderr);
        to.option(prepare.as_ref(), |to, value| {
            to.bytes(value.to_string().as_bytes());
        });
        to.0
    }

    pub(super) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut from = Reader(bytes);
        let namespaces = from.option(Reader::number)?;
        let mounts = from.list(Reader::mount)?;
        let network = if from.flag()? {
            Network::None
        } else {
            Network::Host
        };
        let uid = from.number()?;
        let program = from.program()?;
        let terminal = Terminal {
            stdin: from.flag()?,
            stdout: from.flag()?,
            stderr: from.flag()?,
        };
        let prepare =
            from.option(|from| serde_json::from_slice(from.bytes()?).map_err(io::Error::other))?;
        Ok(Self {
            spec: Spec {
                mounts,
                network,
                uid,
                program,
                terminal,
                prepare,
            },
            namespaces,
        })
    }
}

impl Report {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        match self {
            Self::Init { pid } => {
                to.number(0);
                to.number(*pid);
            }
            Self::Terminal => to.number(5),
            Self::Executed => to.number(1),
            Self::Failed(error) => {
                to.number(2);
                to.error(error);
            }
            Self::Ended(Exit::Code(code)) => {
                to.number(3);
                to.signed(*code);
            }
            Self::Ended(Exit::Signal(signal)) => {
                to.number(4);
                to.signed(*signal);
            }
        }
        to.0
    }

    /// Called by the caller alone: the facts of a refusal are read here.
    pub(super) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut from = Reader(bytes);
        Ok(match from.number()? {
            0 => Self::Init {
                pid: from.number()?,
            },
            5 => Self::Terminal,
            1 => Self::Executed,
            2 => Self::Failed(from.error()?),
            3 => Self::Ended(Exit::Code(from.signed()?)),
            4 => Self::Ended(Exit::Signal(from.signed()?)),
            _ => return Err(garbled()),
        })
    }
}

impl Command {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut to = Writer::default();
        to.signed(self.signal);
        to.flag(self.scope == Scope::All);
        to.0
    }

    pub(super) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut from = Reader(bytes);
        let signal = from.signed()?;
        let scope = if from.flag()? {
            Scope::All
        } else {
            Scope::Leader
        };
        Ok(Self { signal, scope })
    }
}

fn garbled() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a message that the sandbox never writes",
    )
}
