//! Reading history: all that fits a query, and what comes after it.

use std::collections::VecDeque;
use std::fs;
use std::fs::File;
use std::io;
use std::io::BufRead as _;
use std::io::BufReader;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::inotify;
use thiserror::Error;

use super::files;
use super::keep::Closed;
use super::record::Record;
use crate::ident::ReleaseVersion;
use crate::sys::At as _;
use crate::sys::PathError;
use crate::sys::clock::Timestamp;

/// How often a follower looks although nothing told it to, in milliseconds: for file systems without inotify.
pub const FOLLOW_POLL_MS: i64 = 500;
/// How much of a file is read at once, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// Why history could not be read.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// A file or the folder.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Which lines are wanted.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// A process type (`web`), an instance (`web.1`), `slug` or `router`; all if none.
    pub source: Option<String>,
    /// Of this release alone.
    pub release: Option<ReleaseVersion>,
    /// From this time on.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// With this text in them.
    pub text: Option<String>,
    /// The last so many of those that fit; all if none.
    pub last: Option<usize>,
}

/// A query that is made ready to be asked of many lines.
struct Filter<'q> {
    query: &'q Query,
    since: Option<String>,
    until: Option<String>,
    text: Option<memchr::memmem::Finder<'q>>,
}

impl<'q> Filter<'q> {
    fn new(query: &'q Query) -> Self {
        Self {
            query,
            since: query.since.map(|time| time.to_string()),
            until: query.until.map(|time| time.to_string()),
            text: query.text.as_ref().map(memchr::memmem::Finder::new),
        }
    }

    fn wants(&self, record: &Record<'_>) -> bool {
        let is_source = self.query.source.as_deref().is_none_or(|wanted| {
            let of_type = record.source.rsplit_once('.');
            record.source == wanted || of_type.is_some_and(|(of_type, _)| of_type == wanted)
        });
        let release = self.query.release;
        // Times of one width: their order is that of their text.
        is_source
            && release.is_none_or(|wanted| record.release == Some(wanted))
            && self.since.as_deref().is_none_or(|time| record.at >= time)
            && self.until.as_deref().is_none_or(|time| record.at < time)
            && self
                .text
                .as_ref()
                .is_none_or(|text| text.find(record.text).is_some())
    }
}

type Flow = ControlFlow<()>;
type Emit<'e> = dyn FnMut(Record<'_>) -> Flow + 'e;

/// Passes on what is kept in `folder` and fits, oldest first, until `emit` breaks. No folder is no history. Lines that
/// are not records are skipped.
pub fn read(folder: &Path, query: &Query, emit: &mut Emit<'_>) -> Result<(), HistoryError> {
    let current = open_if_present(&folder.join(files::CURRENT))?;
    past(folder, current, query, emit).map(|_| ())
}

/// As `read`, then waits for more, until `emit` breaks. Outlives the supervisor and rotations.
pub fn follow(folder: &Path, query: &Query, emit: &mut Emit<'_>) -> Result<(), HistoryError> {
    crate::sys::fs::create_dir_durable(folder, 0o700)?;
    let path = folder.join(files::CURRENT);
    let watch = watch(folder)?;
    let filter = Filter::new(query);
    let current = Cursor::new(files::open_current(folder)?);
    let (Some(mut current), mut flow) = past(folder, Some(current), query, emit)? else {
        return Ok(());
    };
    while flow.is_continue() {
        flow = current.drain(&filter, emit).at("read", &path)?;
        if flow.is_continue() && current.inode() != inode(&path) {
            // What was appended between the last read and the rename is still in the old file.
            flow = current.drain(&filter, emit).at("read", &path)?;
            current = next_after(folder, &current)?;
        } else if flow.is_continue() {
            wait(&watch);
        }
    }
    Ok(())
}

/// The file that was begun after this one was closed: more than one may have been since.
fn next_after(folder: &Path, done: &Cursor) -> Result<Cursor, PathError> {
    let closed = files::closed(folder)?;
    let ours = closed
        .iter()
        .position(|file| inode(&file.path) == done.inode());
    // The oldest go first: if ours is gone, all that are left came after it.
    for file in closed.iter().skip(ours.map_or(0, |ours| ours + 1)) {
        if let Some(next) = open_if_present(&file.path)? {
            return Ok(next);
        }
    }
    files::open_current(folder).map(Cursor::new)
}

