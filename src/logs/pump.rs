//! The thread that reads every pipe: frames, stamps, prefixes, and hands one
//! buffer a read to the terminal and to history.

use std::collections::HashMap;
use std::io;
use std::io::Read as _;
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::event::EventfdFlags;
use rustix::event::Timespec;
use rustix::event::epoll;
use thiserror::Error;

use super::Framer;
use super::History;
use super::Piece;
use super::Sink;
use super::Stream;
use super::Tail;
use super::output::Output;
use crate::ident::ReleaseVersion;

/// How much is read from a pipe at once, in bytes: all that Linux's default pipe holds.
const READ_BYTES: usize = 64 * 1024;
/// How long a pipe may stay open after its process's end, in milliseconds, if nothing comes through it.
const STRAGGLER_MS: u64 = 250;
/// How many bytes of the router's lines may wait; above that they are dropped and counted, for a request must not wait for a terminal.
const SAID_BYTES_MAX: usize = 1024 * 1024;

/// Why the pump did not start.
#[derive(Debug, Error)]
#[error("could not start the thread that reads logs")]
pub struct PumpError(#[from] io::Error);

/// Who says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// `web.1`, `slug`, `router`.
    pub source: String,
    /// The release it belongs to.
    pub release: Option<ReleaseVersion>,
}

/// A process whose output is read. Its last lines can be asked for at any time.
#[derive(Clone, Debug)]
pub struct Voice {
    id: u64,
    labels: Arc<Labels>,
    tail: Arc<Mutex<Tail>>,
}

impl Voice {
    /// Who it is.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Its last lines, as far as they have been read.
    pub fn tail(&self) -> String {
        self.tail
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .text()
    }
}

/// A handle to the thread; clones share it.
#[derive(Clone, Debug)]
pub struct Pump {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    sink: Sink,
}

#[derive(Debug)]
struct Shared {
    wake: OwnedFd,
    next_id: AtomicU64,
    said_bytes: AtomicUsize,
    unsaid_lines: AtomicU64,
}

/// What is called when a process's last line has been read.
pub type Then = Box<dyn FnOnce() + Send>;

enum Command {
    Listen {
        voice: Voice,
        pipes: [(Stream, OwnedFd); 2],
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
        done: mpsc::Sender<()>,
    },
}

impl Pump {
    /// Starts the thread. Without `history` lines go to the terminal alone.
    pub fn start(sink: Sink, history: Option<History>) -> Result<Self, PumpError> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(io::Error::from)?;
        let (commands, received) = mpsc::channel();
        let shared = Arc::new(Shared {
            wake,
            next_id: AtomicU64::new(0),
            said_bytes: AtomicUsize::new(0),
            unsaid_lines: AtomicU64::new(0),
        });
        let reader = Reader::new(received, Arc::clone(&shared), sink.clone(), history)?;
        thread::Builder::new()
            .name("slug-logs".to_owned())
            .spawn(move || reader.run())?;
        Ok(Self {
            commands,
            shared,
            sink,
        })
    }

    /// Reads a process's output from now on.
    pub fn listen(&self, labels: Labels, stdout: OwnedFd, stderr: OwnedFd) -> Voice {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let voice = Voice {
            id,
            labels: Arc::new(labels),
            tail: Arc::default(),
        };
        let pipes = [(Stream::Out, stdout), (Stream::Err, stderr)];
        self.send(Command::Listen {
            voice: voice.clone(),
            pipes,
        });
        voice
    }

    /// The process ended: `farewell` is said after its last line.
    pub fn ended(&self, voice: &Voice, farewell: String) {
        self.send(Command::Ended {
            id: voice.id,
            farewell,
            then: None,
        });
    }

    /// As `ended`, and calls `then`, on the thread that reads, once the last line has been read.
    pub fn ended_then(&self, voice: &Voice, farewell: String, then: Then) {
        self.send(Command::Ended {
            id: voice.id,
            farewell,
            then: Some(then),
        });
    }

    /// A line of `slug`'s own.
    pub fn say(&self, labels: Labels, line: &str) {
        let lines = [line.as_bytes(), b"\n"].concat();
        self.shared
            .said_bytes
            .fetch_add(lines.len(), Ordering::Relaxed);
        self.send(Command::Say {
            labels,
            stream: Stream::Slug,
            lines,
        });
    }

    /// Lines of the router, each with its newline. Never waits: over the limit they are counted instead.
    pub fn say_access(&self, labels: Labels, lines: Vec<u8>) {
        let waiting = self
            .shared
            .said_bytes
            .fetch_add(lines.len(), Ordering::Relaxed);
        if waiting > SAID_BYTES_MAX {
            self.shared
                .said_bytes
                .fetch_sub(lines.len(), Ordering::Relaxed);
            self.shared
                .unsaid_lines
                .fetch_add(count_lines(&lines), Ordering::Relaxed);
        } else {
            self.send(Command::Say {
                labels,
                stream: Stream::Router,
                lines,
            });
        }
    }

    /// Reads what is left in the pipes, writes all of it out, for at most `patience`; says whether all was written.
    pub fn close(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let (done, closed) = mpsc::channel();
        self.send(Command::Close { done });
        let is_read = closed.recv_timeout(patience).is_ok();
        self.sink
            .close(deadline.saturating_duration_since(Instant::now()))
            && is_read
    }

    fn send(&self, command: Command) {
        // The thread ends by `close` alone; whoever speaks after that has no listener.
        if self.commands.send(command).is_ok() {
            let _ = rustix::io::write(&self.shared.wake, &1_u64.to_ne_bytes());
        }
    }
}

