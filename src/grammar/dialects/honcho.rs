//! honcho: `honcho/environ.py`. Lines as Python's `str.splitlines` ends them,
//! values as its `shlex` splits them.

use std::collections::HashSet;

use super::Process;
use super::Reading;
use super::Refusal;
use super::Var;
use super::name_and_command;
use super::shlex;
use super::utf_8;

/// A name that is there twice ends it.
pub(super) fn procfile(bytes: &[u8]) -> Reading<Process> {
    let mut names = HashSet::new();
    let mut processes = Vec::new();
    for (line, text) in lines(utf_8(bytes)?) {
        let Some((name, command)) = name_and_command(text, is_space) else {
            continue;
        };
        if !names.insert(name) {
            let why = "the whole file is refused, because the name is there twice";
            return Err(Refusal { line, why });
        }
        processes.push(Process {
            name: name.to_owned(),
            command: command.to_owned(),
            line,
        });
    }
    Ok(processes)
}

pub(super) fn env_file(bytes: &[u8]) -> Reading<Var> {
    let mut vars = Vec::new();
    for (line, text) in lines(utf_8(bytes)?) {
        let tokens = shlex::split(text).map_err(|why| Refusal { line, why })?;
        let [name, equals, value @ ..] = tokens.as_slice() else {
            continue;
        };
        let begins_well = |first: char| first.is_ascii_alphabetic() || first == '_';
        if value.is_empty() || equals != "=" || !name.starts_with(begins_well) {
            continue;
        }
        let value = value.concat().replace("\\n", "\n").replace("\\t", "\t");
        vars.push(Var {
            name: name.clone(),
            value,
            line,
        });
    }
    Ok(vars)
}

/// As `str.splitlines` does; CR LF is one end.
fn lines(text: &str) -> impl Iterator<Item = (u64, &str)> {
    let mut number = 1;
    text.split_inclusive(ends_line).filter_map(move |piece| {
        let this = number;
        number += u64::from(piece.ends_with('\n'));
        // The LF of a CR LF is a piece of its own, which matches nothing.
        (piece != "\n").then(|| (this, piece.trim_end_matches(ends_line)))
    })
}

fn ends_line(letter: char) -> bool {
    matches!(letter, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// `\s` of Python's `re` on text: what `str.isspace` says.
fn is_space(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '\u{1c}'..='\u{1f}')
}
