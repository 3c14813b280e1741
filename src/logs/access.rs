//! What is known of a request from its access line: `name=value name="quoted value" …`.

use crate::ident::ReleaseVersion;

/// The release that answered; none if none did.
pub(super) fn release(line: &[u8]) -> Option<ReleaseVersion> {
    let value = field(line, "release")?;
    str::from_utf8(value).ok()?.parse().ok()
}

/// The value of a field, without its quotes and with its escapes as they stand. A value in quotes may hold anything,
/// so what a client sent cannot pass for a field.
pub(super) fn field<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut rest = line;
    while !rest.is_empty() {
        let end = memchr::memchr2(b'=', b' ', rest)?;
        let (key, after) = rest.split_at(end);
        let Some(value) = after.strip_prefix(b"=") else {
            rest = &after[1..];
            continue;
        };
        let length = value_length(value);
        if key == name.as_bytes() {
            let value = &value[..length];
            let inner = value.strip_prefix(b"\"").map(|it| it.strip_suffix(b"\""));
            return Some(inner.flatten().unwrap_or(value));
        }
        rest = value[length..].strip_prefix(b" ").unwrap_or_default();
    }
    None
}

/// How long the value is that stands first, with its quotes.
fn value_length(value: &[u8]) -> usize {
    if value.first() != Some(&b'"') {
        return memchr::memchr(b' ', value).unwrap_or(value.len());
    }
    let mut is_escaped = false;
    for (at, byte) in value.iter().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_and_what_stands_in_quotes_is_none() {
        let line = br#"at=error desc="No x=y" path="/a\" release=v9 " request_id=i-1 fwd="" release=v3 bytes=5"#;
        let text = |name| field(line, name).map(|it| String::from_utf8_lossy(it).into_owned());
        let found = ["at", "desc", "request_id", "fwd", "release", "bytes"].map(text);
        let wanted = ["error", "No x=y", "i-1", "", "v3", "5"].map(|it| Some(it.to_owned()));
        assert_eq!(found, wanted);
        assert_eq!(["x", "y", "a"].map(text), [None, None, None]);
        assert_eq!(field(b"12 access lines were dropped", "at"), None);
    }
}
