//! The grammar of a `.env` file: config is data, so nothing is expanded
//! (`spec/procfile.md`).
//!
//! `[export ]KEY=value`. Unquoted: literal, a blank and `#` begin a comment,
//! blanks at the end are cut. `'…'`: literal. `"…"`: `\n \t \r \\ \" \$` are
//! escapes. Both quotes may span lines.
//!
//! A value is a secret, and so is whatever may be a part of one: no message
//! shows more of a line than the name before its `=`.

use std::fmt;

use super::Remark;

/// The longest name, in bytes: that of a config var.
const NAME_BYTES_MAX: usize = 255;
/// How many problems of one file are said.
pub const PROBLEMS_MAX: usize = 100;

/// One `KEY=value`.
#[derive(Clone, PartialEq, Eq)]
pub struct Assignment {
    /// `[A-Za-z_][A-Za-z0-9_]*`.
    pub name: String,
    /// Any bytes but NUL: a secret.
    pub value: Vec<u8>,
    /// Where the name is, from one.
    pub line: u64,
    /// Where the name is, from one, in characters.
    pub column: usize,
    /// Where the value ends: another line only in quotes.
    pub last_line: u64,
}

/// Without the value.
impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            value: _,
            line,
            column,
            last_line: _,
        } = self;
        write!(f, "{line}:{column} {name}=…")
    }
}

/// All that a file says.
#[derive(Debug, Default)]
pub struct Parsed {
    /// In the order of the file; a name that is there twice is here twice.
    pub assignments: Vec<Assignment>,
    /// What is not read, the first `PROBLEMS_MAX`. A file with one is refused whole.
    pub problems: Vec<Remark>,
}

/// What an env file sets.
#[derive(Debug, Default)]
pub struct EnvFile {
    /// Each name once, with its last value.
    pub vars: Vec<Assignment>,
    /// Names that are set more than once: one remark for each value that does not count.
    pub duplicates: Vec<Remark>,
}

/// Reads an env file; the error is every problem of it.
pub fn parse(bytes: &[u8]) -> Result<EnvFile, Vec<Remark>> {
    let Parsed {
        assignments,
        problems,
    } = read(bytes);
    if problems.is_empty() {
        Ok(last_of_each(assignments))
    } else {
        Err(problems)
    }
}

/// The last of each name counts.
pub fn last_of_each(assignments: Vec<Assignment>) -> EnvFile {
    let mut last = std::collections::HashMap::new();
    for (number, assignment) in assignments.iter().enumerate() {
        last.insert(assignment.name.clone(), (number, assignment.line));
    }
    let mut file = EnvFile::default();
    for (number, assignment) in assignments.into_iter().enumerate() {
        let (counts, line) = last[&assignment.name];
        if number == counts {
            file.vars.push(assignment);
        } else {
            let Assignment { name, .. } = &assignment;
            file.duplicates.push(Remark {
                line: assignment.line,
                column: assignment.column,
                text: format!("`{name}` is set again on line {line}, and that one counts"),
                source: String::new(),
            });
        }
    }
    file
}

/// Reads the whole file: every problem of it, not the first alone.
pub fn read(bytes: &[u8]) -> Parsed {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut parser = Parser {
        bytes,
        at: 0,
        line: 1,
        line_start: 0,
        parsed: Parsed::default(),
    };
    while parser.skip_to_assignment() {
        let read = parser.assignment();
        parser.skip_line();
        parser.parsed.assignments.extend(read);
    }
    parser.parsed
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The number of the line that `at` is in, from one.
    line: u64,
    /// Where that line begins.
    line_start: usize,
    parsed: Parsed,
}

/// A place of the file, to point at.
#[derive(Clone, Copy)]
struct Place {
    line: u64,
    line_start: usize,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn here(&self) -> Place {
        Place {
            line: self.line,
            line_start: self.line_start,
            at: self.at,
        }
    }

