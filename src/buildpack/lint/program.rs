//! `bin/detect` and `bin/build`: can they be executed, and by what (rule 5)?

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::page::Page;
use super::{Finding, Known, Rule};
use crate::sys::{At as _, PathError};

/// How much of a script is looked at, in bytes.
const SCRIPT_BYTES_MAX: u64 = 1 << 20;
/// As an ELF file begins.
const ELF: &[u8] = b"\x7fELF";
/// What some editors put before a text; the kernel then sees no `#!`.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The shells that go on after a command that failed, unless told otherwise.
const SHELLS: [&str; 5] = ["sh", "bash", "dash", "ksh", "zsh"];

/// One of the two programs of a buildpack, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// `bin/detect` or `bin/build`.
    name: &'static str,
    found: Found,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A link to somewhere that is not there.
    Dangling,
    /// A link to somewhere outside of the buildpack's folder.
    Outside,
    /// A folder or something rarer.
    NoFile,
    File {
        executable: bool,
        /// Its beginning.
        bytes: Vec<u8>,
        /// Is the program of its `#!` on this machine? True where there is none.
        has_interpreter: bool,
    },
}

impl Program {
    /// Looks at the program of that name in the folder of a buildpack.
    pub(super) fn read(folder: &Path, name: &'static str) -> Result<Self, PathError> {
        let path = folder.join(name);
        let found = |found| Ok(Self { name, found });
        if path.symlink_metadata().is_err() {
            return found(Found::Nothing);
        }
        let (Ok(target), Ok(folder)) = (path.canonicalize(), folder.canonicalize()) else {
            return found(Found::Dangling);
        };
        if !target.starts_with(&folder) {
            return found(Found::Outside);
        }
        let metadata = fs::metadata(&target).at("look at", &path)?;
        if !metadata.is_file() {
            return found(Found::NoFile);
        }
        let mut bytes = Vec::new();
        File::open(&target)
            .and_then(|file| file.take(SCRIPT_BYTES_MAX).read_to_end(&mut bytes))
            .at("read", &path)?;
        let has_interpreter = shebang(&bytes)
            .is_none_or(|shebang| Path::new(shebang.program.trim_end_matches('\r')).exists());
        found(Found::File {
            executable: metadata.permissions().mode() & 0o111 != 0,
            bytes,
            has_interpreter,
        })
    }

    /// What is wrong with it.
    pub(super) fn lint(&self, known: &Known, has_package: bool) -> Vec<Finding> {
        let mut page = Page::new(self.name);
        let name = self.name;
        match &self.found {
            Found::Nothing if known.is_composite => {}
            Found::Nothing if has_package => page.whole_warning(
                Rule::PROGRAMS,
                format!("{name} is not there yet"),
                "run `./package`, which makes it",
            ),
            _ if known.is_composite => page.whole_error(
                Rule::COMPOSITE,
                format!("a buildpack with `[[order]]` has no {name}: it is never run"),
                format!("remove {name}, or `[[order]]`"),
            ),
            Found::Nothing => page.whole_error(
                Rule::PROGRAMS,
                format!("{name} is not there"),
                format!("write it and make it executable: `chmod +x {name}`"),
            ),
            Found::Dangling => page.whole_error(
                Rule::PROGRAMS,
                format!("{name} is a link to something that is not there"),
                "link to a file of the buildpack, or put the program itself there",
            ),
            Found::Outside => page.whole_error(
                Rule::PROGRAMS,
                format!("{name} is a link that leads out of the buildpack, which is all that a platform takes along"),
                "put the program into the buildpack's folder",
            ),
            Found::NoFile => page.whole_error(
                Rule::PROGRAMS,
                format!("{name} is not a file"),
                "put a program there",
            ),
            Found::File {
                executable,
                bytes,
                has_interpreter,
            } => lint_file(&mut page, name, *executable, bytes, *has_interpreter),
        }
        page.into_findings()
    }
}

fn lint_file(page: &mut Page, name: &str, executable: bool, bytes: &[u8], has_interpreter: bool) {
    if !executable {
        let message = format!("{name} is not executable");
        page.whole_error(Rule::PROGRAMS, message, format!("`chmod +x {name}`"));
    }
    if bytes.starts_with(ELF) {
        return;
    }
    page.take_text(String::from_utf8_lossy(bytes).into_owned());
    let script = match shebang(bytes) {
        Some(script) => script,
        None if bytes.starts_with(BYTE_ORDER_MARK) => {
            let message = "it begins with a byte order mark, so that the kernel sees no `#!`";
            page.error(
                0..0,
                Rule::PROGRAMS,
                message,
                "save it as UTF-8 without one",
            );
            return;
        }
        None => {
            let message = "it is neither a program nor a script: there is no `#!`";
            let fix = "begin with a line such as `#!/usr/bin/env bash`";
            page.error(0..0, Rule::PROGRAMS, message, fix);
            return;
        }
    };
    lint_interpreter(page, script, has_interpreter);
    lint_script(page, name, script, bytes);
}

