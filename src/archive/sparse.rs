//! Long runs of zeros as holes: in the tar they are zeros, so that the same
//! content is the same bytes wherever it lay; on the disk they take no room.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};

/// The shortest run of zeros that becomes a hole: several blocks of every file system.
const HOLE: usize = 64 << 10;
/// Zeros are looked for in pieces of so many bytes.
const GRAIN: usize = 4 << 10;

/// Writes a file from its beginning.
pub(super) struct SparseWriter {
    file: File,
    /// Bytes so far, but the zeros.
    at: u64,
    /// Zeros that follow, and are not written yet.
    zeros: u64,
}

impl SparseWriter {
    /// The file must be new.
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            at: 0,
            zeros: 0,
        }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        loop {
            let zeros = zeros_at_start(bytes);
            self.zeros += zeros as u64;
            bytes = &bytes[zeros..];
            if bytes.is_empty() {
                return Ok(());
            }
            self.pass_zeros()?;
            let (data, rest) = bytes.split_at(until_zeros(bytes));
            self.file.write_all(data)?;
            self.at += data.len() as u64;
            bytes = rest;
        }
    }

    /// The file, as long as what was written.
    pub(super) fn finish(self) -> io::Result<File> {
        if self.zeros > 0 {
            self.file.set_len(self.at + self.zeros)?;
        }
        Ok(self.file)
    }

    fn pass_zeros(&mut self) -> io::Result<()> {
        match usize::try_from(self.zeros) {
            Ok(0) => return Ok(()),
            Ok(few) if few < HOLE => self.file.write_all(&vec![0; few])?,
            _ => _ = self.file.seek(SeekFrom::Start(self.at + self.zeros))?,
        }
        self.at += self.zeros;
        self.zeros = 0;
        Ok(())
    }
}

/// The bytes of the pieces at the start that are all zero.
fn zeros_at_start(bytes: &[u8]) -> usize {
    let zeros = bytes.chunks(GRAIN).take_while(|piece| is_zero(piece));
    zeros.map(<[u8]>::len).sum()
}

/// The bytes before zeros that go on to the end, or are enough for a hole.
fn until_zeros(bytes: &[u8]) -> usize {
    let (mut at, mut data) = (0, 0);
    for piece in bytes.chunks(GRAIN) {
        at += piece.len();
        if !is_zero(piece) {
            data = at;
        } else if at - data >= HOLE {
            break;
        }
    }
    data
}

/// Is every byte the one before it, and that zero? A comparison of memory ends at the first that is not. Never of nothing.
fn is_zero(bytes: &[u8]) -> bool {
    bytes[0] == 0 && bytes[1..] == bytes[..bytes.len() - 1]
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    /// Writes the bytes in pieces; the file's blocks of 512 bytes.
    fn check(bytes: &[u8], piece: usize) -> u64 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut writer = SparseWriter::new(File::create_new(&path).unwrap());
        for piece in bytes.chunks(piece) {
            writer.write(piece).unwrap();
        }
        writer.finish().unwrap();
        assert!(std::fs::read(&path).unwrap() == bytes);
        path.metadata().unwrap().blocks()
    }

    #[test]
    fn zeros_take_no_room_wherever_they_stand() {
        let mut bytes = vec![0; 40 * HOLE + 17];
        for piece in [HOLE, 4 * HOLE, bytes.len()] {
            assert_eq!(check(&bytes, piece), 0, "in pieces of {piece}");
        }
        bytes[20 * HOLE + 3] = 1;
        for piece in [HOLE, 3 * HOLE + 5, bytes.len()] {
            assert!(
                check(&bytes, piece) <= 8 * HOLE as u64 / 512,
                "in pieces of {piece}"
            );
        }
        assert!(check(&vec![1; 3 * HOLE], HOLE) >= 3 * HOLE as u64 / 512);
        check(&[0; 3], 1);
        check(b"", 1);
    }
}
