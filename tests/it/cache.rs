//! What becomes of cached layers when something else than the app changes:
//! each decision with its cause.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::buildpack::{TAKE_ALL, arguments, build, buildpack, buildpack_of, layers};
use crate::support::wait;
use crate::support::world::World;

/// Three layers, each made where it is not found: cached, only for the launch, only cached.
const THREE: &str = r#"
    for layer in deps run pool; do
        if [ ! -f "$1/$layer.toml" ]; then mkdir "$1/$layer"; echo "$layer" > "$1/$layer/file"; fi
    done
    printf '[types]\nlaunch = true\ncache = true\n' > "$1/deps.toml"
    printf '[types]\nlaunch = true\n' > "$1/run.toml"
    printf '[types]\ncache = true\n' > "$1/pool.toml""#;

fn world() -> World {
    let world = World::new();
    world.app("app", &[("file", "one\n")]);
    buildpack(&world, "one", TAKE_ALL, THREE);
    world
}

/// The folder of the one app's cache.
fn cache(world: &World) -> PathBuf {
    let apps = fs::read_dir(world.store().join("cache/build")).unwrap();
    apps.map(|app| app.unwrap().path()).next().unwrap()
}

/// Changes what the last build left.
fn change_state(world: &World, change: impl FnOnce(&mut Value)) {
    let path = cache(world).join("state.json");
    let mut state = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut state);
    fs::write(&path, state.to_string()).unwrap();
}

/// Builds, changes something, and builds again: the same slug, and what became of its layers.
#[track_caller]
fn check(change: impl FnOnce(&World), extra: &[&str], expected: [&str; 4]) {
    let world = world();
    let first = build(&world, &["one"]);
    let same = build(&world, &["one"]);
    let kept = ["deps: kept", "pool: kept", "run: kept", "app: kept"];
    assert_eq!(layers(&same), kept);
    change(&world);
    let arguments = [arguments(&["one"]), extra.to_vec()].concat();
    let second = world.slug(&arguments).json()["built"].clone();
    assert_eq!(layers(&second), expected);
    // A slug says what it was built for.
    assert_eq!(
        first["slug"] == second["slug"],
        !extra.contains(&"--exec-env")
    );
}

#[test]
fn rule_49_layers_of_another_execution_environment_are_not_restored() {
    check(
        |_| {},
        &["--exec-env", "test"],
        [
            "deps: changed (exec-env)",
            "pool: changed (exec-env)",
            "run: changed (exec-env)",
            "app: changed (exec-env)",
        ],
    );
}

#[test]
fn layers_made_for_another_system_are_not_restored() {
    for key in ["arch", "distro_name", "distro_version"] {
        check(
            |world| change_state(world, |state| state["made_for"]["target"][key] = "9".into()),
            &[],
            [
                "deps: changed (target)",
                "pool: changed (target)",
                "run: changed (target)",
                "app: changed (target)",
            ],
        );
    }
}

#[test]
fn a_cache_that_is_cleared_is_said_to_be() {
    check(
        |_| {},
        &["--clear-cache"],
        [
            "deps: changed (cleared)",
            "pool: changed (cleared)",
            "run: changed (cleared)",
            "app: changed (cleared)",
        ],
    );
}

#[test]
fn rule_47_metadata_without_its_content_is_not_restored() {
    check(
        |world| fs::remove_dir_all(cache(world).join("roots")).unwrap(),
        &[],
        [
            "deps: changed (evicted)",
            "pool: changed (evicted)",
            "run: kept",
            "app: kept",
        ],
    );
}

/// The content of the cache goes and is made again; what a killed build left goes once it is old.
#[test]
fn gc_keeps_caches_within_their_budget_and_says_what_goes() {
    let world = world();
    let first = build(&world, &["one"]);
    let name = cache(&world)
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let goes = format!("build cache of {name}");
    assert!(
        !world.slug(&["gc"]).stdout().contains(&goes),
        "20 GB are enough"
    );
    let dry = world.slug(&["gc", "-n", "--cache-max", "0"]);
    dry.code(0);
    assert!(
        dry.stdout().contains(&format!("delete   {goes} (10 B)")),
        "{}",
        dry.story()
    );
    let kept = ["deps: kept", "pool: kept", "run: kept", "app: kept"];
    assert_eq!(
        layers(&build(&world, &["one"])),
        kept,
        "a dry run deletes nothing"
    );
    assert!(
        world
            .slug(&["gc", "--cache-max", "0"])
            .stdout()
            .contains(&goes)
    );
    let second = build(&world, &["one"]);
    let expected = [
        "deps: changed (evicted)",
        "pool: changed (evicted)",
        "run: kept",
        "app: kept",
    ];
    assert_eq!(layers(&second), expected);
    assert_eq!(first["slug"], second["slug"]);
    world
        .slug(&["gc", "--cache-max", "much"])
        .code(2)
        .says("`500MB`");
}

