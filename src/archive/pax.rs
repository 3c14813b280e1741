//! PAX extended headers (POSIX, pax, "pax Extended Header").

use std::collections::BTreeSet;

use super::error::Refusal;
use super::tar_header::ATTRIBUTE;
use crate::sys::attributes::{Attribute, OVERLAY};

/// What slug reads of them. All else (times, owners, extended attributes but those of `user`) is passed over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) attributes: Vec<Attribute>,
}

/// Reads `LENGTH key=value\n …`. A key said twice is refused: readers differ on which one holds.
pub(super) fn parse(mut body: &[u8]) -> Result<Records, Refusal> {
    let mut records = Records::default();
    let mut seen = BTreeSet::new();
    while !body.is_empty() {
        let (key, value, rest) = record(body).ok_or(Refusal::MalformedPax)?;
        body = rest;
        let printed = || key.escape_ascii().to_string();
        if key.starts_with(b"GNU.sparse.") {
            return Err(Refusal::Sparse);
        }
        if !seen.insert(key) {
            return Err(Refusal::RepeatedPaxKey { key: printed() });
        }
        match key {
            b"path" => records.path = Some(text(value)?),
            b"linkpath" => records.linkpath = Some(text(value)?),
            b"size" => records.size = Some(number(value).ok_or(Refusal::BadSize)?),
            _ => records.attributes.extend(attribute(key, value)?),
        }
    }
    Ok(records)
}

/// An attribute of the namespace `user`, if the record is one. Overlayfs believes what its own marks say: that they
/// come from an archive would let it choose what lies below.
fn attribute(key: &[u8], value: &[u8]) -> Result<Option<Attribute>, Refusal> {
    let Some(name) = key
        .strip_prefix(ATTRIBUTE)
        .filter(|name| name.starts_with(b"user."))
    else {
        return Ok(None);
    };
    if name.starts_with(OVERLAY) {
        return Err(Refusal::OverlayMark);
    }
    Ok(Some(Attribute {
        name: text(name)?,
        value: value.to_vec(),
    }))
}

/// Key, value and what follows of the first record.
fn record(body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = body.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(number(&body[..blank])?).ok()?;
    let (record, rest) = body.split_at_checked(length)?;
    let record = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    (equals > 0).then_some((&record[..equals], &record[equals + 1..], rest))
}

fn text(value: &[u8]) -> Result<Vec<u8>, Refusal> {
    if value.contains(&0) {
        Err(Refusal::Nul)
    } else {
        Ok(value.to_vec())
    }
}

/// Decimal digits and nothing else.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tar_header::pax_record;

    #[test]
    fn a_record_is_exactly_as_long_as_it_says() {
        let path = |text: &[u8]| parse(text).map(|records| records.path);
        assert_eq!(path(b"8 path=a"), Err(Refusal::MalformedPax));
        assert_eq!(path(b"9 path=a\n"), Ok(Some(b"a".to_vec())));
        for bad in [
            &b"8 path=a\n"[..],
            b"11 path=a\n",
            b"9 path a\n",
            b"path=a\n",
            b"99999999999999999999 a=b\n",
            b"4 =\n\n",
            b"-9 path=a\n",
            b" path=a\n",
        ] {
            assert_eq!(
                path(bad),
                Err(Refusal::MalformedPax),
                "{}",
                bad.escape_ascii()
            );
        }
    }

    #[test]
    fn attributes_are_those_of_the_users_namespace() {
        let said = |key: &str| {
            let mut body = Vec::new();
            pax_record(&mut body, key.as_bytes(), b"a=b\n");
            parse(&body).map(|records| records.attributes)
        };
        let expected = Attribute {
            name: b"user.mime".to_vec(),
            value: b"a=b\n".to_vec(),
        };
        assert_eq!(said("SCHILY.xattr.user.mime"), Ok(vec![expected]));
        assert_eq!(said("SCHILY.xattr.security.capability"), Ok(Vec::new()));
        assert_eq!(said("SCHILY.xattr.user.a\0b"), Err(Refusal::Nul));
        assert_eq!(
            said("SCHILY.xattr.user.overlay.opaque"),
            Err(Refusal::OverlayMark)
        );
    }

    #[test]
    fn a_key_is_said_once() {
        let twice = parse(b"9 path=a\n9 path=b\n");
        assert_eq!(
            twice,
            Err(Refusal::RepeatedPaxKey {
                key: "path".to_owned()
            })
        );
        assert!(parse(b"9 path=a\n15 mtime=1.5e9\n20 comment=path=b=c\n").is_ok());
    }
}
