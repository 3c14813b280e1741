//! What is not as expected.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::expectation::{Expectation, Layer, Second, Variables};
use super::found::Found;
use super::pattern;

/// One thing that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The key of `expect.toml`: `layers.ruby.types`.
    pub key: String,
    /// What the file says; none for what should not be there.
    pub expected: Option<String>,
    /// What was found; none for what is not there.
    pub found: Option<String>,
}

/// All differences between what is expected and what was found; nothing that the file does not speak of.
pub(super) fn compare(
    expected: &Expectation,
    found: &Found,
    second: Option<(&Second, &str)>,
) -> Vec<Difference> {
    let mut all = Differences(Vec::new());
    let Expectation {
        detect,
        build,
        output,
        given: _,
        plan,
        layers,
        processes,
        env,
        labels,
        second: wanted_second,
    } = expected;
    let as_found = &found.as_expectation;
    all.value("detect", detect, &as_found.detect);
    all.value("build", build, &as_found.build);
    all.said("output", output, &found.output);
    all.section("plan", plan.as_ref(), as_found.plan.as_ref());
    if let Some(layers) = layers {
        let none = BTreeMap::new();
        let found_layers = as_found.layers.as_ref().unwrap_or(&none);
        all.keys("layers", layers, found_layers);
        for (name, layer) in layers {
            if let Some(found_layer) = found_layers.get(name) {
                let files = found.files.get(name).map(Vec::as_slice);
                all.layer(
                    &format!("layers.{name}"),
                    layer,
                    found_layer,
                    files.unwrap_or_default(),
                );
            }
        }
    }
    all.map("processes", processes.as_ref(), as_found.processes.as_ref());
    all.map("labels", labels.as_ref(), as_found.labels.as_ref());
    if let Some(env) = env {
        let found = as_found.env.clone().unwrap_or_default();
        all.variables("env.build", env.build.as_ref(), found.build.as_ref());
        all.variables("env.launch", env.launch.as_ref(), found.launch.as_ref());
        all.map("env.process", env.process.as_ref(), found.process.as_ref());
    }
    if let (Some(wanted), Some((second, said))) = (wanted_second, second) {
        all.section("second.kept", wanted.kept.as_ref(), second.kept.as_ref());
        all.said("second.output", &wanted.output, said);
    }
    all.0
}

struct Differences(Vec<Difference>);

impl Differences {
    fn push(&mut self, key: &str, expected: Option<String>, found: Option<String>) {
        self.0.push(Difference {
            key: key.to_owned(),
            expected,
            found,
        });
    }

    fn value<T: PartialEq + Serialize>(&mut self, key: &str, expected: &T, found: &T) {
        if expected != found {
            self.push(key, Some(shown(expected)), Some(shown(found)));
        }
    }

    /// A section is compared if the file has it.
    fn section<T: PartialEq + Serialize>(
        &mut self,
        key: &str,
        expected: Option<&T>,
        found: Option<&T>,
    ) {
        if let Some(expected) = expected
            && Some(expected) != found
        {
            self.push(key, Some(shown(expected)), found.map(shown));
        }
    }

    /// Every entry of both.
    fn map<K: Ord + fmt::Display, V: PartialEq + Serialize>(
        &mut self,
        key: &str,
        expected: Option<&BTreeMap<K, V>>,
        found: Option<&BTreeMap<K, V>>,
    ) {
        let Some(expected) = expected else {
            return;
        };
        let none = BTreeMap::new();
        let found = found.unwrap_or(&none);
        self.keys(key, expected, found);
        for (name, value) in expected {
            if let Some(found) = found.get(name) {
                self.value(&format!("{key}.{name}"), value, found);
            }
        }
    }

    fn variables(&mut self, key: &str, expected: Option<&Variables>, found: Option<&Variables>) {
        self.map(key, expected, found);
    }

    /// What one of the two has not.
    fn keys<K: Ord + fmt::Display, V: Serialize>(
        &mut self,
        key: &str,
        expected: &BTreeMap<K, V>,
        found: &BTreeMap<K, V>,
    ) {
        for (name, value) in expected {
            if !found.contains_key(name) {
                self.push(&format!("{key}.{name}"), Some(shown(value)), None);
            }
        }
        for (name, value) in found {
            if !expected.contains_key(name) {
                self.push(&format!("{key}.{name}"), None, Some(shown(value)));
            }
        }
    }

    fn layer(&mut self, key: &str, expected: &Layer, found: &Layer, files: &[String]) {
        let Layer {
            types,
            files: patterns,
            metadata,
        } = expected;
        if let Some(types) = types {
            let mut types = types.clone();
            types.sort();
            self.section(&format!("{key}.types"), Some(&types), found.types.as_ref());
        }
        if let Some(metadata) = metadata {
            let found = found.metadata.clone().unwrap_or_default();
            self.value(&format!("{key}.metadata"), metadata, &found);
        }
        for wanted in patterns.iter().flatten() {
            let (unwanted, pattern) = match wanted.strip_prefix('!') {
                Some(pattern) => (true, pattern),
                None => (false, wanted.as_str()),
            };
            let matching = files.iter().find(|file| pattern::matches(pattern, file));
            if matching.is_some() == unwanted {
                let found = matching.map(shown);
                self.push(&format!("{key}.files"), Some(shown(wanted)), found);
            }
        }
    }

    fn said(&mut self, key: &str, texts: &[String], output: &str) {
        for text in texts.iter().filter(|text| !output.contains(text.as_str())) {
            self.push(key, Some(shown(text)), None);
        }
    }
}

/// As it would be written in the file, on one line.
fn shown<T: Serialize>(value: &T) -> String {
    match toml::Value::try_from(value) {
        Ok(value) => value.to_string(),
        Err(error) => error.to_string(),
    }
}
