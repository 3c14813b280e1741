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
use crate::sys::sandbox::Limits;
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
    /// An errand ended.
    Errand { id: u32, exit: Exit },
}

/// What the init is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Send a signal.
    Signal { signal: i32, scope: Scope },
    /// Run a line by the shell, beside the program.
    Errand { id: u32, line: String },
    /// Kill what an errand runs.
    EndErrand { id: u32 },
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
            limits,
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
        let Limits { nofile, cgroup } = limits;
        to.option(nofile.as_ref(), |to, nofile| {
            to.bytes(&nofile.to_le_bytes());
        });
        to.option(cgroup.as_ref(), |to, cgroup| to.path(cgroup));
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
        let nofile = from.option(|from| {
            let bytes = from.bytes()?.try_into().map_err(io::Error::other)?;
            Ok(u64::from_le_bytes(bytes))
        })?;
        let limits = Limits {
            nofile,
            cgroup: from.option(Reader::path)?,
        };
        Ok(Self {
            spec: Spec {
                mounts,
                network,
                uid,
                program,
                terminal,
                prepare,
                limits,
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
            Self::Ended(exit) => {
                to.number(3);
                to.exit(*exit);
            }
            Self::Errand { id, exit } => {
                to.number(4);
                to.number(*id);
                to.exit(*exit);
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
            3 => Self::Ended(from.exit()?),
            4 => Self::Errand {
                id: from.number()?,
                exit: from.exit()?,
            },
            _ => return Err(garbled()),
        })
    }
}

impl Command {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        match self {
            Self::Signal { signal, scope } => {
                to.number(0);
                to.signed(*signal);
                to.flag(*scope == Scope::All);
            }
            Self::Errand { id, line } => {
                to.number(1);
                to.number(*id);
                to.bytes(line.as_bytes());
            }
            Self::EndErrand { id } => {
                to.number(2);
                to.number(*id);
            }
        }
        to.0
    }

    pub(super) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut from = Reader(bytes);
        Ok(match from.number()? {
            0 => Self::Signal {
                signal: from.signed()?,
                scope: if from.flag()? {
                    Scope::All
                } else {
                    Scope::Leader
                },
            },
            1 => Self::Errand {
                id: from.number()?,
                line: String::from_utf8(from.bytes()?.to_vec()).map_err(io::Error::other)?,
            },
            2 => Self::EndErrand { id: from.number()? },
            _ => return Err(garbled()),
        })
    }
}

fn garbled() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a message that the sandbox never writes",
    )
}
