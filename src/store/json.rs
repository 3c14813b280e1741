//! The JSON of the store: UTF-8, sorted keys, a schema in every object. What
//! is read may have been written by anybody: sizes are limited, nesting too
//! (`serde_json` keeps at most 128 levels), and a key that schema 1 does not know,
//! or that stands twice, is an error.

use std::path::Path;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::StoreError;
use crate::sys::At as _;
use crate::sys::fs::read_if_present;

/// The largest record, event or pointer, in bytes.
pub(super) const RECORD_BYTES_MAX: usize = 1 << 20;
/// What this slug writes and reads.
const SCHEMA: u64 = 1;
/// The lowest version of slug that reads what this one writes.
const READER: &str = "0.1.0";

/// `"schema": 1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Schema;

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(SCHEMA)
    }
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            SCHEMA => Ok(Self),
            other => Err(D::Error::custom(format_args!(
                "schema {other} where {SCHEMA} is expected"
            ))),
        }
    }
}

/// `"reader": "0.1.0"`: every schema, the later ones too, says which slug can read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reader;

impl Serialize for Reader {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(READER)
    }
}

impl<'de> Deserialize<'de> for Reader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|_| Self)
    }
}

/// What every object of every schema has.
#[derive(Deserialize)]
struct Header {
    schema: u64,
    reader: String,
}

/// Sorted keys, two spaces, a line feed at the end.
pub(super) fn to_bytes<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, StoreError> {
    // `serde_json::Value` keeps its keys sorted.
    let sorted = serde_json::to_value(value).at("write", path)?;
    let mut bytes = serde_json::to_vec_pretty(&sorted).at("write", path)?;
    bytes.push(b'\n');
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(StoreError::RecordTooLarge { bytes: bytes.len() });
    }
    Ok(bytes)
}

/// Parses what `path` held.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, StoreError> {
    let bad = |error: serde_json::Error| StoreError::BadJson {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
        why: without_position(&error),
    };
    let Header { schema, reader } = serde_json::from_slice(bytes).map_err(bad)?;
    if schema != SCHEMA {
        return Err(StoreError::UnknownSchema {
            path: path.to_owned(),
            schema,
            reader,
        });
    }
    serde_json::from_slice(bytes).map_err(bad)
}

/// Reads and parses a file; `None` if there is none. Its bytes besides: they are what a digest is of.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<(T, Vec<u8>)>, StoreError> {
    let Some(bytes) = read_if_present(path, RECORD_BYTES_MAX as u64)? else {
        return Ok(None);
    };
    Ok(Some((parse(path, &bytes)?, bytes)))
}

fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Object {
        schema: Schema,
        reader: Reader,
        a: u32,
    }

    fn refused(text: &str) -> String {
        parse::<Object>(Path::new("x.json"), text.as_bytes())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn keys_are_sorted_and_the_schema_is_there() {
        let bytes = to_bytes(
            Path::new("x"),
            &Object {
                schema: Schema,
                reader: Reader,
                a: 7,
            },
        )
        .unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "{\n  \"a\": 7,\n  \"reader\": \"0.1.0\",\n  \"schema\": 1\n}\n"
        );
    }

    #[test]
    fn a_newer_schema_is_refused_with_the_version_that_reads_it() {
        let message = refused(r#"{"schema": 2, "reader": "0.7.0", "new": [1]}"#);
        assert!(
            message.contains("`x.json` has schema 2, which slug 0.7.0 and newer can read"),
            "{message}"
        );
    }

    #[test]
    fn hostile_json_is_refused_with_its_place() {
        for (text, says) in [
            (
                r#"{"schema": 1, "reader": "0.1.0", "a": 1, "b": 2}"#,
                "unknown field `b`",
            ),
            (
                r#"{"schema": 1, "reader": "0.1.0", "a": 1, "a": 2}"#,
                "duplicate field `a`",
            ),
            (
                r#"{"schema": 1, "schema": 1, "reader": "0.1.0", "a": 1}"#,
                "duplicate field `schema`",
            ),
            (
                r#"{"schema": 1, "reader": "0.1.0", "a": 1.5}"#,
                "expected u32",
            ),
            (
                r#"{"schema": 1, "reader": "0.1.0", "a": 1} {}"#,
                "trailing characters",
            ),
            ("\u{feff}{}", "expected value"),
            ("", "EOF while parsing"),
        ] {
            let message = refused(text);
            assert!(
                message.contains(says) && message.contains("(line "),
                "{text}: {message}"
            );
        }
        assert!(refused(&"[".repeat(100_000)).contains("x.json"));
        // What is skipped is skipped without a stack; what is kept has the parser's limit of 128.
        let deep = format!(
            r#"{{"schema": 1, "reader": "0.1.0", "a": {}}}"#,
            "[".repeat(100_000)
        );
        assert!(
            refused(&deep).contains("expected value"),
            "{}",
            refused(&deep)
        );
    }
}
