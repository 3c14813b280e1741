//! Builds one after the other: what is kept, what is made anew, and what a
//! failed or killed one leaves.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::support::buildpack::{TAKE_ALL, arguments, build, buildpack, layers};
use crate::support::wait;
use crate::support::world::World;

/// One cached launch layer, made once; `$1/deps/hook.sh`, if the app has it, is run at every build.
const CACHES: &str = r#"
    if [ ! -d "$1/deps" ]; then mkdir -p "$1/deps/sub"; echo 1 > "$1/deps/a"; echo 2 > "$1/deps/sub/b"; ln "$1/deps/a" "$1/deps/hard"; fi
    printf '[types]\nlaunch = true\ncache = true\n' > "$1/deps.toml"
    if [ -f hook.sh ]; then . ./hook.sh; fi"#;

fn as_both(test: impl Fn(&World)) {
    for world in [World::new(), World::unprivileged()] {
        world.app("app", &[("file", "one\n")]);
        buildpack(&world, "one", TAKE_ALL, CACHES);
        test(&world);
    }
}

/// Something, once the file holds the text.
fn says(path: &Path, text: &str) -> Option<()> {
    fs::read_to_string(path)
        .unwrap()
        .contains(text)
        .then_some(())
}

/// Builds with a hook in the app; the layers but the app's, and what was said.
#[track_caller]
fn build_with(world: &World, hook: &str) -> (Vec<String>, String) {
    world.write("app/hook.sh", hook);
    let run = world.slug(&arguments(&["one"]));
    let stderr = run.code(0).stderr();
    let mut shown = layers(&run.json()["built"]);
    shown.retain(|layer| !layer.starts_with("app:"));
    (shown, stderr)
}

#[test]
fn a_build_without_change_keeps_every_layer_and_gives_the_same_slug() {
    as_both(|world| {
        let first = build(world, &["one"]);
        assert_eq!(
            layers(&first),
            ["deps: changed (new)", "app: changed (new)"]
        );
        let second = build(world, &["one"]);
        assert_eq!(layers(&second), ["deps: kept", "app: kept"]);
        assert_eq!(first["slug"], second["slug"]);
    });
}

#[test]
fn a_change_of_the_app_makes_only_the_apps_layer_anew() {
    as_both(|world| {
        let first = build(world, &["one"]);
        world.write("app/file", "two\n");
        let second = build(world, &["one"]);
        assert_eq!(layers(&second), ["deps: kept", "app: changed (written)"]);
        assert_ne!(first["slug"], second["slug"]);
    });
}

#[test]
fn what_a_build_changes_in_a_cached_layer_is_there_in_the_next() {
    as_both(|world| {
        build_with(world, "");
        let (shown, _) = build_with(
            world,
            r#"echo 3 > "$1/deps/a"; rm -r "$1/deps/sub"; mkdir "$1/deps/new"; echo 4 > "$1/deps/new/c""#,
        );
        assert_eq!(shown, ["deps: changed (written)"]);
        let look = r#"cat "$1/deps/a" "$1/deps/hard" "$1/deps/new/c"; [ ! -e "$1/deps/sub" ]"#;
        let (shown, stderr) = build_with(world, look);
        assert_eq!(shown, ["deps: kept"]);
        assert!(stderr.contains("3\n1\n4\n"), "{stderr}");
    });
}

