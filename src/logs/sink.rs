//! The terminal, or whatever standard output is: a thread that writes, behind
//! a bounded queue. Only who fills the queue ever waits for it.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// How much may wait for a slow reader, in bytes; then the apps' pipes fill, and the apps wait.
pub const QUEUE_BYTES_MAX: usize = 1024 * 1024;

/// Colours are for terminals, and only when asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// The bytes alone.
    Plain,
    /// The prefix in a colour of the process's own.
    Colour,
}

/// A writer on a thread of its own.
#[derive(Clone, Debug)]
pub struct Sink {
    queue: Arc<Queue>,
    paint: Paint,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    buffers: VecDeque<Vec<u8>>,
    bytes: usize,
    closed: bool,
    /// Nothing is left to write: closed and flushed, or the reader is gone.
    ended: bool,
}

impl Sink {
    /// Starts the thread.
    pub fn start(out: impl Write + Send + 'static, paint: Paint) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let writer = Arc::clone(&queue);
        thread::Builder::new()
            .name("slug-sink".to_owned())
            .spawn(move || writer.write_to(out))?;
        Ok(Self { queue, paint })
    }

    /// How the prefixes of its lines are to look.
    pub fn paint(&self) -> Paint {
        self.paint
    }

    /// Puts whole lines into the queue; waits while it is full. What comes after the reader has gone is dropped.
    pub fn push(&self, lines: Vec<u8>) {
        let mut state = self.queue.lock();
        while state.bytes >= QUEUE_BYTES_MAX && !state.ended {
            state = self
                .queue
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if !state.ended && !lines.is_empty() {
            state.bytes += lines.len();
            state.buffers.push_back(lines);
            self.queue.changed.notify_all();
        }
    }

    /// Lets the queue be written out, for at most `patience`; says whether all of it was.
    pub fn close(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.queue.lock();
        state.closed = true;
        self.queue.changed.notify_all();
        while !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.ended = true; // releases whoever waits in `push`
                self.queue.changed.notify_all();
                return false;
            }
            state = self
                .queue
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
}

impl Queue {
    /// A poisoned lock means a panic between two whole changes: the state is sound.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut out: impl Write) {
        while let Some(lines) = self.next() {
            let written = out.write_all(&lines).and_then(|()| out.flush());
            let mut state = self.lock();
            state.bytes -= lines.len();
            if written.is_err() {
                break;
            }
            self.changed.notify_all();
        }
        let mut state = self.lock();
        state.ended = true;
        state.buffers = VecDeque::new();
        self.changed.notify_all();
    }

    fn next(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            if let Some(lines) = state.buffers.pop_front() {
                return Some(lines);
            }
            if state.closed {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn all_that_was_pushed_is_written_in_order() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let sink = Sink::start(writer, Paint::Plain).unwrap();
        let reading = thread::spawn(move || {
            let mut all = String::new();
            reader.read_to_string(&mut all).unwrap();
            all
        });
        for number in 0..1000 {
            sink.push(format!("{number}\n").into_bytes());
        }
        assert!(sink.close(Duration::from_mins(1)));
        let expected: Vec<String> = (0..1000).map(|number| format!("{number}\n")).collect();
        assert_eq!(reading.join().unwrap(), expected.concat());
    }

    #[test]
    fn a_stuck_reader_makes_the_pusher_wait_and_close_gives_up() {
        let (reader, writer) = std::io::pipe().unwrap();
        let sink = Sink::start(writer, Paint::Plain).unwrap();
        let pusher = sink.clone();
        let (pushed, all_pushed) = mpsc::channel();
        let pushing = thread::spawn(move || {
            for _ in 0..10 {
                pusher.push(vec![b'x'; QUEUE_BYTES_MAX / 2]);
            }
            pushed.send(()).unwrap();
        });
        assert!(
            all_pushed.recv_timeout(Duration::from_millis(100)).is_err(),
            "the queue has no limit"
        );
        assert!(!sink.close(Duration::ZERO));
        all_pushed.recv_timeout(Duration::from_mins(1)).unwrap();
        pushing.join().unwrap();
        drop(reader);
    }
}
