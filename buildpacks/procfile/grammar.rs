//! The grammar of a `Procfile`: strict, since the tools that read one differ
//! in what they silently drop (`spec/procfile.md`).
//!
//! A line is blank, a comment (`#` first), or `name: command`. Everything
//! after the colon is the shell's, an inline `#` too.

use crate::ident::marked;
use crate::ident::shown;
use std::fmt;

/// The longest name (a process type is also a host and unit name).
const NAME_BYTES_MAX: usize = 63;

/// A process type and its command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::buildpacks) struct Entry {
    pub(in crate::buildpacks) name: String,
    pub(in crate::buildpacks) command: String,
    /// From one.
    pub(in crate::buildpacks) line: u64,
}

/// All that a file says.
#[derive(Debug, Default)]
pub(in crate::buildpacks) struct Parsed {
    pub(in crate::buildpacks) entries: Vec<Entry>,
    pub(in crate::buildpacks) warnings: Vec<Remark>,
    pub(in crate::buildpacks) problems: Vec<Remark>,
}

/// Something about a place of the file.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::buildpacks) struct Remark {
    line: u64,
    column: usize,
    text: String,
    /// The line as it stands, for the marker.
    source: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            text,
            source,
        } = self;
        write!(f, "Procfile:{line}:{column}: {text}")?;
        for shown in marked(source, *column).lines() {
            write!(f, "\n  | {shown}")?;
        }
        Ok(())
    }
}

/// Reads the whole file: every problem of it, not the first alone.
pub(in crate::buildpacks) fn parse(text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let text = if let Some(rest) = text.strip_prefix('\u{feff}') {
        let text = "the file begins with a byte order mark, which foreman and Heroku take for a part of the first name";
        parsed.warnings.push(Remark {
            line: 1,
            column: 1,
            text: text.to_owned(),
            source: String::new(),
        });
        rest
    } else {
        text
    };
    let mut carriage_return = None;
    for (line, source) in (1..).zip(text.split('\n')) {
        let source = source
            .strip_suffix('\r')
            .inspect(|_| carriage_return = carriage_return.or(Some(line)))
            .unwrap_or(source);
        read_line(line, source, &mut parsed);
    }
    if let Some(line) = carriage_return {
        let text = "the lines end in CR LF, which Heroku's classic platform takes for a part of the command";
        parsed.warnings.push(Remark {
            line,
            column: 1,
            text: text.to_owned(),
            source: String::new(),
        });
    }
    if parsed.entries.is_empty() && parsed.problems.is_empty() {
        let text = "the file names no process (expected lines such as `web: gunicorn app:app`)";
        parsed.problems.push(Remark {
            line: 1,
            column: 1,
            text: text.to_owned(),
            source: String::new(),
        });
    }
    parsed
}

fn read_line(line: u64, source: &str, parsed: &mut Parsed) {
    let content = source.trim_start_matches([' ', '\t']);
    if content.is_empty() || content.starts_with('#') {
        return;
    }
    let indent = source.chars().count() - content.chars().count();
    let remark = |column: usize, text: String| Remark {
        line,
        column: indent + column,
        text,
        source: source.to_owned(),
    };
    match entry(content) {
        Err((column, text)) => parsed.problems.push(remark(column, text)),
        Ok((name, command)) => {
            if let Some(first) = parsed.entries.iter().find(|entry| entry.name == name) {
                let text = format!(
                    "`{}` is already on line {}: one of the two must go",
                    shown(name),
                    first.line
                );
                parsed.problems.push(remark(1, text));
                return;
            }
            if name.contains('_') || name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                let text = format!(
                    "`{}` is another name on other buildpack platforms, which want lower case and `-`",
                    shown(name)
                );
                parsed.warnings.push(remark(1, text));
            }
            if indent > 0 {
                parsed.warnings.push(remark(
                    1,
                    "foreman drops a line that begins with blanks".to_owned(),
                ));
            }
            parsed.entries.push(Entry {
                name: name.to_owned(),
                command: command.to_owned(),
                line,
            });
        }
    }
}

