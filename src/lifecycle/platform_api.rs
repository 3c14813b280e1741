//! The Platform API: what lifecycle's programs and whoever drives them agree on.

use std::ffi::OsStr;

use super::failed::{Failed, PLATFORM_API};
use crate::layer::Env;

/// The variable that names it.
pub(super) const VARIABLE: &str = "CNB_PLATFORM_API";

/// A supported version: 0.7 to 0.15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PlatformApi {
    minor: u8,
}

impl PlatformApi {
    /// The version 0.`minor`.
    pub(super) const fn minor(minor: u8) -> Self {
        Self { minor }
    }

    /// What the environment names; there is no default.
    pub(super) fn of(env: &Env) -> Result<Self, Failed> {
        let text = env
            .get(OsStr::new(VARIABLE))
            .map(|text| text.to_string_lossy());
        let text = text.unwrap_or_default();
        if text.trim().is_empty() {
            let what = format!(
                "get platform API version; please set '{VARIABLE}' to specify the desired platform API version"
            );
            return Err(Failed::because(PLATFORM_API, &what));
        }
        let Some(version) = parts(&text) else {
            return Err(Failed::because(
                PLATFORM_API,
                &format!("parse platform API '{text}'"),
            ));
        };
        let minor = match version {
            (0, minor) => u8::try_from(minor)
                .ok()
                .filter(|minor| (7..=15).contains(minor)),
            _ => None,
        };
        let incompatible = || {
            let why = format!("platform API version '{text}' is incompatible with the lifecycle");
            Failed::new(PLATFORM_API, "set platform API", why)
        };
        minor.map(|minor| Self { minor }).ok_or_else(incompatible)
    }

    /// A command in `<layers>/config/metadata.toml` is a list (0.10).
    pub(super) fn has_command_lists(self) -> bool {
        self.minor >= 10
    }

    /// Default arguments can be replaced by a user's (0.10).
    pub(super) fn has_overridable_arguments(self) -> bool {
        self.minor >= 10
    }

    /// Layers for launch and cache come back from the cache without the image of the last build (0.14).
    pub(super) fn restores_launch_from_cache(self) -> bool {
        self.minor >= 14
    }

    /// SBOM files are copied to `<layers>/sbom` and come back (0.8).
    pub(super) fn has_sbom_files(self) -> bool {
        self.minor >= 8
    }

    /// The `bom` tables become a file among the SBOMs (0.9).
    pub(super) fn has_legacy_bom_file(self) -> bool {
        self.minor >= 9
    }

    /// Buildpacks say for which systems they are (0.12).
    pub(super) fn has_targets(self) -> bool {
        self.minor >= 12
    }

    /// `CNB_EXEC_ENV` counts, and there is a system.toml (0.15).
    pub(super) fn has_exec_env(self) -> bool {
        self.minor >= 15
    }
}

/// `0.12`, `v0.12`, `1`.
fn parts(text: &str) -> Option<(u64, u64)> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    Some((
        number(major)?,
        if minor.is_empty() { 0 } else { number(minor)? },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_0_7_to_0_15_are_taken_and_there_is_no_default() {
        let of = |text: &str| PlatformApi::of(&Env::from([(VARIABLE.into(), text.into())]));
        for (text, minor) in [("0.7", 7), ("0.15", 15), ("v0.10", 10)] {
            assert_eq!(of(text).unwrap(), PlatformApi::minor(minor));
        }
        for bad in ["", " ", "0.6", "0.16", "1.0", "x", "0.7.1", "0.+7"] {
            assert_eq!(of(bad).unwrap_err().code, PLATFORM_API, "{bad:?}");
        }
        assert_eq!(PlatformApi::of(&Env::new()).unwrap_err().code, PLATFORM_API);
    }
}
