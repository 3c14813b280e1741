//! `store.toml`: what a buildpack keeps from build to build beside its layers (rule 38).

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::layer::toml_file;
use crate::layer::toml_file::TomlError;

/// Comes back as it was at the next build of the app by this buildpack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoreToml {
    /// The buildpack's own.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub metadata: toml::Table,
}

impl StoreToml {
    /// Reads `store.toml`; `None` if it is not there.
    pub fn read(path: &Path) -> Result<Option<Self>, TomlError> {
        toml_file::read(path)
    }
}
