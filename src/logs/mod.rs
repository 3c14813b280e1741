//! Lines of output: framed from pipes, prefixed for people, kept as history.
//!
//! A thread of its own (`Pump`) reads every pipe, so that neither a slow disk
//! nor a stuck terminal holds up requests, health or stop. Bytes are never
//! changed: a line that is not UTF-8 is kept as it came. Nothing is dropped:
//! a full terminal queue makes the app wait, as `| cat` would.

mod history;
mod line;
mod output;
mod pump;
mod sink;
mod tail;

pub use history::{
    CLOSED_FILES_MAX, FILE_BYTES_MAX, FOLLOW_POLL_MS, History, HistoryError, Query, Record, follow,
    read,
};
pub use line::{Framer, LINE_BYTES_MAX, Piece};
pub use pump::{Labels, Pump, PumpError, Then, Voice};
pub use sink::{Paint, QUEUE_BYTES_MAX, Sink};
pub use tail::{TAIL_BYTES_MAX, Tail};

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Descriptor 1 of a process.
    Out,
    /// Descriptor 2 of a process.
    Err,
    /// `slug` itself: starts, exits, switches.
    Slug,
    /// The router: one line a request.
    Router,
}

impl Stream {
    /// As history writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Err => "err",
            Self::Slug => "slug",
            Self::Router => "router",
        }
    }

    fn parse(name: &[u8]) -> Option<Self> {
        [Self::Out, Self::Err, Self::Slug, Self::Router]
            .into_iter()
            .find(|stream| stream.name().as_bytes() == name)
    }
}
