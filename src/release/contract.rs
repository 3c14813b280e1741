//! The config contract: which vars an app needs, from `[env.*]` of its
//! slug.toml, carried by the slug as a label, checked before a release is made.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::ReleaseError;
use crate::archive::Slug;
use crate::ident::{AppName, Digest, EnvKey};
use crate::store::ConfigVars;

/// The label of a slug that holds its contract, as JSON: `{"DATABASE_URL": {"required": true, …}, …}`.
pub const CONTRACT_LABEL: &str = "slug.contract";

/// The vars that an app declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Contract(BTreeMap<EnvKey, Need>);

/// What is declared of one var.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Need {
    /// No release without it.
    #[serde(default)]
    pub required: bool,
    /// Whoever asks for its value should not do so in public.
    #[serde(default)]
    pub secret: bool,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A required var that is not set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MissingVar {
    /// Its name.
    pub key: EnvKey,
    /// What it is.
    pub description: Option<String>,
    /// Is it to be kept from shell history and screens?
    pub secret: bool,
}

impl fmt::Display for MissingVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.description {
            // A foreign slug's text, which must do nothing to a terminal.
            Some(description) => write!(f, "{} ({})", self.key, description.escape_debug()),
            None => write!(f, "{}", self.key),
        }
    }
}

impl Contract {
    /// The contract that a slug carries; one without demands if it carries none.
    pub fn of(name: &Digest, slug: &Slug) -> Result<Self, ReleaseError> {
        let Some(label) = slug.labels.get(CONTRACT_LABEL) else {
            return Ok(Self::default());
        };
        serde_json::from_str(label).map_err(|error| ReleaseError::BadContract {
            slug: *name,
            why: error.to_string(),
        })
    }

    /// The declared vars, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&EnvKey, &Need)> {
        self.0.iter()
    }

    /// Refuses config that lacks a required var; all of them are named. An empty value is a value.
    pub fn check(&self, app: &AppName, vars: &ConfigVars) -> Result<(), ReleaseError> {
        let unset = self
            .0
            .iter()
            .filter(|(key, need)| need.required && vars.get(key).is_none());
        let missing: Vec<MissingVar> = unset
            .map(|(key, need)| MissingVar {
                key: key.clone(),
                description: need.description.clone(),
                secret: need.secret,
            })
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(ReleaseError::MissingConfig {
                app: app.clone(),
                missing,
            })
        }
    }
}
