//! What the tests of this room share.

use super::Store;
use crate::ident::AppName;

/// A store in a folder that goes away with the first part.
pub(super) fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("root"), &folder.path().join("host")).unwrap();
    (folder, store)
}

pub(super) fn app() -> AppName {
    "shop".parse().unwrap()
}
