//! What a build says about its layers, hostile values included, and what the next
//! build finds of them (rules 31 to 34 and 46 to 49).

use crate::support::buildpack::{TAKE_ALL, arguments, build, buildpack, buildpack_of, layers};
use crate::support::world::World;

fn world() -> World {
    let world = World::unprivileged();
    world.app("app", &[("file", "one\n")]);
    world
}

/// A build that leaves `<name>.toml` with this text, and a folder of the name with a file.
fn leaving(name: &str, text: &str) -> String {
    format!(
        "mkdir -p \"$1/{name}\"; echo x > \"$1/{name}/file\"; cat > \"$1/{name}.toml\" <<'END'\n{text}\nEND\n"
    )
}

#[test]
fn rules_32_and_33_hostile_metadata_is_refused_by_its_place() {
    let world = world();
    let deep = format!("metadata = {}1{}", "[".repeat(200), "]".repeat(200));
    for (text, place) in [
        ("launch = true", "line 1, column 10"),
        ("[types]\nlaunch = 1", "line 2, column 10"),
        ("[types]\nlaunch = \"true\"", "line 2, column 10"),
        ("types = true", "line 1, column 9"),
        ("[[types]]\nlaunch = true", "line 1"),
        ("[types]\nlaunch = true\nlaunch = false", "line 3"),
        ("[types]\nlaunch = true\n[metadata", "line 3"),
        ("metadata = 1", "line 1"),
        (deep.as_str(), "line 1"),
    ] {
        buildpack(&world, "one", TAKE_ALL, &leaving("l", text));
        let run = world.slug(&arguments(&["one"]));
        run.code(1).says("`/layers/test_one/l.toml`").says(place);
    }
}

#[test]
fn rule_33_what_is_no_plain_text_file_is_refused_and_never_followed() {
    let world = world();
    for (script, said) in [
        (
            "printf '[metadata]\\nx = \"\\377\"\\n' > \"$1/l.toml\"",
            "not UTF-8",
        ),
        (
            "ln -s /etc/passwd \"$1/l.toml\"",
            "a link stands where a file was expected",
        ),
        ("mkfifo \"$1/l.toml\"", "not a regular file"),
        (
            "head -c 5000000 /dev/zero | tr '\\0' '#' > \"$1/l.toml\"",
            "larger than",
        ),
    ] {
        buildpack(&world, "one", TAKE_ALL, script);
        world
            .slug(&arguments(&["one"]))
            .code(1)
            .says("/layers/test_one/l.toml")
            .says(said);
    }
}

#[test]
fn rule_33_keys_that_nobody_knows_are_left_alone_and_any_metadata_comes_back() {
    let world = world();
    let text = "more = 1\n[types]\ncache = true\nother = \"x\"\n[metadata]\nlaunch = true\ndate = 1979-05-27T07:32:00Z\nfloat = inf\n\"\" = \"é\"\n[[metadata.tables]]\na = [1, [2]]";
    let look = format!(
        "if [ -f \"$1/l.toml\" ]; then cat \"$1/l.toml\"; fi\n{}",
        leaving("l", text)
    );
    buildpack(&world, "one", TAKE_ALL, &look);
    build(&world, &["one"]);
    let again = world.slug(&arguments(&["one"]));
    for line in [
        "launch = true",
        "date = 1979-05-27T07:32:00Z",
        "float = inf",
        "\"\" = \"é\"",
        "[[metadata.tables]]",
    ] {
        again.code(0).says(line);
    }
    again.says_not("[types]").says_not("more = 1");
}

#[test]
fn rule_32_a_layer_for_nothing_is_seen_by_nobody_and_does_not_come_back() {
    let world = world();
    let one = format!(
        "[ ! -e \"$1/l\" ] && [ ! -e \"$1/l.toml\" ]\n{}{}",
        leaving("l", "[types]\nlaunch = false"),
        leaving("m", "[metadata]\na = 1")
    );
    buildpack(&world, "one", TAKE_ALL, &one);
    buildpack(
        &world,
        "two",
        TAKE_ALL,
        "[ ! -e /layers/test_one/l ] && [ ! -e /layers/test_one/m ]",
    );
    for _ in 0..2 {
        let built = build(&world, &["one", "two"]);
        assert_eq!(layers(&built).len(), 1, "the app's alone: {built}");
    }
}

#[test]
fn rule_34_a_layer_whose_name_is_no_text_is_refused() {
    let world = world();
    let build = r#"printf '[types]\nlaunch = true\n' > "$1/$(printf '\377').toml""#;
    buildpack(&world, "one", TAKE_ALL, build);
    world
        .slug(&arguments(&["one"]))
        .code(1)
        .says("a name that cannot be");
}

#[test]
fn rule_44_a_launch_layer_with_a_wrong_environment_is_refused_at_the_build() {
    let world = world();
    let links_out = r#"
        mkdir -p "$1/l/env.launch"; ln -s /etc/passwd "$1/l/env.launch/A"
        printf '[types]\nlaunch = true\n' > "$1/l.toml""#;
    buildpack(&world, "one", TAKE_ALL, links_out);
    world
        .slug(&arguments(&["one"]))
        .code(1)
        .says("`/layers/test_one/l/env.launch/A`")
        .says("out of the layer");
    let nul = r#"
        mkdir -p "$1/l/env.launch/web"; printf 'a\0b' > "$1/l/env.launch/web/A"
        printf '[types]\nlaunch = true\n' > "$1/l.toml""#;
    buildpack(&world, "one", TAKE_ALL, nul);
    world
        .slug(&arguments(&["one"]))
        .code(1)
        .says("`/layers/test_one/l/env.launch/web/A`")
        .says("NUL");
}

