//! The thread that reads every pipe: frames, stamps, and hands one batch a read to every sink.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::io;
use std::io::Read as _;
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::epoll;

use super::Command;
use super::Handed;
use super::Shared;
use super::source::Ending;
use super::source::Pipe;
use super::source::Source;
use crate::logs::Batch;
use crate::logs::Framer;
use crate::logs::Labels;
use crate::logs::Piece;
use crate::logs::Stream;
use crate::logs::Voice;
use crate::logs::outlet::Outlet;
use crate::logs::queue::Hold;
use crate::sys::clock::Timestamp;

/// How much is read from a pipe at once, in bytes: all that Linux's default pipe holds.
const READ_BYTES: usize = 64 * 1024;
/// How long a pipe may stay open after its process's end if nothing comes through it.
const STRAGGLER: Duration = Duration::from_millis(250);
/// A pipe that has something again within this time is busy.
const BUSY_WITHIN: Duration = Duration::from_millis(1);
/// How often a busy pipe is read. A wake-up for each of a million short writes would cost more than all else.
const BUSY_TICK: Duration = Duration::from_micros(400);
/// After how many reads that found nothing a pipe is no longer busy.
const BUSY_QUIET: u32 = 3;

/// The key of the eventfd among the pipes' keys.
const WAKE: u64 = u64::MAX;

pub(super) struct Reader {
    commands: mpsc::Receiver<Command>,
    pub(super) shared: Arc<Shared>,
    outlets: Arc<Vec<Outlet>>,
    epoll: OwnedFd,
    pub(super) pipes: HashMap<u64, Pipe>,
    pub(super) sources: HashMap<u64, Source>,
    next_pipe: u64,
    busy: Vec<u64>,
    /// The sources that have ended and whose pipes have not.
    ending: BTreeSet<u64>,
    closing: Option<Closing>,
    handing: Option<mpsc::Sender<Handed>>,
    buffer: Vec<u8>,
}

struct Closing {
    done: mpsc::Sender<()>,
    /// From then on a stuck sink misses lines, so that the others have them all.
    unheld: Instant,
}

impl Reader {
    pub(super) fn new(
        commands: mpsc::Receiver<Command>,
        shared: Arc<Shared>,
        outlets: Arc<Vec<Outlet>>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let key = epoll::EventData::new_u64(WAKE);
        epoll::add(&epoll, &shared.wake, key, epoll::EventFlags::IN)?;
        Ok(Self {
            commands,
            shared,
            outlets,
            epoll,
            pipes: HashMap::new(),
            sources: HashMap::new(),
            next_pipe: 0,
            busy: Vec::new(),
            ending: BTreeSet::new(),
            closing: None,
            handing: None,
            buffer: vec![0; READ_BYTES],
        })
    }

    pub(super) fn run(mut self) {
        while self.handing.is_none() && !(self.closing.is_some() && self.sources.is_empty()) {
            match self.held_back() {
                Some(hold) => self.wait_for_room(hold),
                None => self.read_what_is_there(),
            }
            self.let_stragglers_go();
        }
        if let Some(closing) = &self.closing {
            let _ = closing.done.send(()); // who waited may have given up
        }
        if let Some(done) = self.handing.take() {
            let _ = done.send(self.into_handed());
        }
    }

    /// Whether a sink must be waited for.
    fn held_back(&self) -> Option<Hold> {
        let is_only = self.outlets.len() == 1;
        let mut outlets = self.outlets.iter();
        let hold = outlets.find_map(|outlet| outlet.queue.holds_back(is_only))?;
        match (&self.closing, hold) {
            (None, hold) => Some(hold),
            (Some(closing), _) if closing.unheld <= Instant::now() => None,
            (Some(closing), Hold::Until(then)) => Some(Hold::Until(then.min(closing.unheld))),
            (Some(closing), Hold::Always) => Some(Hold::Until(closing.unheld)),
        }
    }

    /// Reads nothing; what others ask is done meanwhile.
    fn wait_for_room(&mut self, hold: Hold) {
        let mut ready = [PollFd::new(&self.shared.wake, PollFlags::IN)];
        let patience = match hold {
            Hold::Until(then) => until(then),
            Hold::Always => None,
        };
        // Interrupted or not, the caller looks again.
        let _ = rustix::event::poll(&mut ready, patience.as_ref());
        self.obey();
    }

