//! `slug.toml`: the app's name, its config contract, how its processes run.
//! Unknown keys are warned about: a newer slug may know them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::de::DeTable;

use crate::archive::settings::CheckSettings;
use crate::archive::settings::LivenessSettings;
use crate::archive::settings::PROCESS_LABEL;
use crate::archive::settings::ProcessSettings;
use crate::ident::nearest;
use crate::ident::{AppName, EnvKey, ProcessType};
use crate::layer::TomlError;
use crate::layer::toml_file;
use crate::sys::fs::read_plain;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct SlugToml {
    /// The app's name, if nothing else names it.
    pub(super) app: Option<AppName>,
    /// The config contract, checked before a release is made.
    #[serde(default)]
    pub(super) env: BTreeMap<EnvKey, Need>,
    /// How processes run.
    #[serde(default)]
    pub(super) process: BTreeMap<ProcessType, ProcessSettings>,
}

/// What is declared of one config var.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Need {
    #[serde(default)]
    required: bool,
    #[serde(default)]
    secret: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

impl Need {
    /// What another file than `slug.toml` declares.
    pub(super) fn new(required: bool, secret: bool, description: Option<String>) -> Self {
        Self {
            required,
            secret,
            description,
        }
    }
}

const TOP_KEYS: [&str; 3] = ["app", "env", "process"];
const ENV_KEYS: [&str; 3] = ["required", "secret", "description"];

impl SlugToml {
    /// Reads the file in the folder of an app, and what its author should know of it.
    pub(super) fn read(folder: &Path) -> Result<(Self, Vec<String>), TomlError> {
        let path = folder.join("slug.toml");
        let bytes = read_plain(&path, toml_file::TOML_BYTES_MAX)?;
        bytes.map_or_else(
            || Ok((Self::default(), Vec::new())),
            |bytes| Self::parse(&bytes, &path),
        )
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<(Self, Vec<String>), TomlError> {
        let read: Self = toml_file::parse_bytes(bytes, path)?;
        // Parsed twice, because the walk that finds unknown keys loses the places of errors.
        let mut warnings = Vec::new();
        let text = String::from_utf8_lossy(bytes);
        if let Ok(document) = toml::Deserializer::parse(&text) {
            let _: Result<Self, _> = serde_ignored::deserialize(document, |key| {
                // `?` stands for the way through an `Option`, which the file does not show.
                warnings.push(unknown_key(&text, &key.to_string().replace(".?", "")));
            });
        }
        Ok((read, warnings))
    }

    /// Takes over what another file declares of the vars that this one says nothing of.
    pub(super) fn add_contract(&mut self, declared: BTreeMap<EnvKey, Need>) {
        for (key, need) in declared {
            self.env.entry(key).or_insert(need);
        }
    }

    /// The labels by which the slug carries it: the contract and how processes run, as JSON.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let Self {
            app: _,
            env,
            process,
        } = self;
        let mut labels = BTreeMap::new();
        if !env.is_empty() {
            labels.insert(
                "slug.contract".to_owned(),
                serde_json::json!(env).to_string(),
            );
        }
        if !process.is_empty() {
            labels.insert(
                PROCESS_LABEL.to_owned(),
                serde_json::json!(process).to_string(),
            );
        }
        labels
    }
}

/// `process.web.grase` → where it is, and what it may have been meant to be.
fn unknown_key(text: &str, key: &str) -> String {
    let parts: Vec<&str> = key.split('.').collect();
    let place = place_of(text, &parts).map_or_else(String::new, |(line, column)| {
        format!(", line {line}, column {column}")
    });
    let last = parts.last().copied().unwrap_or_default();
    let known: &[&str] = match parts.as_slice() {
        [_] => &TOP_KEYS,
        ["env", ..] => &ENV_KEYS,
        ["process", _, "check", _] => CheckSettings::KEYS,
        ["process", _, "liveness", _] => LivenessSettings::KEYS,
        _ => ProcessSettings::KEYS,
    };
    match nearest(last, known.iter().copied()) {
        Some(nearest) => {
            format!("slug.toml{place}: the key `{key}` is unknown (did you mean `{nearest}`?)")
        }
        None => format!(
            "slug.toml{place}: the key `{key}` is unknown (known are {})",
            known.join(", ")
        ),
    }
}

