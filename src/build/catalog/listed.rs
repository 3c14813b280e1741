//! A buildpack that an order lists: by id, by reference, or as an inline script.
//! One shape for order files and for project.toml.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::Reference;
use super::script::Script;
use crate::buildpack::{Api, ExecEnv};
use crate::ident::BuildpackId;
use crate::layer::TomlError;
use crate::layer::toml_file;

/// Which version a project.toml means by this word: any.
const ANY_VERSION: &str = "latest";
/// What runs an inline script unless it says otherwise (project descriptor 0.2, "io.buildpacks.group").
const SHELL: &str = "/bin/sh";

/// A member of a group, before it is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::build) struct Listed {
    /// Where it is.
    pub(super) what: What,
    /// The id that it must have, where one is written beside its place.
    pub(super) id: Option<BuildpackId>,
    /// May be left out.
    pub(super) optional: bool,
    /// The execution environments that it is meant for; all if none.
    pub(super) exec_env: Vec<String>,
}

/// Where a buildpack is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Somewhere.
    Reference(Reference),
    /// It is made of a script.
    Script(Script),
}

impl Listed {
    /// Named by the operator: required, whatever is built for.
    pub(super) fn named(reference: &Reference) -> Self {
        Self {
            what: What::Reference(reference.clone()),
            id: None,
            optional: false,
            exec_env: Vec::new(),
        }
    }

    /// Is it meant for that execution environment?
    pub(in crate::build) fn is_meant_for(&self, exec_env: &ExecEnv) -> bool {
        exec_env.is_among(&self.exec_env)
    }
}

/// As TOML has it.
#[derive(Debug, Deserialize)]
pub(in crate::build) struct RawListed {
    id: Option<Spanned<String>>,
    version: Option<Spanned<String>>,
    uri: Option<Spanned<String>>,
    script: Option<Spanned<RawScript>>,
    #[serde(default)]
    optional: bool,
    #[serde(rename = "exec-env")]
    exec_env: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Deserialize)]
struct RawScript {
    api: Option<Spanned<String>>,
    inline: Option<String>,
    shell: Option<Spanned<String>>,
}

/// The file in which something is listed: its errors name it.
#[derive(Clone, Copy)]
pub(in crate::build) struct File<'a> {
    /// Where it is; relative references begin at its folder.
    pub(in crate::build) path: &'a Path,
    /// What it says.
    pub(in crate::build) text: &'a str,
    /// Which ids stand for a built-in buildpack.
    pub(in crate::build) is_built_in: &'a dyn Fn(&str) -> bool,
}

impl File<'_> {
    /// An error about that place.
    pub(in crate::build) fn wrong<T>(
        &self,
        at: &Spanned<T>,
        message: impl Into<String>,
    ) -> TomlError {
        toml_file::wrong(self.text, self.path, at.span().start, message.into())
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

impl RawListed {
    /// Where `exec-env` is written, which older schemas do not have.
    pub(in crate::build) fn take_exec_env(&mut self) -> Option<Spanned<Vec<String>>> {
        self.exec_env.take()
    }
}

/// Checks what was written: a buildpack is named in exactly one way.
pub(in crate::build) fn checked(
    raw: Spanned<RawListed>,
    file: File<'_>,
) -> Result<Listed, TomlError> {
    let nothing = file.wrong(
        &raw,
        "a buildpack without a name (expected `id`, `id` and `version`, `uri`, or `id` and `script`)",
    );
    let RawListed {
        id,
        version,
        uri,
        script,
        optional,
        exec_env,
    } = raw.into_inner();
    let id = id.map(|id| parsed_id(&id, file)).transpose()?;
    let what = match (uri, script, version) {
        (Some(_), Some(script), _) => {
            return Err(file.wrong(&script, "`script` beside `uri` (expected one of them)"));
        }
        (Some(_), None, Some(version)) => {
            let message = "`version` beside `uri`, where the buildpack states its own (expected `uri`, or `id` and `version`)";
            return Err(file.wrong(&version, message));
        }
        (Some(uri), None, None) => What::Reference(
            Reference::parse(uri.get_ref(), file.folder(), file.is_built_in)
                .map_err(|error| file.wrong(&uri, error.to_string()))?,
        ),
        (None, Some(script), version) => {
            let id = id.clone().ok_or_else(|| {
                file.wrong(&script, "`script` without an `id` (expected a name for the buildpack, such as `id = \"my/script\"`)")
            })?;
            What::Script(checked_script(&script, id, version, file)?)
        }
        (None, None, version) => What::Reference(Reference::Id {
            id: id.clone().ok_or(nothing)?,
            version: version
                .map(Spanned::into_inner)
                .filter(|version| version != ANY_VERSION),
        }),
    };
    Ok(Listed {
        what,
        id,
        optional,
        exec_env: exec_env.map(Spanned::into_inner).unwrap_or_default(),
    })
}

fn parsed_id(id: &Spanned<String>, file: File<'_>) -> Result<BuildpackId, TomlError> {
    id.get_ref()
        .parse()
        .map_err(|error: crate::ident::BadName| file.wrong(id, error.to_string()))
}

fn checked_script(
    raw: &Spanned<RawScript>,
    id: BuildpackId,
    version: Option<Spanned<String>>,
    file: File<'_>,
) -> Result<Script, TomlError> {
    let lacks = |key: &str, example: &str| {
        file.wrong(
            raw,
            format!("`script` without `{key}` (expected {example})"),
        )
    };
    let RawScript { api, inline, shell } = raw.get_ref();
    let api_text = api
        .as_ref()
        .ok_or_else(|| lacks("api", "the Buildpack API, such as `api = \"0.10\"`"))?;
    let api: Api = api_text
        .get_ref()
        .parse()
        .map_err(|error: crate::buildpack::api::BadApi| file.wrong(api_text, error.to_string()))?;
    let inline = inline
        .clone()
        .ok_or_else(|| lacks("inline", "the text of the script"))?;
    let shell = match shell {
        None => SHELL.to_owned(),
        Some(shell) if is_interpreter(shell.get_ref()) => shell.get_ref().clone(),
        Some(shell) => {
            let message = format!(
                "{:?} is not an interpreter (expected an absolute path, such as `/bin/bash`)",
                shell.get_ref()
            );
            return Err(file.wrong(shell, message));
        }
    };
    Ok(Script {
        id,
        version: version.map(Spanned::into_inner),
        api,
        shell,
        inline,
    })
}

/// What can stand behind `#!`: the kernel reads 255 bytes of it.
fn is_interpreter(shell: &str) -> bool {
    shell.starts_with('/') && shell.len() <= 250 && !shell.contains(char::is_control)
}
