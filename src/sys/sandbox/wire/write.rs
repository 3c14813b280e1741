//! The writing half: numbers in little-endian, bytes after their length.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::sys::sandbox::Exit;
use crate::sys::sandbox::Mount;
use crate::sys::sandbox::Program;
use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::wire::TEXT_BYTES_MAX;

#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn number(&mut self, number: u32) {
        self.0.extend(number.to_le_bytes());
    }

    pub(super) fn signed(&mut self, number: i32) {
        self.0.extend(number.to_le_bytes());
    }

    pub(super) fn exit(&mut self, exit: Exit) {
        let (is_signal, number) = match exit {
            Exit::Code(code) => (false, code),
            Exit::Signal(signal) => (true, signal),
        };
        self.flag(is_signal);
        self.signed(number);
    }

    pub(super) fn flag(&mut self, flag: bool) {
        self.0.push(u8::from(flag));
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend((bytes.len() as u64).to_le_bytes());
        self.0.extend(bytes);
    }

    pub(super) fn path(&mut self, path: &Path) {
        self.bytes(path.as_os_str().as_bytes());
    }

    /// A text of an error, cut at `TEXT_BYTES_MAX`.
    pub(super) fn text(&mut self, text: &str) {
        self.bytes(&text.as_bytes()[..text.floor_char_boundary(TEXT_BYTES_MAX)]);
    }

    pub(super) fn list<T>(&mut self, items: &[T], item: fn(&mut Self, &T)) {
        self.0.extend((items.len() as u64).to_le_bytes());
        for each in items {
            item(self, each);
        }
    }

    pub(super) fn option<T>(&mut self, value: Option<&T>, put: fn(&mut Self, &T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            put(self, value);
        }
    }

    pub(super) fn mount(&mut self, mount: &Mount) {
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

    pub(super) fn program(&mut self, program: &Program) {
        let Program { argv, env, cwd } = program;
        self.list(argv, |to, word| to.bytes(word.as_bytes()));
        self.0.extend((env.len() as u64).to_le_bytes());
        for (key, value) in env {
            self.bytes(key.as_bytes());
            self.bytes(value.as_bytes());
        }
        self.path(cwd);
    }

    pub(super) fn error(&mut self, error: &SandboxError) {
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

    pub(super) fn failure(&mut self, kind: u32, words: &str, source: &io::Error) {
        self.number(kind);
        self.text(words);
        self.flag(source.raw_os_error().is_some());
        match source.raw_os_error() {
            Some(number) => self.signed(number),
            None => self.text(&source.to_string()),
        }
    }
}
