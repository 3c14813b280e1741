//! What the supervisor and a router's process tell each other: JSON, a message each.
//!
//! After an upgrade of the supervisor the two may be of different versions: what one does not know, it ignores.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::router::table::Target;
use crate::sys::channel;
use crate::sys::channel::Patience;
use crate::sys::channel::Received;

/// The longest message, in bytes: a table of a thousand targets. What the kernel keeps for a reader is more.
const MESSAGE_BYTES_MAX: usize = 128 * 1024;

/// What a router's process is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Order {
    /// The first: serve, with these threads, at the listeners that come with it as descriptors.
    Serve {
        threads: usize,
        /// As they are typed.
        trusted: Vec<String>,
    },
    /// Replace the table; answered by `Report::Routed`.
    Route {
        number: u64,
        targets: Vec<Target>,
        hold: bool,
    },
    /// Answered by `Report::Idle`.
    WhenIdle { target: u64 },
    /// Answer every request with this page, or none any more.
    Maintain { page: Option<String> },
    /// End what is in flight at that target.
    Cut { target: u64 },
    /// Take no new connection; go on with those that are there for as long as they last, and end with the last.
    Retire,
    /// Take no new connection; end each after its request, and end with the last.
    Close,
}

/// What a router's process tells.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Report {
    /// It serves.
    Serving,
    /// It cannot serve, and ends.
    Failed { why: String },
    /// Every request from now on is routed by that table, or a later one.
    Routed { number: u64 },
    /// No request is in flight at that target.
    Idle { target: u64 },
}

/// What was received.
pub(super) enum Heard<T> {
    Message(T, Vec<OwnedFd>),
    /// It has no meaning here: the other end is newer.
    Unknown,
    Closed,
}

/// Sends one message, waiting for room.
pub(super) fn tell<T: Serialize>(
    channel: BorrowedFd<'_>,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message).map_err(io::Error::other)?;
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "a message to the router of more than {MESSAGE_BYTES_MAX} bytes"
        )));
    }
    channel::send_with(channel, &bytes, fds)
}

/// Waits for one message.
pub(super) fn hear<T: DeserializeOwned>(channel: BorrowedFd<'_>) -> io::Result<Heard<T>> {
    match channel::receive(channel, Patience::Wait, MESSAGE_BYTES_MAX)? {
        Received::Message(bytes, fds) => Ok(serde_json::from_slice(&bytes)
            .map_or(Heard::Unknown, |message| Heard::Message(message, fds))),
        Received::Nothing | Received::Closed => Ok(Heard::Closed),
    }
}
