//! `project.toml`, the CNB project descriptor, schema 0.1 to 0.3: which files
//! belong to the app, and the environment of its build.

use std::path::Path;

use serde::Deserialize;

use super::BuildError;
use crate::buildpack::ExecEnv;
use crate::layer::Env;
use crate::layer::toml_file;

/// What a build takes from the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProjectToml {
    /// Patterns in the gitignore grammar of the only files that belong to the app; all if none.
    pub(super) include: Vec<String>,
    /// Of those that do not.
    pub(super) exclude: Vec<String>,
    /// What buildpacks find in `<platform>/env`.
    pub(super) env: Env,
    /// What the author should know.
    pub(super) warnings: Vec<String>,
}

/// Both forms at once: 0.1 has `[build]`, 0.2 and later `[io.buildpacks]`.
#[derive(Default, Deserialize)]
struct Raw {
    #[serde(rename = "_")]
    schema: Option<Schema>,
    build: Option<Settings>,
    io: Option<Io>,
}

#[derive(Deserialize)]
struct Schema {
    #[serde(rename = "schema-version")]
    version: Option<String>,
}

#[derive(Deserialize)]
struct Io {
    buildpacks: Option<Settings>,
}

#[derive(Default, Deserialize)]
struct Settings {
    include: Option<Vec<String>>,
    exclude: Option<Vec<String>>,
    #[serde(default)]
    env: Vec<Variable>,
    build: Option<Inner>,
    group: Option<toml::Value>,
    buildpacks: Option<toml::Value>,
    pre: Option<toml::Value>,
    post: Option<toml::Value>,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(default)]
    env: Vec<Variable>,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    value: String,
    #[serde(rename = "exec-env", default)]
    exec_env: Vec<String>,
}

impl ProjectToml {
    /// Reads the file in the folder of an app; nothing is set if it is not there.
    pub(super) fn read(folder: &Path, exec_env: &ExecEnv) -> Result<Self, BuildError> {
        let path = folder.join("project.toml");
        let raw: Raw = toml_file::read(&path)?.unwrap_or_default();
        let is_new = raw
            .schema
            .as_ref()
            .is_some_and(|schema| schema.version.is_some());
        let settings = if is_new {
            raw.io.and_then(|io| io.buildpacks)
        } else {
            raw.build
        };
        let Some(settings) = settings else {
            return Ok(Self::default());
        };
        let Settings {
            include,
            exclude,
            env,
            build,
            group,
            buildpacks,
            pre,
            post,
        } = settings;
        if include.is_some() && exclude.is_some() {
            return Err(BuildError::IncludeAndExclude(path));
        }
        let variables = env
            .into_iter()
            .chain(build.into_iter().flat_map(|build| build.env));
        let meant = |variable: &Variable| exec_env.is_among(&variable.exec_env);
        let mut read = Self {
            include: include.unwrap_or_default(),
            exclude: exclude.unwrap_or_default(),
            ..Self::default()
        };
        for variable in variables.filter(meant) {
            if variable.name.is_empty()
                || variable.name.contains(['/', '=', '\0'])
                || variable.value.contains('\0')
            {
                read.warnings.push(format!(
                    "project.toml: {:?} cannot be the name of a variable: left out",
                    variable.name
                ));
            } else {
                read.env.insert(variable.name.into(), variable.value.into());
            }
        }
        if [group, buildpacks, pre, post].iter().any(Option::is_some) {
            read.warnings.push("project.toml: the buildpacks that it names are not used; name them with `--buildpack`".to_owned());
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ProjectToml, BuildError> {
        let folder = tempfile::tempdir().unwrap();
        crate::sys::fs::write_atomic(&folder.path().join("project.toml"), text.as_bytes(), 0o644)
            .unwrap();
        ProjectToml::read(folder.path(), &ExecEnv::default())
    }

    #[test]
    fn both_schemas_are_read() {
        let old = read("[project]\nid = \"x\"\n[build]\nexclude = [\"*.md\"]\n[[build.env]]\nname = \"A\"\nvalue = \"1\"\n").unwrap();
        let text = "[_]\nschema-version = \"0.2\"\n[io.buildpacks]\nexclude = [\"*.md\"]\n[[io.buildpacks.build.env]]\nname = \"A\"\nvalue = \"1\"\n";
        assert_eq!(read(text).unwrap(), old);
        assert_eq!(
            (old.exclude.as_slice(), old.env.len()),
            (["*.md".to_owned()].as_slice(), 1)
        );
        assert_eq!(read("").unwrap(), ProjectToml::default());
    }

    #[test]
    fn a_variable_may_be_for_another_execution_environment() {
        let text = "[_]\nschema-version = \"0.3\"\n[[io.buildpacks.build.env]]\nname = \"A\"\nvalue = \"1\"\nexec-env = [\"test\"]\n";
        assert!(read(text).unwrap().env.is_empty());
    }

    #[test]
    fn include_and_exclude_exclude_one_another() {
        assert!(matches!(
            read("[build]\ninclude = []\nexclude = []\n"),
            Err(BuildError::IncludeAndExclude(_))
        ));
        assert!(matches!(read("[build\n"), Err(BuildError::Toml(_))));
    }

    #[test]
    fn buildpacks_that_are_not_used_are_said() {
        assert_eq!(
            read("[[build.buildpacks]]\nid = \"x\"\n")
                .unwrap()
                .warnings
                .len(),
            1
        );
        assert_eq!(
            read("[[build.env]]\nname = \"A=B\"\nvalue = \"1\"\n")
                .unwrap()
                .warnings
                .len(),
            1
        );
    }
}
