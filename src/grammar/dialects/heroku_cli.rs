//! `heroku local`, first half: `src/lib/local/load-foreman-procfile.ts` of the
//! Heroku CLI finds the names. The second half is node-foreman's.

use super::Process;
use super::Reading;
use super::Refusal;
use super::javascript::is_space;
use super::last_of_each;
use super::lines;

/// The last of a name counts. Lines without a letter, digit or `_` are skipped.
pub(super) fn procfile(bytes: &[u8]) -> Reading<Process> {
    let text = String::from_utf8_lossy(bytes);
    let mut processes = Vec::new();
    for (line, source) in lines(&text) {
        let content = source.trim_start_matches(is_space);
        if content.starts_with('#') || !source.bytes().any(is_word) {
            continue;
        }
        let length = content.bytes().take_while(|byte| is_word(*byte)).count();
        let named = length > 0 && content[length..].starts_with(':');
        let Some((name, command)) = source.split_once(':').filter(|_| named) else {
            let why = "the whole file is refused";
            return Err(Refusal { line, why });
        };
        processes.push(Process {
            name: name.trim_end_matches(is_space).to_owned(),
            command: command.trim_start_matches(is_space).to_owned(),
            line,
        });
    }
    Ok(last_of_each(processes))
}

/// `\w`.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