/// Each process type that the text has a table of, with the line and column of its name, from one.
pub(super) fn places_of_processes(text: &str) -> Vec<(String, (usize, usize))> {
    let Ok(document) = DeTable::parse(text) else {
        return Vec::new();
    };
    let processes = document.get_ref().get("process");
    let table = processes.and_then(|value| value.get_ref().as_table());
    let names = table.into_iter().flatten().map(|(key, _)| key.get_ref());
    let place = |name: &std::borrow::Cow<'_, str>| {
        Some((name.to_string(), place_of(text, &["process", name])?))
    };
    names.filter_map(place).collect()
}

/// Line and column of a key, from one; none for a key that is quoted because it holds a dot.
fn place_of(text: &str, parts: &[&str]) -> Option<(usize, usize)> {
    let document = DeTable::parse(text).ok()?;
    let (last, folders) = parts.split_last()?;
    let mut table = document.get_ref();
    for folder in folders {
        let (_, value) = table.iter().find(|(key, _)| key.get_ref() == folder)?;
        table = value.get_ref().as_table()?;
    }
    let (key, _) = table.iter().find(|(key, _)| key.get_ref() == last)?;
    let before = text.get(..key.span().start)?;
    let column = before
        .chars()
        .rev()
        .take_while(|letter| *letter != '\n')
        .count()
        + 1;
    Some((before.matches('\n').count() + 1, column))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(SlugToml, Vec<String>), TomlError> {
        SlugToml::parse(text.as_bytes(), Path::new("slug.toml"))
    }

    #[test]
    fn the_contract_and_the_processes_become_labels() {
        let text = "app = \"shop\"\n[env.A]\nrequired = true\n[process.web]\ncheck = { path = \"/up\" }\ngrace = \"3s\"\n";
        let (read, warnings) = parse(text).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let labels = read.labels();
        assert_eq!(
            labels["slug.contract"],
            r#"{"A":{"required":true,"secret":false}}"#
        );
        assert_eq!(
            labels["slug.process"],
            r#"{"web":{"check":{"path":"/up"},"grace":"3s"}}"#
        );
        assert!(parse("").unwrap().0.labels().is_empty());
    }

    #[test]
    fn an_unknown_key_is_warned_about_with_the_nearest_known_one() {
        let (_, warnings) =
            parse("ap = \"x\"\n[process.web]\ngrase = \"3s\"\n[process.web.liveness]\npath = \"/\"\nevry = \"3s\"\n[env.A]\nxyzzyx = 1\n").unwrap();
        let expected = [
            "slug.toml, line 1, column 1: the key `ap` is unknown (did you mean `app`?)",
            "slug.toml, line 3, column 1: the key `process.web.grase` is unknown (did you mean `grace`?)",
            "slug.toml, line 6, column 1: the key `process.web.liveness.evry` is unknown (did you mean `every`?)",
            "slug.toml, line 8, column 1: the key `env.A.xyzzyx` is unknown (known are required, secret, description)",
        ];
        let mut warnings = warnings;
        warnings.sort();
        let mut expected = expected.map(str::to_owned);
        expected.sort();
        assert_eq!(warnings, expected);
    }

    #[test]
    fn an_error_names_its_place() {
        for (text, place) in [
            ("app = \"Shop\"\n", "line 1, column 7"),
            ("[process.web]\ngrace = \"3 s\"\n", "line 2, column 9"),
            (
                "[process.web]\nstop_signal = \"KILL\"\n",
                "line 2, column 15",
            ),
            ("[process.web]\ninstances = -1\n", "line 2, column 13"),
            (
                "[process.web]\ncheck = { path = \"x\" }\n",
                "line 2, column 18",
            ),
            (
                "[process.web]\nliveness = { path = \"/\", command = \"true\" }\n",
                "line 2, column 12",
            ),
            ("[process.web]\nmemory = \"512\"\n", "line 2, column 10"),
            ("[env.PORT]\n", "line 1, column"),
            ("[env.A\n", "line 1, column"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(place), "{text}: {error}");
        }
    }
}
