//! The execution environment that is built for (Buildpack API 0.12, "Execution
//! Environments"; rules 9, 12, 49, 53).

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The longest name, in bytes: it is a value in labels and in the state of a cache.
const LENGTH_MAX: usize = 63;

/// What the app is built for, the value of `CNB_EXEC_ENV`: `production`, `test`, `development` or a name of the
/// operator's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecEnv(String);

/// The text is no name of an execution environment.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not an execution environment (expected letters, digits, `.`, `_` and `-`, at most {LENGTH_MAX}, such as `production` or `test`)"
)]
pub struct BadExecEnv(String);

impl ExecEnv {
    /// What is built for unless said otherwise.
    pub const PRODUCTION: &str = "production";

    /// As the environment variable has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is something for it that is restricted to `names`? An empty list and `*` mean all (rule 9).
    pub fn is_among<S: AsRef<str>>(&self, names: &[S]) -> bool {
        names.is_empty()
            || names
                .iter()
                .map(AsRef::as_ref)
                .any(|name| name == "*" || name == self.0)
    }
}

impl Default for ExecEnv {
    fn default() -> Self {
        Self(Self::PRODUCTION.to_owned())
    }
}

impl FromStr for ExecEnv {
    type Err = BadExecEnv;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=LENGTH_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadExecEnv(text.escape_default().to_string()))
        }
    }
}

impl fmt::Display for ExecEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::ident::serde_as_text!(ExecEnv);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_12_an_execution_environment_has_no_slash_and_is_not_empty() {
        for good in ["production", "test", "my-own_1.0"] {
            assert_eq!(good.parse::<ExecEnv>().unwrap().as_str(), good);
        }
        for bad in ["", "a/b", "*", "a b", "a\0", &"x".repeat(64)] {
            assert!(bad.parse::<ExecEnv>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn rule_9_an_empty_list_and_a_star_mean_all() {
        let test: ExecEnv = "test".parse().unwrap();
        assert!(test.is_among::<&str>(&[]));
        assert!(test.is_among(&["production", "*"]));
        assert!(test.is_among(&["test"]));
        assert!(!test.is_among(&["production"]));
    }
}
