//! What was said, kept in files: `<folder>/current.log`, and older ones named
//! after the microsecond at which they were closed. A line:
//!
//! ```text
//! 2026-11-23T19:55:00.000001Z v42 web.1 out listening on 8000
//! ```
//!
//! time, release (`-` if none), source, stream (`out+`: the line goes on in the
//! next), text as it came. Knows no process and no pipe.

use std::collections::VecDeque;
use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Write as _;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::inotify;
use thiserror::Error;

use super::Batch;
use super::Policy;
use super::Sink;
use super::Stream;
use super::Written;
use crate::ident::ReleaseVersion;
use crate::sys::At as _;
use crate::sys::PathError;
use crate::sys::clock::Timestamp;

/// A file is closed when it has this many bytes.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How many closed files are kept: with the current one, 128 MiB an app.
pub const CLOSED_FILES_MAX: usize = 7;
/// How often a follower looks although nothing told it to, in milliseconds: for file systems without inotify.
pub const FOLLOW_POLL_MS: i64 = 500;

const CURRENT: &str = "current.log";

/// Why history could not be read.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// A file or the folder.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// The writing end.
#[derive(Debug)]
pub struct History {
    folder: PathBuf,
    file: File,
    bytes: u64,
    /// Lines that could not be written since the last that could.
    lost: u64,
    /// A failed write may have left half a line.
    torn: bool,
    /// What is about to be written.
    kept: Vec<u8>,
}

impl History {
    /// Opens the history in `folder`, making it (0700: lines may hold what only the owner should read).
    pub fn open(folder: &Path) -> Result<Self, PathError> {
        crate::sys::fs::create_dir_durable(folder, 0o700)?;
        let file = open_current(folder)?;
        let path = folder.join(CURRENT);
        let bytes = file.metadata().at("read the size of", &path)?.len();
        Ok(Self {
            folder: folder.to_owned(),
            file,
            bytes,
            lost: 0,
            torn: bytes > 0 && !ends_in_newline(&path),
            kept: Vec::new(),
        })
    }

    /// Appends whole lines. If the disk is full they are counted, and the next that fit are preceded by that count.
    pub fn append(&mut self, lines: &[u8], count: u64, at: Timestamp) -> Result<(), PathError> {
        let written = self.try_append(lines, at);
        if written.is_err() {
            self.lost += count;
            self.torn = true;
        }
        written
    }

    fn try_append(&mut self, lines: &[u8], at: Timestamp) -> Result<(), PathError> {
        if self.bytes >= FILE_BYTES_MAX {
            self.rotate(at)?;
        }
        let path = self.folder.join(CURRENT);
        if self.torn {
            self.file.write_all(b"\n").at("write", &path)?;
            self.torn = false;
        }
        if self.lost > 0 {
            let marker = format!(
                "{at} - slug slug {} lines before this one could not be kept\n",
                self.lost
            );
            self.file.write_all(marker.as_bytes()).at("write", &path)?;
            self.lost = 0;
        }
        self.file.write_all(lines).at("write", &path)?;
        self.bytes += lines.len() as u64;
        Ok(())
    }

    fn rotate(&mut self, at: Timestamp) -> Result<(), PathError> {
        let current = self.folder.join(CURRENT);
        let closed = self.folder.join(format!("{:020}.log", at.unix_us()));
        fs::rename(&current, &closed).at("rename", &current)?;
        self.file = open_current(&self.folder)?;
        self.bytes = 0;
        let closed = closed_files(&self.folder)?;
        for oldest in closed.iter().rev().skip(CLOSED_FILES_MAX) {
            fs::remove_file(oldest).at("remove", oldest)?;
        }
        Ok(())
    }
}

impl Sink for History {
    fn name(&self) -> String {
        "log history".to_owned()
    }

    fn policy(&self) -> Policy {
        Policy::Block
    }

    fn write(&mut self, batches: &[Arc<Batch>], _alive: &dyn Fn()) -> Written {
        let Some(last) = batches.last() else {
            return Written::All;
        };
        let mut kept = std::mem::take(&mut self.kept);
        kept.clear();
        for batch in batches {
            batch.write_lines(&record_start(batch), b"\n", &mut kept);
        }
        let count = batches.iter().map(|batch| batch.count()).sum();
        let appended = self.append(&kept, count, last.at);
        self.kept = kept;
        match appended {
            Ok(()) => Written::All,
            Err(error) => {
                let why = std::error::Error::source(&error).map(ToString::to_string);
                Written::Lost(format!("{error}: {}", why.unwrap_or_default()))
            }
        }
    }
}

