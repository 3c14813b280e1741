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
    /// `STUCK_AFTER`, but in tests.
    stuck_after: Duration,
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
            stuck_after: STUCK_AFTER,
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
        let until = state.alive_at + self.stuck_after;
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

    /// After `close`: waits until all is written, or the deadline; for a sink that is stuck, no longer than until that is
    /// known. Says how many lines were not written; those it gives up.
    pub(super) fn ended_by(&self, deadline: Instant) -> u64 {
        let mut state = self.lock();
        while !state.ended {
            let until = deadline.min(state.alive_at + self.stuck_after);
            let left = until.saturating_duration_since(Instant::now());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Labels;
    use crate::logs::Piece;
    use crate::logs::Stream;
    use crate::sys::clock::Timestamp;

    const KIB: usize = 1024;
    const HOUR: Duration = Duration::from_hours(1);

    fn queue(policy: Policy, stuck_after: Duration) -> Queue {
        Queue {
            stuck_after,
            ..Queue::new(policy)
        }
    }

    /// One line that takes so much.
    fn push(queue: &Queue, bytes: usize) {
        let text = vec![b'x'; bytes];
        let piece = Piece {
            bytes: &text,
            cut: false,
        };
        let labels = Arc::new(Labels::slug());
        let batch = Batch::new(Timestamp::now(), &labels, Stream::Out, piece);
        queue.push(&Arc::new(batch));
    }

    /// How many batches there are, and how many lines were dropped before them.
    fn take(queue: &Queue) -> (usize, u64) {
        match queue.take(Duration::ZERO) {
            Taken::Batches(batches, dropped) => (batches.len(), dropped),
            Taken::Nothing | Taken::End => (0, 0),
        }
    }

    #[test]
    fn a_full_blocking_queue_holds_back_until_half_of_it_is_written() {
        let queue = queue(Policy::Block, HOUR);
        for _ in 0..8 {
            assert!(queue.holds_back(false).is_none());
            push(&queue, 64 * KIB);
        }
        assert!(matches!(queue.holds_back(false), Some(Hold::Until(_))));
        assert!(matches!(queue.holds_back(true), Some(Hold::Always)));
        let mut woken = 0;
        while take(&queue).0 > 0 {
            woken += u32::from(queue.done());
        }
        assert_eq!(woken, 1, "once, when there is room");
        assert!(queue.holds_back(true).is_none());
    }

    #[test]
    fn a_stuck_sink_holds_nothing_back_if_there_is_another_and_is_told_what_it_missed() {
        let queue = queue(Policy::Block, Duration::ZERO);
        for _ in 0..40 {
            push(&queue, 64 * KIB);
        }
        assert!(queue.holds_back(false).is_none());
        assert!(matches!(queue.holds_back(true), Some(Hold::Always)));
        // 15 of 64 KiB and a little more fit into twice the limit.
        assert_eq!(take(&queue), (2, 25));
        queue.done();
        assert_eq!(take(&queue), (2, 0));
    }

    #[test]
    fn the_oldest_are_dropped_and_counted_and_nobody_waits() {
        let queue = queue(Policy::DropOldest, HOUR);
        for _ in 0..9 {
            push(&queue, 64 * KIB);
            assert!(queue.holds_back(true).is_none());
        }
        assert_eq!(take(&queue), (2, 2));
    }

    #[test]
    fn many_short_lines_are_bounded_as_few_long_ones_are() {
        let queue = queue(Policy::DropOldest, HOUR);
        for _ in 0..10_000 {
            push(&queue, 1);
        }
        let (batches, dropped) = take(&queue);
        assert!(batches < 1000 && dropped > 7000, "{batches}, {dropped}");
    }

    #[test]
    fn the_end_waits_for_what_is_written_and_not_for_a_sink_that_is_stuck() {
        let stuck = queue(Policy::Block, Duration::ZERO);
        push(&stuck, 1);
        push(&stuck, 1);
        stuck.close();
        assert_eq!(stuck.ended_by(Instant::now() + HOUR), 2);
        let written = queue(Policy::Block, HOUR);
        push(&written, 1);
        written.close();
        assert_eq!(take(&written), (1, 0));
        written.done();
        assert!(matches!(written.take(HOUR), Taken::End));
        written.end();
        assert_eq!(written.ended_by(Instant::now() + HOUR), 0);
    }
}
