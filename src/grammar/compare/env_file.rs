//! Who reads a `.env` otherwise. A name is said only where we read it as a
//! name: what a tool takes for one may be a part of a secret.

use std::collections::BTreeMap;

use crate::grammar::dialects::Tool;
use crate::grammar::dialects::Var;
use crate::grammar::env_file;
use crate::grammar::env_file::Assignment;

use super::DROPPED;
use super::Difference;
use super::Found;
use super::because_of_mark;
use super::by_line;

/// Compares.
pub fn of_env_file(bytes: &[u8]) -> Vec<Difference> {
    let ours = env_file::read(bytes);
    let mut found = Found::default();
    for tool in Tool::OF_ENV_FILES {
        match tool.env_file(bytes) {
            None => {}
            Some(Err(refusal)) => found.add(tool, refusal.line, 1, refusal.why),
            Some(Ok(theirs)) => compare(tool, bytes, &ours, theirs, &mut found),
        }
    }
    found.into_list()
}

fn compare(tool: Tool, bytes: &[u8], ours: &env_file::Parsed, theirs: Vec<Var>, found: &mut Found) {
    let mut theirs = by_line(theirs, |var| var.line);
    for assignment in &ours.assignments {
        let Assignment { line, column, .. } = *assignment;
        for what in differs(bytes, assignment, &mut theirs) {
            found.add(tool, line, column, what);
        }
    }
    for problem in &ours.problems {
        let what = match theirs.remove(&problem.line) {
            Some(_) => "the line sets a variable",
            None => DROPPED,
        };
        found.add(tool, problem.line, 1, what);
    }
    for line in theirs.keys() {
        found.add(
            tool,
            *line,
            1,
            "a part of a comment or value sets a variable",
        );
    }
}

/// Takes the lines of the assignment out of `theirs`.
fn differs(bytes: &[u8], ours: &Assignment, theirs: &mut BTreeMap<u64, Vec<Var>>) -> Vec<String> {
    let name = &ours.name;
    let lines: Vec<u64> = theirs
        .range(ours.line..=ours.last_line)
        .map(|(line, _)| *line)
        .collect();
    let mut vars = Vec::new();
    for line in lines {
        vars.extend(theirs.remove(&line).unwrap_or_default());
    }
    let mut said = Vec::new();
    let mut vars = vars.into_iter();
    match vars.next() {
        None if ours.value.is_empty() => {
            said.push(format!("`{name}` stays unset, because its value is empty"));
        }
        None => {
            let why = because_of_mark(bytes, ours.line);
            said.push(format!("`{name}` stays unset{why}"));
        }
        Some(var) if var.name == format!("export {name}") => {
            said.push(format!("the variable is called `export {name}`"));
        }
        Some(var) if var.name != *name => {
            said.push(format!("`{name}` stays unset, and another variable is set"));
        }
        Some(var) => said.extend(value_differs(ours, var.value.as_bytes())),
    }
    if vars.next().is_some() {
        said.push(format!(
            "a part of the value of `{name}` sets another variable"
        ));
    }
    said
}

/// That the value differs, and how; never what it is.
fn value_differs(ours: &Assignment, theirs: &[u8]) -> Option<String> {
    let value = ours.value.as_slice();
    if value == theirs {
        return None;
    }
    let name = &ours.name;
    let without_blanks = |text: &[u8]| -> Vec<u8> {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        text.iter().copied().filter(|byte| !blank(byte)).collect()
    };
    let quoted = matches!(theirs.first(), Some(b'"' | b'\'')) && theirs[1..].starts_with(value);
    let how = if theirs.trim_ascii() == value {
        "keeps the blanks around it"
    } else if quoted {
        "keeps the quotes"
    } else if ours.last_line > ours.line && !theirs.contains(&b'\n') {
        "ends with its first line"
    } else if theirs.starts_with(value) && theirs.contains(&b'#') {
        "keeps the comment"
    } else if ends_at_hash(value, theirs) {
        "ends before a `#`"
    } else if value.starts_with(theirs) {
        "ends early"
    } else if without_blanks(value) == without_blanks(theirs) {
        "has other blanks"
    } else if has_escapes(value, theirs) {
        "has other escapes"
    } else {
        "is another"
    };
    let (length, slugs) = (theirs.len(), value.len());
    Some(format!(
        "the value of `{name}` {how} (its length is {length}, not {slugs})"
    ))
}

fn ends_at_hash(value: &[u8], theirs: &[u8]) -> bool {
    let rest = value.strip_prefix(theirs);
    rest.is_some_and(|rest| rest.trim_ascii_start().starts_with(b"#"))
}

/// They are alike but for backslashes, quotes and what stands for line ends and tabs.
fn has_escapes(value: &[u8], theirs: &[u8]) -> bool {
    value.contains(&b'\\')
        || theirs.contains(&b'\\')
        || value
            .iter()
            .any(|byte| matches!(byte, b'\n' | b'\t' | b'\r' | b'"'))
}
