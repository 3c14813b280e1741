//! What strangers' descriptors and programs write, changed at random.

use std::fs;
use std::path::Path;

use super::Api;
use super::build_toml::BuildToml;
use super::descriptor::Descriptor;
use super::launch::{Launch, Launched};
use super::plan::{BuildPlan, BuildpackPlan, Candidate, Remaining, resolve};
use super::store_toml::StoreToml;
use super::target::Base;
use crate::fuzz::{all_fit_for_a_terminal, fit_for_a_terminal, fuzz};
use crate::layer::toml_file;

/// Hands each input to the check as a file.
fn fuzz_file(corpus: &str, check: impl Fn(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("buildpack.toml");
    fuzz(corpus, |input| {
        crate::sys::fs::write_unsynced(&file, input, 0o644).unwrap();
        check(&file);
    });
}

#[test]
fn any_descriptor_is_read_or_refused() {
    let with_programs = tempfile::tempdir().unwrap();
    fs::create_dir(with_programs.path().join("bin")).unwrap();
    for program in ["bin/detect", "bin/build"] {
        std::os::unix::fs::symlink("/cnb/slug", with_programs.path().join(program)).unwrap();
    }
    let file = with_programs.path().join("buildpack.toml");
    fuzz("descriptor", |input| {
        crate::sys::fs::write_unsynced(&file, input, 0o644).unwrap();
        match Descriptor::read(with_programs.path()) {
            Ok(read) => {
                let folder = read.id.folder();
                assert!(!folder.contains('/') && folder != ".." && !folder.is_empty());
                let _ = read.fits(&Base::default());
            }
            Err(error) => fit_for_a_terminal(&error.to_string()),
        }
    });
}

#[test]
fn any_build_plan_is_resolved_or_refused() {
    let (one, two) = ("a/one".parse().unwrap(), "a/two".parse().unwrap());
    fuzz_file("build_plan", |file| match BuildPlan::read(file) {
        Ok(plan) => {
            let candidate = |id, optional| Candidate {
                id,
                optional,
                plan: &plan,
            };
            let Ok(resolved) = resolve(&[candidate(&one, false), candidate(&two, true)]) else {
                return;
            };
            let mut remaining = Remaining::new(resolved.entries);
            for id in [&one, &two] {
                let handed = remaining.of(id);
                let text = toml::to_string(&handed).unwrap();
                let read: BuildpackPlan = toml_file::parse(&text, file).unwrap();
                assert_eq!(read, handed, "what a build is handed says what was asked");
                remaining.meet(&handed, &[]);
            }
        }
        Err(error) => fit_for_a_terminal(&error.to_string()),
    });
}

#[test]
fn any_launch_toml_is_read_or_refused_by_every_api() {
    let apis: Vec<Api> = (7..=12)
        .map(|minor| format!("0.{minor}").parse().unwrap())
        .collect();
    let id = "a/b".parse().unwrap();
    fuzz_file("launch", |file| {
        for api in &apis {
            match Launch::read(file, *api) {
                Ok(read) => {
                    let mut launched = Launched::default();
                    let warnings = launched.add(&id, read.launch);
                    all_fit_for_a_terminal(&read.warnings);
                    all_fit_for_a_terminal(&warnings);
                }
                Err(error) => fit_for_a_terminal(&error.to_string()),
            }
        }
    });
}

#[test]
fn any_build_toml_and_store_toml_is_read_or_refused() {
    fuzz_file("build_toml", |file| {
        if let Err(error) = BuildToml::read(file) {
            fit_for_a_terminal(&error.to_string());
        }
    });
    fuzz_file("store_toml", |file| match StoreToml::read(file) {
        Ok(Some(store)) => {
            let text = toml::to_string(&store).unwrap();
            let again: StoreToml = toml_file::parse(&text, file).unwrap();
            assert_eq!(toml::to_string(&again).unwrap(), text);
        }
        Ok(None) => panic!("it is there"),
        Err(error) => fit_for_a_terminal(&error.to_string()),
    });
}
