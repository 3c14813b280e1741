//! What `bin/release` prints: YAML with `default_process_types`, `addons`, and
//! `config_vars` as older packs have it.

use std::collections::BTreeMap;

use saphyr::LoadableYamlNode as _;
use saphyr::Scalar;
use saphyr::Yaml;

/// The largest text that is read, in bytes: a pack's own output, but not without end.
const YAML_BYTES_MAX: usize = 1 << 20;

/// What a pack says of the app.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Release {
    /// Commands by process type.
    pub(super) process_types: BTreeMap<String, String>,
    /// What Heroku would attach at the first deploy.
    pub(super) addons: Vec<String>,
    /// What Heroku once set at the first deploy.
    pub(super) config_vars: BTreeMap<String, String>,
}

impl Release {
    /// An empty document says nothing. Keys that are not known are left alone, as Heroku does.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > YAML_BYTES_MAX {
            return Err(format!("it has more than {YAML_BYTES_MAX} bytes"));
        }
        let documents = Yaml::load_from_str(text).map_err(|error| error.to_string())?;
        let document = match documents.as_slice() {
            [] | [Yaml::Value(Scalar::Null)] => return Ok(Self::default()),
            [document] => document,
            _ => return Err("it has several documents".to_owned()),
        };
        let Yaml::Mapping(keys) = document else {
            return Err("it is not a mapping (expected `default_process_types:`)".to_owned());
        };
        let mut release = Self::default();
        for (key, value) in keys {
            match key.as_str() {
                Some("default_process_types") => {
                    release.process_types = texts("default_process_types", value)?;
                }
                Some("config_vars") => release.config_vars = texts("config_vars", value)?,
                Some("addons") => release.addons = addons(value)?,
                _ => {}
            }
        }
        Ok(release)
    }
}

/// A mapping of texts; nothing is an empty one. A number or a truth value is taken as it is usually written.
fn texts(name: &str, value: &Yaml<'_>) -> Result<BTreeMap<String, String>, String> {
    let entries = match value {
        Yaml::Mapping(entries) => entries,
        Yaml::Value(Scalar::Null) => return Ok(BTreeMap::new()),
        _ => return Err(format!("`{name}` is not a mapping")),
    };
    let entry = |(key, value): (&Yaml<'_>, &Yaml<'_>)| {
        let key = text(key).ok_or_else(|| format!("`{name}` has a key that is no text"))?;
        let value = text(value).ok_or_else(|| format!("`{name}`: `{key}` is not a text"))?;
        Ok((key, value))
    };
    entries.iter().map(entry).collect()
}

fn text(value: &Yaml<'_>) -> Option<String> {
    match value {
        Yaml::Value(Scalar::String(text)) => Some(text.clone().into_owned()),
        Yaml::Value(Scalar::Integer(number)) => Some(number.to_string()),
        Yaml::Value(Scalar::Boolean(truth)) => Some(truth.to_string()),
        _ => None,
    }
}

fn addons(value: &Yaml<'_>) -> Result<Vec<String>, String> {
    match value {
        Yaml::Value(Scalar::Null) => Ok(Vec::new()),
        Yaml::Mapping(entries) if entries.is_empty() => Ok(Vec::new()),
        Yaml::Sequence(items) => items
            .iter()
            .map(|item| text(item).ok_or_else(|| "`addons` has an item that is no text".to_owned()))
            .collect(),
        _ => Err("`addons` is not a list".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(pairs: &[(&str, &str)]) -> Release {
        Release {
            process_types: pairs
                .iter()
                .map(|(name, command)| ((*name).to_owned(), (*command).to_owned()))
                .collect(),
            ..Release::default()
        }
    }

    #[test]
    fn what_the_packs_print_is_read() {
        for (text, expected) in [
            ("", Release::default()),
            ("---\n", Release::default()),
            ("--- {}\n", Release::default()),
            (
                "---\naddons: []\ndefault_process_types: {}\n",
                Release::default(),
            ),
            (
                "---\naddons: []\ndefault_process_types:\n  web: bin/boot\n",
                types(&[("web", "bin/boot")]),
            ),
            (
                "default_process_types:\n  web: \"a: $PORT # b\"\n  rake: bundle exec rake\n",
                types(&[("web", "a: $PORT # b"), ("rake", "bundle exec rake")]),
            ),
            (
                "default_process_types:\n  web: >\n    one\n    two\n",
                types(&[("web", "one two\n")]),
            ),
            ("other:\n  - 1\n", Release::default()),
        ] {
            assert_eq!(Release::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn addons_and_config_vars_are_read() {
        let text = "---\nconfig_vars:\n  PATH: bin:/usr/bin\n  WORKERS: 2\naddons:\n  - heroku-postgresql\n";
        let release = Release::parse(text).unwrap();
        assert_eq!(release.addons, ["heroku-postgresql"]);
        assert_eq!(release.config_vars["PATH"], "bin:/usr/bin");
        assert_eq!(release.config_vars["WORKERS"], "2");
    }

    #[test]
    fn what_cannot_be_read_says_where_or_what() {
        for (text, expected) in [
            ("-----> Installing\n", "mapping"),
            (
                "default_process_types: web\n",
                "`default_process_types` is not a mapping",
            ),
            (
                "default_process_types:\n  web: [a]\n",
                "`web` is not a text",
            ),
            ("a: 1\n---\nb: 2\n", "several documents"),
            ("web: 'unclosed\n", "line"),
            ("addons: postgres\n", "`addons` is not a list"),
        ] {
            let error = Release::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
