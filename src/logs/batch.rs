//! Lines that came together: of one source, by one stream, at one time. Made
//! once, and shared by all sinks; each writes them in its own form.

use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use super::Piece;
use super::Stream;
use crate::ident::ReleaseVersion;
use crate::sys::clock::Timestamp;

/// What a batch costs beside its text, in bytes: many short ones must not outgrow a limit of bytes.
const OVERHEAD_BYTES: usize = 192;

/// Who says something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// `web.1`, `slug`, `router`.
    pub source: String,
    /// The release it belongs to.
    pub release: Option<ReleaseVersion>,
}

impl Labels {
    /// Of `slug` itself.
    pub fn slug() -> Self {
        Self {
            source: "slug".to_owned(),
            release: None,
        }
    }

    /// Of the router.
    pub fn router() -> Self {
        Self {
            source: "router".to_owned(),
            release: None,
        }
    }
}

/// Lines with what is known of them all.
#[derive(Debug)]
pub struct Batch {
    /// When they were read.
    pub at: Timestamp,
    /// Who said them.
    pub labels: Arc<Labels>,
    /// How they were said.
    pub stream: Stream,
    /// It is one line, which goes on in the next batch of this source and stream.
    pub cut: bool,
    text: Box<[u8]>,
    count: u64,
}

impl Batch {
    /// What a framer passed on.
    pub fn new(at: Timestamp, labels: &Arc<Labels>, stream: Stream, piece: Piece<'_>) -> Self {
        Self {
            at,
            labels: Arc::clone(labels),
            stream,
            cut: piece.cut,
            text: piece.bytes.into(),
            count: memchr::memchr_iter(b'\n', piece.bytes).count() as u64 + 1,
        }
    }

    /// Each line, without its newline; at least one.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        let ends = memchr::memchr_iter(b'\n', &self.text).chain([self.text.len()]);
        ends.map(move |end| {
            let line = &self.text[from..end];
            from = end + 1;
            line
        })
    }

    /// How many lines there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What it takes of a limit, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.text.len() + OVERHEAD_BYTES
    }

    /// Appends each line between `prefix` and `end`.
    pub(super) fn write_lines(&self, prefix: &[u8], end: &[u8], out: &mut Vec<u8>) {
        for line in self.lines() {
            out.reserve(prefix.len() + line.len() + end.len());
            out.extend_from_slice(prefix);
            out.extend_from_slice(line);
            out.extend_from_slice(end);
        }
    }
}