/// The name and the command, or the column (from one) of what is wrong.
fn entry(content: &str) -> Result<(&str, &str), (usize, String)> {
    for marker in ["<<<<<<<", "=======", ">>>>>>>", "|||||||"] {
        if content.starts_with(marker) {
            return Err((
                1,
                format!("`{marker}` is left over from a merge: settle it"),
            ));
        }
    }
    if let Some(at) = content
        .chars()
        .position(|c| c == '\0' || c == '\r' || c == '\u{b}' || c == '\u{c}')
    {
        return Err((
            at + 1,
            "a control character, which tools take for the end of a line or of the command"
                .to_owned(),
        ));
    }
    if let Some(at) = content
        .chars()
        .position(|c| c == char::REPLACEMENT_CHARACTER)
    {
        return Err((at + 1, "bytes that are not UTF-8".to_owned()));
    }
    let Some((name, command)) = content.split_once(':') else {
        return Err((1, "no colon (expected `name: command`)".to_owned()));
    };
    if let Some(at) = name
        .chars()
        .position(|c| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
    {
        return Err((
            at + 1,
            format!(
                "`{}` cannot stand in a name (letters, digits, `-` and `_`)",
                name.chars().nth(at).unwrap_or(' ').escape_debug()
            ),
        ));
    }
    if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return Err((1, "a name begins with a letter or a digit".to_owned()));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err((
            1,
            format!(
                "a name has at most {NAME_BYTES_MAX} characters, this one has {}",
                name.len()
            ),
        ));
    }
    let command = command.trim_matches([' ', '\t']);
    if command.is_empty() {
        return Err((name.len() + 2, format!("`{name}` has no command")));
    }
    if command.ends_with('\\') {
        return Err((
            content.trim_end().chars().count(),
            "a command cannot go on in the next line".to_owned(),
        ));
    }
    Ok((name, command))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, entries: &[(&str, &str)], problems: &[&str], warnings: usize) {
        let parsed = parse(text);
        let got: Vec<_> = parsed
            .entries
            .iter()
            .map(|entry| (entry.name.as_str(), entry.command.as_str()))
            .collect();
        assert_eq!(got, entries, "{text:?}");
        let got: Vec<_> = parsed
            .problems
            .iter()
            .map(|problem| format!("{}:{}", problem.line, problem.column))
            .collect();
        assert_eq!(got, problems, "{text:?}: {:?}", parsed.problems);
        assert_eq!(
            parsed.warnings.len(),
            warnings,
            "{text:?}: {:?}",
            parsed.warnings
        );
    }

    #[test]
    fn what_every_tool_reads_alike_is_read() {
        check(
            "# c\n\n  # c: x\nweb: run # tail\n",
            &[("web", "run # tail")],
            &[],
            0,
        );
        check("web:run", &[("web", "run")], &[], 0);
        check("web: run  \t", &[("web", "run")], &[], 0);
        check("a-b: x\n2: y", &[("a-b", "x"), ("2", "y")], &[], 0);
        check(
            "web: echo a:b \u{2028} c",
            &[("web", "echo a:b \u{2028} c")],
            &[],
            0,
        );
        check(
            &format!("{}: x", "a".repeat(63)),
            &[(&"a".repeat(63), "x")],
            &[],
            0,
        );
    }

    #[test]
    fn what_some_tool_reads_otherwise_is_warned_about() {
        check("\u{feff}web: run", &[("web", "run")], &[], 1);
        check(
            "web: run\r\nworker: x\r\n",
            &[("web", "run"), ("worker", "x")],
            &[],
            1,
        );
        check("  web: run", &[("web", "run")], &[], 1);
        check(
            "Web: run\na_b: run",
            &[("Web", "run"), ("a_b", "run")],
            &[],
            2,
        );
    }

    #[test]
    fn whatever_is_not_an_entry_is_refused_with_its_place() {
        check("web : run", &[], &["1:4"], 0);
        check("web run", &[], &["1:1"], 0);
        check("web:\nworker:   ", &[], &["1:5", "2:8"], 0);
        check("web: a\nweb: b", &[("web", "a")], &["2:1"], 0);
        check("web: a \\\n  b", &[], &["1:8", "2:3"], 0);
        check(
            "<<<<<<< HEAD\nweb: a\n=======\nweb: b\n>>>>>>> x",
            &[("web", "a")],
            &["1:1", "3:1", "4:1", "5:1"],
            0,
        );
        check(
            "wéb: x\na.b: x\n\"web\": x\n-a: x",
            &[],
            &["1:2", "2:2", "3:1", "4:1"],
            0,
        );
        check("web: a\0b\nworker: \u{fffd}", &[], &["1:7", "2:9"], 0);
        check("web: a\rworker: b", &[], &["1:7"], 0);
        check(&format!("{}: x", "a".repeat(64)), &[], &["1:1"], 0);
        check("", &[], &["1:1"], 0);
        check("# only\n", &[], &["1:1"], 0);
    }

    #[test]
    fn a_problem_shows_its_line_and_marks_its_column() {
        let parsed = parse("ok: x\n  web run");
        let shown = parsed.problems[0].to_string();
        assert_eq!(
            shown,
            "Procfile:2:3: no colon (expected `name: command`)\n  |   web run\n  |   ^"
        );
    }
}
