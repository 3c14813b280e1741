//! `<layer>.toml` (Buildpack API, "Layer Content Metadata").

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::toml_file;
use super::toml_file::TomlError;
use crate::sys::fs::remove_tree;
use crate::sys::{At as _, PathError};

/// What a buildpack says about a layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerMetadata {
    /// What it is for. A restored file has none: the buildpack says it anew each build (rule 46).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub types: Option<LayerTypes>,
    /// The buildpack's own; comes back at its next build.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub metadata: toml::Table,
}

/// What a layer is for. All three false: it is ignored (rule 32).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerTypes {
    /// Seen by the app's processes.
    #[serde(default)]
    pub launch: bool,
    /// Seen by later buildpacks.
    #[serde(default)]
    pub build: bool,
    /// There again at the next build.
    #[serde(default)]
    pub cache: bool,
}

/// The file as it may be written, misplaced types included.
#[derive(Deserialize)]
struct Raw {
    types: Option<LayerTypes>,
    #[serde(default)]
    metadata: toml::Table,
    launch: Option<toml::Spanned<toml::Value>>,
    build: Option<toml::Spanned<toml::Value>>,
    cache: Option<toml::Spanned<toml::Value>>,
}

impl LayerMetadata {
    /// What the layer is for; nothing if the file does not say.
    pub fn types(&self) -> LayerTypes {
        self.types.unwrap_or_default()
    }

    /// The same without `[types]`, as it is given back to the buildpack (rule 46).
    #[must_use]
    pub fn without_types(&self) -> Self {
        Self {
            types: None,
            metadata: self.metadata.clone(),
        }
    }

    /// Reads `<layer>.toml`; `None` if it is not there.
    pub fn read(path: &Path) -> Result<Option<Self>, TomlError> {
        let bytes = crate::sys::fs::read_plain(path, toml_file::TOML_BYTES_MAX)?;
        bytes.map(|bytes| Self::parse(&bytes, path)).transpose()
    }

    /// Types stand under `[types]` only: one at the top is an error, since it would silently be without effect (rule 33).
    fn parse(bytes: &[u8], path: &Path) -> Result<Self, TomlError> {
        let raw: Raw = toml_file::parse_bytes(bytes, path)?;
        let misplaced = [
            ("launch", &raw.launch),
            ("build", &raw.build),
            ("cache", &raw.cache),
        ];
        for (key, value) in misplaced {
            if let Some(value) = value {
                let message = format!("`{key}` must stand under `[types]`");
                let text = String::from_utf8_lossy(bytes);
                return Err(toml_file::wrong(&text, path, value.span().start, message));
            }
        }
        Ok(Self {
            types: raw.types,
            metadata: raw.metadata,
        })
    }
}

/// What a buildpack finds of a layer at its next build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComesBack {
    /// `<layer>.toml` and the folder.
    WithContent,
    /// `<layer>.toml` alone.
    AsMetadata,
    /// Nothing: it is made anew each time.
    Not,
}

impl LayerTypes {
    /// Rule 46.
    pub fn comes_back(self) -> ComesBack {
        match (self.launch, self.build, self.cache) {
            (_, _, true) => ComesBack::WithContent,
            (true, false, false) => ComesBack::AsMetadata,
            (_, _, false) => ComesBack::Not,
        }
    }

    /// Is it for anything?
    pub fn any(self) -> bool {
        let Self {
            launch,
            build,
            cache,
        } = self;
        launch || build || cache
    }
}

/// The names of the layers that have a `<layer>.toml` in a buildpack's layers folder, and these files, by name.
/// `build`, `launch` and `store` are the contract's own (rule 34).
pub fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>, PathError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).at("read", folder)? {
        let entry = entry.at("read", folder)?;
        let path = entry.path();
        let is_toml = path
            .extension()
            .is_some_and(|extension| extension == "toml");
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if is_toml
            && !["build", "launch", "store"].contains(&&*name)
            && !entry.file_type().at("look at", &path)?.is_dir()
        {
            files.push((name.into_owned(), path));
        }
    }
    files.sort();
    Ok(files)
}

/// Hides a layer that is for nothing from later buildpacks: `<layer>` becomes `<layer>.ignore` (rule 32).
pub fn put_aside(layer: &Path) -> Result<(), PathError> {
    if layer.symlink_metadata().is_err() {
        return Ok(());
    }
    let mut aside = layer.as_os_str().to_owned();
    aside.push(".ignore");
    remove_tree(Path::new(&aside))?;
    fs::rename(layer, aside).at("rename", layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<LayerMetadata, TomlError> {
        LayerMetadata::parse(text.as_bytes(), Path::new("a.toml"))
    }

    #[test]
    fn rule_33_types_stand_under_types_only() {
        let error = parse("metadata = {}\nlaunch = true\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`a.toml`, line 2, column 10: `launch` must stand under `[types]`"
        );
        let good = parse("[types]\nlaunch = true\nother = 1\n[metadata]\nlaunch = 1\n").unwrap();
        assert_eq!(
            good.types(),
            LayerTypes {
                launch: true,
                ..LayerTypes::default()
            }
        );
    }

    #[test]
    fn rule_46_a_restored_file_has_no_types() {
        let read = parse("[types]\ncache = true\n[metadata]\nkey = \"1\"\n").unwrap();
        assert_eq!(
            toml::to_string(&read.without_types()).unwrap(),
            "[metadata]\nkey = \"1\"\n"
        );
        assert!(!parse("").unwrap().types().any());
    }
}
