//! The reading half: refuses whatever the writing half never writes.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use crate::sys::sandbox::Exit;
use crate::sys::sandbox::Facts;
use crate::sys::sandbox::Mount;
use crate::sys::sandbox::Program;
use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::wire::garbled;

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk().ok_or_else(garbled)?;
        self.0 = tail;
        Ok(*head)
    }

    pub(super) fn number(&mut self) -> io::Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn signed(&mut self) -> io::Result<i32> {
        self.array().map(i32::from_le_bytes)
    }

    pub(super) fn size(&mut self) -> io::Result<usize> {
        usize::try_from(u64::from_le_bytes(self.array()?)).map_err(io::Error::other)
    }

    pub(super) fn exit(&mut self) -> io::Result<Exit> {
        let is_signal = self.flag()?;
        let number = self.signed()?;
        Ok(if is_signal {
            Exit::Signal(number)
        } else {
            Exit::Code(number)
        })
    }

    pub(super) fn flag(&mut self) -> io::Result<bool> {
        let [flag] = self.array()?;
        Ok(flag != 0)
    }

    pub(super) fn bytes(&mut self) -> io::Result<&'a [u8]> {
        let size = self.size()?;
        let (head, tail) = self.0.split_at_checked(size).ok_or_else(garbled)?;
        self.0 = tail;
        Ok(head)
    }

    pub(super) fn path(&mut self) -> io::Result<PathBuf> {
        Ok(PathBuf::from(OsStr::from_bytes(self.bytes()?)))
    }

    pub(super) fn word(&mut self) -> io::Result<OsString> {
        Ok(OsString::from_vec(self.bytes()?.to_vec()))
    }

    pub(super) fn text(&mut self) -> io::Result<String> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    pub(super) fn list<T>(&mut self, item: fn(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        let count = self.size()?;
        (0..count).map(|_| item(self)).collect()
    }

    pub(super) fn option<T>(
        &mut self,
        value: fn(&mut Self) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        if self.flag()? {
            value(self).map(Some)
        } else {
            Ok(None)
        }
    }

    pub(super) fn mount(&mut self) -> io::Result<Mount> {
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

    pub(super) fn program(&mut self) -> io::Result<Program> {
        let argv = self.list(Self::word)?;
        let env = self.list(|from| Ok((from.word()?, from.word()?)))?;
        Ok(Program {
            argv,
            env: BTreeMap::from_iter(env),
            cwd: self.path()?,
        })
    }

    pub(super) fn error(&mut self) -> io::Result<SandboxError> {
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

    pub(super) fn cause(&mut self) -> io::Result<io::Error> {
        if self.flag()? {
            Ok(io::Error::from_raw_os_error(self.signed()?))
        } else {
            Ok(io::Error::other(self.text()?))
        }
    }
}
