//! A duration as it is typed: `90s`, `10m`, `1h30m`, `14d`.

use std::str::FromStr;
use std::time::Duration;

/// How long something may take: never nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeLimit(pub(crate) Duration);

impl FromStr for TimeLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a duration: write 90s, 10m, 1h30m or 14d");
        let mut seconds: u64 = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at(digits);
            let number: u64 = number.parse().map_err(|_| wrong())?;
            let unit = match after.bytes().next() {
                Some(b's') => 1,
                Some(b'm') => 60,
                Some(b'h') => 3600,
                Some(b'd') => 24 * 3600,
                _ => return Err(wrong()),
            };
            let more = number.checked_mul(unit);
            seconds = more
                .and_then(|more| seconds.checked_add(more))
                .ok_or_else(wrong)?;
            rest = &after[1..];
        }
        if seconds == 0 {
            return Err(wrong());
        }
        Ok(Self(Duration::from_secs(seconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_with_its_units() {
        let seconds = |text: &str| {
            text.parse::<TimeLimit>()
                .map(|limit| limit.0.as_secs())
                .ok()
        };
        assert_eq!(
            ["90s", "10m", "1h30m", "14d"].map(seconds),
            [Some(90), Some(600), Some(5400), Some(1_209_600)]
        );
        let wrong = [
            "",
            "0s",
            "90",
            "s",
            "1w",
            "1.5h",
            "-1s",
            "99999999999999999999s",
            "9999999999999999999h",
        ];
        assert_eq!(wrong.map(seconds), [None; 9]);
    }
}
