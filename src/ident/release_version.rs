//! `v12`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use thiserror::Error;

/// The number of a release, written `v12`. There is no release zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReleaseVersion(NonZeroU32);

/// The text is not a release.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not a release (expected `v` and a number, such as `v12`)")]
pub struct BadReleaseVersion {
    text: String,
}

impl ReleaseVersion {
    /// The first release of an app.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The number alone.
    pub fn number(self) -> u32 {
        self.0.get()
    }

    /// From the number alone; none for zero.
    pub fn from_number(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The release after this one; none after the last number there is.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }

    /// The release before this one; none before the first.
    pub fn previous(self) -> Option<Self> {
        Self::from_number(self.0.get() - 1)
    }
}

impl FromStr for ReleaseVersion {
    type Err = BadReleaseVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text
            .strip_prefix('v')
            .filter(|digits| !digits.starts_with(['0', '+']));
        let number = digits.and_then(|digits| digits.parse().ok());
        number.map(Self).ok_or_else(|| BadReleaseVersion {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for ReleaseVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Debug for ReleaseVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

super::serde_as_text!(ReleaseVersion);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_v_and_a_number_from_one() {
        assert_eq!("v12".parse(), Ok(ReleaseVersion::from_number(12).unwrap()));
        for bad in [
            "12",
            "v0",
            "v01",
            "v+1",
            "v-1",
            "v",
            "V1",
            "v4294967296",
            " v1",
        ] {
            assert!(bad.parse::<ReleaseVersion>().is_err(), "{bad}");
        }
    }
}