/// What stands before the text of each line of a batch.
fn record_start(batch: &Batch) -> Vec<u8> {
    let record = Record {
        at: &batch.at.to_string(),
        release: batch.labels.release,
        source: &batch.labels.source,
        stream: batch.stream,
        cut: batch.cut,
        text: b"",
    };
    let mut start = Vec::new();
    record.write(&mut start);
    start.pop(); // the newline
    start
}

/// One line of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When it was read from its pipe, RFC 3339.
    pub at: &'a str,
    /// The release that said it.
    pub release: Option<ReleaseVersion>,
    /// `web.1`, `router`, `slug`.
    pub source: &'a str,
    /// How it was said.
    pub stream: Stream,
    /// The line goes on in the next record.
    pub cut: bool,
    /// What was said, any bytes.
    pub text: &'a [u8],
}

impl<'a> Record<'a> {
    /// Appends it as a line of history.
    pub fn write(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(self.at.as_bytes());
        buffer.push(b' ');
        match self.release {
            Some(release) => buffer.extend_from_slice(release.to_string().as_bytes()),
            None => buffer.push(b'-'),
        }
        buffer.push(b' ');
        buffer.extend_from_slice(self.source.as_bytes());
        buffer.push(b' ');
        buffer.extend_from_slice(self.stream.name().as_bytes());
        buffer.extend_from_slice(if self.cut { b"+ " } else { b" " });
        buffer.extend_from_slice(self.text);
        buffer.push(b'\n');
    }

    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(5, |byte| *byte == b' ');
        let at = str::from_utf8(fields.next()?).ok()?;
        let release = str::from_utf8(fields.next()?).ok()?;
        let source = str::from_utf8(fields.next()?).ok()?;
        let stream = fields.next()?;
        let text = fields.next()?;
        let (stream, cut) = stream
            .strip_suffix(b"+")
            .map_or((stream, false), |name| (name, true));
        let release = if release == "-" {
            None
        } else {
            Some(release.parse().ok()?)
        };
        Some(Self {
            at,
            release,
            source,
            stream: Stream::parse(stream)?,
            cut,
            text,
        })
    }
}

/// Which lines are wanted.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// A process type (`web`), an instance (`web.1`), `slug` or `router`; all if none.
    pub source: Option<String>,
    /// Of this release alone.
    pub release: Option<ReleaseVersion>,
    /// The last so many of those that fit; all if none.
    pub last: Option<usize>,
}

impl Query {
    fn wants(&self, record: &Record<'_>) -> bool {
        let is_source = self.source.as_deref().is_none_or(|wanted| {
            let of_type = record
                .source
                .rsplit_once('.')
                .is_some_and(|(process_type, _)| process_type == wanted);
            record.source == wanted || of_type
        });
        is_source
            && self
                .release
                .is_none_or(|wanted| record.release == Some(wanted))
    }
}

/// Passes on what is kept in `folder` and fits, oldest first. No folder is no history. Lines that are not records are skipped.
pub fn read(
    folder: &Path,
    query: &Query,
    emit: &mut dyn FnMut(Record<'_>),
) -> Result<(), HistoryError> {
    let mut always = |record: Record<'_>| {
        emit(record);
        ControlFlow::Continue(())
    };
    let current = open_if_present(&folder.join(CURRENT))?;
    past(folder, current, query, &mut always).map(|_| ())
}

/// As `read`, then waits for more, until `emit` breaks. Outlives the supervisor and rotations.
pub fn follow(
    folder: &Path,
    query: &Query,
    emit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
) -> Result<(), HistoryError> {
    crate::sys::fs::create_dir_durable(folder, 0o700)?;
    let path = folder.join(CURRENT);
    let watch = watch(folder)?;
    let current = Cursor::new(open_current(folder)?);
    let (Some(mut current), mut flow) = past(folder, Some(current), query, emit)? else {
        return Ok(());
    };
    while flow.is_continue() {
        flow = current.drain(query, emit).at("read", &path)?;
        if flow.is_continue() && current.inode() != inode(&path) {
            // What was appended between the last read and the rename is still in the old file.
            flow = current.drain(query, emit).at("read", &path)?;
            current = Cursor::new(open_current(folder)?);
        } else if flow.is_continue() {
            wait(&watch);
        }
    }
    Ok(())
}