#[test]
fn rule_34_the_files_of_the_contract_are_no_layers_and_their_names_none_of_folders() {
    let world = world();
    let build_script = r#"
        for name in build launch store; do mkdir "$1/$name"; echo x > "$1/$name/file"; done
        printf '[metadata]\na = 1\n' > "$1/store.toml"
        printf '' > "$1/build.toml"; printf '' > "$1/launch.toml""#;
    buildpack(&world, "one", TAKE_ALL, build_script);
    assert_eq!(layers(&build(&world, &["one"])).len(), 1);
}

#[test]
fn rule_47_metadata_whose_content_is_gone_does_not_come_back() {
    let world = world();
    let script = format!(
        "[ -f \"$1/l.toml\" ] && echo restored || echo fresh\n{}",
        leaving("l", "[types]\ncache = true\n[metadata]\na = 1")
    );
    buildpack(&world, "one", TAKE_ALL, &script);
    world.slug(&arguments(&["one"])).code(0).says("fresh");
    world.slug(&arguments(&["one"])).code(0).says("restored");
    let cache = world.store().join("cache");
    let roots = walk(&cache, "roots");
    assert_eq!(roots.len(), 1, "{roots:?}");
    std::fs::remove_dir_all(&roots[0]).unwrap();
    world.slug(&arguments(&["one"])).code(0).says("fresh");
}

/// Folders of that name below a folder.
fn walk(folder: &std::path::Path, name: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|own| own == name) {
            found.push(path);
        } else if path.is_dir() {
            found.extend(walk(&path, name));
        }
    }
    found
}

#[test]
fn rule_48_each_way_in_which_a_launch_layer_can_be_missing_is_told_apart() {
    let world = world();
    let never = r#"printf '[types]\nlaunch = true\n' > "$1/a.toml""#;
    buildpack(&world, "one", TAKE_ALL, never);
    world
        .slug(&arguments(&["one"]))
        .code(1)
        .says("the last build had none to take in its place");
    let cached = r#"printf '[types]\nlaunch = true\ncache = true\n' > "$1/a.toml""#;
    buildpack(&world, "one", TAKE_ALL, cached);
    world
        .slug(&arguments(&["one"]))
        .code(1)
        .says("it is `cache = true` and has no folder");
}

#[test]
fn rule_48_a_layer_that_becomes_launch_only_later_is_the_last_builds() {
    let world = world();
    let make = leaving("a", "[types]\nlaunch = true\n[metadata]\nv = \"1\"");
    buildpack(&world, "one", TAKE_ALL, &make);
    build(&world, &["one"]);
    let keep = r#"grep -q 'v = "1"' "$1/a.toml"; printf '[types]\nlaunch = true\n[metadata]\nv = "2"\n' > "$1/a.toml""#;
    buildpack(&world, "one", TAKE_ALL, keep);
    assert_eq!(layers(&build(&world, &["one"]))[0], "a: kept");
    let look = r#"grep 'v = "2"' "$1/a.toml"; printf '[types]\nlaunch = false\n' > "$1/a.toml""#;
    buildpack(&world, "one", TAKE_ALL, look);
    assert_eq!(layers(&build(&world, &["one"])).len(), 1, "not exported");
}

#[test]
fn rules_49_and_53_another_execution_environment_begins_anew_and_has_its_own_processes() {
    let world = world();
    let descriptor = "api = \"0.12\"\n[buildpack]\nid = \"test/one\"\nversion = \"1\"\n";
    let script = format!(
        "echo \"env=$CNB_EXEC_ENV\"; [ -e \"$1/l\" ] && echo restored || echo fresh\n{}{}",
        leaving("l", "[types]\ncache = true"),
        r#"cat > "$1/launch.toml" <<'END'
[[processes]]
type = "web"
command = ["echo", "production"]
exec-env = ["production"]
[[processes]]
type = "web"
command = ["echo", "test"]
exec-env = ["test"]
[[processes]]
type = "all"
command = ["echo", "all"]
exec-env = ["*"]
END
"#
    );
    buildpack_of(&world, "one", descriptor, TAKE_ALL, &script);
    let of = |exec_env: &str| {
        let arguments = [&arguments(&["one"])[..], &["--exec-env", exec_env]].concat();
        let run = world.slug(&arguments);
        let processes = run.json()["built"]["processes"].clone();
        let commands: Vec<String> = processes
            .as_array()
            .unwrap()
            .iter()
            .map(|process| process["command"][1].as_str().unwrap().to_owned())
            .collect();
        run.says(&format!("env={exec_env}"));
        (commands, run.stderr().contains("restored"))
    };
    let with = |own: &str| vec!["all".to_owned(), own.to_owned()];
    assert_eq!(of("production"), (with("production"), false));
    assert_eq!(of("production"), (with("production"), true));
    assert_eq!(of("test"), (with("test"), false));
    assert_eq!(of("staging"), (vec!["all".to_owned()], false));
}
