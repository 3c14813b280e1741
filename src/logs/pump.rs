//! The handle to the thread that reads every pipe: what others ask of it.

mod handed;
mod reader;
mod source;
mod takeover;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::event::EventfdFlags;
use thiserror::Error;

pub use self::handed::Adopted;
pub use self::handed::Handed;
pub use self::handed::HandedPipe;
pub use self::handed::HandedSource;
pub use self::handed::HandedState;
use self::reader::Reader;
use super::Labels;
use super::Sink;
use super::Stream;
use super::Tail;
use super::Voice;
use super::outlet;
use super::outlet::Heard;
use super::outlet::Outlet;

/// Why the pump did not start.
#[derive(Debug, Error)]
pub enum PumpError {
    /// A thread, or what it waits on.
    #[error("could not start the threads that read and write logs")]
    Io(#[from] io::Error),
    /// What was handed over does not belong together.
    #[error("{pipes} pipes were handed over, and {fds} descriptors")]
    Handed {
        /// How many pipes the state names.
        pipes: usize,
        /// How many descriptors came with it.
        fds: usize,
    },
}

/// A handle to the thread; clones share it.
#[derive(Clone, Debug)]
pub struct Pump {
    shared: Arc<Shared>,
    outlets: Arc<Vec<Outlet>>,
}

#[derive(Debug)]
struct Shared {
    commands: mpsc::Sender<Command>,
    wake: OwnedFd,
    next_id: AtomicU64,
}

/// What is called when a process's last line has been read.
pub type Then = Box<dyn FnOnce() + Send>;

enum Command {
    Listen {
        voice: Voice,
        pipes: Vec<(Stream, OwnedFd)>,
        is_process: bool,
    },
    Say {
        labels: Labels,
        stream: Stream,
        lines: Vec<u8>,
    },
    Ended {
        id: u64,
        farewell: String,
        then: Option<Then>,
    },
    Close {
        patience: Duration,
        done: mpsc::Sender<()>,
    },
    HandOver {
        done: mpsc::Sender<Handed>,
    },
}

impl Pump {
    /// Starts the thread that reads, and one for each sink.
    pub fn start(sinks: Vec<Box<dyn Sink>>) -> Result<Self, PumpError> {
        let (pump, reader) = Self::prepare(sinks, 0)?;
        spawn(reader)?;
        Ok(pump)
    }

    /// Goes on where `hand_over` stopped, in another process image or in this one. Nothing is read twice, and nothing
    /// that was carried is lost. What the sinks of before did not write is told to all of these.
    pub fn adopt(handed: Handed, sinks: Vec<Box<dyn Sink>>) -> Result<Adopted, PumpError> {
        let Handed { state, pipes } = handed;
        let (pump, mut reader) = Self::prepare(sinks, state.next_id)?;
        let unwritten = state.unwritten.clone();
        let voices = reader.adopt(state, pipes)?;
        spawn(reader)?;
        for (name, lines) in unwritten {
            let line = format!("{lines} lines were not written by {name} before this supervisor");
            pump.say(Labels::slug(), &line);
        }
        Ok(Adopted { pump, voices })
    }

    fn prepare(sinks: Vec<Box<dyn Sink>>, next_id: u64) -> io::Result<(Self, Reader)> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (commands, received) = mpsc::channel();
        let shared = Arc::new(Shared {
            commands,
            wake,
            next_id: AtomicU64::new(next_id),
        });
        let start = |sink| Outlet::start(sink, Arc::clone(&shared));
        let outlets: Result<Vec<Outlet>, _> = sinks.into_iter().map(start).collect();
        let outlets = Arc::new(outlets?);
        let reader = Reader::new(received, Arc::clone(&shared), Arc::clone(&outlets))?;
        Ok((Self { shared, outlets }, reader))
    }

    /// Reads a process's output from now on.
    pub fn listen(&self, labels: Labels, stdout: OwnedFd, stderr: OwnedFd) -> Voice {
        let pipes = vec![(Stream::Out, stdout), (Stream::Err, stderr)];
        self.listen_to(labels, pipes, true)
    }

    /// Reads the access lines of a router that is a process of its own, until it closes its end. Its end is for whoever
    /// started it to tell; its lines are those of the source `router`.
    pub fn listen_to_router(&self, pipe: OwnedFd) -> Voice {
        self.listen_to(Labels::router(), vec![(Stream::Router, pipe)], false)
    }

    fn listen_to(&self, labels: Labels, pipes: Vec<(Stream, OwnedFd)>, is_process: bool) -> Voice {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let voice = Voice::new(id, labels, Tail::default());
        self.shared.send(Command::Listen {
            voice: voice.clone(),
            pipes,
            is_process,
        });
        voice
    }

    /// The process ended: `farewell` is said after its last line.
    pub fn ended(&self, voice: &Voice, farewell: String) {
        self.shared.send(Command::Ended {
            id: voice.id(),
            farewell,
            then: None,
        });
    }

    /// As `ended`, and calls `then`, on the thread that reads, once the last line has been read.
    pub fn ended_then(&self, voice: &Voice, farewell: String, then: Then) {
        self.shared.send(Command::Ended {
            id: voice.id(),
            farewell,
            then: Some(then),
        });
    }

    /// A line of `slug`'s own.
    pub fn say(&self, labels: Labels, line: &str) {
        self.shared.say(labels, line);
    }

    /// Reads what is left in the pipes, writes all of it out, for at most `patience`; says whether all was written.
    /// A sink that is stuck takes no other sink's time: what the others can write, they have.
    pub fn close(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let (done, closed) = mpsc::channel();
        let patience = patience / 2; // the rest is for the sinks
        self.shared.send(Command::Close { patience, done });
        let is_read = closed.recv_timeout(patience * 2).is_ok();
        outlet::close(&self.outlets, deadline).is_empty() && is_read
    }

    /// Stops reading, between two reads, and lets the sinks write what waits for at most `patience`; what some could
    /// not write is counted in the answer. The pipes stay open, and what comes meanwhile waits in them. None if the
    /// thread has ended already. After this the handle and its clones are deaf: `adopt` makes a new one, here too.
    pub fn hand_over(&self, patience: Duration) -> Option<Handed> {
        let deadline = Instant::now() + patience;
        let (done, stopped) = mpsc::channel();
        self.shared.send(Command::HandOver { done });
        let mut handed = stopped.recv().ok()?;
        handed.state.next_id = self.shared.next_id.load(Ordering::Relaxed);
        handed.state.unwritten = outlet::close(&self.outlets, deadline);
        Some(handed)
    }
}

fn spawn(reader: Reader) -> io::Result<()> {
    let thread = thread::Builder::new().name("slug-logs".to_owned());
    thread.spawn(move || reader.run()).map(drop)
}

impl Shared {
    fn send(&self, command: Command) {
        // The thread ends by `close` and `hand_over` alone; whoever speaks after that has no listener.
        if self.commands.send(command).is_ok() {
            let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
    }

    fn say(&self, labels: Labels, line: &str) {
        let lines = [line.as_bytes(), b"\n"].concat();
        let stream = Stream::Slug;
        self.send(Command::Say {
            labels,
            stream,
            lines,
        });
    }
}

impl Heard for Arc<Shared> {
    fn room(&self) {
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn trouble(&self, line: &str) {
        self.say(Labels::slug(), line);
    }
}

#[cfg(test)]
mod tests;
