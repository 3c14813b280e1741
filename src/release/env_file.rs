//! The `.env` grammar (`spec/cli.md`, "Env files"): config is data, so nothing
//! is expanded, and a line that is not understood is an error, never dropped.
//!
//! `[export ]KEY=value`. Unquoted: literal, ` #` begins a comment, blanks at the
//! end are cut. `'…'`: literal. `"…"`: `\n \t \r \\ \" \$` are escapes. Both
//! quotes may span lines.

use thiserror::Error;

use crate::ident::BadEnvKey;
use crate::ident::EnvKey;

/// What an env file says.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct EnvFile {
    /// In the order of the file; of a key that is there twice, the last.
    pub vars: Vec<(EnvKey, Vec<u8>)>,
    /// Keys that are there more than once, and the line of the later one.
    pub duplicates: Vec<(EnvKey, usize)>,
}

/// Where an env file is not one. Never holds a value: it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct EnvFileError {
    /// From one.
    pub line: usize,
    /// From one, in bytes.
    pub column: usize,
    /// What is wrong.
    pub problem: EnvFileProblem,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EnvFileProblem {
    /// No `=` on the line.
    #[error("expected KEY=value")]
    NoAssignment,
    /// Not a name that a config var may have.
    #[error(transparent)]
    Key(#[from] BadEnvKey),
    /// The name is not UTF-8.
    #[error("the name is not UTF-8")]
    KeyNotUtf8,
    /// The file ends inside quotes.
    #[error("the quote that opens here is never closed")]
    Unclosed,
    /// A backslash and something else.
    #[error("unknown escape (known in double quotes: \\n \\t \\r \\\\ \\\" \\$)")]
    Escape,
    /// Text behind a closing quote.
    #[error("expected the end of the line, or ` #` and a comment, after the closing quote")]
    AfterQuote,
    /// No environment can hold it.
    #[error("a value cannot hold a NUL byte")]
    Nul,
}

/// Parses an env file.
pub fn parse(bytes: &[u8]) -> Result<EnvFile, EnvFileError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut parser = Parser { bytes, at: 0 };
    let mut file = EnvFile::default();
    while parser.skip_to_assignment() {
        let line = parser.position().0;
        let (key, value) = parser.assignment()?;
        if file.vars.iter().any(|(known, _)| *known == key) {
            file.vars.retain(|(known, _)| *known != key);
            file.duplicates.push((key.clone(), line));
        }
        file.vars.push((key, value));
    }
    Ok(file)
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Line and column of where we are, from one.
    fn position(&self) -> (usize, usize) {
        let before = &self.bytes[..self.at];
        let line = before.split(|byte| *byte == b'\n').count();
        let column = before
            .iter()
            .rev()
            .take_while(|byte| **byte != b'\n')
            .count()
            + 1;
        (line, column)
    }

    fn error(&self, problem: EnvFileProblem) -> EnvFileError {
        let (line, column) = self.position();
        EnvFileError {
            line,
            column,
            problem,
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
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                Some(b'#') => self.skip_line(),
                Some(_) => return true,
            }
        }
    }

    fn assignment(&mut self) -> Result<(EnvKey, Vec<u8>), EnvFileError> {
        let export = b"export";
        let after = self.bytes.get(self.at + export.len());
        if self.bytes[self.at..].starts_with(export) && matches!(after, Some(b' ' | b'\t')) {
            self.at += export.len();
            self.skip_blanks();
        }
        let rest = &self.bytes[self.at..];
        let line = &rest[..rest
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(rest.len())];
        let Some(length) = line.iter().position(|byte| *byte == b'=') else {
            return Err(self.error(EnvFileProblem::NoAssignment));
        };
        let name = std::str::from_utf8(&line[..length])
            .map_err(|_| self.error(EnvFileProblem::KeyNotUtf8))?;
        let key = name
            .parse::<EnvKey>()
            .map_err(|bad| self.error(bad.into()))?;
        self.at += length + 1;
        Ok((key, self.value()?))
    }

    fn value(&mut self) -> Result<Vec<u8>, EnvFileError> {
        self.skip_blanks();
        match self.peek() {
            Some(quote @ (b'\'' | b'"')) => self.quoted(quote),
            _ => self.unquoted(),
        }
    }

    fn unquoted(&mut self) -> Result<Vec<u8>, EnvFileError> {
        let start = self.at;
        let mut blank_before = true;
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => break,
                b'#' if blank_before => break,
                0 => return Err(self.error(EnvFileProblem::Nul)),
                _ => blank_before = matches!(byte, b' ' | b'\t'),
            }
            self.at += 1;
        }
        let value = self.bytes[start..self.at].trim_ascii_end().to_vec();
        self.skip_line();
        Ok(value)
    }

    fn quoted(&mut self, quote: u8) -> Result<Vec<u8>, EnvFileError> {
        let unclosed = self.error(EnvFileProblem::Unclosed);
        self.at += 1;
        let mut value = Vec::new();
        loop {
            match self.peek() {
                None => return Err(unclosed),
                Some(byte) if byte == quote => break,
                Some(0) => return Err(self.error(EnvFileProblem::Nul)),
                Some(b'\\') if quote == b'"' => value.push(self.escape()?),
                Some(byte) => value.push(byte),
            }
            self.at += 1;
        }
        self.at += 1;
        let closed = self.at;
        self.skip_blanks();
        match self.peek() {
            None | Some(b'\n') => {}
            Some(b'\r') if matches!(self.bytes.get(self.at + 1), None | Some(b'\n')) => {}
            Some(b'#') if self.at > closed => {}
            Some(_) => return Err(self.error(EnvFileProblem::AfterQuote)),
        }
        self.skip_line();
        Ok(value)
    }

    /// At the backslash; ends on the byte after it.
    fn escape(&mut self) -> Result<u8, EnvFileError> {
        let problem = self.error(EnvFileProblem::Escape);
        self.at += 1;
        match self.peek() {
            Some(b'n') => Ok(b'\n'),
            Some(b't') => Ok(b'\t'),
            Some(b'r') => Ok(b'\r'),
            Some(byte @ (b'\\' | b'"' | b'$')) => Ok(byte),
            _ => Err(problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Result<&[(&str, &str)], &str>) {
        let parsed = parse(text.as_bytes());
        let shown = parsed.map(|file| {
            file.vars
                .iter()
                .map(|(key, value)| (key.to_string(), String::from_utf8_lossy(value).into_owned()))
                .collect()
        });
        let expect = expect.map(|vars| {
            vars.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        });
        assert_eq!(
            shown.map_err(|error| error.to_string()),
            expect.map_err(str::to_owned) as Result<Vec<_>, _>,
            "{text:?}"
        );
    }

    #[test]
    fn values_mean_what_they_say() {
        check("", Ok(&[]));
        check("A=", Ok(&[("A", "")]));
        check("\u{feff}A=1\r\nB=2\r\n", Ok(&[("A", "1"), ("B", "2")]));
        check("# c\n\n  export A=b c  # tail\n", Ok(&[("A", "b c")]));
        check(
            "A=b#c\nB=http://h/#x\nC=b=c==",
            Ok(&[("A", "b#c"), ("B", "http://h/#x"), ("C", "b=c==")]),
        );
        check("A=$B ${C} `d` it's", Ok(&[("A", "$B ${C} `d` it's")]));
        check(
            "A='x\\n # y'\nB=\"x\\n\\$y\\\\\" # c",
            Ok(&[("A", "x\\n # y"), ("B", "x\n$y\\")]),
        );
        check("A=\"x\ny\"\nB=1", Ok(&[("A", "x\ny"), ("B", "1")]));
        check("A=1\nA=2", Ok(&[("A", "2")]));
        check("A=\u{2028}b\nB=# c", Ok(&[("A", "\u{2028}b"), ("B", "")]));
    }

    #[test]
    fn a_line_that_is_not_understood_is_an_error_with_its_place() {
        check(
            "A=1\n<<<<<<< HEAD\n",
            Err("line 2, column 1: expected KEY=value"),
        );
        check(
            "A = b",
            Err(
                "line 1, column 1: `A ` cannot name a config var (expected a letter or `_`, then letters, digits and `_`, at most 255)",
            ),
        );
        check(
            "PORT=1",
            Err("line 1, column 1: `PORT` is set by slug itself: a config var needs another name"),
        );
        check(
            "A=\"x\n",
            Err("line 1, column 3: the quote that opens here is never closed"),
        );
        check(
            "A=\"\\q\"",
            Err(
                "line 1, column 4: unknown escape (known in double quotes: \\n \\t \\r \\\\ \\\" \\$)",
            ),
        );
        check(
            "A='b'c",
            Err(
                "line 1, column 6: expected the end of the line, or ` #` and a comment, after the closing quote",
            ),
        );
        check(
            "A=a\0b",
            Err("line 1, column 4: a value cannot hold a NUL byte"),
        );
    }

    #[test]
    fn a_key_that_is_there_twice_is_told() {
        let file = parse(b"A=1\nB=2\nA=3").unwrap();
        assert_eq!(file.duplicates, [("A".parse().unwrap(), 3)]);
    }
}