    fn read_what_is_there(&mut self) {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); 64];
        let patience = if self.busy.is_empty() {
            self.straggler_due().and_then(until)
        } else {
            Timespec::try_from(BUSY_TICK).ok()
        };
        let ready: Vec<u64> = match epoll::wait(&self.epoll, &mut events, patience.as_ref()) {
            Ok((ready, _)) => ready.iter().map(|event| event.data.u64()).collect(),
            Err(_) => Vec::new(), // interrupted
        };
        for key in ready.into_iter().chain(std::mem::take(&mut self.busy)) {
            if key == WAKE {
                self.obey();
            } else if self.held_back().is_none() {
                self.read(key);
            }
            if self.pipes.get(&key).is_some_and(|pipe| pipe.is_busy) {
                self.busy.push(key);
            }
        }
    }

    fn straggler_due(&self) -> Option<Instant> {
        let ending = self.ending.iter().filter_map(|id| self.sources.get(id));
        let ended = ending.filter_map(|source| source.ended.as_ref());
        let due = ended.map(|ending| ending.at + STRAGGLER).min()?;
        Some(due + Duration::from_millis(1))
    }

    fn obey(&mut self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.shared.wake, &mut count); // empty if it was read before
        while self.handing.is_none()
            && let Ok(command) = self.commands.try_recv()
        {
            match command {
                Command::Listen {
                    voice,
                    pipes,
                    is_process,
                } => self.listen(voice, pipes, is_process),
                Command::Say {
                    labels,
                    stream,
                    lines,
                } => self.say(labels, stream, &lines),
                Command::Ended { id, farewell, then } => {
                    let at = Instant::now();
                    self.ended(id, Ending { farewell, at, then });
                }
                Command::Close { patience, done } => self.close(Instant::now() + patience, done),
                Command::HandOver { done } => self.handing = Some(done),
            }
        }
    }

    pub(super) fn listen(&mut self, voice: Voice, pipes: Vec<(Stream, OwnedFd)>, is_process: bool) {
        let id = voice.id();
        let source = Source {
            voice,
            open: 0,
            is_process,
            ended: None,
        };
        self.sources.insert(id, source);
        for (stream, pipe) in pipes {
            // What cannot be watched (epoll's own limit of the host) is closed: its writer is told by SIGPIPE.
            let _ = self.open(id, stream, pipe, Framer::default());
        }
    }

    pub(super) fn open(
        &mut self,
        id: u64,
        stream: Stream,
        pipe: OwnedFd,
        framer: Framer,
    ) -> io::Result<()> {
        let key = self.next_pipe;
        rustix::io::ioctl_fionbio(&pipe, true)?;
        self.watch(key, &pipe)?;
        self.next_pipe += 1;
        let pipe = Pipe {
            file: pipe.into(),
            framer,
            stream,
            voice: id,
            read_at: None,
            quiet: 0,
            is_busy: false,
        };
        self.pipes.insert(key, pipe);
        if let Some(source) = self.sources.get_mut(&id) {
            source.open += 1;
        }
        Ok(())
    }

    fn watch(&self, key: u64, pipe: impl std::os::fd::AsFd) -> io::Result<()> {
        let data = epoll::EventData::new_u64(key);
        Ok(epoll::add(&self.epoll, pipe, data, epoll::EventFlags::IN)?)
    }

    fn say(&mut self, labels: Labels, stream: Stream, lines: &[u8]) {
        self.write(
            &labels.into(),
            stream,
            lines.strip_suffix(b"\n").unwrap_or(lines),
        );
    }

    /// Lines that are not from a pipe, without the last newline.
    fn write(&self, labels: &Arc<Labels>, stream: Stream, bytes: &[u8]) {
        let piece = Piece { bytes, cut: false };
        push(&self.outlets, Timestamp::now(), labels, stream, piece);
    }

    pub(super) fn ended(&mut self, id: u64, ending: Ending) {
        let Some(source) = self.sources.get_mut(&id) else {
            return;
        };
        source.ended = Some(ending);
        self.ending.insert(id);
        if source.open == 0 {
            self.part(id);
        }
    }

    fn close(&mut self, unheld: Instant, done: mpsc::Sender<()>) {
        self.closing = Some(Closing { done, unheld });
        // A process whose end was never told: its pipes are read to what they hold now.
        let sources = self.sources.iter();
        let untold: Vec<u64> = sources
            .filter(|(_, source)| source.ended.is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in untold {
            let farewell = String::new();
            let (at, then) = (Instant::now(), None);
            self.ended(id, Ending { farewell, at, then });
        }
    }

    fn read(&mut self, key: u64) {
        let Some(pipe) = self.pipes.get_mut(&key) else {
            return;
        };
        let count = match pipe.file.read(&mut self.buffer) {
            Ok(count) => count,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => return self.found_nothing(key),
                io::ErrorKind::Interrupted => return,
                _ => 0,
            },
        };
        let Some(source) = self.sources.get(&pipe.voice) else {
            return;
        };
        let (voice, stream, now) = (&source.voice, pipe.stream, Timestamp::now());
        let mut emit = |piece: Piece<'_>| {
            voice.lock().push(piece.bytes);
            push(&self.outlets, now, voice.shared_labels(), stream, piece);
        };
        if count == 0 {
            pipe.framer.finish(&mut emit);
            self.shut(key);
        } else {
            pipe.framer.feed(&self.buffer[..count], &mut emit);
            self.found_something(key);
        }
    }

    /// A pipe that says much is taken out of epoll: then its writer wakes nobody, and a read finds more.
    fn found_something(&mut self, key: u64) {
        let Some(pipe) = self.pipes.get_mut(&key) else {
            return;
        };
        let now = Instant::now();
        pipe.quiet = 0;
        if !pipe.is_busy && pipe.read_at.is_some_and(|at| now - at < BUSY_WITHIN) {
            pipe.is_busy = epoll::delete(&self.epoll, pipe.file.as_fd()).is_ok();
        }
        pipe.read_at = Some(now);
    }

    fn found_nothing(&mut self, key: u64) {
        let Some(pipe) = self.pipes.get_mut(&key) else {
            return;
        };
        pipe.quiet += 1;
        if pipe.is_busy && pipe.quiet >= BUSY_QUIET {
            pipe.is_busy = false;
            let data = epoll::EventData::new_u64(key);
            // If it cannot be watched again it stays busy: read at each tick, which costs more and loses nothing.
            pipe.is_busy =
                epoll::add(&self.epoll, &pipe.file, data, epoll::EventFlags::IN).is_err();
        }
    }

    fn shut(&mut self, key: u64) {
        let Some(pipe) = self.pipes.remove(&key) else {
            return;
        };
        if !pipe.is_busy {
            let _ = epoll::delete(&self.epoll, pipe.file.as_fd()); // closing it does the same
        }
        let Some(source) = self.sources.get_mut(&pipe.voice) else {
            return;
        };
        source.open -= 1;
        if source.open == 0 && (source.ended.is_some() || !source.is_process) {
            self.part(pipe.voice);
        }
    }

    /// The process has ended and its pipes are read.
    fn part(&mut self, id: u64) {
        self.ending.remove(&id);
        let Some(source) = self.sources.remove(&id) else {
            return;
        };
        let Some(ending) = source.ended else { return };
        if !ending.farewell.is_empty() {
            let labels = Labels {
                release: source.voice.labels().release,
                ..Labels::slug()
            };
            self.write(&labels.into(), Stream::Slug, ending.farewell.as_bytes());
        }
        if let Some(then) = ending.then {
            then();
        }
    }

    /// A pipe that somebody holds open after the end is read until it is empty, then given up.
    fn let_stragglers_go(&mut self) {
        let mut due = self.ending.clone();
        due.retain(|id| {
            let ended = self.sources.get(id).and_then(|it| it.ended.as_ref());
            ended.is_some_and(|ending| ending.at.elapsed() >= STRAGGLER)
        });
        if due.is_empty() {
            return;
        }
        let pipes = self.pipes.iter();
        let over: Vec<u64> = pipes
            .filter(|(_, pipe)| due.contains(&pipe.voice) && pipe.is_empty())
            .map(|(key, _)| *key)
            .collect();
        for key in over {
            self.finish(key);
        }
    }

    fn finish(&mut self, key: u64) {
        if let Some(pipe) = self.pipes.get_mut(&key)
            && let Some(source) = self.sources.get(&pipe.voice)
        {
            let (voice, stream, now) = (&source.voice, pipe.stream, Timestamp::now());
            pipe.framer.finish(&mut |piece: Piece<'_>| {
                voice.lock().push(piece.bytes);
                push(&self.outlets, now, voice.shared_labels(), stream, piece);
            });
        }
        self.shut(key);
    }
}

/// One batch, to every sink.
fn push(
    outlets: &[Outlet],
    now: Timestamp,
    labels: &Arc<Labels>,
    stream: Stream,
    piece: Piece<'_>,
) {
    let batch = Arc::new(Batch::new(now, labels, stream, piece));
    for outlet in outlets {
        outlet.queue.push(&batch);
    }
}

/// The time until then; none if it is too far for the kernel to say.
fn until(then: Instant) -> Option<Timespec> {
    Timespec::try_from(then.saturating_duration_since(Instant::now())).ok()
}
