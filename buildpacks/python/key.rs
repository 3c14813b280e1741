//! What a layer was made from. A layer is kept as long as this is equal;
//! where it is not, every difference is said.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::buildpack::author::BuildTarget;
use crate::ident::Digest;

use super::manager::Manager;

/// Counts the changes of how layers are made: a new number drops every cached one.
pub(super) const RECIPE: u32 = 2;

/// What the interpreter's layer was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PythonKey {
    pub(super) recipe: u32,
    /// `3.12.14`.
    pub(super) version: String,
    /// `python-build-standalone, sha256:…`, or `host copy, sha256:…` with the digest of the program.
    pub(super) origin: String,
    pub(super) target: BuildTarget,
}

/// What the dependencies' layer was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VenvKey {
    pub(super) recipe: u32,
    pub(super) python: PythonKey,
    /// The version of uv.
    pub(super) uv: String,
    pub(super) manager: Manager,
    /// The files and folders of the app that say what is installed.
    pub(super) inputs: BTreeMap<String, Digest>,
    /// The app's own installation writes into the app's folder, which is new at each build.
    pub(super) builds_in_place: bool,
}

/// Why the interpreter cannot be kept: all reasons, none if it can.
pub(super) fn stale_python(cached: &PythonKey, wanted: &PythonKey) -> Vec<String> {
    let PythonKey {
        recipe: old_recipe,
        version: old_version,
        origin: old_origin,
        target: old_target,
    } = cached;
    let PythonKey {
        recipe,
        version,
        origin,
        target,
    } = wanted;
    let mut reasons = Vec::new();
    if old_recipe != recipe {
        reasons.push("this version of slug makes it in another way".to_owned());
    }
    if old_version != version {
        reasons.push(format!("Python was {old_version} and is {version}"));
    } else if old_origin != origin {
        reasons.push(format!(
            "Python came from {old_origin} and comes from {origin}"
        ));
    }
    if old_target != target {
        reasons.push(format!(
            "the target was {} and is {}",
            words(old_target),
            words(target)
        ));
    }
    reasons
}

/// Why the dependencies cannot be kept: all reasons, none if they can.
pub(super) fn stale_venv(cached: &VenvKey, wanted: &VenvKey) -> Vec<String> {
    let VenvKey {
        recipe: _,
        python: old_python,
        uv: old_uv,
        manager: old_manager,
        inputs: old_inputs,
        builds_in_place,
    } = cached;
    let VenvKey {
        recipe: _,
        python,
        uv,
        manager,
        inputs,
        builds_in_place: _,
    } = wanted;
    let mut reasons = stale_python(old_python, python);
    if old_uv != uv {
        reasons.push(format!("uv was {old_uv} and is {uv}"));
    }
    if old_manager != manager {
        reasons.push("another file says what is needed".to_owned());
    }
    for name in old_inputs
        .keys()
        .chain(inputs.keys().filter(|name| !old_inputs.contains_key(*name)))
    {
        match (old_inputs.get(name), inputs.get(name)) {
            (Some(old), Some(new)) if old == new => {}
            (Some(_), Some(_)) => reasons.push(format!("{name} has changed")),
            (Some(_), None) => reasons.push(format!("{name} is gone")),
            (None, _) => reasons.push(format!("{name} is new")),
        }
    }
    if *builds_in_place {
        reasons.push("the app's own installation builds into the app's folder".to_owned());
    }
    reasons
}

fn words(target: &BuildTarget) -> String {
    format!(
        "{} {} {}",
        target.distro_name, target.distro_version, target.arch
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> VenvKey {
        let target = BuildTarget {
            arch: "amd64".to_owned(),
            distro_name: "debian".to_owned(),
            distro_version: "12".to_owned(),
        };
        let python = PythonKey {
            recipe: RECIPE,
            version: "3.12.1".to_owned(),
            origin: "host copy, x".to_owned(),
            target,
        };
        let inputs = BTreeMap::from([("requirements.txt".to_owned(), Digest::of(b"a"))]);
        VenvKey {
            recipe: RECIPE,
            python,
            uv: "0.1.0".to_owned(),
            manager: Manager::Requirements,
            inputs,
            builds_in_place: false,
        }
    }

    #[test]
    fn every_difference_is_said_and_none_if_there_is_none() {
        assert!(stale_venv(&key(), &key()).is_empty());
        let mut wanted = key();
        wanted.python.version = "3.13.0".to_owned();
        wanted.python.origin = "other".to_owned();
        wanted.python.target.distro_version = "13".to_owned();
        wanted.uv = "0.2.0".to_owned();
        wanted.manager = Manager::UvLock;
        wanted.inputs = BTreeMap::from([("uv.lock".to_owned(), Digest::of(b"a"))]);
        let cached = VenvKey {
            builds_in_place: true,
            ..key()
        };
        expect_test::expect![[r#"
            Python was 3.12.1 and is 3.13.0
            the target was debian 12 amd64 and is debian 13 amd64
            uv was 0.1.0 and is 0.2.0
            another file says what is needed
            requirements.txt is gone
            uv.lock is new
            the app's own installation builds into the app's folder"#]]
        .assert_eq(&stale_venv(&cached, &wanted).join("\n"));
        let mut changed = key();
        changed
            .inputs
            .insert("requirements.txt".to_owned(), Digest::of(b"b"));
        assert_eq!(
            stale_venv(&key(), &changed),
            ["requirements.txt has changed"]
        );
    }
}
