//! What was said, kept in files: `<folder>/current.log`, and older ones named
//! after the microsecond at which they were closed. A line:
//!
//! ```text
//! 2026-11-23T19:55:00.000001Z v42 web.1 out listening on 8000
//! ```
//!
//! time, release (`-` if none), source, stream (`out+`: the line goes on in the
//! next), text as it came. Several may write at once (a one-off beside the
//! supervisor): each write is whole lines at the end of the file. Knows no
//! process and no pipe.

mod files;
mod keep;
mod read;
mod record;

use std::fs;
use std::fs::File;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::CWD;
use rustix::fs::RenameFlags;
use rustix::io::Errno;

pub use self::keep::FILE_AGE_MAX;
pub use self::keep::FILE_BYTES_MAX;
pub use self::keep::KEEP_BYTES;
pub use self::keep::KEEP_BYTES_MIN;
pub use self::keep::Keep;
pub use self::read::FOLLOW_POLL_MS;
pub use self::read::HistoryError;
pub use self::read::Query;
pub use self::read::follow;
pub use self::read::read;
pub use self::record::Record;
use super::Batch;
use super::Policy;
use super::Sink;
use super::Written;
use crate::sys::At as _;
use crate::sys::PathError;
use crate::sys::clock::Timestamp;

/// The writing end.
#[derive(Debug)]
pub struct History {
    folder: PathBuf,
    current: PathBuf,
    keep: Keep,
    /// Whether this writer removes what is no longer to be kept.
    is_keeper: bool,
    file: File,
    /// When the first line of the current file was written, if that is known.
    since_us: Option<i64>,
    /// Lines that could not be written since the last that could.
    lost: u64,
    /// A failed write may have left half a line.
    torn: bool,
    /// What is about to be written.
    kept: Vec<u8>,
}

impl History {
    /// Opens the history in `folder`, making it (0700: lines may hold what only the owner should read). It closes files
    /// that are full and removes none.
    pub fn open(folder: &Path) -> Result<Self, PathError> {
        crate::sys::fs::create_dir_durable(folder, 0o700)?;
        let current = folder.join(files::CURRENT);
        let file = files::open_current(folder)?;
        let bytes = file.metadata().at("read the size of", &current)?.len();
        Ok(Self {
            folder: folder.to_owned(),
            keep: Keep::default(),
            is_keeper: false,
            file,
            since_us: files::first_line_us(&current),
            lost: 0,
            torn: bytes > 0 && !files::ends_in_newline(&current),
            kept: Vec::new(),
            current,
        })
    }

    /// As `open`, for the one writer that also removes what is not to be kept.
    pub fn open_and_keep(folder: &Path, keep: Keep) -> Result<Self, PathError> {
        let mut history = Self::open(folder)?;
        history.keep = keep;
        history.is_keeper = true;
        history.sweep(Timestamp::now())?;
        Ok(history)
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
        let bytes = self.find_current()?;
        let since_us = *self.since_us.get_or_insert(at.unix_us());
        let is_old = at.unix_us().saturating_sub(since_us) >= self.keep.file_age_us();
        if bytes >= self.keep.file_bytes() || (is_old && bytes > 0) {
            self.rotate(at)?;
        }
        if self.torn {
            self.file.write_all(b"\n").at("write", &self.current)?;
            self.torn = false;
        }
        if self.lost > 0 {
            let marker = format!(
                "{at} - slug slug {} lines before this one could not be kept\n",
                self.lost
            );
            let marked = self.file.write_all(marker.as_bytes());
            marked.at("write", &self.current)?;
            self.lost = 0;
        }
        self.file.write_all(lines).at("write", &self.current)
    }

    /// Another writer may have closed the file; this one goes on in the new one. Says how many bytes it has.
    fn find_current(&mut self) -> Result<u64, PathError> {
        let ours = self.file.metadata().at("look at", &self.current)?;
        match fs::metadata(&self.current) {
            Ok(theirs) if theirs.ino() == ours.ino() => return Ok(theirs.len()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Removed by hand, perhaps with its folder.
                crate::sys::fs::create_dir_durable(&self.folder, 0o700)?;
            }
            Err(error) => return Err(error).at("look at", &self.current),
        }
        self.file = files::open_current(&self.folder)?;
        self.since_us = files::first_line_us(&self.current);
        let found = self.file.metadata().at("look at", &self.current)?;
        Ok(found.len())
    }

    fn rotate(&mut self, at: Timestamp) -> Result<(), PathError> {
        // A clock that was set back must not make this file older than those before it.
        let newest = files::closed(&self.folder)?.last().map(|it| it.until_us);
        let mut closed_us = newest.map_or(at.unix_us(), |us| at.unix_us().max(us + 1));
        loop {
            let closed = self.folder.join(files::closed_name(closed_us));
            let flags = RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(CWD, &self.current, CWD, &closed, flags) {
                Ok(()) | Err(Errno::NOENT) => break, // another writer was there first
                Err(Errno::EXIST) => closed_us += 1,
                Err(error) => return Err(error).at("rename", &self.current),
            }
        }
        self.file = files::open_current(&self.folder)?;
        self.since_us = Some(at.unix_us());
        self.torn = false;
        self.sweep(at)
    }

    /// Removes what is not to be kept.
    fn sweep(&self, now: Timestamp) -> Result<(), PathError> {
        if !self.is_keeper {
            return Ok(());
        }
        for gone in self.keep.expired(&files::closed(&self.folder)?, now) {
            match fs::remove_file(&gone) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).at("remove", &gone);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Closes a file that nothing has been added to for long, so that its age counts.
    fn age(&mut self, now: Timestamp) -> Result<(), PathError> {
        let bytes = self.find_current()?;
        let since_us = self.since_us.unwrap_or(now.unix_us());
        if bytes > 0 && now.unix_us().saturating_sub(since_us) >= self.keep.file_age_us() {
            return self.rotate(now);
        }
        self.sweep(now)
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
            batch.write_lines(&record::start(batch), b"\n", &mut kept);
        }
        let count = batches.iter().map(|batch| batch.count()).sum();
        let appended = self.append(&kept, count, last.at);
        self.kept = kept;
        match appended {
            Ok(()) => Written::All,
            Err(error) => {
                let why = std::error::Error::source(&error).map(ToString::to_string);
                let why = why.unwrap_or_default();
                Written::Lost(format!("{error}: {why}; lines are counted, not kept"))
            }
        }
    }

    fn tidy(&mut self) {
        // What could not be removed now is tried again an hour later, and whenever a file is closed.
        let _ = self.age(Timestamp::now());
    }
}

#[cfg(test)]
mod tests;
