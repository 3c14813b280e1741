//! The Procfile buildpack of Heroku's Cloud Native Buildpacks: `SPEC.md` of its
//! repository, with the corrections that `src/procfile.rs` there makes.

use super::Process;
use super::Reading;
use super::Refusal;
use super::last_of_each;
use super::lines;
use super::utf_8;

const NAME_CHARS_MAX: usize = 63;

/// The last of a name counts. A line that is no entry ends it.
pub(super) fn procfile(bytes: &[u8]) -> Reading<Process> {
    let text = utf_8(bytes)?;
    let mut processes = Vec::new();
    for (line, source) in lines(text) {
        let content = source.trim_start_matches(is_blank);
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let why = "the whole file is refused";
        let refused = Refusal { line, why };
        let (name, command) = content.split_once(':').ok_or(refused.clone())?;
        let name = name.replace('_', "-").to_ascii_lowercase();
        let command = command.trim_start_matches(is_blank);
        if !is_name(&name) || command.is_empty() {
            return Err(refused);
        }
        processes.push(Process {
            name,
            command: command.to_owned(),
            line,
        });
    }
    Ok(last_of_each(processes))
}

fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t')
}

/// Begins and ends with a lower-case letter or a digit; `-` between.
fn is_name(name: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.iter().all(|end| end.is_some_and(plain))
        && bytes.iter().all(|byte| plain(byte) || *byte == b'-')
        && bytes.len() <= NAME_CHARS_MAX
}
