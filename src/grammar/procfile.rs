//! The grammar of a `Procfile`: strict, since the tools that read one differ
//! in what they silently drop (`spec/procfile.md`).
//!
//! A line is blank, a comment (`#` first), or `name: command`. Everything
//! after the colon is the shell's, an inline `#` too.

use std::collections::HashMap;

use crate::ident::shown;

use super::Remark;

/// The longest name (a process type is also a host and unit name).
const NAME_BYTES_MAX: usize = 63;

/// A process type and its command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The process type: `[A-Za-z0-9][A-Za-z0-9_-]*`, at most 63 characters.
    pub name: String,
    /// What the shell is given: not empty, without blanks around it.
    pub command: String,
    /// From one.
    pub line: u64,
}

/// All that a file says.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The processes, in the order of the file, each name once.
    pub entries: Vec<Entry>,
    /// What is read, and by some other tool otherwise.
    pub warnings: Vec<Remark>,
    /// What is not read. A file with one is refused whole.
    pub problems: Vec<Remark>,
}

/// Reads the whole file: every problem of it, not the first alone. Bytes that are not UTF-8 come in as U+FFFD, and
/// are refused.
pub fn parse(text: &str) -> Parsed {
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
    let (mut lines, mut carriage_return) = (HashMap::new(), None);
    for (line, source) in (1..).zip(text.split('\n')) {
        let source = source
            .strip_suffix('\r')
            .inspect(|_| carriage_return = carriage_return.or(Some(line)))
            .unwrap_or(source);
        read_line(line, source, &mut lines, &mut parsed);
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

/// `lines` knows where each name is.
fn read_line<'a>(
    line: u64,
    source: &'a str,
    lines: &mut HashMap<&'a str, u64>,
    parsed: &mut Parsed,
) {
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
            if let Some(first) = lines.insert(name, line) {
                lines.insert(name, first);
                let text = format!(
                    "`{}` is already on line {first}: one of the two must go",
                    shown(name)
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
mod tests;