#[test]
fn a_layer_that_is_removed_is_gone_and_one_made_again_has_nothing_of_the_old() {
    as_both(|world| {
        build_with(world, "");
        let again = r#"rm -r "$1/deps"; mkdir "$1/deps"; echo again > "$1/deps/z""#;
        assert_eq!(build_with(world, again).0, ["deps: changed (remade)"]);
        let (_, stderr) = build_with(world, r#"echo "found: $(ls "$1/deps")""#);
        assert!(stderr.contains("found: z"), "{stderr}");
        assert_eq!(
            build_with(world, r#"rm -r "$1/deps" "$1/deps.toml""#).0,
            [""; 0]
        );
        assert_eq!(build_with(world, "").0, ["deps: changed (new)"]);
    });
}

#[test]
fn a_layer_that_is_only_cached_keeps_what_many_builds_add() {
    as_both(|world| {
        let add = r#"mkdir -p "$1/pool"; : > "$1/pool/$(ls "$1/pool" | wc -l)"; printf '[types]\ncache = true\n' > "$1/pool.toml""#;
        for _ in 0..12 {
            build_with(world, add);
        }
        let (_, stderr) = build_with(
            world,
            &format!("{add}; echo \"count: $(ls \"$1/pool\" | wc -l)\""),
        );
        assert!(stderr.contains("count: 13"), "{stderr}");
    });
}

#[test]
fn a_failed_build_leaves_the_cache_as_it_was() {
    as_both(|world| {
        build_with(world, "");
        world.write(
            "app/hook.sh",
            r#"echo ruined > "$1/deps/a"; rm "$1/deps/sub/b"; exit 3"#,
        );
        world
            .slug(&arguments(&["one"]))
            .code(51)
            .says("exit code 3");
        let (shown, stderr) = build_with(world, r#"cat "$1/deps/a" "$1/deps/sub/b""#);
        assert_eq!(shown, ["deps: kept"]);
        assert!(stderr.contains("1\n2\n"), "{stderr}");
    });
}

#[test]
fn a_killed_build_leaves_the_cache_as_it_was() {
    as_both(|world| {
        build_with(world, "");
        let signal = world.path("app-is-building");
        let hook = r#"echo ruined > "$1/deps/a"; echo building; sleep 1000"#;
        world.write("app/hook.sh", hook);
        let mut command = world.command(&arguments(&["one"]));
        let log = fs::File::create(&signal).unwrap();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        wait::until(wait::LONG, "the build runs", || {
            says(&signal, "\"building\"")
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let (shown, stderr) = build_with(world, r#"cat "$1/deps/a""#);
        assert_eq!(shown, ["deps: kept"]);
        assert!(stderr.contains("1\n"), "{stderr}");
        // The one app of this world.
        let apps = fs::read_dir(world.store().join("cache/build")).unwrap();
        let scratch = apps.map(|app| app.unwrap().path().join("work")).next();
        assert_eq!(fs::read_dir(scratch.unwrap()).unwrap().count(), 0);
    });
}

#[test]
fn a_second_build_of_an_app_waits_for_the_first_and_says_so() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    buildpack(&world, "slow", TAKE_ALL, "echo building; sleep 1");
    buildpack(&world, "quick", TAKE_ALL, "exit 0");
    let log_path = world.path("log");
    let log = fs::File::create(&log_path).unwrap();
    let mut command = world.command(&arguments(&["slow"]));
    let mut first = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    wait::until(wait::LONG, "the first runs", || {
        says(&log_path, "\"building\"")
    });
    let whom = format!(
        "waiting for it (`{}`, process {})",
        world.path("app").display(),
        first.id()
    );
    world.slug(&arguments(&["quick"])).code(0).says(&whom);
    assert!(first.wait().unwrap().success());
}

#[test]
fn clear_cache_begins_anew() {
    as_both(|world| {
        build(world, &["one"]);
        let mut arguments = arguments(&["one"]);
        arguments.push("--clear-cache");
        let built = world.slug(&arguments).json()["built"].clone();
        assert_eq!(layers(&built)[0], "deps: changed (cleared)");
    });
}

#[test]
fn another_compression_makes_the_same_slug() {
    let world = World::new();
    world.app("app", &[("file", "one\n")]);
    buildpack(&world, "one", TAKE_ALL, CACHES);
    let zstd = build(&world, &["one"]);
    let mut arguments = arguments(&["one"]);
    arguments.extend(["--compression", "gzip"]);
    let gzip = world.slug(&arguments).json()["built"].clone();
    assert_eq!(layers(&gzip), ["deps: changed (compression)", "app: kept"]);
    assert_eq!(zstd["slug"], gzip["slug"]);
}

#[test]
fn slices_are_layers_of_their_own() {
    let world = World::new();
    world.app("app", &[("static/a.css", "a"), ("main", "m")]);
    let build_script = r#"printf '[[slices]]\npaths = ["static"]\n' > "$1/launch.toml""#;
    buildpack(&world, "one", TAKE_ALL, build_script);
    let built = build(&world, &["one"]);
    assert_eq!(
        layers(&built),
        ["slice 1: changed (new)", "app: changed (new)"]
    );
}

#[test]
fn hostile_names_in_an_app_are_data() {
    as_both(|world| {
        world.write("app/new\nline", "1");
        world.write("app/ -rf $(touch pwned)", "2");
        std::os::unix::fs::symlink("/etc/shadow", world.path("app/link")).unwrap();
        std::os::unix::fs::symlink("../../..", world.path("app/up")).unwrap();
        let hook = r#"[ "$(cat "$(printf 'new\nline')")" = 1 ]; [ "$(readlink link)" = /etc/shadow ]; [ ! -r link ]; [ ! -e pwned ]"#;
        build_with(world, hook);
    });
}

#[test]
fn without_a_file_there_is_nothing_to_build() {
    let world = World::new();
    fs::create_dir(world.path("app")).unwrap();
    buildpack(&world, "one", TAKE_ALL, "exit 0");
    world.slug(&arguments(&["one"])).code(1).says("no files");
    world
        .slug(&["build", "nowhere", "--buildpack", "one"])
        .code(2)
        .says("nowhere");
    world.write("app/file", "");
    world.slug(&arguments(&["nobody"])).code(2).says("nobody");
}
