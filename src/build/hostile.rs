//! The files of an app that steer its build, changed at random.

use super::project_toml::ProjectToml;
use super::slug_toml::SlugToml;
use crate::buildpack::ExecEnv;
use crate::fuzz::{all_fit_for_a_terminal, fit_for_a_terminal, fuzz};

#[test]
fn any_project_toml_is_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    fuzz("project", |input| {
        let file = folder.path().join("project.toml");
        crate::sys::fs::write_unsynced(&file, input, 0o644).unwrap();
        match ProjectToml::read(folder.path(), &ExecEnv::default(), &|_| false) {
            Ok(read) => all_fit_for_a_terminal(&read.warnings),
            Err(error) => fit_for_a_terminal(&error.to_string()),
        }
    });
}

#[test]
fn any_slug_toml_is_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    fuzz("slug_toml", |input| {
        let file = folder.path().join("slug.toml");
        crate::sys::fs::write_unsynced(&file, input, 0o644).unwrap();
        match SlugToml::read(folder.path()) {
            Ok((_, warnings)) => all_fit_for_a_terminal(&warnings),
            Err(error) => fit_for_a_terminal(&error.to_string()),
        }
    });
}