/// One pipe of a process.
struct Pipe {
    file: std::fs::File,
    framer: Framer,
    stream: Stream,
    voice: u64,
}

/// A process whose pipes are read.
struct Source {
    voice: Voice,
    open: usize,
    ended: Option<Ending>,
}

struct Ending {
    farewell: String,
    at: Instant,
    then: Option<Then>,
}

struct Reader {
    commands: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
    epoll: OwnedFd,
    pipes: HashMap<u64, Pipe>,
    sources: HashMap<u64, Source>,
    next_pipe: u64,
    closing: Option<mpsc::Sender<()>>,
    buffer: Vec<u8>,
    out: Output,
}

/// The key of the eventfd among the pipes' keys.
const WAKE: u64 = u64::MAX;

impl Reader {
    fn new(
        commands: mpsc::Receiver<Command>,
        shared: Arc<Shared>,
        sink: Sink,
        history: Option<History>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &shared.wake,
            epoll::EventData::new_u64(WAKE),
            epoll::EventFlags::IN,
        )?;
        Ok(Self {
            commands,
            shared,
            epoll,
            pipes: HashMap::new(),
            sources: HashMap::new(),
            next_pipe: 0,
            closing: None,
            buffer: vec![0; READ_BYTES],
            out: Output::new(sink, history),
        })
    }

    fn run(mut self) {
        while !(self.closing.is_some() && self.sources.is_empty()) {
            let mut events = [MaybeUninit::<epoll::Event>::uninit(); 64];
            let patience = self.patience();
            let ready: Vec<u64> = match epoll::wait(&self.epoll, &mut events, patience.as_ref()) {
                Ok((ready, _)) => ready.iter().map(|event| event.data.u64()).collect(),
                Err(_) => Vec::new(), // interrupted
            };
            for key in ready {
                if key == WAKE {
                    self.obey();
                } else {
                    self.read(key);
                }
            }
            self.let_stragglers_go();
        }
        if let Some(done) = self.closing {
            let _ = done.send(());
        }
    }

    /// Until the next straggler is due.
    fn patience(&self) -> Option<Timespec> {
        let straggler = Duration::from_millis(STRAGGLER_MS);
        let due = self
            .sources
            .values()
            .filter_map(|source| source.ended.as_ref())
            .map(|ending| ending.at + straggler)
            .min();
        let left = due?.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        Timespec::try_from(left).ok()
    }

    fn obey(&mut self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.shared.wake, &mut count);
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Listen { voice, pipes } => self.listen(voice, pipes),
                Command::Say {
                    labels,
                    stream,
                    lines,
                } => self.say(&labels, stream, &lines),
                Command::Ended { id, farewell, then } => self.ended(
                    id,
                    Ending {
                        farewell,
                        at: Instant::now(),
                        then,
                    },
                ),
                Command::Close { done } => self.close(done),
            }
        }
        let unsaid = self.shared.unsaid_lines.swap(0, Ordering::Relaxed);
        if unsaid > 0 {
            let labels = Labels {
                source: "router".to_owned(),
                release: None,
            };
            self.out.write(&labels, Stream::Slug, |out| {
                out(Piece {
                    bytes: format!("{unsaid} access lines were dropped").as_bytes(),
                    cut: false,
                });
            });
        }
    }

    fn listen(&mut self, voice: Voice, pipes: [(Stream, OwnedFd); 2]) {
        let id = voice.id;
        let mut open = 0;
        for (stream, pipe) in pipes {
            let key = self.next_pipe;
            // A pipe that cannot be watched (epoll's own limit) is read blindly at the end: `let_stragglers_go`.
            let is_set = rustix::io::ioctl_fionbio(&pipe, true).is_ok();
            if is_set
                && epoll::add(
                    &self.epoll,
                    &pipe,
                    epoll::EventData::new_u64(key),
                    epoll::EventFlags::IN,
                )
                .is_ok()
            {
                self.next_pipe += 1;
                open += 1;
                self.pipes.insert(
                    key,
                    Pipe {
                        file: pipe.into(),
                        framer: Framer::default(),
                        stream,
                        voice: id,
                    },
                );
            }
        }
        self.sources.insert(
            id,
            Source {
                voice,
                open,
                ended: None,
            },
        );
    }

    fn say(&mut self, labels: &Labels, stream: Stream, lines: &[u8]) {
        self.shared
            .said_bytes
            .fetch_sub(lines.len(), Ordering::Relaxed);
        let mut framer = Framer::default();
        self.out.write(labels, stream, |out| {
            framer.feed(lines, out);
            framer.finish(out);
        });
    }

    fn ended(&mut self, id: u64, ending: Ending) {
        let Some(source) = self.sources.get_mut(&id) else {
            return;
        };
        source.ended = Some(ending);
        if source.open == 0 {
            self.part(id);
        }
    }

    fn close(&mut self, done: mpsc::Sender<()>) {
        self.closing = Some(done);
        // A process whose end was never told: its pipes are read to what they hold now.
        let untold: Vec<u64> = self
            .sources
            .iter()
            .filter(|(_, source)| source.ended.is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in untold {
            self.ended(
                id,
                Ending {
                    farewell: String::new(),
                    at: Instant::now(),
                    then: None,
                },
            );
        }
    }

    fn read(&mut self, key: u64) {
        let Some(pipe) = self.pipes.get_mut(&key) else {
            return;
        };
        let count = match pipe.file.read(&mut self.buffer) {
            Ok(count) => count,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                return;
            }
            Err(_) => 0,
        };
        let Some(source) = self.sources.get(&pipe.voice) else {
            return;
        };
        let bytes = &self.buffer[..count];
        let (framer, voice, mut left) = (&mut pipe.framer, &source.voice, count);
        self.out.write(&source.voice.labels, pipe.stream, |out| {
            let mut tail = voice.tail.lock().unwrap_or_else(PoisonError::into_inner);
            let mut tee = |piece: Piece<'_>| {
                // Only what can still be in the tail when this read ends is worth a copy.
                left = left.saturating_sub(piece.bytes.len() + 1);
                if left < super::TAIL_BYTES_MAX {
                    tail.push(piece.bytes);
                }
                out(piece);
            };
            if count == 0 {
                framer.finish(&mut tee);
            } else {
                framer.feed(bytes, &mut tee);
            }
        });
        if count == 0 {
            self.shut(key);
        }
    }

    fn shut(&mut self, key: u64) {
        let Some(pipe) = self.pipes.remove(&key) else {
            return;
        };
        let _ = epoll::delete(&self.epoll, pipe.file.as_fd());
        let Some(source) = self.sources.get_mut(&pipe.voice) else {
            return;
        };
        source.open -= 1;
        if source.open == 0 && source.ended.is_some() {
            self.part(pipe.voice);
        }
    }

    /// The process has ended and its pipes are read.
    fn part(&mut self, id: u64) {
        let Some(source) = self.sources.remove(&id) else {
            return;
        };
        let Some(ending) = source.ended else { return };
        let labels = Labels {
            source: "slug".to_owned(),
            release: source.voice.labels.release,
        };
        if !ending.farewell.is_empty() {
            self.out.write(&labels, Stream::Slug, |out| {
                out(Piece {
                    bytes: ending.farewell.as_bytes(),
                    cut: false,
                });
            });
        }
        if let Some(then) = ending.then {
            then();
        }
    }

    /// A pipe that somebody holds open after the end is read until it is empty, then given up.
    fn let_stragglers_go(&mut self) {
        let straggler = Duration::from_millis(STRAGGLER_MS);
        let is_due = |ending: &Ending| ending.at.elapsed() >= straggler;
        let due = self
            .sources
            .iter()
            .filter(|(_, source)| source.ended.as_ref().is_some_and(is_due));
        let due: Vec<u64> = due.map(|(id, _)| *id).collect();
        for id in due {
            let keys: Vec<u64> = self
                .pipes
                .iter()
                .filter(|(_, pipe)| pipe.voice == id)
                .map(|(key, _)| *key)
                .collect();
            for key in keys {
                if self.pipes.get(&key).is_some_and(is_empty) {
                    self.finish(key);
                }
            }
        }
    }

    fn finish(&mut self, key: u64) {
        if let Some(pipe) = self.pipes.get_mut(&key)
            && let Some(source) = self.sources.get(&pipe.voice)
        {
            let framer = &mut pipe.framer;
            self.out
                .write(&source.voice.labels, pipe.stream, |out| framer.finish(out));
        }
        self.shut(key);
    }
}

