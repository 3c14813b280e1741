//! A process whose output is read, as others hold it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use super::Labels;
use super::Tail;

/// A process whose output is read. Its last lines can be asked for at any time.
#[derive(Clone, Debug)]
pub struct Voice {
    id: u64,
    labels: Arc<Labels>,
    tail: Arc<Mutex<Tail>>,
}

impl Voice {
    pub(super) fn new(id: u64, labels: Labels, tail: Tail) -> Self {
        Self {
            id,
            labels: Arc::new(labels),
            tail: Arc::new(Mutex::new(tail)),
        }
    }

    /// Its number in the pump; the same after a hand-over.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Who it is.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Its last lines, as far as they have been read.
    pub fn tail(&self) -> String {
        self.lock().text()
    }

    pub(super) fn shared_labels(&self) -> &Arc<Labels> {
        &self.labels
    }

    /// A poisoned lock means a panic between two whole changes: the tail is sound.
    pub(super) fn lock(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
