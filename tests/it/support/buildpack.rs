//! Buildpacks of strangers: shell scripts.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::run::Run;
use crate::support::world::World;

/// What a `bin/detect` does unless a test says otherwise: it takes every app.
pub(crate) const TAKE_ALL: &str = "exit 0";

/// A buildpack of Buildpack API 0.10 in the folder `name`, of the id `test/<name>`.
pub(crate) fn buildpack(world: &World, name: &str, detect: &str, build: &str) -> PathBuf {
    let descriptor =
        format!("api = \"0.10\"\n[buildpack]\nid = \"test/{name}\"\nversion = \"1.0.0\"\n");
    buildpack_of(world, name, &descriptor, detect, build)
}

pub(crate) fn buildpack_of(
    world: &World,
    name: &str,
    descriptor: &str,
    detect: &str,
    build: &str,
) -> PathBuf {
    world.write(&format!("{name}/buildpack.toml"), descriptor);
    for (program, script) in [("detect", detect), ("build", build)] {
        let path = world.write(
            &format!("{name}/bin/{program}"),
            format!("#!/bin/sh\nset -eu\n{script}\n"),
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    world.path(name)
}

/// A classic buildpack of Heroku's in the folder `name`: each program and its script.
pub(crate) fn classic(world: &World, name: &str, programs: &[(&str, &str)]) -> PathBuf {
    for (program, script) in programs {
        let text = format!("#!/usr/bin/env bash\nset -eu\n{script}\n");
        let path = world.write(&format!("{name}/bin/{program}"), text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    world.path(name)
}

/// Builds the folder `app` with these buildpacks; the report.
#[track_caller]
pub(crate) fn build(world: &World, buildpacks: &[&str]) -> Value {
    world.slug(&arguments(buildpacks)).json()["built"].clone()
}

/// `slug build --json app` with these buildpacks.
pub(crate) fn arguments<'a>(buildpacks: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["build", "--json", "app"];
    for buildpack in buildpacks {
        arguments.extend(["--buildpack", buildpack]);
    }
    arguments
}

/// `name: kept` or `name: changed (written)` for each layer.
pub(crate) fn layers(built: &Value) -> Vec<String> {
    let layers = built["layers"].as_array().unwrap().iter();
    let shown = layers.map(|layer| {
        let state = layer["state"].as_str().unwrap();
        let because = layer["because"]
            .as_str()
            .map(|because| format!(" ({because})"));
        format!(
            "{}: {state}{}",
            layer["name"].as_str().unwrap(),
            because.unwrap_or_default()
        )
    });
    shown.collect()
}

/// A world with an app that no built-in takes.
pub(crate) fn world_with_app() -> World {
    let world = World::new();
    world.app("app", &[("file", "one\n")]);
    world
}

/// `slug build app` with these arguments.
pub(crate) fn build_app(world: &World, arguments: &[&str]) -> Run {
    world.slug(&[&["build", "app"], arguments].concat())
}

/// Who builds: the first word of each line `<name> builds`.
#[track_caller]
pub(crate) fn builders(run: &Run) -> String {
    let said = run.code(0).stderr();
    let names = said.lines().filter_map(|line| line.strip_suffix(" builds"));
    names.collect::<Vec<_>>().join(" ")
}

/// A buildpack in the folder `name` that says so.
pub(crate) fn says(world: &World, name: &str) {
    buildpack(world, name, TAKE_ALL, &format!("echo {name} builds"));
}