fn is_empty(pipe: &Pipe) -> bool {
    rustix::io::ioctl_fionread(&pipe.file).is_ok_and(|bytes| bytes == 0)
}

fn count_lines(lines: &[u8]) -> u64 {
    lines.split_inclusive(|byte| *byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::logs::Paint;

    fn until_read(pump: &Pump, voice: &Voice, farewell: &str) {
        let (tell, read) = mpsc::channel();
        pump.ended_then(
            voice,
            farewell.to_owned(),
            Box::new(move || tell.send(()).unwrap()),
        );
        read.recv_timeout(Duration::from_mins(1)).unwrap();
    }

    struct Heard {
        pump: Pump,
        reader: io::PipeReader,
    }

    fn pump(history: Option<History>) -> Heard {
        let (reader, writer) = io::pipe().unwrap();
        let pump = Pump::start(Sink::start(writer, Paint::Plain).unwrap(), history).unwrap();
        Heard { pump, reader }
    }

    impl Heard {
        fn close(mut self) -> Vec<String> {
            let reading = thread::spawn(move || {
                let mut all = String::new();
                self.reader.read_to_string(&mut all).unwrap();
                all
            });
            assert!(self.pump.close(Duration::from_mins(1)));
            drop(self.pump);
            reading
                .join()
                .unwrap()
                .lines()
                .map(|line| line[16..].to_owned())
                .collect()
        }
    }

    fn labels() -> Labels {
        Labels {
            source: "web.1".to_owned(),
            release: ReleaseVersion::from_number(3),
        }
    }

    #[test]
    fn the_farewell_comes_after_the_last_line_though_it_was_told_before() {
        let heard = pump(None);
        let (out, mut to_out) = io::pipe().unwrap();
        let (err, to_err) = io::pipe().unwrap();
        let voice = heard.pump.listen(labels(), out.into(), err.into());
        to_out.write_all(b"one\ntwo, no newline").unwrap();
        heard
            .pump
            .ended(&voice, "web.1 exited with code 0".to_owned());
        drop((to_out, to_err));
        assert_eq!(
            heard.close(),
            [
                "web.1 | one",
                "web.1 | two, no newline",
                "slug | web.1 exited with code 0"
            ]
        );
        assert_eq!(voice.tail(), "one\ntwo, no newline");
    }

    #[test]
    fn a_pipe_that_a_straggler_holds_open_delays_nothing_for_long() {
        let heard = pump(None);
        let (out, mut to_out) = io::pipe().unwrap();
        let (err, _held_open) = io::pipe().unwrap();
        let voice = heard.pump.listen(labels(), out.into(), err.into());
        to_out.write_all(b"last").unwrap();
        until_read(&heard.pump, &voice, "gone");
        assert_eq!(heard.close(), ["web.1 | last", "slug | gone"]);
    }

    #[test]
    fn two_streams_do_not_mix_within_a_line_and_history_says_which_was_which() {
        let folder = tempfile::tempdir().unwrap();
        let heard = pump(Some(History::open(folder.path()).unwrap()));
        let (out, mut to_out) = io::pipe().unwrap();
        let (err, mut to_err) = io::pipe().unwrap();
        let voice = heard.pump.listen(labels(), out.into(), err.into());
        to_out.write_all(b"half").unwrap();
        to_err.write_all(b"oops\n").unwrap();
        to_out.write_all(b" and half\n").unwrap();
        drop((to_out, to_err));
        until_read(&heard.pump, &voice, "");
        let mut lines = heard.close();
        lines.sort();
        assert_eq!(lines, ["web.1 | half and half", "web.1 | oops"]);
        let mut kept = Vec::new();
        crate::logs::read(
            folder.path(),
            &crate::logs::Query::default(),
            &mut |record| {
                kept.push((
                    record.stream,
                    record.release,
                    String::from_utf8_lossy(record.text).into_owned(),
                ));
            },
        )
        .unwrap();
        kept.sort_by_key(|(stream, ..)| stream.name());
        let release = ReleaseVersion::from_number(3);
        assert_eq!(
            kept,
            [
                (Stream::Err, release, "oops".to_owned()),
                (Stream::Out, release, "half and half".to_owned())
            ]
        );
    }

    #[test]
    fn access_lines_are_counted_when_nobody_reads_them() {
        let heard = pump(None);
        let router = || Labels {
            source: "router".to_owned(),
            release: None,
        };
        let line = vec![b'x'; SAID_BYTES_MAX]
            .into_iter()
            .chain([b'\n'])
            .collect::<Vec<u8>>();
        for _ in 0..20 {
            heard.pump.say_access(router(), line.clone());
        }
        let lines = heard.close();
        assert!(
            lines
                .iter()
                .any(|line| line.ends_with("access lines were dropped")),
            "{}",
            lines.len()
        );
    }
}
