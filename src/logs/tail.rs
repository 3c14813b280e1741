//! The last lines of a process: what an error about it shows.

/// How much of a process's end is kept, in bytes: a screen and a half of text.
pub const TAIL_BYTES_MAX: usize = 8 * 1024;

/// The last lines of a stream of lines, whole lines, at most `TAIL_BYTES_MAX` bytes.
#[derive(Debug, Default)]
pub struct Tail {
    /// Each line with its newline.
    bytes: Vec<u8>,
}

impl Tail {
    /// Adds a line, or several with a newline between them; one longer than the limit keeps its end.
    pub fn push(&mut self, lines: &[u8]) {
        let room = TAIL_BYTES_MAX - 1;
        let fits = from_a_line_start(lines, lines.len().saturating_sub(room));
        let over = (self.bytes.len() + fits.len() + 1).saturating_sub(TAIL_BYTES_MAX);
        let kept = from_a_line_start(&self.bytes, over).len();
        self.bytes.drain(..self.bytes.len() - kept);
        self.bytes.extend_from_slice(fits);
        self.bytes.push(b'\n');
    }

    /// The lines as text; what is not UTF-8 becomes U+FFFD, for this is for people.
    pub fn text(&self) -> String {
        let lines = self.bytes.strip_suffix(b"\n").unwrap_or_default();
        String::from_utf8_lossy(lines).into_owned()
    }

    /// What it holds, to be pushed into another one day.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.strip_suffix(b"\n").unwrap_or_default()
    }
}

/// What of `lines` begins at `from` or after it, by whole lines; the end of a line if no other begins there.
fn from_a_line_start(lines: &[u8], from: usize) -> &[u8] {
    if from == 0 || lines.get(from - 1) == Some(&b'\n') {
        return &lines[from..];
    }
    let rest = &lines[from.min(lines.len())..];
    memchr::memchr(b'\n', rest).map_or(rest, |end| &rest[end + 1..])
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
        tail.push(b"");
        assert_eq!(tail.text(), "");
    }

    #[test]
    fn many_lines_at_once_are_the_same_as_one_by_one() {
        let lines: Vec<String> = (0..3000).map(|number| format!("line {number}")).collect();
        let (mut one_by_one, mut at_once) = (Tail::default(), Tail::default());
        for line in &lines {
            one_by_one.push(line.as_bytes());
        }
        at_once.push(lines[..7].join("\n").as_bytes());
        at_once.push(lines[7..].join("\n").as_bytes());
        assert_eq!(at_once.text(), one_by_one.text());
    }
}
