//! foreman: `lib/foreman/procfile.rb` and `env.rb`. A line that does not match
//! is dropped without a word.

use super::Process;
use super::Reading;
use super::Var;
use super::is_ascii_space;
use super::lines;
use super::name_and_command;
use super::utf_8;

/// Both runs of a name that is there twice.
pub(super) fn procfile(bytes: &[u8]) -> Reading<Process> {
    let lines = lines(utf_8(bytes)?);
    let entry = |(line, text): (u64, &str)| {
        let (name, command) = name_and_command(text, is_ascii_space)?;
        Some(Process {
            name: name.to_owned(),
            command: command.to_owned(),
            line,
        })
    };
    Ok(lines.filter_map(entry).collect())
}

/// `\A([A-Za-z_0-9]+)=(.*)\z`, then the quotes.
pub(super) fn env_file(bytes: &[u8]) -> Reading<Var> {
    let lines = lines(utf_8(bytes)?);
    let var = |(line, text): (u64, &str)| {
        let (name, value) = text.split_once('=')?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(fits) {
            return None;
        }
        let value = match (inside(value, '\''), inside(value, '"')) {
            (Some(literal), _) => literal.to_owned(),
            (None, Some(escaped)) => unescaped(&escaped.replace("\\n", "\n")),
            (None, None) => value.to_owned(),
        };
        Some(Var {
            name: name.to_owned(),
            value,
            line,
        })
    };
    Ok(lines.filter_map(var).collect())
}

fn inside(value: &str, quote: char) -> Option<&str> {
    value.strip_prefix(quote)?.strip_suffix(quote)
}

/// `gsub(/\\(.)/, '\1')`: also the backslash of an escape that was replaced before. `.` is no line end.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letters.next_if(|next| letter == '\\' && *next != '\n') {
            Some(escaped) => plain.push(escaped),
            None => plain.push(letter),
        }
    }
    plain
}
