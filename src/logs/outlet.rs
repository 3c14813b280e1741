//! One sink at work: its queue, and the thread that writes.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use super::Batch;
use super::Labels;
use super::Piece;
use super::Sink;
use super::Stream;
use super::Written;
use super::queue::Queue;
use super::queue::Taken;
use crate::sys::clock::Timestamp;

/// How often a sink without work may look after what it keeps.
const TIDY_EVERY: Duration = Duration::from_hours(1);

/// What a sink's thread tells the pump.
pub(super) trait Heard: Send + 'static {
    /// There is room again.
    fn room(&self);
    /// The sink failed, or did something else that people should know: a line.
    fn trouble(&self, line: &str);
}

/// The pump's end of one sink.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) name: String,
    pub(super) queue: Arc<Queue>,
}

impl Outlet {
    /// Starts the thread.
    pub(super) fn start(sink: Box<dyn Sink>, heard: impl Heard) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(sink.policy()));
        let name = sink.name();
        let writer = Writer {
            queue: Arc::clone(&queue),
            sink,
            heard: Box::new(heard),
            is_failing: false,
        };
        thread::Builder::new()
            .name("slug-sink".to_owned())
            .spawn(move || writer.run())?;
        Ok(Self { name, queue })
    }
}

/// How many lines each of `outlets` did not write by the deadline: those that did are not among them.
pub(super) fn close(outlets: &[Outlet], deadline: Instant) -> Vec<(String, u64)> {
    for outlet in outlets {
        outlet.queue.close();
    }
    let unwritten = outlets.iter().map(|outlet| {
        let lines = outlet.queue.ended_by(deadline);
        (outlet.name.clone(), lines)
    });
    unwritten.filter(|(_, lines)| *lines > 0).collect()
}

/// A line that says what is missing before it.
pub(super) fn missing(name: &str, lines: u64) -> Batch {
    let labels = Arc::new(Labels::slug());
    let text = format!("{lines} lines before this one were dropped: {name} took them too slowly");
    let piece = Piece {
        bytes: text.as_bytes(),
        cut: false,
    };
    Batch::new(Timestamp::now(), &labels, Stream::Slug, piece)
}

struct Writer {
    queue: Arc<Queue>,
    sink: Box<dyn Sink>,
    heard: Box<dyn Heard>,
    is_failing: bool,
}

impl Writer {
    fn run(mut self) {
        loop {
            match self.queue.take(TIDY_EVERY) {
                Taken::Batches(mut batches, dropped) => {
                    if dropped > 0 {
                        batches.insert(0, Arc::new(missing(&self.sink.name(), dropped)));
                    }
                    if !self.write(batches) {
                        break;
                    }
                    if self.queue.done() {
                        self.heard.room();
                    }
                }
                Taken::Nothing => self.sink.tidy(),
                Taken::End => break,
            }
        }
        if self.queue.end() {
            self.heard.room();
        }
    }

    /// Until all is out of the sink's hands. Says whether it will take more.
    fn write(&mut self, mut batches: Vec<Arc<Batch>>) -> bool {
        let queue = Arc::clone(&self.queue);
        let alive = move || queue.alive();
        loop {
            let written = self.sink.write(&batches, &alive);
            batches.clear();
            match written {
                Written::All => {
                    self.is_failing = false;
                    return true;
                }
                Written::Lost(why) => {
                    self.complain(&why);
                    return true;
                }
                Written::Later(patience, why) => {
                    self.complain(&why);
                    if !self.queue.pause(patience) {
                        return false;
                    }
                }
                Written::Gone => {
                    self.queue.gone();
                    return false;
                }
            }
        }
    }

    /// A failure is told once, not a line at a time.
    fn complain(&mut self, why: &str) {
        if !self.is_failing {
            self.is_failing = true;
            self.heard.trouble(&format!("{}: {why}", self.sink.name()));
        }
    }
}
