//! An inline script of project.toml, as a buildpack: it takes every app, and its
//! `bin/build` is the script.

use std::fs;
use std::path::PathBuf;

use super::kept::Kept;
use crate::build::BuildError;
use crate::buildpack::Api;
use crate::ident::{BuildpackId, Digest};
use crate::sys::At as _;
use crate::sys::fs::write_unsynced;

/// The version of a script that states none, as `pack` has it.
const VERSION: &str = "0.0.0";

/// What project.toml says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Script {
    /// Of the buildpack that is made of it.
    pub(super) id: BuildpackId,
    /// Its version.
    pub(super) version: Option<String>,
    /// The contract that the script expects.
    pub(super) api: Api,
    /// What runs it: what stands behind `#!`.
    pub(super) shell: String,
    /// Its text.
    pub(super) inline: String,
}

impl Script {
    /// The folder of the buildpack, made once for each text.
    pub(super) fn folder(&self, kept: &Kept) -> Result<PathBuf, BuildError> {
        let Self {
            id,
            version,
            api,
            shell,
            inline,
        } = self;
        let version = version.as_deref().unwrap_or(VERSION);
        let mut table = toml::Table::new();
        table.insert("id".to_owned(), id.as_str().into());
        table.insert("version".to_owned(), version.into());
        let descriptor = toml::Table::from_iter([
            ("api".to_owned(), toml::Value::from(api.to_string())),
            ("buildpack".to_owned(), table.into()),
        ]);
        let files = [
            ("buildpack.toml", descriptor.to_string(), 0o644),
            ("bin/detect", "#!/bin/sh\nexit 0\n".to_owned(), 0o755),
            ("bin/build", format!("#!{shell}\n{inline}\n"), 0o755),
        ];
        let name = Digest::of(serde_json::json!(files).to_string().as_bytes());
        kept.get_or_make(&name.hex(), |to| {
            let bin = to.join("bin");
            fs::create_dir(&bin).at("create the folder", &bin)?;
            for (name, text, mode) in &files {
                write_unsynced(&to.join(name), text.as_bytes(), *mode)?;
            }
            Ok(())
        })
    }
}
