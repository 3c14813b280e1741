//! The `bin/detect`s of one group, as the buildpacks see it.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::support::buildpack::{arguments, buildpack};
use crate::support::world::World;

/// A ring of pipes: each detect waits until the one before it and the one after it run, so none ends before all do.
fn ring(world: &World, size: usize) -> Vec<String> {
    let names: Vec<String> = (0..size).map(|number| format!("ring{number}")).collect();
    for name in &names {
        let detect = r#"cd "${0%/bin/detect}"; echo here > next & read -r line < own; wait"#;
        buildpack(world, name, detect, "exit 0");
        let own = world.path(name).join("own");
        assert!(Command::new("mkfifo").arg(&own).status().unwrap().success());
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o666)).unwrap();
    }
    for (number, name) in names.iter().enumerate() {
        let next = &names[(number + 1) % size];
        // The same pipe by another name: a buildpack sees no folder but its own.
        std::fs::hard_link(world.path(next).join("own"), world.path(name).join("next")).unwrap();
    }
    names
}

#[test]
fn rule_17_all_detects_of_a_group_run_at_the_same_time() {
    for world in [World::new(), World::unprivileged()] {
        world.app("app", &[("file", "")]);
        let names = ring(&world, 20);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        world.slug(&arguments(&names)).ok();
    }
}
