//! The bytes of a file into another: by reflink or inside the kernel where the
//! file systems can, and holes stay holes.

use std::fs::{File, Metadata};
use std::io;
use std::io::{Read as _, Seek as _};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use rustix::fs::{SeekFrom, copy_file_range, seek};
use rustix::io::Errno;

/// Bytes of one `st_blocks`, whatever the file system's own (POSIX, `sys/stat.h`).
const STAT_BLOCK: u64 = 512;
/// Files of up to so many bytes are copied by a read and a write.
const SMALL: usize = 16 << 10;

/// Has the file fewer blocks than bytes? Small files may live in their inode, and count as having none.
pub fn may_have_holes(size: u64, blocks: u64) -> bool {
    size > 4096 && blocks * STAT_BLOCK < size
}

/// The next part of the file with data in it, from `from` on; empty at `end` if there is none.
pub fn next_data(file: &File, from: u64, end: u64) -> io::Result<Range<u64>> {
    match seek(file, SeekFrom::Data(from)) {
        Ok(start) if start < end => {
            let hole = seek(file, SeekFrom::Hole(start))?;
            Ok(start..hole.min(end))
        }
        Ok(_) | Err(Errno::NXIO) => Ok(end..end),
        // A file system that knows no holes.
        Err(Errno::INVAL | Errno::NOTSUP) => Ok(from..end),
        Err(error) => Err(error.into()),
    }
}

/// Copies the bytes of `from`, of which this was found, into the empty file `to`.
pub fn copy_content(from: &File, found: &Metadata, to: &File) -> io::Result<()> {
    let size = found.len();
    if size <= SMALL as u64 {
        return copy_small(from, size, to);
    }
    if !may_have_holes(size, found.blocks()) {
        return copy_range(from, to, 0..u64::MAX); // wherever its end is by now
    }
    let mut at = 0;
    while at < size {
        let data = next_data(from, at, size)?;
        copy_range(from, to, data.clone())?;
        at = data.end;
    }
    to.set_len(size)
}

/// By a read and a write: half the time of a copy inside the kernel, which sets up pipes. A file that has
/// grown since is copied to where its end was, one that was cut to where it is now.
fn copy_small(from: &File, size: u64, to: &File) -> io::Result<()> {
    let mut buffer = [0; SMALL];
    let mut at = 0;
    while at < size {
        let count = from.read_at(&mut buffer, at)?;
        if count == 0 {
            break;
        }
        to.write_all_at(&buffer[..count], at)?;
        at += count as u64;
    }
    Ok(())
}

fn copy_range(from: &File, to: &File, range: Range<u64>) -> io::Result<()> {
    let (mut at, mut into) = (range.start, range.start);
    while at < range.end {
        let wanted = usize::try_from(range.end - at)
            .unwrap_or(usize::MAX)
            .min(1 << 30);
        match copy_file_range(from, Some(&mut at), to, Some(&mut into), wanted) {
            // Either there is nothing, or the file system does not tell the size of what there is.
            Ok(0) if at == range.start => return copy_by_hand(from, to, range),
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            // Other file systems (Linux before 5.19), or one that cannot.
            Err(Errno::XDEV | Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => {
                return copy_by_hand(from, to, at..range.end);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn copy_by_hand(mut from: &File, mut to: &File, range: Range<u64>) -> io::Result<()> {
    from.seek(io::SeekFrom::Start(range.start))?;
    to.seek(io::SeekFrom::Start(range.start))?;
    io::copy(&mut from.take(range.end - range.start), &mut to).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Content with a hole of 64 MiB in its middle, one at its end, and none.
    #[test]
    fn holes_stay_holes() {
        let folder = tempfile::tempdir().unwrap();
        for (number, length) in [(64 << 20) + 3, 128 << 20, 3].into_iter().enumerate() {
            let open = |name: &str| {
                let path = folder.path().join(format!("{name}{number}"));
                let mut options = File::options();
                options
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .open(path)
                    .unwrap()
            };
            let (mut from, to) = (open("from"), open("to"));
            from.write_all(b"one").unwrap();
            if length > 3 {
                from.seek(io::SeekFrom::Start(64 << 20)).unwrap();
                from.write_all(b"two").unwrap();
                from.set_len(length).unwrap();
            }
            copy_content(&from, &from.metadata().unwrap(), &to).unwrap();
            let found = to.metadata().unwrap();
            assert_eq!(found.len(), length);
            assert!(found.blocks() * STAT_BLOCK <= from.metadata().unwrap().blocks() * STAT_BLOCK);
            let mut bytes = Vec::new();
            File::open(folder.path().join(format!("to{number}")))
                .unwrap()
                .read_to_end(&mut bytes)
                .unwrap();
            assert_eq!(&bytes[..3], b"one");
            if length > 3 {
                assert_eq!(&bytes[64 << 20..(64 << 20) + 3], b"two");
                let data = bytes.iter().filter(|byte| **byte != 0).count();
                assert_eq!(data, 6);
            }
        }
    }

    #[test]
    fn a_file_that_only_the_hand_can_copy_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let to = File::create_new(folder.path().join("to")).unwrap();
        // Files of /proc say that they have no bytes, and `copy_file_range` believes them.
        let from = File::open("/proc/self/stat").unwrap();
        copy_range(&from, &to, 0..u64::MAX).unwrap();
        assert!(to.metadata().unwrap().len() > 0);
    }
}
