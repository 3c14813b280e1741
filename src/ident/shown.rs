//! Foreign text in a message of ours: no terminal acts on it, and it fits a screen.

/// The most characters of a foreign name or value that a message quotes.
const QUOTE_CHARS_MAX: usize = 120;
/// The most characters of a foreign line that are shown with a marker.
const LINE_CHARS_MAX: usize = 200;
/// The most characters of what a parser says of foreign text.
const MESSAGE_CHARS_MAX: usize = 600;

/// A foreign name or value, as a message quotes it: escaped, and the beginning of a long one.
pub fn shown(text: &str) -> String {
    cut(text, QUOTE_CHARS_MAX, |_| false)
}

/// What a parser says, which may hold its input: as `shown`, but what does nothing to a terminal stays as it is.
pub fn shown_message(text: &str) -> String {
    cut(text, MESSAGE_CHARS_MAX, |letter| {
        letter == '\n' || !acts_on_terminal(letter)
    })
}

/// A line of a foreign file, and below it a marker at the column, which counts characters from one.
pub fn marked(line: &str, column: usize) -> String {
    let printable = |letter: char| {
        if acts_on_terminal(letter) {
            ' '
        } else {
            letter
        }
    };
    let line: String = line.chars().take(LINE_CHARS_MAX).map(printable).collect();
    if column > LINE_CHARS_MAX {
        return line;
    }
    format!("{line}\n{:>column$}", '^')
}

/// A message of ours that may hold foreign text, such as a path, whole.
pub fn harmless(message: &str) -> String {
    cut(message, usize::MAX, |letter| {
        matches!(letter, '\n' | '\t') || !acts_on_terminal(letter)
    })
}

/// Control characters, and those that turn the direction of writing.
pub(crate) fn acts_on_terminal(letter: char) -> bool {
    let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    letter.is_control() || turns
}

fn cut(text: &str, chars_max: usize, stays: impl Fn(char) -> bool) -> String {
    let mut shown = String::new();
    for (number, letter) in text.chars().enumerate() {
        if number == chars_max {
            shown.push('…');
            break;
        }
        if stays(letter) {
            shown.push(letter);
        } else {
            shown.extend(letter.escape_debug());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_told_what_to_do() {
        assert_eq!(shown("a\x1b[31m\u{202e}é\n"), "a\\u{1b}[31m\\u{202e}é\\n");
        assert_eq!(
            harmless("a\tb\x1b]0;title\x07\n"),
            "a\tb\\u{1b}]0;title\\u{7}\n"
        );
        assert_eq!(shown_message("it's \"a\"\n\x1b"), "it's \"a\"\n\\u{1b}");
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(shown(&"é".repeat(120)).chars().count(), 120);
        assert_eq!(shown(&"é".repeat(121)), format!("{}…", "é".repeat(120)));
    }
}
