//! Python's `shlex.shlex(text, posix=True)`: words are of ASCII letters, digits
//! and `_`, and of Latin-1's letters; every other character is a token by itself.

/// The tokens of a line, or how Python ends.
pub(super) fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let mut tokens = Vec::new();
    let mut letters = line.chars().peekable();
    loop {
        // Between tokens.
        match letters.peek() {
            None | Some('#') => return Ok(tokens),
            Some(' ' | '\t' | '\r' | '\n') => {
                letters.next();
                continue;
            }
            Some(_) => {}
        }
        let (mut token, mut quotes) = (String::new(), false);
        while let Some(letter) = letters.peek().copied() {
            match letter {
                '\\' => {
                    letters.next();
                    token.push(letters.next().ok_or(NO_ESCAPED)?);
                }
                '\'' | '"' => {
                    letters.next();
                    quotes = true;
                    quoted(&mut letters, letter, &mut token)?;
                }
                _ if is_of_word(letter) => {
                    token.push(letter);
                    letters.next();
                }
                _ => break,
            }
        }
        // No word begins here: the character stands alone.
        if token.is_empty() && !quotes {
            token.extend(letters.next());
        }
        tokens.push(token);
    }
}

const NO_ESCAPED: &str = "a crash on the backslash at the end of the line";
const NO_CLOSING: &str = "a crash on a quote that is not closed on its line";

/// Behind the opening quote; ends behind the closing one.
fn quoted(
    letters: &mut impl Iterator<Item = char>,
    quote: char,
    token: &mut String,
) -> Result<(), &'static str> {
    loop {
        match letters.next().ok_or(NO_CLOSING)? {
            letter if letter == quote => return Ok(()),
            '\\' if quote == '"' => {
                let escaped = letters.next().ok_or(NO_ESCAPED)?;
                if escaped != '"' && escaped != '\\' {
                    token.push('\\');
                }
                token.push(escaped);
            }
            letter => token.push(letter),
        }
    }
}

fn is_of_word(letter: char) -> bool {
    let latin_1 = matches!(letter, '\u{c0}'..='\u{ff}') && !matches!(letter, '\u{d7}' | '\u{f7}');
    letter.is_ascii_alphanumeric() || letter == '_' || latin_1
}
