//! What this host remembers of an app between two supervisors.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;
use thiserror::Error;

use crate::ident::AppName;
use crate::ident::ProcessType;
use crate::ident::ReleaseVersion;
use crate::store::Store;
use crate::sys::At as _;
use crate::sys::PathError;
use crate::sys::fs::read_if_present;
use crate::sys::fs::write_atomic;
use crate::sys::lock::Lock;

/// What is remembered about an app on this host is small.
const STATE_BYTES_MAX: u64 = 1024 * 1024;

/// What this host remembers of an app between two supervisors: `<host>/run/<app>.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostState {
    /// What `slug scale` was told.
    pub scale: BTreeMap<ProcessType, u32>,
    /// The last release whose processes were all ready here: it is no news, and never rejected.
    pub proven: Option<ReleaseVersion>,
    /// What `slug maintenance on` answers every request with: a page.
    pub maintenance: Option<String>,
}

/// Why the state of an app could not be read or changed.
#[derive(Debug, Error)]
pub enum StateError {
    /// The file.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Its content.
    #[error("`{}` is not what slug wrote there: {why}", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        why: String,
    },
}

impl HostState {
    /// Reads it; the default if nothing is remembered.
    pub fn load(store: &Store, app: &AppName) -> Result<Self, StateError> {
        let path = state_path(store, app);
        match read_if_present(&path, STATE_BYTES_MAX)? {
            None => Ok(Self::default()),
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| StateError::Bad {
                path,
                why: error.to_string(),
            }),
        }
    }

    /// Changes it: one changer at a time, durable on return.
    pub fn change(
        store: &Store,
        app: &AppName,
        change: impl FnOnce(&mut Self),
    ) -> Result<Self, StateError> {
        let path = state_path(store, app);
        let folder = store.host().join("run");
        crate::sys::fs::create_dir_durable(&folder, 0o700)?;
        let _one_at_a_time = Lock::take(&folder.join(format!("{app}.state.lock")))?;
        let mut state = Self::load(store, app)?;
        change(&mut state);
        let bytes = serde_json::to_vec(&state).at("write", &path)?;
        write_atomic(&path, &bytes, 0o600)?;
        Ok(state)
    }
}

fn state_path(store: &Store, app: &AppName) -> PathBuf {
    store.host().join("run").join(format!("{app}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_host_survives_and_a_broken_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), folder.path()).unwrap();
        let app: AppName = "shop".parse().unwrap();
        assert_eq!(HostState::load(&store, &app).unwrap(), HostState::default());
        HostState::change(&store, &app, |state| {
            state.proven = ReleaseVersion::from_number(3);
        })
        .unwrap();
        HostState::change(&store, &app, |state| {
            state.scale.extend([(ProcessType::web(), 2)]);
        })
        .unwrap();
        let state = HostState::load(&store, &app).unwrap();
        assert_eq!(
            (state.proven, state.scale.get(&ProcessType::web())),
            (ReleaseVersion::from_number(3), Some(&2))
        );
        write_atomic(&state_path(&store, &app), b"{", 0o600).unwrap();
        assert!(matches!(
            HostState::load(&store, &app),
            Err(StateError::Bad { .. })
        ));
    }
}
