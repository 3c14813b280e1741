//! The only place that prints: results to stdout, talk to stderr.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;
use slug::ident::harmless;

use super::args::{Common, When};
use super::report::Failure;

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Talk {
    Quiet,
    Normal,
    Verbose,
}

/// Where output goes, and how.
#[derive(Clone, Debug)]
pub(crate) struct Ui {
    pub(crate) talk: Talk,
    pub(crate) json: bool,
    /// On stderr.
    pub(crate) colour: bool,
    /// On stdout.
    pub(crate) colour_out: bool,
}

impl From<&Common> for Ui {
    fn from(common: &Common) -> Self {
        let talk = match (common.quiet, common.verbose) {
            (true, _) => Talk::Quiet,
            (_, true) => Talk::Verbose,
            _ => Talk::Normal,
        };
        // Read here, not in `settings`: an error of theirs is printed too. (no-color.org: any value but the empty one.)
        #[expect(clippy::disallowed_methods, reason = "cli reads the environment")]
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = |terminal: bool| match common.color {
            When::Always => true,
            When::Never => false,
            When::Auto => terminal && !no_color,
        };
        let (colour, colour_out) = (
            colour(io::stderr().is_terminal()),
            colour(io::stdout().is_terminal()),
        );
        Self {
            talk,
            json: common.json,
            colour,
            colour_out,
        }
    }
}

impl Ui {
    /// A result, byte by byte. A reader that went away is no failure: what it wanted, it got.
    /// Any other write that fails is one, or a script would go on with half a digest.
    pub(crate) fn result(bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(
                format!("the result could not be written to standard output: {error}"),
            )
            .hint("what was asked for is done: only its result was not printed")),
            _ => Ok(()),
        }
    }

    /// The result as one JSON object if `--json` was typed, else as `text` says it.
    pub(crate) fn answer<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let text = if self.json {
            to_json(value)
        } else {
            text(value)
        };
        match text.trim_end_matches('\n') {
            "" => Ok(()),
            text => Self::result(format!("{text}\n").as_bytes()),
        }
    }

    /// What is going on.
    pub(crate) fn say(&self, text: &str) {
        if self.talk >= Talk::Normal {
            Self::stderr(text);
        }
    }

    /// What is going on in detail.
    pub(crate) fn detail(&self, text: &str) {
        if self.talk >= Talk::Verbose {
            Self::stderr(text);
        }
    }

    /// What may be wrong.
    pub(crate) fn warn(&self, text: &str) {
        if self.talk >= Talk::Normal {
            Self::stderr(&format!(
                "{} {}",
                self.paint("warning:", "1;33"),
                harmless(text)
            ));
        }
    }

    /// What a program says while it works, byte by byte.
    pub(crate) fn talk_bytes(&self, bytes: &[u8]) {
        if self.talk >= Talk::Normal {
            let _ = io::stderr().lock().write_all(bytes);
        }
    }

    /// Said even under `--quiet`.
    pub(crate) fn stderr(text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// `text` in an SGR colour on stderr, if stderr has colour.
    pub(crate) fn paint(&self, text: &str, sgr: &str) -> String {
        if self.colour {
            format!("\x1b[{sgr}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Keys sorted, so that the same result is the same text.
fn to_json<T: Serialize>(value: &T) -> String {
    let sorted = serde_json::to_value(value).and_then(|value| serde_json::to_string_pretty(&value));
    sorted
        .unwrap_or_else(|error| format!("{{\"error\": \"the result has no JSON form: {error}\"}}"))
}

/// Text for people, line by line.
#[derive(Debug, Default)]
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn line(&mut self, line: impl AsRef<str>) {
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }

    pub(crate) fn lines(&mut self, lines: impl IntoIterator<Item = String>) {
        for line in lines {
            self.line(line);
        }
    }

    pub(crate) fn table(&mut self, rows: impl IntoIterator<Item = Vec<String>>) {
        self.0
            .push_str(&table(&rows.into_iter().collect::<Vec<_>>()));
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

/// Rows in columns, two spaces apart; the last column is not padded.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `12.3 MB`, in powers of ten, as disks are sold.
pub(crate) fn human_bytes(bytes: u64) -> String {
    let tenths = |unit: u64| {
        let tenths = bytes.saturating_mul(10) / unit;
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", tenths(1_000)),
        1_000_000..1_000_000_000 => format!("{} MB", tenths(1_000_000)),
        _ => format!("{} GB", tenths(1_000_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_blanks() {
        let rows = [
            vec!["a".to_owned(), "b".to_owned()],
            vec!["long".to_owned(), String::new()],
        ];
        assert_eq!(table(&rows), "a     b\nlong\n");
    }

    #[test]
    fn sizes_are_for_people() {
        let sizes = [999, 1_000, 1_999_999, 3_500_000_000].map(human_bytes);
        assert_eq!(sizes, ["999 B", "1.0 kB", "1.9 MB", "3.5 GB"]);
    }
}
