//! What waits for one sink: bounded, whoever is slow.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use super::Batch;
use super::Policy;

/// How much may wait for one sink, in bytes. Then its policy decides.
pub const QUEUE_BYTES_MAX: usize = 512 * 1024;
/// After how long without a byte taken a full sink counts as stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(5);
/// How much a sink is given at once, in bytes, at least one batch: it bounds what a stuck one has in hand.
const TAKE_BYTES: usize = 128 * 1024;

/// Batches on their way to one sink.
#[derive(Debug)]
pub(super) struct Queue {
    policy: Policy,
    state: Mutex<State>,
    changed: Condvar,
    /// The pump waits for room: it is to be woken when there is some.
    is_awaited: AtomicBool,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Arc<Batch>>,
    /// Of those that wait and those in hand.
    bytes: usize,
    in_hand: usize,
    lines_in_hand: u64,
    /// Lines, since the sink was told last.
    dropped: u64,
    /// When a byte was taken last, or something came after nothing was there.
    alive_at: Instant,
    is_idle: bool,
    closed: bool,
    ended: bool,
    /// Lines that were not written when it ended.
    unwritten: u64,
}

/// How long nothing may be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hold {
    /// Until there is room, or then.
    Until(Instant),
    /// Until there is room.
    Always,
}

/// What the sink's thread is to do.
pub(super) enum Taken {
    /// Write these; so many lines before them were dropped.
    Batches(Vec<Arc<Batch>>, u64),
    /// Nothing came for a while.
    Nothing,
    /// Closed and empty, or given up.
    End,
}

impl Queue {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                bytes: 0,
                in_hand: 0,
                lines_in_hand: 0,
                dropped: 0,
                alive_at: Instant::now(),
                is_idle: false,
                closed: false,
                ended: false,
                unwritten: 0,
            }),
            changed: Condvar::new(),
            is_awaited: AtomicBool::new(false),
        }
    }

    /// A poisoned lock means a panic between two whole changes: the state is sound.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a batch; never waits. Whoever reads a process asks `holds_back` before, so that a blocking sink's queue
    /// outgrows its limit by what one read and `slug` itself say; past twice the limit it drops as any other.
    pub(super) fn push(&self, batch: &Arc<Batch>) {
        let mut state = self.lock();
        if state.ended {
            return;
        }
        if state.bytes == 0 {
            state.alive_at = Instant::now();
        }
        state.bytes += batch.cost();
        state.waiting.push_back(Arc::clone(batch));
        let limit = match self.policy {
            Policy::Block => 2 * QUEUE_BYTES_MAX,
            Policy::DropOldest => QUEUE_BYTES_MAX,
        };
        while state.bytes > limit
            && let Some(oldest) = state.waiting.pop_front()
        {
            state.bytes -= oldest.cost();
            state.dropped += oldest.count();
        }
        if state.is_idle {
            state.is_idle = false;
            self.changed.notify_all();
        }
    }

    /// Whether nothing may be read because of this sink.
    pub(super) fn holds_back(&self, is_only: bool) -> Option<Hold> {
        if self.policy == Policy::DropOldest {
            return None;
        }
        let state = self.lock();
        if state.ended || state.bytes < QUEUE_BYTES_MAX {
            return None;
        }
        let until = state.alive_at + STUCK_AFTER;
        if !is_only && until <= Instant::now() {
            return None;
        }
        self.is_awaited.store(true, Ordering::Relaxed);
        Some(if is_only {
            Hold::Always
        } else {
            Hold::Until(until)
        })
    }

    /// The sink took something.
    pub(super) fn alive(&self) {
        self.lock().alive_at = Instant::now();
    }

    /// What is to be written next; waits for it at most `patience`.
    pub(super) fn take(&self, patience: Duration) -> Taken {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if state.ended || (state.closed && state.waiting.is_empty()) {
                return Taken::End;
            }
            if !state.waiting.is_empty() {
                return state.hand_out();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::Nothing;
            }
            state.is_idle = true;
            state = self.wait(state, left);
        }
    }

    /// What was taken is out of the sink's hands. Says whether the pump waits for that.
    pub(super) fn done(&self) -> bool {
        let mut state = self.lock();
        state.bytes -= state.in_hand;
        state.in_hand = 0;
        state.lines_in_hand = 0;
        state.alive_at = Instant::now();
        state.bytes < QUEUE_BYTES_MAX / 2 && self.is_awaited.swap(false, Ordering::Relaxed)
    }

    /// Waits before another try; says whether there is to be one: not after `close`, for then nobody has the time.
    pub(super) fn pause(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if state.closed || state.ended {
                return false;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            state = self.wait(state, left);
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, left: Duration) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, left);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// The sink's thread is over. Says whether the pump waits for that.
    pub(super) fn end(&self) -> bool {
        self.lock().give_up();
        self.changed.notify_all();
        self.is_awaited.swap(false, Ordering::Relaxed)
    }

    /// Nobody will read what waits: it is dropped, and missed by none.
    pub(super) fn gone(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.waiting = VecDeque::new();
    }

    /// Nothing more will be pushed.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// After `close`: waits until all is written, or the deadline. Says how many lines were not; those it gives up.
    pub(super) fn ended_by(&self, deadline: Instant) -> u64 {
        let mut state = self.lock();
        while !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.give_up();
                self.changed.notify_all();
            } else {
                state = self.wait(state, left);
            }
        }
        state.unwritten
    }
}

impl State {
    /// What waits, and what is in hand, is not written; of the latter a part may have been.
    fn give_up(&mut self) {
        if !self.ended {
            self.ended = true;
            let waiting: u64 = self.waiting.iter().map(|batch| batch.count()).sum();
            self.unwritten = waiting + self.dropped + self.lines_in_hand;
            self.waiting = VecDeque::new();
        }
    }

    fn hand_out(&mut self) -> Taken {
        let mut batches = Vec::new();
        while self.in_hand < TAKE_BYTES
            && let Some(batch) = self.waiting.pop_front()
        {
            self.in_hand += batch.cost();
            self.lines_in_hand += batch.count();
            batches.push(batch);
        }
        Taken::Batches(batches, std::mem::take(&mut self.dropped))
    }
}
