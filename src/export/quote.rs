//! A word, so written that the reader of the file gets exactly it.

use std::fmt::Write as _;

/// For `sh`: `'…'`, and each `'` outside of it.
pub fn for_sh(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// For an argument of `ExecStart=` (systemd.service(5), "Command lines"; systemd.syntax(7), "Quoting"): `"…"` with
/// escapes as in C; `%` and `$` are doubled, so that neither a specifier nor a variable is put in.
pub fn for_systemd(word: &str) -> String {
    quoted_for_systemd(word).replace('$', "$$")
}

/// For the program of `ExecStart=`, in which systemd replaces no variable, and so takes `$$` for what it is.
pub(super) fn program_for_systemd(path: &str) -> String {
    quoted_for_systemd(path)
}

fn quoted_for_systemd(word: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in word.chars() {
        match letter {
            '\\' => quoted.push_str(r"\\"),
            '"' => quoted.push_str("\\\""),
            '%' => quoted.push_str("%%"),
            '\n' => quoted.push_str(r"\n"),
            '\t' => quoted.push_str(r"\t"),
            '\r' => quoted.push_str(r"\r"),
            control if control.is_ascii_control() => {
                let _ = write!(quoted, r"\x{:02x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// For `command=` of supervisord: words as Python's `shlex` splits them, after `%` was expanded, after ` ;` and ` #` have
/// begun a comment, in quotes too: so both stand behind a quote.
pub fn for_supervisord(word: &str) -> String {
    let mut quoted = String::from("'");
    for letter in word.chars() {
        match letter {
            '\'' => quoted.push_str(r#"'"'"'"#),
            ';' | '#' => {
                let _ = write!(quoted, "'\"{letter}\"'");
            }
            '%' => quoted.push_str("%%"),
            other => quoted.push(other),
        }
    }
    quoted.push('\'');
    quoted
}
