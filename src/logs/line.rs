//! Bytes from a pipe → lines. A line that a `read` cut in two is carried until
//! its end comes; a line over the limit is passed on in marked pieces. Knows no
//! pipe, no time, no sink.

/// The longest line that is passed on whole, in bytes without its newline
/// (journald's limit is 48 KiB, Heroku's 10,000 bytes: both cut real stack traces).
pub const LINE_BYTES_MAX: usize = 256 * 1024;

/// How much is looked at in one step, in bytes: no line that lies whole in it can be over the limit.
const STEP_BYTES: usize = 64 * 1024;

/// Whole lines, or a part of one that is over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// One line or more, a newline between two and none after the last; any other bytes.
    pub bytes: &'a [u8],
    /// It is one line, which goes on in the next piece.
    pub cut: bool,
}

/// Carries the partial line of one stream.
#[derive(Debug, Default)]
pub struct Framer {
    /// Never empty after a cut: only a line that goes on is cut.
    carried: Vec<u8>,
}

impl Framer {
    /// Goes on where another stopped: with the line that it carried.
    pub(super) fn carrying(carried: Vec<u8>) -> Self {
        Self { carried }
    }

    /// The line whose end has not come.
    pub(super) fn carried(&self) -> &[u8] {
        &self.carried
    }

    /// Passes on the lines that these bytes complete.
    pub fn feed(&mut self, bytes: &[u8], emit: &mut dyn FnMut(Piece<'_>)) {
        for step in bytes.chunks(STEP_BYTES) {
            self.step(step, emit);
        }
    }

    /// The stream ended: what is carried is a line, though no newline came.
    pub fn finish(&mut self, emit: &mut dyn FnMut(Piece<'_>)) {
        if !self.carried.is_empty() {
            self.complete(&[], emit);
        }
    }

    fn step(&mut self, mut bytes: &[u8], emit: &mut dyn FnMut(Piece<'_>)) {
        if !self.carried.is_empty()
            && let Some(end) = memchr::memchr(b'\n', bytes)
        {
            self.complete(&bytes[..end], emit);
            bytes = &bytes[end + 1..];
        }
        if let Some(end) = memchr::memrchr(b'\n', bytes) {
            // The common case: the lines lie whole in the buffer that was read.
            emit(Piece {
                bytes: &bytes[..end],
                cut: false,
            });
            bytes = &bytes[end + 1..];
        }
        self.carry(bytes, emit);
    }

    fn complete(&mut self, rest: &[u8], emit: &mut dyn FnMut(Piece<'_>)) {
        self.carry(rest, emit);
        emit(Piece {
            bytes: &self.carried,
            cut: false,
        });
        self.carried.clear();
        if self.carried.capacity() > LINE_BYTES_MAX / 4 {
            self.carried = Vec::new(); // one long line must not hold its memory for ever
        }
    }

    fn carry(&mut self, mut bytes: &[u8], emit: &mut dyn FnMut(Piece<'_>)) {
        while self.carried.len() + bytes.len() > LINE_BYTES_MAX {
            let (fits, rest) = bytes.split_at(LINE_BYTES_MAX - self.carried.len());
            self.carried.extend_from_slice(fits);
            emit(Piece {
                bytes: &self.carried,
                cut: true,
            });
            self.carried.clear();
            bytes = rest;
        }
        self.carried.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(reads: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut framer = Framer::default();
        let mut lines = Vec::new();
        let mut emit = |piece: Piece<'_>| {
            let parts = piece.bytes.split(|byte| *byte == b'\n');
            lines.extend(parts.map(|line| (line.to_vec(), piece.cut)));
        };
        for read in reads {
            framer.feed(read, &mut emit);
        }
        framer.finish(&mut emit);
        lines
    }

    #[test]
    fn a_line_cut_by_a_read_is_whole_again_and_a_blank_one_stays() {
        let whole = |text: &str| (text.as_bytes().to_vec(), false);
        assert_eq!(
            lines(&[b"a", b"b\n\nc", b"\n", b"tail"]),
            [whole("ab"), whole(""), whole("c"), whole("tail")]
        );
        assert_eq!(
            lines(&[b"\xff\xc3", b"\xa9\n"]),
            [(vec![0xff, 0xc3, 0xa9], false)]
        );
    }

    #[test]
    fn a_line_at_the_limit_is_whole_and_one_past_it_is_cut_with_a_mark() {
        let at = [vec![b'x'; LINE_BYTES_MAX], b"\n".to_vec()].concat();
        let whole = [(vec![b'x'; LINE_BYTES_MAX], false)];
        assert_eq!(lines(&[&at]), whole);
        assert_eq!(lines(&[&at[..9], &at[9..]]), whole);
        assert_eq!(
            lines(&[&at[..LINE_BYTES_MAX], &at[LINE_BYTES_MAX..]]),
            whole
        );
        let past = [vec![b'x'; LINE_BYTES_MAX + 1], b"\nb\n".to_vec()].concat();
        let cut = [
            (vec![b'x'; LINE_BYTES_MAX], true),
            (vec![b'x'], false),
            (vec![b'b'], false),
        ];
        assert_eq!(lines(&[&past]), cut);
        assert_eq!(lines(&[&past[..4], &past[4..]]), cut);
    }

    proptest! {
        #[test]
        fn however_the_reads_fall_the_lines_are_the_same(text in "[a-c\n]{0,60}", cuts in prop::collection::vec(0usize..60, 0..6)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut reads = Vec::new();
            let mut from = 0;
            for cut in cuts {
                reads.push(&bytes[from..cut]);
                from = cut;
            }
            reads.push(&bytes[from..]);
            prop_assert_eq!(lines(&reads), lines(&[bytes]));
        }
    }
}
