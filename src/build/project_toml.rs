//! `project.toml`, the CNB project descriptor, schema 0.1 to 0.3: which files
//! belong to the app, what builds it, and the environment of that build.
//!
//! Keys that slug has no use for (`builder`, licences, metadata) are tolerated;
//! misspelt ones of the tables that the schema owns are warned about.

mod keys;

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::BuildError;
use super::catalog::{File, Listed, RawListed, checked};
use crate::buildpack::ExecEnv;
use crate::layer::Env;
use crate::layer::TomlError;
use crate::layer::toml_file::{self, TOML_BYTES_MAX};
use crate::layer::user_env::{is_variable_name, is_variable_value};
use crate::sys::fs::read_plain;

/// What a build takes from the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProjectToml {
    /// Patterns in the gitignore grammar of the only files that belong to the app; all if none.
    pub(super) include: Vec<String>,
    /// Of those that do not.
    pub(super) exclude: Vec<String>,
    /// What buildpacks find in `<platform>/env`.
    pub(super) env: Env,
    /// The one group that is tried, where there is one.
    pub(super) group: Vec<Listed>,
    /// Before it, or before those of whichever group is tried.
    pub(super) pre: Vec<Listed>,
    /// After it.
    pub(super) post: Vec<Listed>,
    /// The version of the app, as it states it.
    pub(super) version: Option<String>,
    /// Where its source is, as it states it.
    pub(super) source_url: Option<String>,
    /// What the author should know.
    pub(super) warnings: Vec<String>,
}

/// The schemas that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Schema {
    /// `[project]` and `[build]`.
    V0_1,
    /// `[_]` and `[io.buildpacks]`.
    V0_2,
    /// With `exec-env`.
    V0_3,
}

/// All forms at once; the schema says which part counts.
#[derive(Default, Deserialize)]
struct Raw {
    #[serde(rename = "_")]
    underscore: Option<About>,
    project: Option<About>,
    build: Option<Settings>,
    io: Option<Io>,
}

#[derive(Default, Deserialize)]
struct About {
    #[serde(rename = "schema-version")]
    schema_version: Option<Spanned<String>>,
    version: Option<String>,
    #[serde(rename = "source-url")]
    source_url: Option<String>,
}

#[derive(Deserialize)]
struct Io {
    buildpacks: Option<Settings>,
}

#[derive(Default, Deserialize)]
struct Settings {
    include: Option<Spanned<Vec<String>>>,
    exclude: Option<Spanned<Vec<String>>>,
    /// Of `[build]`: its variables. Of `[io.buildpacks]`: a table with `build`, as `pack` once wrote it.
    env: Option<OldEnv>,
    build: Option<Inner>,
    #[serde(alias = "buildpacks", default)]
    group: Vec<Spanned<RawListed>>,
    pre: Option<Around>,
    post: Option<Around>,
}

#[derive(Deserialize)]
struct Inner {
    env: Option<Vec<Variable>>,
}

/// Not `untagged`, which loses the place of an error: a list and a table cannot be mistaken for one another.
enum OldEnv {
    Variables(Vec<Variable>),
    Build(Vec<Variable>),
}

