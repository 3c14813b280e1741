//! What every place that lines go to can do, and what may happen there.

use std::sync::Arc;
use std::time::Duration;

use super::Batch;

/// What happens when a sink takes less than is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Nothing is read until there is room: the app waits, and no line is lost. A sink that takes nothing at all for
    /// `STUCK_AFTER` while another one takes lines no longer holds the app up: it misses lines, and is told how many.
    Block,
    /// The oldest lines that wait are dropped, and the sink is told how many.
    DropOldest,
}

impl Policy {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::DropOldest => "drop-oldest",
        }
    }
}

/// What came of a write.
#[derive(Debug)]
pub enum Written {
    /// All is out of the sink's hands.
    All,
    /// The sink could not write, has counted what it lost, and goes on. Why.
    Lost(String),
    /// The sink still holds what it was given: it is to be asked again, with nothing new, after this time. Why.
    Later(Duration, String),
    /// Nobody will ever read it again.
    Gone,
}

/// A place that lines go to. Called on a thread of its own, so it may wait.
pub trait Sink: Send {
    /// As messages about it name it: `the terminal`, `syslog+tcp://host:514`.
    fn name(&self) -> String;

    /// What happens when it is slow.
    fn policy(&self) -> Policy;

    /// Writes these, oldest first; none if it is only asked to go on with what it holds. To call `alive` after each
    /// part that went out is what tells a slow reader from none.
    fn write(&mut self, batches: &[Arc<Batch>], alive: &dyn Fn()) -> Written;

    /// Called now and then while there is nothing to write.
    fn tidy(&mut self) {}
}