/// All closed files, then the current one, which was opened before they were listed: a rotation in
/// between makes it one of them, and it is told once. Gives it back, read to its end.
fn past(
    folder: &Path,
    mut current: Option<Cursor>,
    query: &Query,
    emit: &mut Emit<'_>,
) -> Result<(Option<Cursor>, Flow), HistoryError> {
    let filter = Filter::new(query);
    let since_us = query.since.map(Timestamp::unix_us);
    let mut closed = files::closed(folder)?;
    closed.retain(|file| since_us.is_none_or(|since| file.until_us >= since));
    let ours = current.as_ref().and_then(Cursor::inode);
    let older = |file: &Closed| {
        let cursor = open_if_present(&file.path)?;
        Ok::<_, PathError>(cursor.filter(|cursor| cursor.inode() != ours))
    };
    if let Some(count) = query.last {
        let flow = last(folder, &mut current, &closed, &older, &filter, count, emit)?;
        return Ok((current, flow));
    }
    let mut flow = Flow::Continue(());
    for file in &closed {
        if let Some(mut cursor) = older(file)?.filter(|_| flow.is_continue()) {
            flow = cursor.drain(&filter, emit).at("read", &file.path)?;
        }
    }
    if let Some(current) = current.as_mut().filter(|_| flow.is_continue()) {
        let drained = current.drain(&filter, emit);
        flow = drained.at("read", &folder.join(files::CURRENT))?;
    }
    Ok((current, flow))
}

/// The last lines alone. The newest files come first: few of many may hold all that is wanted.
fn last(
    folder: &Path,
    current: &mut Option<Cursor>,
    closed: &[Closed],
    older: &dyn Fn(&Closed) -> Result<Option<Cursor>, PathError>,
    filter: &Filter<'_>,
    count: usize,
    emit: &mut Emit<'_>,
) -> Result<Flow, HistoryError> {
    let mut ends = Vec::new();
    if let Some(current) = current {
        let end = current.end(filter, count);
        ends.push(end.at("read", &folder.join(files::CURRENT))?);
    }
    let mut found: usize = ends.iter().map(VecDeque::len).sum();
    for file in closed.iter().rev() {
        if found < count
            && let Some(mut cursor) = older(file)?
        {
            let end = cursor.end(filter, count - found).at("read", &file.path)?;
            found += end.len();
            ends.push(end);
        }
    }
    let mut flow = Flow::Continue(());
    for line in ends.iter().rev().flatten() {
        if let Some(record) = Record::parse(line).filter(|_| flow.is_continue()) {
            flow = emit(record);
        }
    }
    Ok(flow)
}

/// A file being read line by line while it grows.
struct Cursor {
    reader: BufReader<File>,
    /// A line whose newline has not come yet.
    partial: Vec<u8>,
}

impl Cursor {
    fn new(file: File) -> Self {
        Self {
            reader: BufReader::with_capacity(READ_BYTES, file),
            partial: Vec::new(),
        }
    }

    fn inode(&self) -> Option<u64> {
        self.reader.get_ref().metadata().ok().map(|file| file.ino())
    }

    /// Passes on the whole lines up to the end of the file.
    fn drain(&mut self, filter: &Filter<'_>, emit: &mut Emit<'_>) -> io::Result<Flow> {
        loop {
            self.reader.read_until(b'\n', &mut self.partial)?;
            if self.partial.pop_if(|last| *last == b'\n').is_none() {
                return Ok(Flow::Continue(()));
            }
            let flow = match Record::parse(&self.partial) {
                Some(record) if filter.wants(&record) => emit(record),
                _ => Flow::Continue(()),
            };
            self.partial.clear();
            if flow.is_break() {
                return Ok(flow);
            }
        }
    }

    /// The last lines that fit, at most `count` of them. Reads the file to its end.
    fn end(&mut self, filter: &Filter<'_>, count: usize) -> io::Result<VecDeque<Vec<u8>>> {
        let mut lines = VecDeque::new();
        let flow = self.drain(filter, &mut |record| {
            let mut line = Vec::new();
            record.write(&mut line);
            line.pop(); // the newline
            lines.push_back(line);
            if lines.len() > count {
                lines.pop_front();
            }
            Flow::Continue(())
        });
        flow.map(|_| lines)
    }
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|file| file.ino())
}

fn watch(folder: &Path) -> Result<OwnedFd, PathError> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
        .at("watch", folder)?;
    let changes =
        inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    inotify::add_watch(&watch, folder, changes).at("watch", folder)?;
    Ok(watch)
}

/// Until something changed, or `FOLLOW_POLL_MS` have passed. The reads that follow decide what it was.
fn wait(watch: &OwnedFd) {
    let patience = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: FOLLOW_POLL_MS * 1_000_000,
    };
    let mut ready = [rustix::event::PollFd::new(
        watch,
        rustix::event::PollFlags::IN,
    )];
    let _ = rustix::event::poll(&mut ready, Some(&patience));
    let mut events = [MaybeUninit::<u8>::uninit(); 4096];
    let mut reader = inotify::Reader::new(watch, &mut events);
    while reader.next().is_ok() {}
}

fn open_if_present(path: &Path) -> Result<Option<Cursor>, PathError> {
    match File::open(path) {
        Ok(file) => Ok(Some(Cursor::new(file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None), // rotated away meanwhile, or never written
        Err(error) => Err(error).at("open", path),
    }
}
