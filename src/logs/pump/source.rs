//! A process whose pipes are read, and one of its pipes.

use std::fs::File;
use std::time::Instant;

use super::Then;
use crate::logs::Framer;
use crate::logs::Stream;
use crate::logs::Voice;

/// One pipe.
pub(super) struct Pipe {
    pub(super) file: File,
    pub(super) framer: Framer,
    pub(super) stream: Stream,
    /// Whose it is.
    pub(super) voice: u64,
    /// When something was read last.
    pub(super) read_at: Option<Instant>,
    /// How many reads in a row found nothing.
    pub(super) quiet: u32,
    /// It is read at each tick, and epoll does not watch it.
    pub(super) is_busy: bool,
}

impl Pipe {
    pub(super) fn is_empty(&self) -> bool {
        rustix::io::ioctl_fionread(&self.file).is_ok_and(|bytes| bytes == 0)
    }
}

/// Who writes to the pipes.
pub(super) struct Source {
    pub(super) voice: Voice,
    /// How many of its pipes are open.
    pub(super) open: usize,
    /// Its end is told, apart from the end of its pipes.
    pub(super) is_process: bool,
    pub(super) ended: Option<Ending>,
}

/// How a process ended.
pub(super) struct Ending {
    pub(super) farewell: String,
    pub(super) at: Instant,
    pub(super) then: Option<Then>,
}
