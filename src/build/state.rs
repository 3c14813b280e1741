//! What a build remembers for the next one of the same app: one JSON file,
//! replaced at once. A build that fails or is killed leaves it as it was.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::archive::{Packed, Target};
use crate::ident::{BuildpackId, Digest, LayerName};
use crate::layer::LayerTypes;
use crate::layer::cache::Change;
use crate::sys::PathError;
use crate::sys::fs::{read_if_present, write_atomic};

/// The version of the format.
const SCHEMA: u32 = 2;
/// A layer is about 10 KiB, most of it the names of its libraries.
const STATE_BYTES_MAX: u64 = 256 << 20;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// The version of the format; an unknown one is as if there were no file.
    schema: u32,
    /// What the layers are made for (rule 49); none before the first build.
    pub(super) made_for: Option<MadeFor>,
    /// The digest of the build plan: what was asked of which buildpack.
    pub(super) plan: Option<Digest>,
    /// Artifacts that were not to be had and not needed.
    pub(super) missing: Vec<Digest>,
    /// What became of the app.
    pub(super) app: Option<AppState>,
    /// The tar of the SBOMs.
    pub(super) sbom: Option<Digest>,
    /// What each buildpack left.
    pub(super) buildpacks: BTreeMap<BuildpackId, BuildpackState>,
}

/// The app of the last build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AppState {
    /// Its layer, without slices.
    pub(super) packed: Packed,
    /// What the files of the source looked like, if the layer is made of these and of nothing else.
    pub(super) fingerprint: Option<Digest>,
}

/// What layers are made for: those of another are of no use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MadeFor {
    /// `CNB_EXEC_ENV`: `production`, `test`.
    pub(super) exec_env: String,
    /// The system.
    pub(super) target: Target,
}

/// What one buildpack left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BuildpackState {
    /// Its version.
    pub(super) version: String,
    /// Its `store.toml`, as text: JSON has no dates.
    pub(super) store: Option<String>,
    /// The SBOMs of its layers: the name of a folder in `roots/`.
    pub(super) sboms: Option<String>,
    /// Its layers.
    pub(super) layers: BTreeMap<LayerName, LayerState>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LayerState {
    /// What it was for.
    pub(super) types: LayerTypes,
    /// Its `<layer>.toml` without types, as text.
    pub(super) metadata: String,
    /// Its content: names of folders in `roots/`, topmost first, each with the layer's folder in it. None if it is not cached.
    pub(super) roots: Vec<String>,
    /// Its blob; none if it does not go into the slug.
    pub(super) packed: Option<Packed>,
}

/// The part of the file that says whether the rest can be read.
#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

/// What reading the state came to.
#[derive(Debug)]
pub(super) enum ReadState {
    /// There was one, or none yet.
    Read(Box<State>),
    /// It cannot be used, and why.
    Unusable(String),
}

impl State {
    /// Reads the state of an app.
    pub(super) fn read(path: &Path) -> Result<ReadState, PathError> {
        let Some(bytes) = read_if_present(path, STATE_BYTES_MAX)? else {
            return Ok(ReadState::Read(Box::new(Self::empty())));
        };
        let schema = serde_json::from_slice::<Schema>(&bytes).map(|read| read.schema);
        if let Ok(schema) = schema
            && schema != SCHEMA
        {
            return Ok(ReadState::Unusable(format!("it has schema {schema}")));
        }
        Ok(match serde_json::from_slice(&bytes) {
            Ok(state) => ReadState::Read(Box::new(state)),
            Err(error) => ReadState::Unusable(error.to_string()),
        })
    }

    /// What of it means anything on another machine: no name of a folder, and nothing by which the app's own files are known.
    pub(super) fn without_folders(&self) -> Self {
        let mut state = self.clone();
        if let Some(app) = &mut state.app {
            app.fingerprint = None;
        }
        for buildpack in state.buildpacks.values_mut() {
            buildpack.sboms = None;
            for layer in buildpack.layers.values_mut() {
                layer.roots.clear();
            }
        }
        state
    }

    /// Why nothing of it is of use to a build for `now`; none if it is.
    pub(super) fn unfit_for(&self, now: &MadeFor) -> Option<Change> {
        let MadeFor { exec_env, target } = self.made_for.as_ref()?;
        if *exec_env != now.exec_env {
            Some(Change::ExecEnv)
        } else if *target != now.target {
            Some(Change::Target)
        } else {
            None
        }
    }

    /// What was remembered of one layer.
    pub(super) fn layer(&self, buildpack: &BuildpackId, layer: &LayerName) -> Option<&LayerState> {
        self.buildpacks.get(buildpack)?.layers.get(layer)
    }

    /// Nothing is remembered.
    pub(super) fn empty() -> Self {
        Self {
            schema: SCHEMA,
            ..Self::default()
        }
    }

    /// Replaces the file: old or new at any instant.
    pub(super) fn write(&self, path: &Path) -> Result<(), PathError> {
        write_atomic(path, serde_json::json!(self).to_string().as_bytes(), 0o600)
    }

    /// The folders in `roots/` that are needed.
    pub(super) fn roots(&self) -> impl Iterator<Item = &str> {
        let layers = self
            .buildpacks
            .values()
            .flat_map(|buildpack| buildpack.layers.values());
        let sboms = self
            .buildpacks
            .values()
            .filter_map(|buildpack| buildpack.sboms.as_deref());
        layers
            .flat_map(|layer| layer.roots.iter().map(String::as_str))
            .chain(sboms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_and_an_unknown_one_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        assert!(
            matches!(State::read(&path).unwrap(), ReadState::Read(state) if *state == State::empty())
        );
        let layer = LayerState {
            types: LayerTypes {
                cache: true,
                ..LayerTypes::default()
            },
            metadata: "[metadata]\na = 1979-05-27\n".to_owned(),
            roots: vec!["0".to_owned()],
            packed: None,
        };
        let mut state = State::empty();
        let buildpack = BuildpackState {
            version: "1.0".to_owned(),
            store: None,
            sboms: Some("1".to_owned()),
            layers: BTreeMap::from([("venv".parse().unwrap(), layer)]),
        };
        state.buildpacks.insert("a/b".parse().unwrap(), buildpack);
        state.write(&path).unwrap();
        assert!(matches!(State::read(&path).unwrap(), ReadState::Read(read) if *read == state));
        assert_eq!(state.roots().collect::<Vec<_>>(), ["0", "1"]);
        for bad in ["{", "{\"schema\": 1}", "{\"schema\": 2, \"more\": 0}", ""] {
            write_atomic(&path, bad.as_bytes(), 0o600).unwrap();
            assert!(
                matches!(State::read(&path).unwrap(), ReadState::Unusable(_)),
                "{bad}"
            );
        }
    }
}
