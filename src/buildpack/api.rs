//! The Buildpack API, by version. What depends on the version asks a method
//! here, so that each difference has one name (rule 1, "Differences by version").

use std::fmt;
use std::str::FromStr;

use crate::ident::shown;
use thiserror::Error;

/// A supported version of the Buildpack API: 0.7 to 0.12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Api {
    minor: u8,
}

/// The text is no version of the Buildpack API, or none that is supported.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadApi {
    /// Not of the form.
    #[error("`{0}` is not a Buildpack API (expected a version such as `0.10`)")]
    Form(String),
    /// Too old or too new.
    #[error("Buildpack API `{0}` is not supported (supported are {min} to {max})", min = Api::MIN, max = Api::MAX)]
    Unsupported(String),
}

impl Api {
    /// The oldest that is supported.
    pub const MIN: Self = Self { minor: 7 };
    /// The newest that is supported.
    pub const MAX: Self = Self { minor: 12 };
    /// The one that our own buildpacks state.
    pub const OURS: Self = Self { minor: 10 };

    /// Arguments are also given as `CNB_PLATFORM_DIR`, …; processes have a working directory (0.8).
    pub fn has_argument_variables(self) -> bool {
        self.minor >= 8
    }

    /// A process has its own working directory (0.8).
    pub fn has_working_dir(self) -> bool {
        self.minor >= 8
    }

    /// `command` is a list, every process is direct, default arguments can be replaced; no profile scripts (0.9).
    pub fn has_command_lists(self) -> bool {
        self.minor >= 9
    }

    /// Targets instead of stacks, and `CNB_TARGET_*` (0.10).
    pub fn has_targets(self) -> bool {
        self.minor >= 10
    }

    /// `CNB_EXEC_ENV` and `exec-env` (0.12).
    pub fn has_exec_env(self) -> bool {
        self.minor >= 12
    }
}

impl FromStr for Api {
    type Err = BadApi;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadApi::Form(shown(text));
        let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
        let (major, minor) = (
            number(major).ok_or_else(bad)?,
            number(minor).ok_or_else(bad)?,
        );
        let supported = u64::from(Self::MIN.minor)..=u64::from(Self::MAX.minor);
        match u8::try_from(minor) {
            Ok(minor) if major == 0 && supported.contains(&u64::from(minor)) => Ok(Self { minor }),
            _ => Err(BadApi::Unsupported(text.to_owned())),
        }
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0.{}", self.minor)
    }
}

crate::ident::serde_as_text!(Api);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_1_versions_0_7_to_0_12_are_taken() {
        for good in ["0.7", "0.10", "0.12", "00.08"] {
            assert!(good.parse::<Api>().is_ok(), "{good}");
        }
        for unsupported in ["0.6", "0.13", "1.10", "0", "1", "0.18446744073709551615"] {
            assert!(
                matches!(unsupported.parse::<Api>(), Err(BadApi::Unsupported(_))),
                "{unsupported}"
            );
        }
        for bad in [
            "",
            "0.",
            ".7",
            "0.7.1",
            "v0.7",
            "0.+7",
            "-0.7",
            "0.18446744073709551616",
        ] {
            assert!(matches!(bad.parse::<Api>(), Err(BadApi::Form(_))), "{bad}");
        }
    }
}
