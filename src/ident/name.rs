//! Names of apps, buildpacks, layers, process types and instances.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use super::shown;
use thiserror::Error;

/// The text is not a name of that kind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not {kind} (expected {expected})")]
pub struct BadName {
    text: String,
    kind: &'static str,
    expected: &'static str,
}

/// One type per kind of name, so that none is taken for another.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $expected:literal, $fits:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let fits: fn(&str) -> bool = $fits;
                if fits(text) {
                    return Ok(Self(text.to_owned()));
                }
                Err(BadName { text: shown(text), kind: $kind, expected: $expected })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        super::serde_as_text!($name);
    };
}

name!(
    /// The name of an app: a DNS label, so that it can be a host name, a unit name and a folder.
    AppName,
    "the name of an app",
    "lower-case letters, digits and `-`, beginning with a letter, ending with a letter or digit, at most 63",
    |text| {
        text.len() <= 63
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    }
);

name!(
    /// A buildpack's id (Buildpack API 0.10, "buildpack.toml": letters, digits, `.`, `/`, `-`; four ids are reserved).
    /// Lifecycle takes any text, and ids with `_` are in use: `_` is taken too, and `slug buildpack lint` says so.
    BuildpackId,
    "the id of a buildpack",
    "letters, digits, `.`, `/`, `-` and `_`, none of app, config, generated, sbom",
    |text| {
        !text.is_empty()
            && text.len() <= 200
            && !["app", "config", "generated", "sbom"].contains(&text)
            && text.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./-_".contains(&byte))
    }
);

impl BuildpackId {
    /// The id as a folder name: `/` becomes `_`, as lifecycle does.
    pub fn folder(&self) -> String {
        self.0.replace('/', "_")
    }
}

name!(
    /// The name of a layer; `build`, `launch` and `store` are the contract's own files.
    LayerName,
    "the name of a layer",
    "a file name of text without a newline, at most 200 bytes, none of build, launch, store",
    |text| {
        !text.is_empty()
            && text.len() <= 200
            && !["build", "launch", "store", ".", ".."].contains(&text)
            // The last stands for bytes that are no text: the folder would not be found by this name.
            && !text.contains(['/', '\0', '\n', '\u{fffd}'])
    }
);

name!(
    /// A process type: `web`, `worker`, … (Buildpack API 0.10, "launch.toml": letters, digits, `.`, `_`, `-`).
    ProcessType,
    "a process type",
    "letters, digits, `.`, `_` and `-`, beginning with a letter or digit, at most 63",
    |text| {
        text.len() <= 63
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    }
);

impl ProcessType {
    /// `web`: the type that is routed and gets `PORT`.
    pub fn web() -> Self {
        Self("web".to_owned())
    }

    /// `release`: the type whose command runs before a release succeeds.
    pub fn release() -> Self {
        Self("release".to_owned())
    }

    /// `run`: what one-offs are named after.
    pub fn run() -> Self {
        Self("run".to_owned())
    }
}

/// One process of a formation: `web.1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance {
    /// Its type.
    pub process_type: ProcessType,
    /// Its number, from one.
    pub number: NonZeroU32,
}

impl FromStr for Instance {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadName {
            text: shown(text),
            kind: "an instance",
            expected: "a process type, `.` and a number from 1, such as `web.1`",
        };
        let (process_type, number) = text.rsplit_once('.').ok_or_else(bad)?;
        if number.starts_with(['0', '+']) {
            return Err(bad());
        }
        Ok(Self {
            process_type: process_type.parse()?,
            number: number.parse().map_err(|_| bad())?,
        })
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.process_type, self.number)
    }
}

super::serde_as_text!(Instance);

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FromStr>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(text.parse::<T>().is_ok(), "{text:?} is good");
        }
        for text in bad {
            assert!(text.parse::<T>().is_err(), "{text:?} is bad");
        }
    }

    #[test]
    fn names_are_what_may_be_a_folder_a_unit_and_a_host() {
        check::<AppName>(
            &["a", "shop-2"],
            &[
                "",
                "Shop",
                "2shop",
                "-a",
                "a-",
                "a.b",
                "a/b",
                "..",
                &"a".repeat(64),
            ],
        );
        check::<BuildpackId>(
            &["slug/python", "a.b", "a_b"],
            &["", "app", "a/../b", "/a", "a b", "a//b"],
        );
        check::<LayerName>(&["venv", "a b"], &["", "launch", "a/b", "..", "a\0"]);
        check::<ProcessType>(
            &["web", "2", "a_b.c-d"],
            &["", "-a", ".a", "a b", "a/b", "wéb"],
        );
        check::<Instance>(
            &["web.1", "a.b.12"],
            &["web", "web.0", "web.01", "web.x", ".1"],
        );
    }
}
