//! `build.toml`: which entries of its plan a build left to a later buildpack (rule 30).

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::plan::BuildpackPlan;
use crate::layer::toml_file;
use crate::layer::toml_file::TomlError;

/// What a build says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildToml {
    /// Entries that it did not meet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmet: Vec<Unmet>,
}

/// An entry of the plan that was not met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet {
    /// Its name.
    #[serde(default)]
    pub name: String,
}

impl BuildToml {
    /// Reads `build.toml`; nothing is unmet if it is not there.
    pub fn read(path: &Path) -> Result<Self, TomlError> {
        Ok(toml_file::read(path)?.unwrap_or_default())
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
        let parse = |text| toml_file::parse::<BuildToml>(text, Path::new("build.toml")).unwrap();
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
}
