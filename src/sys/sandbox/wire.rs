//! What travels between the caller, the shim, the init and the program before
//! its exec: length-prefixed bytes, because paths and environments are bytes.
//!
//! Both ends are the same binary, so there is no version and no leniency: what
//! does not decode was not written by us.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::sys::sandbox::Exit;
use crate::sys::sandbox::Facts;
use crate::sys::sandbox::Mount;
use crate::sys::sandbox::Network;
use crate::sys::sandbox::Program;
use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::Scope;
use crate::sys::sandbox::Spec;
use crate::sys::sandbox::terminal::Seat;

/// The largest report or command in bytes: longer words of an error are cut.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// The longest text in an error: four of them fit a message.
const TEXT_BYTES_MAX: usize = 3 * 1024;

/// What the shim is told: the spec, and what only the caller knows.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) spec: Spec,
    pub(super) seat: Seat,
}

/// What the caller is told.
#[derive(Debug)]
pub(super) enum Report {
    /// The shim cloned the init.
    Init { pid: u32 },
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
    pub(super) fn encode(spec: &Spec, seat: Seat) -> Vec<u8> {
        let Spec {
            mounts,
            network,
            uid,
            program,
            terminal,
            prepare,
        } = spec;
        let mut to = Writer::default();
        to.number(seat as u32);
        to.list(mounts, Writer::mount);
        to.flag(*network == Network::None);
        to.number(*uid);
        to.program(program);
        to.flag(*terminal);
        to.option(prepare.as_ref(), |to, value| {
            to.bytes(value.to_string().as_bytes());
        });
        to.0
    }

