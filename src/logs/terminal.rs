//! The terminal, or whatever standard output is: lines for people.

use std::io::Write;
use std::sync::Arc;

use super::Batch;
use super::Policy;
use super::Sink;
use super::Written;
use crate::sys::clock::Timestamp;

/// How much is written at once, in bytes: a slow reader shows that it lives after each.
const WRITE_BYTES: usize = 32 * 1024;

/// Colours are for terminals, and only when asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// The bytes alone.
    Plain,
    /// The prefix in a colour of the process's own.
    Colour,
}

/// Lines as `20:15:00.000001 web.1 | text`, the time in UTC.
#[derive(Debug)]
pub struct Terminal<W> {
    out: W,
    paint: Paint,
    shown: Vec<u8>,
}

impl<W: Write + Send> Terminal<W> {
    /// Writes to `out`.
    pub fn new(out: W, paint: Paint) -> Self {
        Self {
            out,
            paint,
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
            let prefix = prefix(batch.at, &batch.labels.source, self.paint);
            let end = if batch.cut { " …\n" } else { "\n" };
            batch.write_lines(&prefix, end.as_bytes(), &mut self.shown);
        }
        match self.try_write(alive) {
            Ok(()) => Written::All,
            // Who looked has gone: what comes after that is for nobody.
            Err(_) => Written::Gone,
        }
    }
}

/// `HH:MM:SS.micro web.1 | `, in UTC.
fn prefix(at: Timestamp, source: &str, paint: Paint) -> Vec<u8> {
    let at = at.to_string();
    let time = at.get(11..26).unwrap_or(&at);
    match paint {
        Paint::Plain => format!("{time} {source} | ").into_bytes(),
        Paint::Colour => format!("\x1b[{}m{time} {source} |\x1b[0m ", colour(source)).into_bytes(),
    }
}

/// The same process always has the same one of the six colours that read well on dark and on light.
fn colour(source: &str) -> u32 {
    if source == "slug" || source == "router" {
        return 90; // grey
    }
    31 + source.bytes().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    }) % 6
}
