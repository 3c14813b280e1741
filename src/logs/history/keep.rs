//! How much of history is kept: what goes is decided here, and removed elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use crate::sys::clock::Timestamp;

/// A file is closed when it has this many bytes, or an eighth of what is kept if that is less.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A file is closed when its first line is this old, or an eighth of the age kept if that is less.
pub const FILE_AGE_MAX: Duration = Duration::from_hours(24);
/// How much is kept if nothing is said, in bytes.
pub const KEEP_BYTES: u64 = 128 * 1024 * 1024;
/// The least that can be asked for, in bytes.
pub const KEEP_BYTES_MIN: u64 = 1024 * 1024;

/// What is kept. It is at least the file that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// All files together have at most so many bytes.
    pub bytes: u64,
    /// No file whose last line is older; without it age does not matter.
    pub age: Option<Duration>,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            bytes: KEEP_BYTES,
            age: None,
        }
    }
}

/// A file that is no longer written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// Microseconds since 1970: no line of it is younger.
    pub(super) until_us: i64,
}

impl Keep {
    /// How many bytes one file may have.
    pub(super) fn file_bytes(self) -> u64 {
        FILE_BYTES_MAX.min(self.bytes / 8)
    }

    /// How old the first line of the current file may become, in microseconds.
    pub(super) fn file_age_us(self) -> i64 {
        let age = self
            .age
            .map_or(FILE_AGE_MAX, |age| FILE_AGE_MAX.min(age / 8));
        i64::try_from(age.as_micros()).unwrap_or(i64::MAX)
    }

    /// Which of these files go; they stand oldest first.
    pub(super) fn expired(self, closed: &[Closed], now: Timestamp) -> Vec<PathBuf> {
        let oldest_us = self.age.map(|age| {
            let age_us = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
            now.unix_us().saturating_sub(age_us)
        });
        let mut room = self.bytes.saturating_sub(self.file_bytes()); // the current file's part
        let mut is_over = false;
        let mut gone = Vec::new();
        for file in closed.iter().rev() {
            // Once one is over, all that are older are: history has no holes.
            is_over |= file.bytes > room || oldest_us.is_some_and(|oldest| file.until_us < oldest);
            if is_over {
                gone.push(file.path.clone());
            } else {
                room -= file.bytes;
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    fn check(keep: Keep, files: &[(&str, u64, i64)], gone: &[&str]) {
        let now = Timestamp::from_unix_us(1_800_000_000_000_000).unwrap();
        let closed = files.iter().map(|(name, bytes, hours_old)| Closed {
            path: name.into(),
            bytes: *bytes,
            until_us: now.unix_us() - hours_old * HOUR_US,
        });
        let closed: Vec<Closed> = closed.collect();
        let paths: Vec<PathBuf> = gone.iter().map(PathBuf::from).collect();
        assert_eq!(keep.expired(&closed, now), paths);
    }

    #[test]
    fn what_is_over_the_size_or_the_age_goes_and_all_that_is_older_with_it() {
        let mib = 1024 * 1024;
        let files = [
            ("a", mib, 50),
            ("b", 5 * mib, 40),
            ("c", mib, 30),
            ("d", mib, 10),
        ];
        let keep = |bytes, hours: Option<u64>| Keep {
            bytes,
            age: hours.map(Duration::from_hours),
        };
        check(Keep::default(), &files, &[]);
        check(keep(8 * mib, None), &files, &["a"]);
        check(keep(7 * mib, None), &files, &["b", "a"]);
        check(keep(KEEP_BYTES, Some(40)), &files, &["a"]);
        check(keep(KEEP_BYTES, Some(39)), &files, &["b", "a"]);
        check(keep(KEEP_BYTES, Some(1)), &files, &["d", "c", "b", "a"]);
    }

    #[test]
    fn a_file_is_an_eighth_of_what_is_kept_or_less() {
        let keep = Keep {
            bytes: KEEP_BYTES_MIN,
            age: Some(Duration::from_secs(8)),
        };
        assert_eq!(keep.file_bytes(), KEEP_BYTES_MIN / 8);
        assert_eq!(keep.file_age_us(), 1_000_000);
        assert_eq!(Keep::default().file_bytes(), FILE_BYTES_MAX);
    }
}
