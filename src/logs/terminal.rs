//! The terminal, or whatever standard output is.

use std::io::Write;
use std::sync::Arc;

use super::Batch;
use super::Form;
use super::Policy;
use super::Sink;
use super::Written;

/// How much is written at once, in bytes: a slow reader shows that it lives after each.
const WRITE_BYTES: usize = 32 * 1024;

/// A stream that somebody looks at.
#[derive(Debug)]
pub struct Terminal<W> {
    out: W,
    form: Form,
    shown: Vec<u8>,
}

impl<W: Write + Send> Terminal<W> {
    /// Writes to `out`.
    pub fn new(out: W, form: Form) -> Self {
        Self {
            out,
            form,
            shown: Vec::new(),
        }
    }

    fn try_write(&mut self, alive: &dyn Fn()) -> std::io::Result<()> {
        for part in self.shown.chunks(WRITE_BYTES) {
            self.out.write_all(part)?;
            alive();
        }
        self.out.flush()
    }
}

impl<W: Write + Send> Sink for Terminal<W> {
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