#[test]
fn layers_without_their_blobs_are_made_again() {
    check(
        |world| {
            for blob in fs::read_dir(world.store().join("blobs/sha256")).unwrap() {
                fs::remove_file(blob.unwrap().path()).unwrap();
            }
        },
        &[],
        [
            "deps: changed (blob-gone)",
            "pool: kept",
            "run: changed (blob-gone)",
            "app: kept",
        ],
    );
}

#[test]
fn another_compression_packs_cached_layers_and_makes_launch_layers_again() {
    let world = world();
    let first = build(&world, &["one"]);
    let arguments = [arguments(&["one"]), vec!["--compression", "gzip"]].concat();
    let second = world.slug(&arguments).json()["built"].clone();
    assert_eq!(
        layers(&second),
        [
            "deps: changed (compression)",
            "pool: kept",
            "run: changed (compression)",
            "app: kept"
        ]
    );
    assert_eq!(first["slug"], second["slug"]);
}

/// A new version finds the layers of the old one, and what it then does is said to be due to it.
#[test]
fn another_version_of_a_buildpack_decides_itself() {
    let world = world();
    build(&world, &["one"]);
    let descriptor = |version: &str| {
        format!("api = \"0.10\"\n[buildpack]\nid = \"test/one\"\nversion = \"{version}\"\n")
    };
    buildpack_of(&world, "one", &descriptor("1.1.0"), TAKE_ALL, THREE);
    let kept = ["deps: kept", "pool: kept", "run: kept", "app: kept"];
    assert_eq!(layers(&build(&world, &["one"])), kept);
    let writes = format!(
        "{THREE}\necho more >> \"$1/deps/file\"; rm -r \"$1/pool\"; mkdir \"$1/pool\" \"$1/run\""
    );
    buildpack_of(&world, "one", &descriptor("2.0.0"), TAKE_ALL, &writes);
    assert_eq!(
        layers(&build(&world, &["one"])),
        [
            "deps: changed (buildpack-version)",
            "pool: changed (buildpack-version)",
            "run: changed (buildpack-version)",
            "app: kept"
        ]
    );
}

/// A large app, whose files are old enough that their times prove something.
fn large_app(world: &World) {
    world.app("app", &[("file", "one\n")]);
    let large = world.write("app/large", vec![7; 5 << 20]);
    let changed = fs::metadata(large).unwrap().ctime();
    wait::until(wait::LONG, "the files to be three seconds old", || {
        let now = world.write("now", "");
        (fs::metadata(now).unwrap().ctime() > changed + 2).then_some(())
    });
}

#[test]
fn a_large_app_that_nobody_changed_is_not_packed_again() {
    let world = World::new();
    large_app(&world);
    let touches = "if [ -f touch ]; then touch large; fi";
    buildpack(&world, "one", TAKE_ALL, touches);
    let packed = |world: &World| {
        let built = build(world, &["one"]);
        assert!(layers(&built)[0].starts_with("app: "));
        let state = fs::read_to_string(cache(world).join("state.json")).unwrap();
        let state: Value = serde_json::from_str(&state).unwrap();
        (built["slug"].clone(), state["app"]["fingerprint"].clone())
    };
    let first = packed(&world);
    assert!(first.1.is_string(), "{first:?}");
    // What is no more in the state cannot be packed again from it: the blob that it names is used.
    change_state(&world, |state| {
        state["app"]["packed"]["layer"]["tar_bytes"] = 1.into();
    });
    let again = build(&world, &["one"]);
    assert_eq!(again["layers"][0]["tar_bytes"], 1, "not looked at again");
    world.write("app/file", "two\n");
    let second = build(&world, &["one"]);
    assert_eq!(layers(&second), ["app: changed (written)"]);
    assert_ne!(second["slug"], first.0);
    // What a buildpack changes in the app is seen, and is not taken for the source's.
    world.write("app/touch", "");
    let touched = packed(&world);
    assert!(touched.1.is_null(), "{touched:?}");
}
