//! What the tests of this room share, and those that are about several of its files.

mod gc;
mod kill;
mod ledger;
mod spec;
mod verify;

use super::{ConfigVars, Draft, Reason, Secret, Store};
use crate::ident::{AppName, Digest, ReleaseVersion};
use crate::sys::clock::Timestamp;

/// A store in a folder that goes away with the first part.
pub(super) fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("root"), &folder.path().join("host")).unwrap();
    (folder, store)
}

pub(super) fn app() -> AppName {
    "shop".parse().unwrap()
}

fn v(number: u32) -> ReleaseVersion {
    ReleaseVersion::from_number(number).unwrap()
}

/// So many seconds after some noon.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_us((1_795_000_000 + seconds) * 1_000_000).unwrap()
}

fn draft(slug: &str) -> Draft {
    Draft {
        slug: Some(Digest::of(slug.as_bytes())),
        config: Digest::of(b"config"),
        by: "alice".to_owned(),
        at: at(0),
        reason: Reason::Deploy,
        message: None,
    }
}

fn vars(key: &str, value: &str) -> ConfigVars {
    let mut vars = ConfigVars::new();
    vars.set(key.parse().unwrap(), Secret::new(value.as_bytes().to_vec()))
        .unwrap();
    vars
}
