//! Sizes as people write them: `500MB`, `20GiB`, `0`.

use std::str::FromStr;

/// A size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// Decimal ones as disks are sold and `slug` prints sizes, binary ones with an `i`.
const UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let wrong = || "a size is a whole number and a unit: `500MB`, `20GiB`".to_owned();
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit.trim_start()))
            .ok_or_else(wrong)?;
        number.checked_mul(*factor).map(Self).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_and_a_unit() {
        for (text, expected) in [
            ("0", Some(0)),
            ("20GB", Some(20_000_000_000)),
            ("1 gib", Some(1 << 30)),
            ("500MB", Some(500_000_000)),
            ("", None),
            ("GB", None),
            ("-1GB", None),
            ("1.5GB", None),
            ("1G", None),
            ("99999999999TB", None),
        ] {
            assert_eq!(text.parse::<Size>().ok(), expected.map(Size), "{text}");
        }
    }
}
