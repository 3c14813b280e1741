//! The name of a config var.

use std::fmt;
use std::str::FromStr;

use super::shown;
use thiserror::Error;

/// Names that `slug` sets itself (`spec/cli.md`, "What a process gets").
const RESERVED: [&str; 4] = ["PORT", "DYNO", "HOME", "TMPDIR"];
/// The longest name, in bytes.
const ENV_KEY_BYTES_MAX: usize = 255;

/// The name of a config var: a letter or `_`, then letters, digits and `_`; none of those that `slug` sets itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvKey(String);

/// The text cannot name a config var.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadEnvKey {
    /// Not of the form.
    #[error(
        "`{0}` cannot name a config var (expected a letter or `_`, then letters, digits and `_`, at most 255)"
    )]
    Form(String),
    /// One that `slug` sets.
    #[error("`{0}` is set by slug itself: a config var needs another name")]
    Reserved(String),
}

impl EnvKey {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EnvKey {
    type Err = BadEnvKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let starts = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        let fits = starts
            && text.len() <= ENV_KEY_BYTES_MAX
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !fits {
            return Err(BadEnvKey::Form(shown(text)));
        }
        if RESERVED.contains(&text) || text.starts_with("SLUG_") || text.starts_with("CNB_") {
            return Err(BadEnvKey::Reserved(shown(text)));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for EnvKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

super::serde_as_text!(EnvKey);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_var_may_not_take_a_name_of_slugs_own() {
        for good in ["A", "_x9", "DATABASE_URL", "SLUGS"] {
            assert!(good.parse::<EnvKey>().is_ok(), "{good}");
        }
        for reserved in ["PORT", "HOME", "SLUG_APP", "CNB_TARGET_OS"] {
            assert!(
                matches!(reserved.parse::<EnvKey>(), Err(BadEnvKey::Reserved(_))),
                "{reserved}"
            );
        }
        for bad in ["", "1A", "A-B", "É", "A B", "A=B", "A\n"] {
            assert!(
                matches!(bad.parse::<EnvKey>(), Err(BadEnvKey::Form(_))),
                "{bad}"
            );
        }
    }
}