    fn advance(&mut self) {
        let ended = self.peek() == Some(b'\n');
        self.at += 1;
        if ended {
            self.line += 1;
            self.line_start = self.at;
        }
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|byte| byte != b'\n') {
            self.at += 1;
        }
    }

    /// Past blank lines and comments; false at the end of the file.
    fn skip_to_assignment(&mut self) -> bool {
        loop {
            match self.peek() {
                None => return false,
                Some(b' ' | b'\t' | b'\n') => self.advance(),
                Some(b'\r') if self.at_line_end() => self.advance(),
                Some(b'#') => self.skip_line(),
                Some(_) => return true,
            }
        }
    }

    /// At the end of a line or of the file, whether it is LF or CR LF.
    fn at_line_end(&self) -> bool {
        match self.peek() {
            None | Some(b'\n') => true,
            Some(b'\r') => matches!(self.bytes.get(self.at + 1), None | Some(b'\n')),
            Some(_) => false,
        }
    }

    /// The line is shown up to `shown`, and nothing behind it.
    fn problem(&mut self, place: Place, shown: usize, text: impl Into<String>) {
        if self.parsed.problems.len() == PROBLEMS_MAX {
            return;
        }
        let Place {
            line,
            line_start,
            at,
        } = place;
        let letters = |from: usize, to: usize| {
            String::from_utf8_lossy(&self.bytes[from..to.max(from)]).into_owned()
        };
        let mut source = letters(line_start, shown.min(at));
        let hidden = letters(shown.clamp(line_start, at), at).chars().count();
        source.extend(std::iter::repeat_n('*', hidden));
        source.push('…');
        self.parsed.problems.push(Remark {
            line,
            column: letters(line_start, at).chars().count() + 1,
            text: text.into(),
            source,
        });
    }

    /// Ends in the line after which reading goes on.
    fn assignment(&mut self) -> Option<Assignment> {
        let export = b"export";
        let after = self.bytes.get(self.at + export.len());
        if self.bytes[self.at..].starts_with(export) && matches!(after, Some(b' ' | b'\t')) {
            self.at += export.len();
            self.skip_blanks();
        }
        let place = self.here();
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n');
        let line = &rest[..end.unwrap_or(rest.len())];
        for marker in ["<<<<<<<", "=======", ">>>>>>>", "|||||||"] {
            if line.starts_with(marker.as_bytes()) {
                let text = format!("`{marker}` is left over from a merge: settle it");
                self.problem(place, 0, text);
                return None;
            }
        }
        let Some(length) = line.iter().position(|byte| *byte == b'=') else {
            self.problem(place, 0, "no `=` (expected `NAME=value`)");
            return None;
        };
        let name = match name(&line[..length]) {
            Ok(name) => name.to_owned(),
            Err((offset, text)) => {
                let at = place.at + offset;
                self.problem(Place { at, ..place }, 0, text);
                return None;
            }
        };
        let column = String::from_utf8_lossy(&self.bytes[place.line_start..place.at]);
        let column = column.chars().count() + 1;
        self.at += length + 1;
        let value = self.value()?;
        Some(Assignment {
            name,
            value,
            line: place.line,
            column,
            last_line: self.line,
        })
    }

    fn value(&mut self) -> Option<Vec<u8>> {
        let shown = self.at;
        self.skip_blanks();
        match self.peek() {
            Some(quote @ (b'\'' | b'"')) => self.quoted(quote, shown),
            _ => self.unquoted(shown),
        }
    }

    fn unquoted(&mut self, start: usize) -> Option<Vec<u8>> {
        let from = self.at;
        while !self.at_line_end() {
            let wrong = match self.peek() {
                Some(b'#') if self.at > start && is_blank(self.bytes[self.at - 1]) => break,
                Some(0) => Some(NUL),
                Some(b'\r') => Some(CARRIAGE_RETURN),
                _ => None,
            };
            if let Some(wrong) = wrong {
                self.problem(self.here(), start, wrong);
                return None;
            }
            self.at += 1;
        }
        let value = &self.bytes[from..self.at];
        let last = value.iter().rposition(|byte| !is_blank(*byte));
        Some(value[..last.map_or(0, |last| last + 1)].to_vec())
    }

    /// Notes the problem at where we are. Always false.
    fn unsound(&mut self, shown: usize, text: &str) -> bool {
        self.problem(self.here(), shown, text);
        false
    }

    fn quoted(&mut self, quote: u8, shown: usize) -> Option<Vec<u8>> {
        let opened = self.here();
        // A later line has no name that could be shown.
        let shown_at = |place: Place| if place.line == opened.line { shown } else { 0 };
        self.at += 1;
        let (mut value, mut sound) = (Vec::new(), true);
        loop {
            let here = self.here();
            match self.peek() {
                None => {
                    self.problem(opened, shown, "the quote that opens here is never closed");
                    return None;
                }
                Some(byte) if byte == quote => break,
                Some(0) if sound => sound = self.unsound(shown_at(here), NUL),
                Some(b'\\') if quote == b'"' => {
                    self.at += 1;
                    let Some(byte) = self.peek().and_then(escaped) else {
                        self.problem(here, shown_at(here), ESCAPE);
                        sound = false;
                        continue;
                    };
                    value.push(byte);
                }
                // The line ends of the file are not the value's.
                Some(b'\r') if self.at_line_end() => {}
                Some(byte) => value.push(byte),
            }
            self.advance();
        }
        self.at += 1;
        let closed = self.at;
        self.skip_blanks();
        let is_comment = self.peek() == Some(b'#') && self.at > closed;
        if !self.at_line_end() && !is_comment {
            sound = self.unsound(shown_at(self.here()), AFTER_QUOTE);
        }
        sound.then_some(value)
    }
}

const NUL: &str = "a value cannot hold a NUL byte";
const CARRIAGE_RETURN: &str = "a carriage return that ends no line: quote the value";
const ESCAPE: &str = "unknown escape (known in double quotes: \\n \\t \\r \\\\ \\\" \\$)";
const AFTER_QUOTE: &str =
    "expected the end of the line, or ` #` and a comment, after the closing quote";

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// What a backslash and this byte mean in double quotes.
fn escaped(byte: u8) -> Option<u8> {
    match byte {
        b'n' => Some(b'\n'),
        b't' => Some(b'\t'),
        b'r' => Some(b'\r'),
        b'\\' | b'"' | b'$' => Some(byte),
        _ => None,
    }
}

/// The name, or the offset of what is wrong. What is no name may be a part of a value: it is not repeated.
fn name(text: &[u8]) -> Result<&str, (usize, String)> {
    let fits = |(number, byte): (usize, &u8)| {
        byte.is_ascii_alphabetic() || *byte == b'_' || (number > 0 && byte.is_ascii_digit())
    };
    if text.is_empty() {
        return Err((0, "no name before `=`".to_owned()));
    }
    if let Some(wrong) = text.iter().enumerate().position(|pair| !fits(pair)) {
        let text = match text[wrong] {
            b' ' | b'\t' => "no blank may stand before `=`, or in a name",
            b'0'..=b'9' => "a name begins with a letter or `_`",
            _ => "a name has letters, digits and `_` alone",
        };
        return Err((wrong, text.to_owned()));
    }
    if text.len() > NAME_BYTES_MAX {
        let text = format!(
            "a name has at most {NAME_BYTES_MAX} characters, this one has {}",
            text.len()
        );
        return Err((0, text));
    }
    std::str::from_utf8(text).map_err(|_| (0, "the name is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests;
