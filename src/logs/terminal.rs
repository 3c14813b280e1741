//! The terminal, or whatever standard output is.

use std::io::Write;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::FileType;

use super::Batch;
use super::Form;
use super::Policy;
use super::Sink;
use super::Written;

/// How much is written at once to what somebody reads, in bytes: after each, a slow reader has shown that it lives.
const WRITE_BYTES: usize = 4096;

/// A stream that somebody looks at.
#[derive(Debug)]
pub struct Terminal<W> {
    out: W,
    form: Form,
    write_bytes: usize,
    shown: Vec<u8>,
}

impl<W: Write + AsFd + Send> Terminal<W> {
    /// Writes to `out`.
    pub fn new(out: W, form: Form) -> Self {
        let about = rustix::fs::fstat(&out);
        let is_file = about.is_ok_and(|it| FileType::from_raw_mode(it.st_mode).is_file());
        Self {
            out,
            form,
            write_bytes: if is_file { usize::MAX } else { WRITE_BYTES },
            shown: Vec::new(),
        }
    }

    fn try_write(&mut self, alive: &dyn Fn()) -> std::io::Result<()> {
        for part in self.shown.chunks(self.write_bytes) {
            self.out.write_all(part)?;
            alive();
        }
        self.out.flush()
    }
}

impl<W: Write + AsFd + Send> Sink for Terminal<W> {
    fn name(&self) -> String {
        "the terminal".to_owned()
    }

    fn policy(&self) -> Policy {
        Policy::Block
    }

    fn write(&mut self, batches: &[Arc<Batch>], alive: &dyn Fn()) -> Written {
        self.shown.clear();
        for batch in batches {
            self.form.write(batch, &mut self.shown);
        }
        match self.try_write(alive) {
            Ok(()) => Written::All,
            // Who looked has gone: what comes after that is for nobody.
            Err(_) => Written::Gone,
        }
    }
}
