//! Lines, as the terminal and history get them.

use super::History;
use super::Labels;
use super::Paint;
use super::Piece;
use super::Record;
use super::Sink;
use super::Stream;
use crate::sys::clock::Timestamp;

/// Both sinks, and the buffers that are made for them.
pub(super) struct Output {
    sink: Sink,
    history: Option<History>,
    shown: Vec<u8>,
    kept: Vec<u8>,
    lines: u64,
    /// The last append succeeded: a failure is told once, not a line at a time.
    is_keeping: bool,
}

impl Output {
    pub(super) fn new(sink: Sink, history: Option<History>) -> Self {
        Self {
            sink,
            history,
            shown: Vec::new(),
            kept: Vec::new(),
            lines: 0,
            is_keeping: true,
        }
    }

    /// Writes what `pieces` passes on: one clock read, one buffer and one write a sink.
    pub(super) fn write(
        &mut self,
        labels: &Labels,
        stream: Stream,
        pieces: impl FnOnce(&mut dyn FnMut(Piece<'_>)),
    ) {
        let now = Timestamp::now();
        let at = now.to_string();
        let prefix = prefix(&at, &labels.source, self.sink.paint());
        let (shown, kept, lines) = (&mut self.shown, &mut self.kept, &mut self.lines);
        let is_kept = self.history.is_some();
        pieces(&mut |piece| {
            shown.extend_from_slice(&prefix);
            shown.extend_from_slice(piece.bytes);
            shown.extend_from_slice(if piece.cut {
                " …\n".as_bytes()
            } else {
                b"\n"
            });
            if is_kept {
                let (source, release) = (&labels.source, labels.release);
                Record {
                    at: &at,
                    release,
                    source,
                    stream,
                    cut: piece.cut,
                    text: piece.bytes,
                }
                .write(kept);
                *lines += 1;
            }
        });
        self.keep(now);
        self.sink.push(std::mem::take(&mut self.shown));
    }

    fn keep(&mut self, now: Timestamp) {
        if let Some(history) = &mut self.history
            && !self.kept.is_empty()
        {
            let kept = history.append(&self.kept, self.lines, now);
            if let (Err(error), true) = (&kept, self.is_keeping) {
                let prefix = prefix(&now.to_string(), "slug", self.sink.paint());
                let why = std::error::Error::source(error)
                    .map(ToString::to_string)
                    .unwrap_or_default();
                self.shown.extend_from_slice(&prefix);
                self.shown.extend_from_slice(
                    format!("log history is not kept: {error}: {why}\n").as_bytes(),
                );
            }
            self.is_keeping = kept.is_ok();
        }
        self.kept.clear();
        self.lines = 0;
    }
}

/// `HH:MM:SS.micro web.1 | `, in UTC.
fn prefix(at: &str, source: &str, paint: Paint) -> Vec<u8> {
    let time = at.get(11..26).unwrap_or(at);
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
