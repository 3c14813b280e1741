//! The files of a history: their names, and how they are opened.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::BufRead as _;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::keep::Closed;
use super::record::Record;
use crate::sys::At as _;
use crate::sys::PathError;
use crate::sys::clock::Timestamp;

/// The file that is written.
pub(super) const CURRENT: &str = "current.log";

/// How long the start of a record is at most, in bytes.
const START_BYTES_MAX: u64 = 4096;

pub(super) fn open_current(folder: &Path) -> Result<File, PathError> {
    let path = folder.join(CURRENT);
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .at("open", &path)
}

/// When the first line was written; none if there is none yet.
pub(super) fn first_line_us(path: &Path) -> Option<i64> {
    let mut line = Vec::new();
    let file = File::open(path).ok()?;
    let mut start = io::BufReader::new(file.take(START_BYTES_MAX));
    start.read_until(b'\n', &mut line).ok()?;
    let at: Timestamp = Record::parse(&line)?.at.parse().ok()?;
    Some(at.unix_us())
}

pub(super) fn ends_in_newline(path: &Path) -> bool {
    let last = File::open(path).and_then(|mut file| {
        io::Seek::seek(&mut file, io::SeekFrom::End(-1))?;
        let mut byte = [0];
        file.read_exact(&mut byte).map(|()| byte[0])
    });
    matches!(last, Ok(b'\n'))
}

/// Of one width, so that their order is that of time.
pub(super) fn closed_name(closed_us: i64) -> String {
    format!("{closed_us:020}.log")
}

/// Those that are no longer written, oldest first.
pub(super) fn closed(folder: &Path) -> Result<Vec<Closed>, PathError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).at("list", folder),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.at("list", folder)?;
        let name = entry.file_name();
        let time = name.to_str().and_then(|name| name.strip_suffix(".log"));
        let is_time = |time: &&str| time.len() == 20 && time.bytes().all(|it| it.is_ascii_digit());
        let Some(until_us) = time.filter(is_time).and_then(|time| time.parse().ok()) else {
            continue;
        };
        // One that another writer removed meanwhile is none.
        if let Ok(about) = entry.metadata() {
            files.push(Closed {
                path: entry.path(),
                bytes: about.len(),
                until_us,
            });
        }
    }
    files.sort_by_key(|file| file.until_us);
    Ok(files)
}