impl<'de> Deserialize<'de> for OldEnv {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = OldEnv;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("variables, each with `name` and `value`")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, list: A) -> Result<OldEnv, A::Error> {
                let list = serde::de::value::SeqAccessDeserializer::new(list);
                Vec::deserialize(list).map(OldEnv::Variables)
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, table: A) -> Result<OldEnv, A::Error> {
                #[derive(Deserialize)]
                struct Table {
                    #[serde(default)]
                    build: Vec<Variable>,
                }
                let table = serde::de::value::MapAccessDeserializer::new(table);
                Ok(OldEnv::Build(Table::deserialize(table)?.build))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[derive(Deserialize)]
struct Around {
    #[serde(default)]
    group: Vec<Spanned<RawListed>>,
}

#[derive(Deserialize)]
struct Variable {
    name: Spanned<String>,
    value: Spanned<String>,
    #[serde(rename = "exec-env")]
    exec_env: Option<Spanned<Vec<String>>>,
}

impl ProjectToml {
    /// Reads the file in the folder of an app; nothing is set if it is not there.
    pub(super) fn read(
        folder: &Path,
        exec_env: &ExecEnv,
        is_built_in: &dyn Fn(&str) -> bool,
    ) -> Result<Self, BuildError> {
        let path = folder.join("project.toml");
        let Some(bytes) = read_plain(&path, TOML_BYTES_MAX)? else {
            return Ok(Self::default());
        };
        let raw: Raw = toml_file::parse_bytes(&bytes, &path)?;
        let file = File {
            path: &path,
            text: &String::from_utf8_lossy(&bytes),
            is_built_in,
        };
        Ok(Self::of(raw, exec_env, file)?)
    }

    fn of(raw: Raw, exec_env: &ExecEnv, file: File<'_>) -> Result<Self, TomlError> {
        let schema = schema(raw.underscore.as_ref(), file)?;
        let (about, settings) = match schema {
            Schema::V0_1 => (raw.project, raw.build),
            Schema::V0_2 | Schema::V0_3 => (raw.underscore, raw.io.and_then(|io| io.buildpacks)),
        };
        let about = about.unwrap_or_default();
        let mut read = Self {
            version: about.version,
            source_url: about.source_url,
            warnings: keys::unknown(schema, file.text),
            ..Self::default()
        };
        if let Some(settings) = settings {
            read.take(settings, schema, exec_env, file)?;
        }
        Ok(read)
    }

    fn take(
        &mut self,
        settings: Settings,
        schema: Schema,
        exec_env: &ExecEnv,
        file: File<'_>,
    ) -> Result<(), TomlError> {
        let Settings {
            include,
            exclude,
            env,
            build,
            group,
            pre,
            post,
        } = settings;
        if let (Some(include), Some(exclude)) = (&include, &exclude) {
            let later = if include.span().start > exclude.span().start {
                include
            } else {
                exclude
            };
            return Err(file.wrong(
                later,
                "`include` and `exclude` exclude one another (expected one of them)",
            ));
        }
        self.include = include.map(Spanned::into_inner).unwrap_or_default();
        self.exclude = exclude.map(Spanned::into_inner).unwrap_or_default();
        let variables = match (build.and_then(|build| build.env), env) {
            (Some(variables), _)
            | (None, Some(OldEnv::Variables(variables) | OldEnv::Build(variables))) => variables,
            (None, None) => Vec::new(),
        };
        for variable in variables {
            self.variable(variable, schema, exec_env, file)?;
        }
        let around = |around: Option<Around>| around.map(|around| around.group).unwrap_or_default();
        self.group = self.listed(group, schema, file)?;
        self.pre = self.listed(around(pre), schema, file)?;
        self.post = self.listed(around(post), schema, file)?;
        Ok(())
    }

    fn variable(
        &mut self,
        variable: Variable,
        schema: Schema,
        exec_env: &ExecEnv,
        file: File<'_>,
    ) -> Result<(), TomlError> {
        let Variable {
            name,
            value,
            exec_env: only,
        } = variable;
        if !is_variable_name(name.get_ref().as_ref()) {
            let message = format!(
                "{:?} cannot be the name of a variable (expected no `/`, `=` and NUL)",
                name.get_ref()
            );
            return Err(file.wrong(&name, message));
        }
        if !is_variable_value(value.get_ref().as_ref()) {
            let message =
                "this cannot be the value of a variable (expected less than 128 KiB without NUL)";
            return Err(file.wrong(&value, message));
        }
        let only = self.if_known(only, schema, file);
        if exec_env.is_among(&only) {
            self.env
                .insert(name.into_inner().into(), value.into_inner().into());
        }
        Ok(())
    }

    fn listed(
        &mut self,
        group: Vec<Spanned<RawListed>>,
        schema: Schema,
        file: File<'_>,
    ) -> Result<Vec<Listed>, TomlError> {
        let mut listed = Vec::new();
        for mut raw in group {
            if schema < Schema::V0_3 {
                let ignored = raw.get_mut().take_exec_env();
                self.if_known(ignored, schema, file);
            }
            listed.push(checked(raw, file)?);
        }
        Ok(listed)
    }

    /// `exec-env`, of schema 0.3; before, it said nothing.
    fn if_known(
        &mut self,
        exec_env: Option<Spanned<Vec<String>>>,
        schema: Schema,
        file: File<'_>,
    ) -> Vec<String> {
        match exec_env {
            None => Vec::new(),
            Some(exec_env) if schema >= Schema::V0_3 => exec_env.into_inner(),
            Some(exec_env) => {
                let place = shown_place(file.text, exec_env.span().start);
                self.warnings.push(format!(
                    "project.toml, {place}: `exec-env` needs `schema-version = \"0.3\"`, and is ignored"
                ));
                Vec::new()
            }
        }
    }

    /// `io.buildpacks.project.metadata`, as `pack` writes it of a project that states its version; none if it states nothing.
    pub(super) fn metadata(&self) -> Option<serde_json::Value> {
        if self.version.is_none() && self.source_url.is_none() {
            return None;
        }
        let declared = self.version.as_deref().unwrap_or_default();
        let url = self.source_url.as_deref().unwrap_or_default();
        Some(serde_json::json!({
            "type": "project", "version": { "declared": declared }, "metadata": { "url": url }
        }))
    }
}

fn schema(underscore: Option<&About>, file: File<'_>) -> Result<Schema, TomlError> {
    let Some(version) = underscore.and_then(|about| about.schema_version.as_ref()) else {
        return Ok(Schema::V0_1);
    };
    match version.get_ref().as_str() {
        "0.1" => Ok(Schema::V0_1),
        "0.2" => Ok(Schema::V0_2),
        "0.3" => Ok(Schema::V0_3),
        other => {
            let message = format!("the schema {other:?} is not known (expected 0.1, 0.2 or 0.3)");
            Err(file.wrong(version, message))
        }
    }
}

/// `line 3, column 1`.
fn shown_place(text: &str, offset: usize) -> String {
    let place = toml_file::Place::of(text, offset);
    format!("line {}, column {}", place.line, place.column)
}

#[cfg(test)]
mod tests;
