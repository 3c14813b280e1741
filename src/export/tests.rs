//! What is quoted is read back as it was.

use proptest::prelude::*;

use super::User;
use super::for_systemd;

/// A word as systemd.syntax(7) and systemd.service(5) say that it is read: quotes, escapes of C, `%%`, `$$`. Anything else
/// that begins with `%` or `$` would be replaced, and is none here.
fn read_by_systemd(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = String::new();
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' | '\n' => return None,
            '%' | '$' => {
                if letters.next()? != letter {
                    return None;
                }
                bytes.push(letter);
            }
            '\\' => match letters.next()? {
                'n' => bytes.push('\n'),
                't' => bytes.push('\t'),
                'r' => bytes.push('\r'),
                'x' => {
                    let digits: String = letters.by_ref().take(2).collect();
                    bytes.push(char::from(u8::from_str_radix(&digits, 16).ok()?));
                }
                same @ ('\\' | '"') => bytes.push(same),
                _ => return None,
            },
            other => bytes.push(other),
        }
    }
    Some(bytes)
}

proptest! {
    #[test]
    fn a_word_for_systemd_is_read_back(word in "[ -~é\u{1}-\u{1f}\u{7f}\u{2028}]{0,20}") {
        let quoted = for_systemd(&word);
        prop_assert_eq!(read_by_systemd(&quoted), Some(word), "{}", quoted);
    }
}

#[test]
fn a_user_has_a_name_that_no_file_reads_otherwise() {
    for good in ["root", "_slug", "www-data", "Deploy1"] {
        assert!(good.parse::<User>().is_ok(), "{good}");
    }
    for bad in ["", "-a", "a b", "a\nb", "a%b", "a;b", "0", &"a".repeat(33)] {
        assert!(bad.parse::<User>().is_err(), "{bad}");
    }
}
