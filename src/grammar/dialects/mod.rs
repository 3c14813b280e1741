//! How other tools read a `Procfile` and a `.env`: one file a tool, each a
//! pure reader that does to the bytes what that tool does, its mistakes
//! included. What differs from our own reading is in `compare`.
//!
//! Versions: foreman 0.87.2 and 0.90.0, honcho 2.0.0, node-foreman 3.0.1,
//! Heroku CLI 11.10.0, the regular expression of Heroku's classic platform,
//! the Procfile specification of the Cloud Native Buildpacks of Heroku.

mod cnb;
mod foreman;
mod heroku_classic;
mod heroku_cli;
mod honcho;
mod javascript;
mod node_foreman;
mod shlex;
#[cfg(test)]
mod tests;

use serde::Serialize;

/// A tool that reads such a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tool {
    /// foreman, in Ruby.
    Foreman,
    /// honcho, in Python.
    Honcho,
    /// `nf`, in JavaScript.
    NodeForeman,
    /// `heroku local`: its own reading of the names; then it does as node-foreman.
    HerokuCli,
    /// Heroku's platform for classic buildpacks.
    HerokuClassic,
    /// Heroku's Procfile buildpack, and others that follow its specification.
    Cnb,
}

impl Tool {
    /// Who reads a `Procfile`.
    pub const OF_PROCFILES: [Self; 6] = [
        Self::Foreman,
        Self::Honcho,
        Self::NodeForeman,
        Self::HerokuCli,
        Self::HerokuClassic,
        Self::Cnb,
    ];
    /// Who reads a `.env`.
    pub const OF_ENV_FILES: [Self; 4] = [
        Self::Foreman,
        Self::Honcho,
        Self::NodeForeman,
        Self::HerokuCli,
    ];

    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Foreman => "foreman",
            Self::Honcho => "honcho",
            Self::NodeForeman => "node-foreman",
            Self::HerokuCli => "heroku local",
            Self::HerokuClassic => "Heroku's classic platform",
            Self::Cnb => "the Procfile buildpack",
        }
    }

    /// What the tool makes of a `Procfile`.
    pub fn procfile(self, bytes: &[u8]) -> Reading<Process> {
        match self {
            Self::Foreman => foreman::procfile(bytes),
            Self::Honcho => honcho::procfile(bytes),
            Self::NodeForeman => node_foreman::procfile(bytes),
            Self::HerokuCli => heroku_cli::procfile(bytes),
            Self::HerokuClassic => Ok(heroku_classic::procfile(bytes)),
            Self::Cnb => cnb::procfile(bytes),
        }
    }

    /// What the tool makes of a `.env`; none for a tool that reads no such file.
    pub fn env_file(self, bytes: &[u8]) -> Option<Reading<Var>> {
        match self {
            Self::Foreman => Some(foreman::env_file(bytes)),
            Self::Honcho => Some(honcho::env_file(bytes)),
            Self::NodeForeman | Self::HerokuCli => Some(node_foreman::env_file(bytes)),
            Self::HerokuClassic | Self::Cnb => None,
        }
    }
}

/// What a tool takes from a file, in its order; or that it takes nothing.
pub type Reading<T> = Result<Vec<T>, Refusal>;

/// A tool ends with an error, and starts nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The line on which it does, from one.
    pub line: u64,
    /// What the tool does, in words.
    pub why: &'static str,
}

/// The file is not UTF-8, and the tool cannot do without.
const NOT_UTF_8: &str = "a crash on bytes that are not UTF-8";

/// The text, or the line that is none.
fn utf_8(bytes: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(bytes).map_err(|error| Refusal {
        line: line_at(&bytes[..error.valid_up_to()]),
        why: NOT_UTF_8,
    })
}

/// The number of the line that begins or goes on behind these bytes.
fn line_at(before: &[u8]) -> u64 {
    before.split(|byte| *byte == b'\n').count() as u64
}

/// A process as a tool knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its name.
    pub name: String,
    /// What it gives to the shell.
    pub command: String,
    /// Where it is, from one, as LF counts lines.
    pub line: u64,
}

/// A variable as a tool knows it. The value is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Var {
    /// Its name. May be a part of a secret, where the tool takes a line for what it is not.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where it is, from one, as LF counts lines.
    pub line: u64,
}

/// The last one of each name, where it stands.
fn last_of_each(processes: Vec<Process>) -> Vec<Process> {
    let mut last = std::collections::HashMap::new();
    for (number, process) in processes.iter().enumerate() {
        last.insert(process.name.clone(), number);
    }
    let numbered = processes.into_iter().enumerate();
    numbered
        .filter(|(number, process)| last[&process.name] == *number)
        .map(|(_, process)| process)
        .collect()
}

/// `^([A-Za-z0-9_-]+):\s*(.+)$` on one line, for the tools that share it: the name and the command. `\s*` gives back
/// one blank where nothing else is left for `.+`.
fn name_and_command(line: &str, is_space: impl Fn(char) -> bool) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once(':')?;
    if name.is_empty() || !name.bytes().all(is_of_name) {
        return None;
    }
    let command = rest.trim_start_matches(is_space);
    if !command.is_empty() {
        return Some((name, command));
    }
    let (last, _) = rest.char_indices().next_back()?;
    Some((name, &rest[last..]))
}

/// The lines of a text, numbered from one, without LF or CR LF.
fn lines(text: &str) -> impl Iterator<Item = (u64, &str)> {
    (1..)
        .zip(text.split_inclusive('\n'))
        .map(|(number, line)| (number, line.strip_suffix('\n').map_or(line, without_cr)))
}

fn without_cr(line: &str) -> &str {
    line.strip_suffix('\r').unwrap_or(line)
}

/// `[A-Za-z0-9_-]`.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// What most engines of regular expressions take for `\s` in ASCII.
fn is_ascii_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t'..='\r')
}