/// The first line of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shebang<'a> {
    program: &'a str,
    argument: &'a str,
}

impl Shebang<'_> {
    /// `bash` of `#!/bin/bash`, `#!/usr/bin/env bash` and `#!/usr/bin/env -S bash -e`.
    fn language(self) -> &'static str {
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let mut words = self.argument.split_whitespace();
        let language = if name(self.program) == "env" {
            let word = words.find(|word| !word.starts_with('-') && !word.contains('='));
            name(word.unwrap_or_default())
        } else {
            name(self.program)
        };
        let known = SHELLS.into_iter().find(|shell| *shell == language);
        known.unwrap_or_default()
    }
}

fn shebang(bytes: &[u8]) -> Option<Shebang<'_>> {
    let line = bytes
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let line = std::str::from_utf8(line)
        .ok()?
        .trim_start_matches([' ', '\t']);
    let (program, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    Some(Shebang {
        program,
        argument: argument.trim(),
    })
}

fn lint_interpreter(page: &mut Page, script: Shebang<'_>, has_interpreter: bool) {
    let program = script.program.trim_end_matches('\r');
    if program.is_empty() || !program.starts_with('/') {
        let message = format!("`#!{program}` names no program by its whole path");
        let fix = "write `#!/usr/bin/env` and the name of the program";
        page.error(0..0, Rule::PROGRAMS, message, fix);
    } else if !has_interpreter {
        let message = format!("`{program}` is not on this machine");
        let fix = "name a program that every build image has, such as `/bin/sh` or `/usr/bin/env`";
        page.warning(0..0, Rule::PROGRAMS, message, fix);
    }
}

fn lint_script(page: &mut Page, name: &str, script: Shebang<'_>, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    if let Some(at) = text.find("\r\n") {
        let message = "lines end in CR LF: the shell takes the CR as part of its words";
        let fix = format!("`sed -i 's/\\r$//' {name}`, and `{name} text eol=lf` in .gitattributes");
        page.error(at..at, Rule::PROGRAMS, message, fix);
    }
    if script.language().is_empty() {
        return;
    }
    if name == "bin/build" && !stops_at_errors(&text, script) {
        let message = "a command that fails does not end the build";
        let fix = "add `set -eu` (in bash: `set -euo pipefail`) below the first line";
        page.warning(0..0, Rule::ADVICE, message, fix);
    }
    if name == "bin/detect"
        && let Some(at) = line_of_code(&text, "exit 1")
        && line_of_code(&text, "exit 100").is_none()
    {
        let message =
            "`exit 1` means that the detect itself went wrong, not that the app is for others";
        let fix = "write `exit 100` where the app is not for this buildpack";
        page.warning(at..at, Rule::DETECT, message, fix);
    }
}

/// Is there a `set -e` of any spelling?
fn stops_at_errors(text: &str, script: Shebang<'_>) -> bool {
    let has_e = |word: &str| word.starts_with('-') && !word.starts_with("--") && word.contains('e');
    let flags = script.argument.split_whitespace();
    flags.clone().any(|word| has_e(word) && word != "-S")
        || text.lines().any(|line| {
            let mut words = line
                .split([' ', '\t', ';', '&'])
                .filter(|word| !word.is_empty());
            words.any(|word| word == "set") && words.any(|word| has_e(word) || word == "errexit")
        })
}

/// Where the code, whole, stands on a line that is no comment.
fn line_of_code(text: &str, code: &str) -> Option<usize> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let before_comment = line.split('#').next().unwrap_or_default();
        if let Some(at) = before_comment.find(code) {
            let after = before_comment[at + code.len()..].chars().next();
            if after.is_none_or(|letter| !letter.is_ascii_digit()) {
                return Some(start + at);
            }
        }
        start += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_e_of_any_spelling_counts() {
        let stops = |text: &str| stops_at_errors(text, shebang(text.as_bytes()).unwrap());
        for good in [
            "#!/bin/sh\nset -e\n",
            "#!/bin/sh -e\n",
            "#!/usr/bin/env bash\n  set -euo pipefail;\n",
            "#!/bin/bash\nset -o errexit\n",
        ] {
            assert!(stops(good), "{good}");
        }
        for bad in [
            "#!/bin/sh\nset -u\n",
            "#!/bin/sh\necho set\n",
            "#!/usr/bin/env -S bash\ntrue\n",
        ] {
            assert!(!stops(bad), "{bad}");
        }
    }

    #[test]
    fn the_language_of_a_script_is_that_of_its_first_line() {
        let language = |line: &str| shebang(line.as_bytes()).unwrap().language();
        assert_eq!(language("#!/bin/sh"), "sh");
        assert_eq!(language("#! /usr/bin/env -S FOO=1 bash -e\n"), "bash");
        assert_eq!(language("#!/usr/bin/env python3\n"), "");
    }
}
