//! The time. Rooms take `now` as an argument; `cli` reads it here.

use std::fmt;
use std::str::FromStr;

use crate::ident::shown;
use thiserror::Error;

/// An instant, in microseconds: RFC 3339 in UTC, `2026-11-23T19:55:00.000000Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

/// The text is not such an instant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a time (expected RFC 3339 in UTC, such as `2026-01-31T12:00:00.000000Z`)")]
pub struct BadTimestamp(String);

impl Timestamp {
    /// The wall clock.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now())
    }

    /// Seconds since 1970, for comparing with files' times.
    pub fn unix_s(self) -> i64 {
        self.0.as_second()
    }

    /// Microseconds since 1970.
    pub fn unix_us(self) -> i64 {
        self.0.as_microsecond()
    }

    /// From RFC 3339 with any offset, as people write it; fractions of a microsecond are cut off.
    pub fn parse_any_offset(text: &str) -> Option<Self> {
        Self::from_unix_us(text.parse::<jiff::Timestamp>().ok()?.as_microsecond())
    }

    /// From microseconds since 1970; none outside the years that RFC 3339 can write.
    pub fn from_unix_us(us: i64) -> Option<Self> {
        jiff::Timestamp::from_microsecond(us).ok().map(Self)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.0)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = BadTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadTimestamp(shown(text));
        if !text.ends_with('Z') {
            return Err(bad());
        }
        text.parse().map(Self).map_err(|_| bad())
    }
}

crate::ident::serde_as_text!(Timestamp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc_with_microseconds() {
        let time = Timestamp::from_unix_us(1_795_463_700_000_001).unwrap();
        assert_eq!(time.to_string(), "2026-11-23T19:55:00.000001Z");
        assert_eq!(time.to_string().parse(), Ok(time));
        assert!(
            "2026-11-23T19:55:00.000001+01:00"
                .parse::<Timestamp>()
                .is_err()
        );
    }
}
