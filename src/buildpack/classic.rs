//! Heroku's classic buildpacks (`bin/detect`, `bin/compile`, `bin/release`): the
//! built-in `slug/classic` runs those that the platform has laid beside its
//! descriptor, and is a member of a group like any other buildpack.

use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

/// The id of the buildpack that runs them.
pub const ID: &str = "slug/classic";
/// Beside its descriptor: which packs there are, and in which order they run.
pub const FILE: &str = "packs.toml";

/// `packs.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packs {
    /// In the order in which they run.
    pub packs: Vec<Pack>,
}

/// One classic buildpack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pack {
    /// For people: `heroku-buildpack-apt`.
    pub name: String,
    /// Its folder, relative to the one of `packs.toml`.
    pub folder: String,
    /// The commit that it was checked out from, or the digest of its archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// Is a folder a classic buildpack? Many have a `buildpack.toml` for Heroku's own list of them, which states no Buildpack
/// API; one that states it is a Cloud Native Buildpack, whatever else lies there.
pub fn is_classic(folder: &Path, descriptor: Option<&str>) -> bool {
    let states_api = descriptor.is_some_and(|text| {
        toml::from_str::<toml::Table>(text).is_ok_and(|table| table.contains_key("api"))
    });
    !states_api && folder.join("bin/compile").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_without_an_api_is_that_of_a_classic_buildpack() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        assert!(!is_classic(folder.path(), None));
        crate::sys::fs::write_atomic(&folder.path().join("bin/compile"), b"", 0o755).unwrap();
        assert!(is_classic(folder.path(), None));
        assert!(is_classic(
            folder.path(),
            Some("[buildpack]\nname = \"Apt\"\n")
        ));
        assert!(!is_classic(
            folder.path(),
            Some("api = \"0.10\"\n[buildpack]\nid = \"a/b\"\n")
        ));
    }
}
