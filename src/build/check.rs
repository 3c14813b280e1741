//! What is wrong in the TOML files of an app, found without building it.

use std::path::Path;

use crate::buildpack::ExecEnv;
use crate::layer::TomlError;
use crate::layer::toml_file::TOML_BYTES_MAX;
use crate::sys::PathError;
use crate::sys::fs::read_plain;

use super::BuildError;
use super::project_toml::ProjectToml;
use super::slug_toml::SlugToml;
use super::slug_toml::places_of_processes;

/// Something about slug.toml or project.toml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TomlRemark {
    /// Which of the two.
    pub file: &'static str,
    /// Line and column, from one, where they are known.
    pub place: Option<(usize, usize)>,
    /// What there is to say.
    pub text: String,
    /// The line, to be shown with a marker; empty for a warning.
    pub source: String,
    /// A build would end so.
    pub is_error: bool,
}

/// Reads both files, as a build would; `is_built_in` knows the ids of built-in buildpacks. The error is a file that
/// cannot be read.
pub fn check_toml_files(
    folder: &Path,
    is_built_in: &dyn Fn(&str) -> bool,
) -> Result<Vec<TomlRemark>, BuildError> {
    let slug = SlugToml::read(folder).map(|(_, warnings)| warnings);
    let mut remarks = remarks("slug.toml", slug.map_err(BuildError::from))?;
    let project = ProjectToml::read(folder, &ExecEnv::default(), is_built_in);
    remarks.extend(self::remarks(
        "project.toml",
        project.map(|project| project.warnings),
    )?);
    Ok(remarks)
}

/// A name, and its line and column, from one.
pub type NamedPlace = (String, (usize, usize));

/// The process types that slug.toml of the folder speaks of, with line and column; none if it is no TOML.
pub fn process_types_of_slug_toml(folder: &Path) -> Result<Vec<NamedPlace>, PathError> {
    let bytes = read_plain(&folder.join("slug.toml"), TOML_BYTES_MAX)?;
    let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default());
    Ok(places_of_processes(&text))
}

fn remarks(
    file: &'static str,
    read: Result<Vec<String>, BuildError>,
) -> Result<Vec<TomlRemark>, BuildError> {
    match read {
        Ok(warnings) => Ok(warnings
            .into_iter()
            .map(|said| warning(file, &said))
            .collect()),
        Err(BuildError::Toml(TomlError::Wrong(wrong))) => Ok(vec![TomlRemark {
            file,
            place: Some((wrong.line, wrong.column)),
            text: wrong.message,
            source: wrong.text,
            is_error: true,
        }]),
        Err(other) => Err(other),
    }
}

/// Builds say it in one line: `slug.toml, line 3, column 1: the key …`.
fn warning(file: &'static str, said: &str) -> TomlRemark {
    let place = || {
        let rest = said.strip_prefix(file)?.strip_prefix(", line ")?;
        let (line, rest) = rest.split_once(", column ")?;
        let (column, text) = rest.split_once(": ")?;
        Some(((line.parse().ok()?, column.parse().ok()?), text))
    };
    let (place, text) = place().map_or((None, said), |(place, text)| (Some(place), text));
    let text = text
        .strip_prefix(file)
        .and_then(|text| text.strip_prefix(": "))
        .unwrap_or(text);
    TomlRemark {
        file,
        place,
        text: text.to_owned(),
        source: String::new(),
        is_error: false,
    }
}
