//! `build.toml`: which entries of its plan a build left to a later buildpack
//! (rule 30).

use std::path::Path;

use serde::Deserialize;

use super::bom;
use super::bom::{BomEntry, RawBomEntry};
use super::plan::BuildpackPlan;
use crate::layer::toml_file;
use crate::layer::toml_file::TomlError;
use crate::sys::fs::read_plain;

/// What a build says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuildToml {
    /// Entries that it did not meet.
    pub unmet: Vec<Unmet>,
    /// What the build used, in the legacy form.
    pub bom: Vec<BomEntry>,
}

/// The file as it may be written.
#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    unmet: Vec<Unmet>,
    #[serde(default)]
    bom: Vec<RawBomEntry>,
}

/// An entry of the plan that was not met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Unmet {
    /// Its name.
    #[serde(default)]
    pub name: String,
}

impl BuildToml {
    /// Reads `build.toml`; nothing is unmet if it is not there.
    pub fn read(path: &Path) -> Result<Self, TomlError> {
        let bytes = read_plain(path, toml_file::TOML_BYTES_MAX)?;
        bytes.map_or_else(|| Ok(Self::default()), |bytes| Self::parse(&bytes, path))
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Self, TomlError> {
        let Raw { unmet, bom } = toml_file::parse_bytes(bytes, path)?;
        let bom = bom::checked(bom, bytes, path)?;
        Ok(Self { unmet, bom })
    }

    /// The first unmet name that is empty, or that the plan of this buildpack does not hold.
    pub fn wrong_name(&self, plan: &BuildpackPlan) -> Option<&str> {
        let names = self.unmet.iter().map(|unmet| unmet.name.as_str());
        let known =
            |name: &str| !name.is_empty() && plan.entries.iter().any(|entry| entry.name == name);
        names.into_iter().find(|name| !known(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildpack::plan::Require;

    #[test]
    fn rule_30_an_unmet_name_stands_in_the_plan() {
        let entry = Require {
            name: "node".to_owned(),
            ..Require::default()
        };
        let plan = BuildpackPlan {
            entries: vec![entry],
        };
        let parse =
            |text: &str| BuildToml::parse(text.as_bytes(), Path::new("build.toml")).unwrap();
        assert_eq!(
            parse("[[unmet]]\nname = \"node\"\n").wrong_name(&plan),
            None
        );
        assert_eq!(
            parse("[[unmet]]\nname = \"npm\"\n").wrong_name(&plan),
            Some("npm")
        );
        assert_eq!(parse("[[unmet]]\n").wrong_name(&plan), Some(""));
        assert_eq!(parse("").wrong_name(&plan), None);
    }

    #[test]
    fn rule_39_a_version_beside_the_name_in_a_legacy_bom_is_refused() {
        let text = "[[bom]]\nname = \"a\"\nversion = \"1\"\n";
        let error = BuildToml::parse(text.as_bytes(), Path::new("build.toml")).unwrap_err();
        let message = "`build.toml`, line 3, column 11: `version` is no key of a `[[bom]]` table: it belongs into its `metadata`";
        assert_eq!(error.to_string(), message);
    }
}
