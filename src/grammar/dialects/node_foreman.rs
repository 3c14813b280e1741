//! node-foreman (`nf`): `lib/procfile.js` and `lib/envs.js`.

use std::borrow::Cow;

use serde_json::Value;

use super::Process;
use super::Reading;
use super::Refusal;
use super::Var;
use super::is_of_name;
use super::javascript::ends_line;
use super::javascript::is_space;
use super::javascript::trim;
use super::last_of_each;

const NO_MATCH: &str =
    "the whole file is refused; `npm start` runs instead if there is a package.json";

/// The last of a name counts; a line that does not match ends it.
pub(super) fn procfile(bytes: &[u8]) -> Reading<Process> {
    let text = String::from_utf8_lossy(bytes);
    let mut processes = Vec::new();
    for (line, source) in (1..).zip(text.split('\n')) {
        if source.is_empty() || source.starts_with('#') {
            continue;
        }
        let refused = Refusal {
            line,
            why: NO_MATCH,
        };
        match entry(source) {
            Some((name, command)) if !command.is_empty() => processes.push(Process {
                name: name.to_owned(),
                command: command.to_owned(),
                line,
            }),
            _ => return Err(refused),
        }
    }
    Ok(last_of_each(processes))
}

/// `/^([A-Za-z0-9_-]+):\s*(.+)$/m`, searched for: a line of JavaScript's may begin anywhere in the line.
fn entry(source: &str) -> Option<(&str, &str)> {
    let after_end = |(at, letter): (usize, char)| ends_line(letter).then(|| at + letter.len_utf8());
    let mut starts = std::iter::once(0).chain(source.char_indices().filter_map(after_end));
    starts.find_map(|start| entry_at(&source[start..]))
}

fn entry_at(text: &str) -> Option<(&str, &str)> {
    let length = text.bytes().take_while(|byte| is_of_name(*byte)).count();
    let rest = text[length..].strip_prefix(':').filter(|_| length > 0)?;
    let blanks = rest.len() - rest.trim_start_matches(is_space).len();
    // `\s*` takes all blanks, and gives them back one by one until `.` fits.
    let places = rest[..blanks].char_indices().map(|(at, _)| at);
    let command = places
        .chain([blanks])
        .rev()
        .map(|at| &rest[at..])
        .find(|left| left.chars().next().is_some_and(|first| !ends_line(first)))?;
    let command = command.split(ends_line).next()?;
    Some((&text[..length], trim(command)))
}

/// JSON, flattened; else lines.
pub(super) fn env_file(bytes: &[u8]) -> Reading<Var> {
    let text = String::from_utf8_lossy(bytes);
    match serde_json::from_str(&text) {
        Ok(Value::String(letters)) => return Ok(letters_of(&letters)),
        Ok(json) => {
            let mut vars = Vec::new();
            flatten(&json, "", &mut vars);
            return Ok(vars);
        }
        Err(_) => {}
    }
    let letters = without_blank_lines(&without_comments(&numbered(&text)));
    let mut vars = Vec::new();
    for source in letters.split(|(letter, _)| *letter == '\n') {
        let line = source.first().map_or(1, |(_, line)| *line);
        let text: String = source.iter().map(|(letter, _)| *letter).collect();
        let text = trim(&text);
        if text.encode_utf16().count() <= 2 {
            continue;
        }
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let value = value_of(trim(value)).ok_or(Refusal {
            line,
            why: "a crash on a quote that is not closed on its line",
        })?;
        vars.push(Var {
            name: trim(name).to_owned(),
            value,
            line,
        });
    }
    Ok(vars)
}

fn value_of(value: &str) -> Option<String> {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            return Some(rest.split_once(quote)?.0.to_owned());
        }
    }
    // `/\s*\#.*$/`, without `m`: no line end of JavaScript's may follow.
    let last_line = value.rfind(ends_line).map_or(0, |at| {
        at + value[at..].chars().next().map_or(0, char::len_utf8)
    });
    let comment = value[last_line..].find('#');
    let end = comment.map_or(value, |at| {
        value[..last_line + at].trim_end_matches(is_space)
    });
    Some(end.to_owned())
}

/// A text is a list of letters to JavaScript.
fn letters_of(text: &str) -> Vec<Var> {
    let var = |(number, letter): (usize, char)| Var {
        name: number.to_string(),
        value: letter.to_string(),
        line: 1,
    };
    text.chars().enumerate().map(var).collect()
}

/// `{"a": {"b": 1}}` sets `A_B`. Lists too: `A_0`.
fn flatten(value: &Value, path: &str, vars: &mut Vec<Var>) {
    let inner = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}_{key}")
        }
    };
    let leaf: Cow<'_, str> = match value {
        Value::Object(members) => {
            return members
                .iter()
                .for_each(|(key, value)| flatten(value, &inner(key), vars));
        }
        Value::Array(items) => {
            return items
                .iter()
                .enumerate()
                .for_each(|(number, value)| flatten(value, &inner(&number.to_string()), vars));
        }
        Value::Null => return,
        Value::String(text) => text.into(),
        Value::Bool(_) | Value::Number(_) => value.to_string().into(),
    };
    if !path.is_empty() {
        vars.push(Var {
            name: path.to_uppercase(),
            value: leaf.into_owned(),
            line: 1,
        });
    }
}

/// A character, and the number of the line that it is in.
type Numbered = (char, u64);

fn numbered(text: &str) -> Vec<Numbered> {
    let mut line = 1;
    let number = |letter| {
        let this = line;
        line += u64::from(letter == '\n');
        (letter, this)
    };
    text.chars().map(number).collect()
}

/// `replace(/^\s*\#.*$/gm, '')`: with the blank lines above a comment.
fn without_comments(text: &[Numbered]) -> Vec<Numbered> {
    without(text, |rest, blanks| {
        if rest.get(blanks).is_none_or(|(letter, _)| *letter != '#') {
            return 0;
        }
        let comment = rest[blanks..]
            .iter()
            .position(|(letter, _)| ends_line(*letter));
        comment.map_or(rest.len(), |length| blanks + length)
    })
}

/// `replace(/^\s*$/gm, '')`.
fn without_blank_lines(text: &[Numbered]) -> Vec<Numbered> {
    without(text, |rest, blanks| {
        let last = rest[..blanks]
            .iter()
            .rposition(|(letter, _)| ends_line(*letter));
        if blanks == rest.len() {
            blanks
        } else {
            last.unwrap_or(0)
        }
    })
}

/// `length` says how much of the text goes from the beginning of a line on; it is told how many blanks begin it.
fn without(text: &[Numbered], length: impl Fn(&[Numbered], usize) -> usize) -> Vec<Numbered> {
    let mut kept = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let mut end = at + 1;
        if at == 0 || ends_line(text[at - 1].0) {
            let rest = &text[at..];
            let blanks = rest
                .iter()
                .take_while(|(letter, _)| is_space(*letter))
                .count();
            // What holds for this line holds for the blank ones that follow it.
            end = end.max(at + blanks);
            at += length(rest, blanks);
            end = end.max(at);
        }
        kept.extend_from_slice(&text[at..end]);
        at = end;
    }
    kept
}
