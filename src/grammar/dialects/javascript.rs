//! What JavaScript takes for a blank and for the end of a line.

/// `\s`, and what `trim` cuts.
pub(super) fn is_space(letter: char) -> bool {
    match letter {
        '\u{85}' => false,
        '\u{feff}' => true,
        _ => letter.is_whitespace(),
    }
}

/// What `.` is not, and where `^` and `$` are with the flag `m`.
pub(super) fn ends_line(letter: char) -> bool {
    matches!(letter, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}

/// `String.prototype.trim`.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}