    pub(super) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut from = Reader(bytes);
        let seat = match from.number()? {
            0 => Seat::Away,
            1 => Seat::Foreground,
            2 => Seat::Background,
            3 => Seat::Own,
            _ => return Err(garbled()),
        };
        let mounts = from.list(Reader::mount)?;
        let network = if from.flag()? {
            Network::None
        } else {
            Network::Host
        };
        let uid = from.number()?;
        let program = from.program()?;
        let terminal = from.flag()?;
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
            seat,
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

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u32) {
        self.0.extend(number.to_le_bytes());
    }

    fn signed(&mut self, number: i32) {
        self.0.extend(number.to_le_bytes());
    }

    fn flag(&mut self, flag: bool) {
        self.0.push(u8::from(flag));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend((bytes.len() as u64).to_le_bytes());
        self.0.extend(bytes);
    }

    fn path(&mut self, path: &Path) {
        self.bytes(path.as_os_str().as_bytes());
    }

    /// A text of an error, cut at `TEXT_BYTES_MAX`.
    fn text(&mut self, text: &str) {
        self.bytes(&text.as_bytes()[..text.floor_char_boundary(TEXT_BYTES_MAX)]);
    }

    fn list<T>(&mut self, items: &[T], item: fn(&mut Self, &T)) {
        self.0.extend((items.len() as u64).to_le_bytes());
        for each in items {
            item(self, each);
        }
    }

    fn option<T>(&mut self, value: Option<&T>, put: fn(&mut Self, &T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            put(self, value);
        }
    }

    fn mount(&mut self, mount: &Mount) {
        match mount {
            Mount::Bind {
                from,
                to,
                read_only,
            } => {
                self.number(0);
                self.path(from);
                self.path(to);
                self.flag(*read_only);
            }
            Mount::Overlay { lower, upper, to } => {
                self.number(1);
                self.list(lower, |writer, path| writer.path(path));
                self.option(upper.as_ref(), |writer, (upper, work)| {
                    writer.path(upper);
                    writer.path(work);
                });
                self.path(to);
            }
            Mount::Scratch { to } => {
                self.number(2);
                self.path(to);
            }
            Mount::File { to, bytes } => {
                self.number(3);
                self.path(to);
                self.bytes(bytes);
            }
            Mount::Private { to, files } => {
                self.number(4);
                self.path(to);
                self.0.extend((files.len() as u64).to_le_bytes());
                for (name, bytes) in files {
                    self.bytes(name.as_bytes());
                    self.bytes(bytes);
                }
            }
        }
    }

    fn program(&mut self, program: &Program) {
        let Program { argv, env, cwd } = program;
        self.list(argv, |to, word| to.bytes(word.as_bytes()));
        self.0.extend((env.len() as u64).to_le_bytes());
        for (key, value) in env {
            self.bytes(key.as_bytes());
            self.bytes(value.as_bytes());
        }
        self.path(cwd);
    }

    fn error(&mut self, error: &SandboxError) {
        match error {
            SandboxError::Refused {
                call,
                source,
                facts: _,
            } => self.failure(0, call, source),
            SandboxError::Overlay { to, source } => self.failure(1, &to.to_string_lossy(), source),
            SandboxError::Setup { step, source } => self.failure(2, step, source),
            SandboxError::NotExecutable { program, source } => self.failure(3, program, source),
            SandboxError::NotFound { program } => {
                self.number(4);
                self.text(program);
            }
            SandboxError::NoInterpreter {
                program,
                interpreter,
            } => {
                self.number(5);
                self.text(program);
                self.text(interpreter);
            }
            SandboxError::Prepare(words) => {
                self.number(6);
                self.text(words);
            }
        }
    }

    fn failure(&mut self, kind: u32, words: &str, source: &io::Error) {
        self.number(kind);
        self.text(words);
        self.flag(source.raw_os_error().is_some());
        match source.raw_os_error() {
            Some(number) => self.signed(number),
            None => self.text(&source.to_string()),
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk().ok_or_else(garbled)?;
        self.0 = tail;
        Ok(*head)
    }

    fn number(&mut self) -> io::Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn signed(&mut self) -> io::Result<i32> {
        self.array().map(i32::from_le_bytes)
    }

    fn size(&mut self) -> io::Result<usize> {
        usize::try_from(u64::from_le_bytes(self.array()?)).map_err(io::Error::other)
    }

    fn flag(&mut self) -> io::Result<bool> {
        let [flag] = self.array()?;
        Ok(flag != 0)
    }

    fn bytes(&mut self) -> io::Result<&'a [u8]> {
        let size = self.size()?;
        let (head, tail) = self.0.split_at_checked(size).ok_or_else(garbled)?;
        self.0 = tail;
        Ok(head)
    }

    fn path(&mut self) -> io::Result<PathBuf> {
        Ok(PathBuf::from(OsStr::from_bytes(self.bytes()?)))
    }

    fn word(&mut self) -> io::Result<OsString> {
        Ok(OsString::from_vec(self.bytes()?.to_vec()))
    }

    fn text(&mut self) -> io::Result<String> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    fn list<T>(&mut self, item: fn(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        let count = self.size()?;
        (0..count).map(|_| item(self)).collect()
    }

    fn option<T>(&mut self, value: fn(&mut Self) -> io::Result<T>) -> io::Result<Option<T>> {
        if self.flag()? {
            value(self).map(Some)
        } else {
            Ok(None)
        }
    }

    fn mount(&mut self) -> io::Result<Mount> {
        Ok(match self.number()? {
            0 => Mount::Bind {
                from: self.path()?,
                to: self.path()?,
                read_only: self.flag()?,
            },
            1 => Mount::Overlay {
                lower: self.list(Self::path)?,
                upper: self.option(|from| Ok((from.path()?, from.path()?)))?,
                to: self.path()?,
            },
            2 => Mount::Scratch { to: self.path()? },
            3 => Mount::File {
                to: self.path()?,
                bytes: self.bytes()?.to_vec(),
            },
            4 => Mount::Private {
                to: self.path()?,
                files: {
                    let files = self.list(|from| Ok((from.word()?, from.bytes()?.to_vec())))?;
                    BTreeMap::from_iter(files)
                },
            },
            _ => return Err(garbled()),
        })
    }

    fn program(&mut self) -> io::Result<Program> {
        let argv = self.list(Self::word)?;
        let env = self.list(|from| Ok((from.word()?, from.word()?)))?;
        Ok(Program {
            argv,
            env: BTreeMap::from_iter(env),
            cwd: self.path()?,
        })
    }

    fn error(&mut self) -> io::Result<SandboxError> {
        Ok(match self.number()? {
            0 => SandboxError::Refused {
                call: self.text()?,
                source: self.cause()?,
                facts: Facts::read(),
            },
            1 => SandboxError::Overlay {
                to: self.text()?.into(),
                source: self.cause()?,
            },
            2 => SandboxError::Setup {
                step: self.text()?,
                source: self.cause()?,
            },
            3 => SandboxError::NotExecutable {
                program: self.text()?,
                source: self.cause()?,
            },
            4 => SandboxError::NotFound {
                program: self.text()?,
            },
            5 => SandboxError::NoInterpreter {
                program: self.text()?,
                interpreter: self.text()?,
            },
            6 => SandboxError::Prepare(self.text()?),
            _ => return Err(garbled()),
        })
    }

    fn cause(&mut self) -> io::Result<io::Error> {
        if self.flag()? {
            Ok(io::Error::from_raw_os_error(self.signed()?))
        } else {
            Ok(io::Error::other(self.text()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        Spec {
            mounts: vec![
                Mount::Bind {
                    from: "/a".into(),
                    to: OsStr::from_bytes(b"/b\xff\n").into(),
                    read_only: true,
                },
                Mount::Overlay {
                    lower: vec!["/l,:\\".into()],
                    upper: Some(("/u".into(), "/w".into())),
                    to: "/o".into(),
                },
                Mount::Scratch { to: "/s".into() },
                Mount::Private {
                    to: "/p".into(),
                    files: BTreeMap::from([("NAME".into(), vec![1, 0, 255])]),
                },
                Mount::File {
                    to: "/f".into(),
                    bytes: vec![0, 255],
                },
            ],
            network: Network::None,
            uid: 7,
            program: Program {
                argv: vec!["a".into(), OsStr::from_bytes(b"\xff").into()],
                env: BTreeMap::from([("K".into(), OsStr::from_bytes(b"\xfe=").into())]),
                cwd: "/".into(),
            },
            terminal: true,
            prepare: Some(serde_json::json!({"exec_d": ["/x"]})),
        }
    }

    #[test]
    fn a_spec_of_any_bytes_arrives_as_it_was() {
        let order = Order::decode(&Order::encode(&spec(), Seat::Own)).unwrap();
        assert_eq!(format!("{:?}", order.spec), format!("{:?}", spec()));
        assert_eq!(order.seat, Seat::Own);
    }

    #[test]
    fn a_truncated_spec_is_an_error_at_every_length() {
        let bytes = Order::encode(&spec(), Seat::Away);
        for length in 0..bytes.len() {
            assert!(Order::decode(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn the_longest_error_fits_a_message() {
        let long = "é".repeat(MESSAGE_BYTES_MAX);
        let error = SandboxError::Setup {
            step: long.clone(),
            source: io::Error::other(long),
        };
        let bytes = Report::Failed(error).encode();
        assert!(bytes.len() <= MESSAGE_BYTES_MAX);
        assert!(matches!(
            Report::decode(&bytes).unwrap(),
            Report::Failed(SandboxError::Setup { .. })
        ));
    }

    #[test]
    fn an_error_keeps_its_number() {
        let error = SandboxError::NotExecutable {
            program: "x".into(),
            source: io::Error::from_raw_os_error(8),
        };
        let Report::Failed(SandboxError::NotExecutable { source, .. }) =
            Report::decode(&Report::Failed(error).encode()).unwrap()
        else {
            panic!("another report");
        };
        assert_eq!(source.raw_os_error(), Some(8));
    }
}