type Flow = ControlFlow<()>;

/// All closed files, then the current one, which was opened before they were listed: a rotation in
/// between makes it one of them, and it is told once. Gives it back, read to its end.
fn past(
    folder: &Path,
    current: Option<Cursor>,
    query: &Query,
    emit: &mut dyn FnMut(Record<'_>) -> Flow,
) -> Result<(Option<Cursor>, Flow), HistoryError> {
    let mut last = Last {
        count: query.last,
        lines: VecDeque::new(),
    };
    let mut flow = Flow::Continue(());
    for path in closed_files(folder)? {
        let Some(mut file) = open_if_present(&path)? else {
            continue;
        };
        if flow.is_continue() && file.inode() != current.as_ref().and_then(Cursor::inode) {
            flow = file
                .drain(query, &mut |record| last.pass(record, emit))
                .at("read", &path)?;
        }
    }
    let mut current = current;
    if let Some(current) = current.as_mut().filter(|_| flow.is_continue()) {
        flow = current
            .drain(query, &mut |record| last.pass(record, emit))
            .at("read", &folder.join(CURRENT))?;
    }
    for line in &last.lines {
        if let Some(record) = Record::parse(line).filter(|_| flow.is_continue()) {
            flow = emit(record);
        }
    }
    Ok((current, flow))
}

/// Holds back all but the last lines, if only those are wanted.
struct Last {
    count: Option<usize>,
    lines: VecDeque<Vec<u8>>,
}

impl Last {
    fn pass(&mut self, record: Record<'_>, emit: &mut dyn FnMut(Record<'_>) -> Flow) -> Flow {
        let Some(count) = self.count else {
            return emit(record);
        };
        let mut line = Vec::new();
        record.write(&mut line);
        line.pop(); // the newline
        self.lines.push_back(line);
        if self.lines.len() > count {
            self.lines.pop_front();
        }
        Flow::Continue(())
    }
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
            reader: BufReader::new(file),
            partial: Vec::new(),
        }
    }

    fn inode(&self) -> Option<u64> {
        self.reader.get_ref().metadata().ok().map(|file| file.ino())
    }

    /// Passes on the whole lines up to the end of the file.
    fn drain(
        &mut self,
        query: &Query,
        emit: &mut dyn FnMut(Record<'_>) -> Flow,
    ) -> io::Result<Flow> {
        loop {
            self.reader.read_until(b'\n', &mut self.partial)?;
            if self.partial.pop_if(|last| *last == b'\n').is_none() {
                return Ok(Flow::Continue(()));
            }
            let flow = match Record::parse(&self.partial) {
                Some(record) if query.wants(&record) => emit(record),
                _ => Flow::Continue(()),
            };
            self.partial.clear();
            if flow.is_break() {
                return Ok(flow);
            }
        }
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

fn open_current(folder: &Path) -> Result<File, PathError> {
    let path = folder.join(CURRENT);
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .at("open", &path)
}

fn ends_in_newline(path: &Path) -> bool {
    use std::io::Read as _;
    let last = File::open(path).and_then(|mut file| {
        io::Seek::seek(&mut file, io::SeekFrom::End(-1))?;
        let mut byte = [0];
        file.read_exact(&mut byte).map(|()| byte[0])
    });
    matches!(last, Ok(b'\n'))
}

/// Oldest first: their names are times of one width.
fn closed_files(folder: &Path) -> Result<Vec<PathBuf>, PathError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).at("list", folder),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.at("list", folder)?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.strip_suffix(".log").is_some_and(|time| {
            time.len() == 20 && time.bytes().all(|digit| digit.is_ascii_digit())
        }) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u64, source: &str, release: u32) -> Vec<u8> {
        let mut line = Vec::new();
        let text = format!("line {number}").into_bytes();
        let release = ReleaseVersion::from_number(release);
        let record = Record {
            at: "2026-01-01T00:00:00.000000Z",
            release,
            source,
            stream: Stream::Out,
            cut: false,
            text: &text,
        };
        record.write(&mut line);
        line
    }

    fn now(number: i64) -> Timestamp {
        Timestamp::from_unix_us(1_700_000_000_000_000 + number).unwrap()
    }

    fn texts(folder: &Path, query: &Query) -> Vec<String> {
        let mut texts = Vec::new();
        read(folder, query, &mut |record| {
            texts.push(String::from_utf8_lossy(record.text).into_owned());
        })
        .unwrap();
        texts
    }

    #[test]
    fn a_record_is_read_as_it_was_written_whatever_its_bytes() {
        let text = b"a  b \xff +";
        let record = Record {
            at: "t",
            release: None,
            source: "web.1",
            stream: Stream::Err,
            cut: true,
            text,
        };
        let mut line = Vec::new();
        record.write(&mut line);
        assert_eq!(Record::parse(&line[..line.len() - 1]), Some(record));
        let torn: [&[u8]; 4] = [b"", b"t v1 web.1", b"t v0 web.1 out x", b"t - web.1 oops x"];
        assert_eq!(torn.map(Record::parse), [None; 4]);
    }

    #[test]
    fn history_is_filtered_and_its_end_alone_can_be_had() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("logs/shop");
        let mut history = History::open(&folder).unwrap();
        for number in 0..10 {
            let source = if number % 2 == 0 { "web.1" } else { "worker.1" };
            history
                .append(
                    &line(number, source, 1 + u32::try_from(number).unwrap() / 5),
                    1,
                    now(0),
                )
                .unwrap();
        }
        let web = Query {
            source: Some("web".to_owned()),
            ..Query::default()
        };
        assert_eq!(
            texts(&folder, &web),
            ["line 0", "line 2", "line 4", "line 6", "line 8"]
        );
        assert_eq!(
            texts(
                &folder,
                &Query {
                    last: Some(1),
                    ..web.clone()
                }
            ),
            ["line 8"]
        );
        assert_eq!(
            texts(
                &folder,
                &Query {
                    release: ReleaseVersion::from_number(2),
                    ..web
                }
            ),
            ["line 6", "line 8"]
        );
        assert_eq!(
            texts(
                &folder,
                &Query {
                    last: Some(0),
                    ..Query::default()
                }
            ),
            [""; 0]
        );
        assert_eq!(texts(&folder.join("none"), &Query::default()), [""; 0]);
    }

    #[test]
    fn rotation_loses_no_line_and_keeps_a_bounded_number_of_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        for number in 0..20 {
            history
                .append(
                    &line(u64::try_from(number).unwrap(), "web.1", 1),
                    1,
                    now(number),
                )
                .unwrap();
            history.bytes = FILE_BYTES_MAX;
        }
        let kept: Vec<String> = (12..20).map(|number| format!("line {number}")).collect();
        assert_eq!(texts(folder.path(), &Query::default()), kept);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1 + CLOSED_FILES_MAX
        );
    }

    #[test]
    fn a_half_line_of_a_killed_writer_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let torn = [
            line(1, "web.1", 1),
            b"2026-01-01T00:00:00.000000Z v1 we".to_vec(),
        ]
        .concat();
        File::create(folder.path().join(CURRENT))
            .unwrap()
            .write_all(&torn)
            .unwrap();
        let mut history = History::open(folder.path()).unwrap();
        history.append(&line(2, "web.1", 1), 1, now(0)).unwrap();
        assert_eq!(
            texts(folder.path(), &Query::default()),
            ["line 1", "line 2"]
        );
    }

    #[test]
    fn a_follower_sees_past_and_future_across_a_rotation_once_each() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        history.append(&line(0, "web.1", 1), 1, now(0)).unwrap();
        let mut seen = Vec::new();
        follow(folder.path(), &Query::default(), &mut |record| {
            seen.push(String::from_utf8_lossy(record.text).into_owned());
            let next = u64::try_from(seen.len()).unwrap();
            if next == 5 {
                return Flow::Break(());
            }
            if next == 3 {
                history.bytes = FILE_BYTES_MAX;
            }
            history.append(&line(next, "web.1", 1), 1, now(1)).unwrap();
            Flow::Continue(())
        })
        .unwrap();
        assert_eq!(seen, ["line 0", "line 1", "line 2", "line 3", "line 4"]);
    }
}
