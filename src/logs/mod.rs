//! Lines of output: framed from pipes, prefixed for people, kept as history.
//!
//! A thread of its own (`Pump`) reads every pipe, and each sink has one that
//! writes, behind a bounded queue: neither a slow disk nor a stuck terminal
//! holds up requests, health, stop or another sink. Bytes are never changed:
//! a line that is not UTF-8 is kept as it came.

use serde::Deserialize;
use serde::Serialize;

mod access;
mod batch;
mod destination;
mod form;
mod history;
mod journald;
mod line;
mod outlet;
mod pump;
mod queue;
mod sink;
mod syslog;
mod tail;
mod terminal;
mod text_file;
mod transport;
mod voice;

pub use batch::{Batch, Labels};
pub use destination::{BadDestination, DESTINATION_FORMS, Destination};
pub use form::{Form, JSON_SCHEMA, Paint};
pub use history::{
    FILE_AGE_MAX, FILE_BYTES_MAX, FOLLOW_POLL_MS, History, HistoryError, KEEP_BYTES,
    KEEP_BYTES_MIN, Keep, Query, Record, follow, read,
};
pub use journald::{JOURNAL_SOCKET, Journald};
pub use line::{Framer, LINE_BYTES_MAX, Piece};
pub use pump::{Adopted, Handed, HandedPipe, HandedSource, HandedState, Pump, PumpError, Then};
pub use queue::{QUEUE_BYTES_MAX, STUCK_AFTER};
pub use sink::{Policy, Sink, Written};
pub use syslog::{DATAGRAM_TEXT_BYTES_MAX, Syslog};
pub use tail::{TAIL_BYTES_MAX, Tail};
pub use terminal::Terminal;
pub use text_file::TextFile;
pub use transport::Service;
pub use voice::Voice;

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
