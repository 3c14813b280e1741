//! The files of an app that say which Python and which packages, changed at random.

use std::collections::BTreeMap;

use super::manager::Manager;
use super::requirements::inputs;
use super::version::requests;
use crate::buildpack::author::write;
use crate::fuzz::{all_fit_for_a_terminal, fit_for_a_terminal, fuzz};

#[test]
fn any_request_for_a_python_is_read_or_refused() {
    let files = [
        ".python-version",
        "runtime.txt",
        "pyproject.toml",
        "uv.lock",
        ".tool-versions",
    ];
    fuzz("python_version", |input| {
        for file in files {
            let text = String::from_utf8_lossy(input).into_owned();
            let (_, problems) = requests(&BTreeMap::from([(file, text)]));
            all_fit_for_a_terminal(&problems);
        }
    });
}

#[test]
fn any_requirements_are_followed_or_refused() {
    let app = tempfile::tempdir().unwrap();
    fuzz("requirements", |input| {
        write(&app.path().join("requirements.txt"), input).unwrap();
        match inputs(Manager::Requirements, app.path()) {
            Ok(inputs) => assert!(inputs.contains_key("requirements.txt")),
            Err(error) => fit_for_a_terminal(&error.0),
        }
    });
}
