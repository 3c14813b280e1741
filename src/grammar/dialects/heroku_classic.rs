//! Heroku's classic platform, which has no specification:
//! `^[[:space:]]*([a-zA-Z0-9_-]+):?\s+(.*)[[:space:]]*`, line by line.

use super::Process;
use super::is_ascii_space;
use super::is_of_name;

pub(super) fn procfile(bytes: &[u8]) -> Vec<Process> {
    let text = String::from_utf8_lossy(bytes);
    let entry = |(line, source): (u64, &str)| {
        let content = source.trim_start_matches(is_ascii_space);
        let length = content.bytes().take_while(|byte| is_of_name(*byte)).count();
        let (name, rest) = content.split_at(length);
        let rest = rest.strip_prefix(':').unwrap_or(rest);
        let command = rest.trim_start_matches(is_ascii_space);
        let matches = !name.is_empty() && command.len() < rest.len();
        matches.then(|| Process {
            name: name.to_owned(),
            command: command.to_owned(),
            line,
        })
    };
    (1..).zip(text.split('\n')).filter_map(entry).collect()
}
