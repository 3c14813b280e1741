//! `<layers>/config/metadata.toml`: what the builder hands to whoever makes an
//! image, and to the launcher in it.

use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::files::GroupMember;
use super::platform_api::PlatformApi;
use crate::buildpack::ExecEnv;
use crate::buildpack::launch::{Label, Launched, Process, Slice};
use crate::ident::BuildpackId;

/// The file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct MetadataToml {
    /// Before the tables, as TOML wants it.
    #[serde(
        rename = "buildpack-default-process-type",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    default_process: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) buildpacks: Vec<GroupMember>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    extensions: Vec<toml::Table>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    labels: Vec<Label>,
    /// Written also if there are none, as lifecycle does: the file is never empty.
    #[serde(default)]
    pub(super) processes: Vec<MetadataProcess>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    slices: Vec<Slice>,
}

/// A process, as both forms of the file have it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct MetadataProcess {
    #[serde(rename = "type")]
    pub(super) process_type: String,
    pub(super) command: CommandWords,
    #[serde(default)]
    pub(super) args: Vec<String>,
    #[serde(default)]
    pub(super) direct: bool,
    #[serde(rename = "buildpack-id", default)]
    pub(super) buildpack: String,
    #[serde(
        rename = "working-dir",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) working_dir: Option<String>,
    #[serde(rename = "exec-env", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) exec_env: Vec<String>,
}

/// A command: a list since Platform API 0.10, one string before.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum CommandWords {
    One(String),
    List(Vec<String>),
}

impl Default for CommandWords {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl CommandWords {
    pub(super) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(word) => std::slice::from_ref(word),
            Self::List(words) => words,
        }
    }
}

/// By hand, because an untagged enum would not say what was wrong.
impl<'de> Deserialize<'de> for CommandWords {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(word) => Ok(Self::One(word)),
            value @ toml::Value::Array(_) => value.try_into().map(Self::List).map_err(|error| {
                D::Error::custom(format!("`command` is no list of strings: {error}"))
            }),
            _ => Err(D::Error::custom("`command` is neither a string nor a list")),
        }
    }
}

impl MetadataProcess {
    fn of(by: &BuildpackId, process: &Process, api: PlatformApi) -> Self {
        let mut command = process.command.clone();
        let mut args = process.args.clone();
        let command = if api.has_command_lists() {
            CommandWords::List(command)
        } else {
            let rest = command.split_off(command.len().min(1));
            args = [rest, args].concat();
            CommandWords::One(command.pop().unwrap_or_default())
        };
        Self {
            process_type: process.process_type.to_string(),
            command,
            args,
            direct: process.direct,
            buildpack: by.to_string(),
            working_dir: process.working_dir.clone(),
            exec_env: process.exec_env.clone(),
        }
    }

    /// Is it for that execution environment (rule 53)?
    pub(super) fn is_for(&self, exec_env: &ExecEnv) -> bool {
        exec_env.is_among(&self.exec_env)
    }
}

impl MetadataToml {
    /// Where it lies.
    pub(super) fn path(layers: &Path) -> PathBuf {
        layers.join("config/metadata.toml")
    }

    /// What the builds of a group came to.
    pub(super) fn of(
        buildpacks: Vec<GroupMember>,
        extensions: Vec<toml::Table>,
        launched: Launched,
        api: PlatformApi,
    ) -> Self {
        let Launched {
            processes,
            default,
            labels,
            slices,
        } = launched;
        let processes = processes.values();
        let label = |(key, value)| Label { key, value };
        Self {
            default_process: default.map(|process_type| process_type.to_string()),
            buildpacks,
            extensions,
            labels: labels.into_iter().map(label).collect(),
            processes: processes
                .map(|(by, process)| MetadataProcess::of(by, process, api))
                .collect(),
            slices,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_processes_reads_as_it_was_written() {
        let member = GroupMember {
            id: "a".parse().unwrap(),
            version: "1".to_owned(),
            api: "0.10".to_owned(),
            homepage: None,
        };
        let written = MetadataToml::of(
            vec![member],
            Vec::new(),
            Launched::default(),
            PlatformApi::minor(15),
        );
        let text = toml::to_string(&written).unwrap();
        assert!(text.contains("processes = []"), "{text}");
        let read: MetadataToml = toml::from_str(&text).unwrap();
        assert_eq!((read.buildpacks.len(), read.processes.len()), (1, 0));
    }

    #[test]
    fn a_command_is_a_string_or_a_list() {
        let check = |command: &str| {
            let text = format!("[[processes]]\ntype = \"web\"\ncommand = {command}\n");
            let read = toml::from_str::<MetadataToml>(&text);
            read.map(|read| read.processes[0].command.as_slice().join("|"))
        };
        assert_eq!(check("\"a b\"").unwrap(), "a b");
        assert_eq!(check("[\"a\", \"b\"]").unwrap(), "a|b");
        assert!(check("1").is_err() && check("[1]").is_err());
    }
}
