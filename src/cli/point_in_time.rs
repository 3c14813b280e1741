//! A point in time as it is typed: `10m` (ago), or RFC 3339.

use std::str::FromStr;

use slug::sys::clock::Timestamp;

use super::time_limit::TimeLimit;

/// When.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PointInTime {
    /// So long before now.
    Ago(TimeLimit),
    /// Then.
    At(Timestamp),
}

impl PointInTime {
    /// The time that it is, seen from `now`; none if that is before the first that can be written.
    pub(crate) fn seen_from(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(time) => Some(time),
            Self::Ago(ago) => {
                let ago_us = i64::try_from(ago.0.as_micros()).ok()?;
                Timestamp::from_unix_us(now.unix_us().checked_sub(ago_us)?)
            }
        }
    }
}

impl FromStr for PointInTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ago = text.parse().map(Self::Ago).ok();
        let at = || Timestamp::parse_any_offset(text).map(Self::At);
        ago.or_else(at).ok_or_else(|| {
            format!("`{text}` is no point in time: write 10m, 2h or 3d for so long ago, or 2026-01-31T12:00:00Z")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_is_so_long_ago_or_rfc_3339_with_any_offset() {
        let now: Timestamp = "2026-11-23T12:00:00.000000Z".parse().unwrap();
        let seen = |text: &str| {
            let time = text.parse::<PointInTime>().ok()?.seen_from(now)?;
            Some(time.to_string())
        };
        let noon = Some("2026-11-23T11:00:00.000000Z".to_owned());
        let same = [
            "1h",
            "60m",
            "2026-11-23T11:00:00Z",
            "2026-11-23T12:00:00+01:00",
        ];
        assert_eq!(
            same.map(seen),
            [noon.clone(), noon.clone(), noon.clone(), noon]
        );
        let wrong = [
            "",
            "now",
            "-1h",
            "2026-11-23",
            "2026-11-23T11:00:00",
            "99999999d",
        ];
        assert_eq!(wrong.map(seen), [const { None }; 6]);
    }
}
