//! Buildpacks written with what others use.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::support::buildpack::{arguments, build, layers};
use crate::support::image::Image;
use crate::support::run::Run;
use crate::support::world::World;

/// The program of `tests/buildpacks/libcnb`. `cargo test --test it` alone does not build examples.
fn libcnb_program() -> Vec<u8> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let path = BUILT.get_or_init(|| {
        let beside = PathBuf::from(env!("CARGO_BIN_EXE_slug"));
        let is_release = beside.parent().unwrap().ends_with("release");
        let profile = if is_release { "release" } else { "dev" };
        let mut cargo = Command::new(env!("CARGO"));
        let status = cargo
            .args(["build", "--locked", "--quiet", "--profile", profile])
            .args(["--example", "libcnb-buildpack"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(status.success(), "{cargo:?}: {status}");
        beside.with_file_name("examples").join("libcnb-buildpack")
    });
    fs::read(path).unwrap()
}

/// A world with the buildpack of `tests/buildpacks/libcnb`, laid out as `cargo libcnb package` does it: one program, and links.
fn libcnb(world: World, tool_version: &str) -> World {
    let program = world.write("stranger/bin/build", libcnb_program());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for link in ["detect", "greet"] {
        symlink("build", program.with_file_name(link)).unwrap();
    }
    let descriptor = include_str!("../buildpacks/libcnb/buildpack.toml");
    world.write("stranger/buildpack.toml", descriptor);
    world.app("app", &[("tool-version", tool_version)]);
    world
}

fn rebuild(world: &World) -> Run {
    world.slug(&arguments(&["stranger"]))
}

#[test]
fn a_buildpack_written_with_libcnb_builds_and_its_process_runs() {
    for world in [World::new(), World::unprivileged()] {
        let world = libcnb(world, "1");
        let built = build(&world, &["stranger"]);
        let digest = built["slug"].as_str().unwrap();
        world.slug(&["release", digest]).ok();
        let said = world.slug(&["run", "web"]).ok();
        assert_eq!(said, "Hello stranger from tool 1: and more");
        world.slug(&["config", "set", "WHO=World"]).ok();
        let said = world.slug(&["run", "web"]).ok();
        assert_eq!(said, "Hello World from tool 1: and more");
    }
}

#[test]
fn a_layer_that_libcnb_caches_is_kept_until_the_buildpack_drops_it() {
    for world in [World::new(), World::unprivileged()] {
        let world = libcnb(world, "1");
        rebuild(&world)
            .says("libcnb: build 1\n")
            .says("libcnb: tool 1 made (NewlyCreated)\n");
        let kept = rebuild(&world);
        kept.says("libcnb: build 2\n").says("libcnb: tool 1 kept\n");
        assert!(layers(&kept.json()["built"]).contains(&"tool: kept".to_owned()));
        world.app("app", &[("tool-version", "2")]);
        rebuild(&world).says("libcnb: tool 2 made (RestoredLayerAction");
    }
}

#[test]
fn the_sboms_that_libcnb_writes_are_in_the_slug_also_of_a_kept_layer() {
    let world = libcnb(World::new(), "1");
    for _ in 0..2 {
        let files = Image::build(&world, "stranger").sboms();
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        let expected = [
            "launch/stranger_libcnb/sbom.cdx.json",
            "launch/stranger_libcnb/tool/sbom.cdx.json",
        ];
        assert_eq!(names, expected);
    }
}

#[test]
fn libcnb_ends_a_detect_as_the_contract_wants_it() {
    let world = libcnb(World::new(), "");
    rebuild(&world).code(21).says("no version");
    fs::rename(world.path("app/tool-version"), world.path("app/other")).unwrap();
    rebuild(&world).code(20).says("no buildpack fits");
}
