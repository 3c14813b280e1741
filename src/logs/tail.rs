//! The last lines of a process: what an error about it shows.

use std::collections::VecDeque;

/// How much of a process's end is kept, in bytes: a screen and a half of text.
pub const TAIL_BYTES_MAX: usize = 8 * 1024;

/// The last lines of a stream of lines, whole lines, at most `TAIL_BYTES_MAX` bytes.
#[derive(Debug, Default)]
pub struct Tail {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Tail {
    /// Adds a line; a longer one than the limit keeps its end.
    pub fn push(&mut self, line: &[u8]) {
        let line = &line[line.len().saturating_sub(TAIL_BYTES_MAX - 1)..];
        self.bytes += line.len() + 1;
        self.lines.push_back(line.to_vec());
        while self.bytes > TAIL_BYTES_MAX {
            let gone = self.lines.pop_front().map_or(0, |line| line.len() + 1);
            self.bytes -= gone;
        }
    }

    /// The lines as text; what is not UTF-8 becomes U+FFFD, for this is for people.
    pub fn text(&self) -> String {
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|line| String::from_utf8_lossy(line))
            .collect();
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_whole_and_within_the_limit() {
        let mut tail = Tail::default();
        for number in 0..5000 {
            tail.push(format!("line {number}").as_bytes());
        }
        assert!(tail.text().ends_with("line 4998\nline 4999"));
        assert!(tail.text().starts_with("line "));
        assert!(tail.text().len() < TAIL_BYTES_MAX);
        tail.push(&vec![b'x'; 3 * TAIL_BYTES_MAX]);
        assert_eq!(tail.text().len(), TAIL_BYTES_MAX - 1);
    }
}
