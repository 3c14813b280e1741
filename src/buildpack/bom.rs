//! The legacy `[[bom]]` tables of launch.toml and build.toml, deprecated since
//! Buildpack API 0.7 and still taken (rule 39): they become one JSON file beside
//! the SBOMs.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use toml::Spanned;

use super::descriptor::Descriptor;
use crate::layer::TomlError;
use crate::layer::toml_file;

/// The name of the file where they are laid, in the folder of their scope.
pub const LEGACY_FILE: &str = "sbom.legacy.json";

/// One entry of `[[bom]]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BomEntry {
    /// What is there.
    pub name: String,
    /// What is said of it.
    pub metadata: toml::Table,
}

/// An entry as it may be written.
#[derive(Deserialize)]
pub(super) struct RawBomEntry {
    name: String,
    version: Option<Spanned<toml::Value>>,
    #[serde(default)]
    metadata: toml::Table,
}

/// Checks the entries of a file: `version` belongs into the metadata.
pub(super) fn checked(
    entries: Vec<RawBomEntry>,
    bytes: &[u8],
    path: &Path,
) -> Result<Vec<BomEntry>, TomlError> {
    let mut checked = Vec::new();
    for RawBomEntry {
        name,
        version,
        metadata,
    } in entries
    {
        if let Some(version) = version {
            let message =
                "`version` is no key of a `[[bom]]` table: it belongs into its `metadata`";
            let text = String::from_utf8_lossy(bytes);
            let at = version.span().start;
            return Err(toml_file::wrong(&text, path, at, message.to_owned()));
        }
        checked.push(BomEntry { name, metadata });
    }
    Ok(checked)
}

/// The entries of a buildpack as lifecycle writes them.
pub fn legacy_json(entries: &[BomEntry], buildpack: &Descriptor) -> Vec<Value> {
    let by = json!({ "id": buildpack.id, "version": buildpack.version });
    let entry = |BomEntry { name, metadata }: &BomEntry| {
        let metadata: Map<String, Value> = metadata
            .iter()
            .map(|(key, value)| (key.clone(), as_json(value)))
            .collect();
        json!({ "name": name, "metadata": metadata, "buildpack": by })
    };
    entries.iter().map(entry).collect()
}

/// JSON has neither dates, which become text, nor numbers that are none, which become null.
fn as_json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(is) => json!(is),
        toml::Value::Datetime(instant) => json!(instant.to_string()),
        toml::Value::Array(items) => items.iter().map(as_json).collect(),
        toml::Value::Table(table) => table
            .iter()
            .map(|(key, value)| (key.clone(), as_json(value)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_39_legacy_entries_become_json_and_name_their_buildpack() {
        let text = "a = 1979-05-27\nb = [1, 2.5, true]\n[c]\nd = nan\n";
        let entry = BomEntry {
            name: "openssl".to_owned(),
            metadata: toml::from_str(text).unwrap(),
        };
        let expected = json!([{
            "name": "openssl",
            "metadata": { "a": "1979-05-27", "b": [1, 2.5, true], "c": { "d": null } },
            "buildpack": { "id": "x/y", "version": "1" },
        }]);
        assert_eq!(
            json!(legacy_json(&[entry], &Descriptor::example("x/y"))),
            expected
        );
    }
}
