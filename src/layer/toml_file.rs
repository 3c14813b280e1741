//! The TOML files of the contract, read with a limit; every error names file,
//! line and column. Knows no key of any of them.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::ident::shown_message;
use crate::sys::PathError;
use crate::sys::fs::{read_if_present, read_plain, write_unsynced};

/// The largest TOML file that is read, in bytes.
pub const TOML_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why a TOML file could not be used.
#[derive(Debug, Error)]
pub enum TomlError {
    /// It could not be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It is no TOML, or not what this file holds.
    #[error("{0}")]
    Wrong(Box<WrongToml>),
}

impl TomlError {
    /// The same, of a file that its reader knows by another path: below `inside` instead of below `host`.
    #[must_use]
    pub fn seen_at(self, host: &Path, inside: &Path) -> Self {
        match self {
            Self::Path(error) => Self::Path(error.seen_at(host, inside)),
            Self::Wrong(mut wrong) => {
                if let Ok(below) = wrong.path.strip_prefix(host) {
                    wrong.path = inside.join(below);
                }
                Self::Wrong(wrong)
            }
        }
    }
}

/// What is wrong in a TOML file, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{}`, line {line}, column {column}: {message}", path.display())]
pub struct WrongToml {
    /// The file.
    pub path: PathBuf,
    /// From one.
    pub line: usize,
    /// In characters, from one.
    pub column: usize,
    /// The line itself, to be shown with a marker.
    pub text: String,
    /// What was found and expected.
    pub message: String,
}

/// Reads a file that a stranger may have placed: no link is followed. `None` if it is not there.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, TomlError> {
    let Some(bytes) = read_plain(path, TOML_BYTES_MAX)? else {
        return Ok(None);
    };
    parse_bytes(&bytes, path).map(Some)
}

/// Reads a file that the operator named: links are followed. `None` if it is not there.
pub fn read_following<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, TomlError> {
    let Some(bytes) = read_if_present(path, TOML_BYTES_MAX)? else {
        return Ok(None);
    };
    parse_bytes(&bytes, path).map(Some)
}

/// Parses the text of a file; `path` is for the error alone.
pub fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, TomlError> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        wrong(text, path, offset, shown_message(error.message()))
    })
}

/// Parses bytes: what is not UTF-8 is an error at that byte.
pub fn parse_bytes<T: DeserializeOwned>(bytes: &[u8], path: &Path) -> Result<T, TomlError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text, path),
        Err(error) => {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            Err(wrong(&valid, path, valid.len(), "not UTF-8".to_owned()))
        }
    }
}

/// An error about the place `offset` (in bytes) of `text`.
pub fn wrong(text: &str, path: &Path, offset: usize, message: String) -> TomlError {
    let Place { line, column, text } = Place::of(text, offset);
    TomlError::Wrong(Box::new(WrongToml {
        path: path.to_owned(),
        line,
        column,
        text: text.to_owned(),
        message,
    }))
}

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// From one.
    pub line: usize,
    /// In characters, from one.
    pub column: usize,
    /// The line itself.
    pub text: &'a str,
}

impl<'a> Place<'a> {
    /// The place of an offset in bytes.
    pub fn of(text: &'a str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count() + 1,
            text: text[start..].lines().next().unwrap_or(""),
        }
    }
}

/// Writes a file that programs of this build read: nobody needs it after a power cut.
pub fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), PathError> {
    use crate::sys::At as _;
    let text = toml::to_string(value)
        .map_err(std::io::Error::other)
        .at("write", path)?;
    write_unsynced(path, text.as_bytes(), 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Example {
        #[serde(rename = "number")]
        _number: u32,
    }

    #[test]
    fn an_error_names_line_and_column() {
        let error = parse::<Example>("# é\nnumber = \"x\"\n", Path::new("a.toml")).unwrap_err();
        let TomlError::Wrong(wrong) = error else {
            panic!("{error}")
        };
        assert_eq!(
            (wrong.line, wrong.column, wrong.text.as_str()),
            (2, 10, "number = \"x\"")
        );
        let error = parse_bytes::<Example>(b"number = 1\n# \xff", Path::new("a.toml")).unwrap_err();
        assert_eq!(error.to_string(), "`a.toml`, line 2, column 3: not UTF-8");
    }

    #[test]
    fn a_link_is_not_followed_in_a_strangers_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (secret, link) = (folder.path().join("secret"), folder.path().join("a.toml"));
        write_unsynced(&secret, b"number = 1", 0o600).unwrap();
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        assert!(read::<Example>(&link).is_err());
        assert!(read_following::<Example>(&link).unwrap().is_some());
        assert!(
            read::<Example>(&folder.path().join("none"))
                .unwrap()
                .is_none()
        );
    }
}
