//! The build plan: what a detect offers and wants, how the offers of a group
//! are matched, and what a build is handed of it (rules 22-27 and 29).
//! Pure but for the reading of a file.

use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::layer::toml_file;
use crate::layer::toml_file::TomlError;
use crate::sys::fs::read_plain;

/// What a detect writes to its plan file: its first choice, then others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BuildPlan {
    /// Dependencies that this buildpack can provide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provides: Vec<Provide>,
    /// Dependencies that it needs, from itself or an earlier one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Require>,
    /// What else would do, best first.
    #[serde(default, rename = "or", skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Alternative>,
}

/// One choice of a build plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// As in the build plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provides: Vec<Provide>,
    /// As in the build plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Require>,
}

/// The name of something that a buildpack can provide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provide {
    /// Its name.
    pub name: String,
}

/// Something that a buildpack needs, and what it says about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Require {
    /// Its name.
    pub name: String,
    /// For the one that provides it; the platform reads `artifacts` alone.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub metadata: toml::Table,
}

/// What a build is handed: every require of each entry that it is to provide.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BuildpackPlan {
    /// In the order in which they were required.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<Require>,
}

/// A build plan as it may be written. No `flatten`: it would lose the places of errors.
#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    provides: Vec<Provide>,
    #[serde(default)]
    requires: Vec<RawRequire>,
    #[serde(default)]
    or: Vec<RawAlternative>,
}

/// One choice, with the key that was dropped from the contract.
#[derive(Deserialize)]
struct RawAlternative {
    #[serde(default)]
    provides: Vec<Provide>,
    #[serde(default)]
    requires: Vec<RawRequire>,
}

#[derive(Deserialize)]
struct RawRequire {
    name: String,
    version: Option<Spanned<toml::Value>>,
    #[serde(default)]
    metadata: toml::Table,
}

impl BuildPlan {
    /// Reads what a detect wrote; an empty file is an empty plan, a missing one too.
    pub fn read(path: &Path) -> Result<Self, TomlError> {
        let bytes = read_plain(path, toml_file::TOML_BYTES_MAX)?;
        Self::parse(&bytes.unwrap_or_default(), path)
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Self, TomlError> {
        let Raw {
            provides,
            requires,
            or,
        } = toml_file::parse_bytes(bytes, path)?;
        let wrong = |at: usize| {
            let message =
                "`version` is no key of a require: it belongs into its `metadata`".to_owned();
            toml_file::wrong(&String::from_utf8_lossy(bytes), path, at, message)
        };
        let take = |requires: Vec<RawRequire>| -> Result<Vec<Require>, TomlError> {
            requires
                .into_iter()
                .map(|raw| raw.checked().map_err(wrong))
                .collect()
        };
        let mut alternatives = Vec::new();
        for RawAlternative { provides, requires } in or {
            alternatives.push(Alternative {
                provides,
                requires: take(requires)?,
            });
        }
        Ok(Self {
            provides,
            requires: take(requires)?,
            alternatives,
        })
    }

    /// All choices, best first.
    pub fn choices(&self) -> Vec<Alternative> {
        let first = Alternative {
            provides: self.provides.clone(),
            requires: self.requires.clone(),
        };
        std::iter::once(first)
            .chain(self.alternatives.iter().cloned())
            .collect()
    }
}

impl RawRequire {
    /// Rule 15. The error is the place of the key's value.
    fn checked(self) -> Result<Require, usize> {
        match self.version {
            Some(version) => Err(version.span().start),
            None => Ok(Require {
                name: self.name,
                metadata: self.metadata,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<BuildPlan, TomlError> {
        BuildPlan::parse(text.as_bytes(), Path::new("plan.toml"))
    }

    #[test]
    fn rule_15_a_version_beside_the_name_is_refused_also_in_an_alternative() {
        let error = parse("[[requires]]\nname = \"a\"\nversion = \"1\"\n").unwrap_err();
        let message = "`plan.toml`, line 3, column 11: `version` is no key of a require: it belongs into its `metadata`";
        assert_eq!(error.to_string(), message);
        let error = parse("[[or]]\n[[or.requires]]\nname = \"a\"\nversion = \"1\"\n").unwrap_err();
        assert!(error.to_string().contains("line 4"), "{error}");
    }

    #[test]
    fn rule_22_choices_are_the_top_and_then_each_or() {
        let plan =
            parse("[[provides]]\nname = \"a\"\n[[or]]\n[[or.provides]]\nname = \"b\"\n").unwrap();
        let names: Vec<_> = plan
            .choices()
            .iter()
            .map(|choice| choice.provides[0].name.clone())
            .collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(parse("").unwrap().choices(), [Alternative::default()]);
        assert_eq!(parse(&toml::to_string(&plan).unwrap()).unwrap(), plan);
    }
}
