//! Who reads a `Procfile` otherwise. Blanks at the end of a command are no
//! difference: the shell drops them.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::grammar::dialects::Process;
use crate::grammar::dialects::Reading;
use crate::grammar::dialects::Tool;
use crate::grammar::procfile;
use crate::grammar::procfile::Entry;
use crate::ident::shown;

use super::DROPPED;
use super::Difference;
use super::Found;
use super::because_of_mark;
use super::by_line;

/// Compares; `variables` are the names that the `.env` beside it sets, which foreman writes into commands.
pub fn of_procfile(bytes: &[u8], variables: &BTreeSet<String>) -> Vec<Difference> {
    let text = String::from_utf8_lossy(bytes);
    let parsed = procfile::parse(&text);
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').split('\n').collect();
    let about_lines = parsed.problems.iter().filter(|one| !one.source.is_empty());
    let ours = Ours {
        bytes,
        problems: about_lines.map(|problem| problem.line).collect(),
        entries: parsed
            .entries
            .into_iter()
            .map(|entry| (entry.line, entry))
            .collect(),
        lines,
    };
    let mut found = Found::default();
    for tool in Tool::OF_PROCFILES {
        match reading(tool, bytes) {
            Err(refusal) => found.add(tool, refusal.line, 1, refusal.why),
            Ok(theirs) => ours.compare(tool, theirs, &mut found),
        }
    }
    for entry in ours.entries.values() {
        for what in replaced_by_foreman(&entry.command, variables) {
            found.add(Tool::Foreman, entry.line, ours.column(entry.line), what);
        }
    }
    found.into_list()
}

/// `heroku local` finds the names, and node-foreman then reads the file again.
fn reading(tool: Tool, bytes: &[u8]) -> Reading<Process> {
    let read = tool.procfile(bytes)?;
    if tool == Tool::HerokuCli {
        Tool::NodeForeman.procfile(bytes)
    } else {
        Ok(read)
    }
}

/// The file as we read it.
struct Ours<'a> {
    bytes: &'a [u8],
    lines: Vec<&'a str>,
    entries: BTreeMap<u64, Entry>,
    /// The lines that we refuse.
    problems: BTreeSet<u64>,
}

impl Ours<'_> {
    fn compare(&self, tool: Tool, theirs: Vec<Process>, found: &mut Found) {
        let theirs = by_line(theirs, |process| process.line);
        for (line, entry) in &self.entries {
            let column = self.column(*line);
            let (what, more) = match theirs.get(line).map(Vec::as_slice) {
                None | Some([]) => (self.none(*line, entry, &theirs), &[][..]),
                Some([same, more @ ..]) => (differs(entry, same), more),
            };
            if let Some(what) = what {
                found.add(tool, *line, column, what);
            }
            for other in more {
                let name = shown(&other.name);
                let what = format!("the rest of the line is another process, `{name}`");
                found.add(tool, *line, column, what);
            }
        }
        for line in &self.problems {
            match theirs.get(line).map(Vec::as_slice) {
                None | Some([]) => found.add(tool, *line, 1, DROPPED),
                Some([process, ..]) => found.add(tool, *line, 1, self.takes(process, &theirs)),
            }
        }
        let known = |line: &u64| self.entries.contains_key(line) || self.problems.contains(line);
        for (line, processes) in theirs.iter().filter(|(line, _)| !known(line)) {
            for process in processes {
                let name = shown(&process.name);
                let what = format!("a part of the comment is the process `{name}`");
                found.add(tool, *line, 1, what);
            }
        }
    }

    /// Where the name of a line begins.
    fn column(&self, line: u64) -> usize {
        let line = usize::try_from(line - 1).ok();
        let source = line.and_then(|line| self.lines.get(line));
        let indent = |source: &&str| source.len() - source.trim_start_matches([' ', '\t']).len();
        source.map_or(0, indent) + 1
    }

    /// The tool has nothing on the line of this entry.
    fn none(
        &self,
        line: u64,
        entry: &Entry,
        theirs: &BTreeMap<u64, Vec<Process>>,
    ) -> Option<String> {
        let another = theirs
            .values()
            .flatten()
            .find(|process| process.name == entry.name);
        // Said of the line that counts instead.
        if another.is_some_and(|another| self.problems.contains(&another.line)) {
            return None;
        }
        let why = because_of_mark(self.bytes, line);
        Some(format!("this process is dropped without a word{why}"))
    }

    /// The tool has a process on a line that we refuse.
    fn takes(&self, process: &Process, theirs: &BTreeMap<u64, Vec<Process>>) -> String {
        let name = shown(&process.name);
        let first = self
            .entries
            .values()
            .find(|entry| entry.name == process.name && entry.line < process.line);
        match first {
            Some(first) if theirs.contains_key(&first.line) => format!("both `{name}` run"),
            Some(first) => format!("this `{name}` counts, not that of line {}", first.line),
            None => format!("the line is the process `{name}`"),
        }
    }
}

fn differs(ours: &Entry, theirs: &Process) -> Option<String> {
    if ours.name != theirs.name {
        return Some(format!("the process is called `{}`", shown(&theirs.name)));
    }
    let command = theirs.command.trim_matches([' ', '\t']);
    if command == ours.command {
        return None;
    }
    if command.trim_end_matches([' ', '\t', '\r']) == ours.command {
        return Some("the command ends in a carriage return".to_owned());
    }
    let cut = ours.command.strip_prefix(command);
    match cut.and_then(|rest| rest.trim_start_matches([' ', '\t']).chars().next()) {
        Some(next) => Some(format!("the command ends before {}", name_of(next))),
        None => Some("another command".to_owned()),
    }
}

/// `U+2028` for what cannot be seen.
fn name_of(letter: char) -> String {
    if letter.is_ascii_graphic() {
        format!("`{letter}`")
    } else {
        format!("U+{:04X}", u32::from(letter))
    }
}

/// foreman replaces the text `$NAME` of each variable, also where a longer name or a quote makes it another thing.
fn replaced_by_foreman(command: &str, variables: &BTreeSet<String>) -> BTreeSet<String> {
    let mut said = BTreeSet::new();
    let port = "PORT".to_owned();
    for name in variables.iter().chain([&port]) {
        let wanted = format!("${name}");
        for (at, _) in command.match_indices(&wanted) {
            let rest = &command[at + wanted.len()..];
            let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            let more: String = rest.chars().take_while(|one| is_of_name(*one)).collect();
            if !more.is_empty() {
                said.insert(format!(
                    "`{wanted}` is replaced by its value in `{wanted}{more}`"
                ));
            } else if command[..at].ends_with('\\') {
                said.insert(format!(
                    "`{wanted}` is replaced by its value in `\\{wanted}`"
                ));
            } else if command[..at].matches('\'').count() % 2 == 1 {
                said.insert(format!(
                    "`{wanted}` is replaced by its value in single quotes"
                ));
            }
        }
    }
    said
}
