//! One uid an app, on this host, when slug runs as root: so that apps cannot
//! signal, trace or read each other.

use std::path::Path;

use super::{PRIVATE_DIR, PRIVATE_FILE, Store, StoreError, names_in};
use crate::ident::AppName;
use crate::sys::fs::{Put, create_dir_durable, put_if_absent, read_if_present};
use crate::sys::lock::Lock;

/// Above the ranges that systemd hands to containers (524288–1879048191), below 2^31.
pub(super) const UID_MIN: u32 = 1_900_000_000;
/// The last of the range: a host has fewer apps.
pub(super) const UID_MAX: u32 = 1_900_065_535;

impl Store {
    /// This host's uid for the app, chosen once and kept.
    pub fn app_uid(&self, app: &AppName) -> Result<u32, StoreError> {
        let folder = self.host().join("uids");
        let path = folder.join(app.as_str());
        if let Some(uid) = read_uid(&path)? {
            return Ok(uid);
        }
        create_dir_durable(&folder, PRIVATE_DIR)?;
        // `.lock` is no app's name.
        let _one_at_a_time = Lock::take(&folder.join(".lock"))?;
        let mut highest = UID_MIN - 1;
        for name in names_in(&folder)?
            .iter()
            .filter(|name| name.parse::<AppName>().is_ok())
        {
            highest = highest.max(read_uid(&folder.join(name))?.unwrap_or(highest));
        }
        if highest >= UID_MAX {
            return Err(StoreError::NoUidLeft { app: app.clone() });
        }
        let uid = highest + 1;
        match put_if_absent(&path, format!("{uid}\n").as_bytes(), PRIVATE_FILE)? {
            Put::Created => Ok(uid),
            Put::Exists => read_uid(&path)?.ok_or(StoreError::BadUid { path }),
        }
    }
}

fn read_uid(path: &Path) -> Result<Option<u32>, StoreError> {
    let Some(bytes) = read_if_present(path, 16)? else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let uid = text.strip_suffix('\n').and_then(|text| text.parse().ok());
    match uid.filter(|uid| (UID_MIN..=UID_MAX).contains(uid)) {
        Some(uid) => Ok(Some(uid)),
        None => Err(StoreError::BadUid {
            path: path.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::store;

    #[test]
    fn each_app_keeps_a_uid_of_its_own() {
        let (_folder, store) = store();
        let names: Vec<AppName> = (0..8)
            .map(|number| format!("app-{number}").parse().unwrap())
            .collect();
        let mut uids: Vec<u32> = std::thread::scope(|scope| {
            let threads: Vec<_> = names
                .iter()
                .map(|name| scope.spawn(|| store.app_uid(name).unwrap()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert_eq!(store.app_uid(&names[3]).unwrap(), uids[3]);
        uids.sort_unstable();
        assert_eq!(uids, (UID_MIN..UID_MIN + 8).collect::<Vec<_>>());
    }

    #[test]
    fn a_uid_file_that_names_root_is_refused() {
        let (_folder, store) = store();
        let app = "shop".parse().unwrap();
        store.app_uid(&app).unwrap();
        crate::sys::fs::write_atomic(&store.host().join("uids/shop"), b"0\n", 0o600).unwrap();
        assert!(matches!(
            store.app_uid(&app),
            Err(StoreError::BadUid { .. })
        ));
    }
}
