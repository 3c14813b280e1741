//! The buildpack contract, as strangers' shell scripts see it in a real sandbox:
//! each test as the user who runs it and as one without privilege.

use std::fs;

use crate::support::buildpack::{TAKE_ALL, arguments, build, buildpack, buildpack_of, layers};
use crate::support::world::World;

/// Runs the test as both kinds of user.
fn as_both(test: impl Fn(&World)) {
    for world in [World::new(), World::unprivileged()] {
        world.app("app", &[("file", "one\n")]);
        test(&world);
    }
}

/// The first line of the output of `bin/build` that begins with the key.
#[track_caller]
fn said(stderr: &str, key: &str) -> String {
    let line = stderr
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{key}=")));
    line.unwrap_or_else(|| panic!("no `{key}=` in\n{stderr}"))
        .to_owned()
}

#[test]
fn rules_10_to_12_and_28_programs_get_arguments_and_environment_and_their_own_unresolved_name() {
    as_both(|world| {
        let show = r#"echo "zero=$0"; echo "args=$*"; echo "cwd=$(pwd)"; echo "bp=$CNB_BUILDPACK_DIR"; echo "os=$CNB_TARGET_OS""#;
        let detect = format!("[ -f \"$2\" ] && [ ! -s \"$2\" ]\n({show}) >&2; exit 1");
        buildpack(world, "refuses", &detect, "exit 0");
        let detected = world.slug(&arguments(&["refuses"])).code(21).stderr();
        let build =
            format!("{show}; cat \"$3\"; echo \"layers=$CNB_LAYERS_DIR\"; umask; echo \"tz=$TZ\"");
        buildpack(world, "one", TAKE_ALL, &build);
        let built = world.slug(&arguments(&["one"])).code(0).stderr();
        assert!(
            detected.contains("zero=/cnb/buildpacks/test_refuses/1.0.0/bin/detect"),
            "{detected}"
        );
        assert!(detected.contains("cwd=/workspace"), "{detected}");
        assert_eq!(
            said(&built, "zero"),
            "/cnb/buildpacks/test_one/1.0.0/bin/build"
        );
        assert_eq!(
            said(&built, "args"),
            "/layers/test_one /platform /cnb/plan/test_one/plan.toml"
        );
        assert_eq!(said(&built, "cwd"), "/workspace");
        assert_eq!(said(&built, "bp"), "/cnb/buildpacks/test_one/1.0.0");
        assert_eq!(said(&built, "layers"), "/layers/test_one");
        assert_eq!(
            (said(&built, "os"), said(&built, "tz")),
            ("linux".to_owned(), "UTC".to_owned())
        );
        assert!(built.contains("\n0022\n"), "{built}");
    });
}

#[test]
fn rules_13_and_14_nobody_fits_is_20_and_a_failed_detect_is_21() {
    as_both(|world| {
        buildpack(world, "declines", "exit 100", "exit 0");
        world
            .slug(&arguments(&["declines"]))
            .code(20)
            .says("no buildpack fits");
        buildpack(world, "fails", "echo gone wrong >&2; exit 7", "exit 0");
        world
            .slug(&arguments(&["fails"]))
            .code(21)
            .says("gone wrong");
    });
}

#[test]
fn rule_10_the_app_is_read_only_in_detect_and_may_be_changed_by_a_build() {
    as_both(|world| {
        let detect = "if echo x 2>/dev/null > file; then exit 1; fi; exit 0";
        buildpack(
            world,
            "one",
            detect,
            "grep -q one file; echo two > file; rm -f gone",
        );
        buildpack(world, "two", TAKE_ALL, "grep -q two file");
        build(world, &["one", "two"]);
        assert_eq!(fs::read_to_string(world.path("app/file")).unwrap(), "one\n");
    });
}

#[test]
fn rule_15_a_version_in_a_require_is_an_error_with_its_line() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    let plan = r#"printf '[[requires]]\nname = "a"\nversion = "1"\n' > "$2""#;
    buildpack(&world, "old", plan, "exit 0");
    world
        .slug(&arguments(&["old"]))
        .code(21)
        .says("`/cnb/detect/0/plan.toml`, line 3, column 11");
}

#[test]
fn rules_23_and_29_a_build_is_handed_what_it_is_to_provide() {
    as_both(|world| {
        buildpack(
            world,
            "gives",
            r#"printf '[[provides]]\nname = "a"\n' > "$CNB_BUILD_PLAN_PATH""#,
            r#"cat "$CNB_BP_PLAN_PATH""#,
        );
        let wants =
            r#"printf '[[requires]]\nname = "a"\n[requires.metadata]\nversion = "3"\n' > "$2""#;
        buildpack(world, "wants", wants, r#"[ ! -s "$3" ]"#);
        world
            .slug(&arguments(&["gives", "wants"]))
            .code(0)
            .says("version = \"3\"");
        world
            .slug(&arguments(&["wants", "gives"]))
            .code(20)
            .says("`a`");
    });
}

#[test]
fn rule_30_what_is_left_unmet_goes_on_and_must_have_been_asked() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    let provides = r#"printf '[[provides]]\nname = "a"\n' > "$2""#;
    let unmet = |name: &str| format!(r#"printf '[[unmet]]\nname = "{name}"\n' > "$1/build.toml""#);
    buildpack(&world, "one", provides, &unmet("a"));
    buildpack(&world, "two", provides, r#"grep -q '"a"' "$3""#);
    buildpack(
        &world,
        "wants",
        r#"printf '[[requires]]\nname = "a"\n' > "$2""#,
        "exit 0",
    );
    build(&world, &["one", "two", "wants"]);
    buildpack(&world, "one", provides, &unmet("other"));
    world
        .slug(&arguments(&["one", "two", "wants"]))
        .code(1)
        .says("`other`");
}

#[test]
fn rule_28_a_failed_build_is_51_with_the_last_of_its_output() {
    as_both(|world| {
        buildpack(world, "one", TAKE_ALL, "echo the reason >&2; exit 9");
        world
            .slug(&arguments(&["one"]))
            .code(51)
            .says("the reason")
            .says("exit code 9");
    });
}

#[test]
fn rules_41_and_42_later_builds_get_layers_and_the_users_variables() {
    as_both(|world| {
        let project = "[_]\nschema-version = \"0.2\"\n[[io.buildpacks.build.env]]\nname = \"PATH\"\nvalue = \"/user\"\n[[io.buildpacks.build.env]]\nname = \"A\"\nvalue = \"user\"\n";
        world.write("app/project.toml", project);
        let layer = r#"
            mkdir -p "$1/tools/bin" "$1/tools/env" "$1/hidden/bin"
            printf 'echo from the layer' > "$1/tools/bin/tool"; chmod 755 "$1/tools/bin/tool"
            printf layer > "$1/tools/env/A"; printf 'exact\n' > "$1/tools/env/B"
            printf '[types]\nbuild = true\n' > "$1/tools.toml"
            printf '[types]\nlaunch = true\n' > "$1/hidden.toml"
            mkdir "$1/nothing"; printf '[types]\n' > "$1/nothing.toml""#;
        buildpack(world, "one", TAKE_ALL, layer);
        let look = r#"
            echo "path=$PATH"; echo "a=$A"; tool; echo "platform=$(cat "$2/env/A")"
            [ "$B" = "$(printf 'exact\nx')" ] || [ "${B%?}" = exact ]
            [ ! -e /layers/test_one/nothing ]
            if touch /layers/test_one/tools/bin/tool 2>/dev/null; then exit 1; fi
            if touch /layers/test_one/new 2>/dev/null; then exit 1; fi"#;
        buildpack(world, "two", TAKE_ALL, look);
        let stderr = world.slug(&arguments(&["one", "two"])).code(0).stderr();
        assert!(
            said(&stderr, "path").starts_with("/user:/layers/test_one/tools/bin:/usr/local/sbin:"),
            "{stderr}"
        );
        assert_eq!(
            (said(&stderr, "a"), said(&stderr, "platform")),
            ("user".to_owned(), "user".to_owned())
        );
        assert!(stderr.contains("from the layer"), "{stderr}");
    });
}

#[test]
fn rule_33_types_at_the_top_of_a_layers_file_are_an_error_naming_it() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    buildpack(
        &world,
        "one",
        TAKE_ALL,
        r#"mkdir "$1/a"; echo 'launch = true' > "$1/a.toml""#,
    );
    world
        .slug(&arguments(&["one"]))
        .code(1)
        .says("`/layers/test_one/a.toml`")
        .says("[types]");
}

/// Says what it finds of the last build; makes, the first time, a layer of each kind of memory.
const REMEMBERS: &str = r#"
    for layer in cached only built; do
        [ -f "$1/$layer.toml" ] && echo "toml of $layer: $(tr '\n' ' ' < "$1/$layer.toml")" || echo "no toml of $layer"
        [ -e "$1/$layer/file" ] && echo "file of $layer: $(cat "$1/$layer/file")" || echo "no file of $layer"
    done
    if [ -f "$1/store.toml" ]; then
        echo "store: $(cat "$1/store.toml")"
    else
        for layer in cached only; do mkdir "$1/$layer"; echo first > "$1/$layer/file"; done
    fi
    mkdir "$1/built"; echo again > "$1/built/file"
    printf '[types]\ncache = true\nlaunch = true\n[metadata]\nkey = "c"\n' > "$1/cached.toml"
    printf '[types]\nlaunch = true\n[metadata]\nkey = "o"\n' > "$1/only.toml"
    printf '[types]\nbuild = true\n[metadata]\nkey = "b"\n' > "$1/built.toml"
    printf '[metadata]\nkey = "s"\n' > "$1/store.toml""#;

#[test]
fn rules_38_and_46_what_a_buildpack_finds_of_its_last_build() {
    as_both(|world| {
        buildpack(world, "one", TAKE_ALL, REMEMBERS);
        let first = world.slug(&arguments(&["one"])).code(0).stderr();
        for kind in ["cached", "only", "built"] {
            assert!(
                first.contains(&format!("no toml of {kind}\nno file of {kind}\n")),
                "{first}"
            );
        }
        let second = world.slug(&arguments(&["one"]));
        let stderr = second.code(0).stderr();
        for expected in [
            "toml of cached: [metadata] key = \"c\" \nfile of cached: first\n",
            "toml of only: [metadata] key = \"o\" \nno file of only\n",
            "no toml of built\nno file of built\n",
            "store: [metadata]\nkey = \"s\"\n",
        ] {
            assert!(stderr.contains(expected), "{stderr}");
        }
        // Rule 48: the launch-only layer was not made again, and is the last build's.
        let expected = [
            "built: changed (remade)",
            "cached: kept",
            "only: kept",
            "app: kept",
        ];
        assert_eq!(layers(&second.json()["built"]), expected);
    });
}

#[test]
fn rule_48_a_launch_layer_that_nobody_made_is_an_error() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    buildpack(
        &world,
        "one",
        TAKE_ALL,
        r#"printf '[types]\nlaunch = true\n' > "$1/a.toml""#,
    );
    world.slug(&arguments(&["one"])).code(1).says("`a`");
}

#[test]
fn rule_34_the_contracts_own_names_are_no_layers() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    buildpack(&world, "one", TAKE_ALL, r#"echo 'x = 1' > "$1/..toml""#);
    world.slug(&arguments(&["one"])).code(1).says("layer");
}

#[test]
fn rule_1_another_api_is_refused() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    let descriptor = "api = \"0.2\"\n[buildpack]\nid = \"test/one\"\nversion = \"1\"\n";
    buildpack_of(&world, "one", descriptor, TAKE_ALL, TAKE_ALL);
    world
        .slug(&arguments(&["one"]))
        .code(1)
        .says("`0.2`")
        .says("0.7 to 0.12");
}

#[test]
fn rules_5_and_18_a_composite_is_its_parts() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    buildpack(&world, "parts/a", "exit 100", "exit 0");
    buildpack(&world, "parts/b", TAKE_ALL, "echo built by b");
    let order = |id: &str| {
        format!("[[order]]\n[[order.group]]\nid = \"test/parts/{id}\"\nversion = \"1.0.0\"\n")
    };
    let descriptor = format!(
        "api = \"0.10\"\n[buildpack]\nid = \"test/all\"\nversion = \"1\"\n{}{}",
        order("a"),
        order("b")
    );
    world.write("all/buildpack.toml", descriptor);
    let package = "[buildpack]\nuri = \".\"\n[[dependencies]]\nuri = \"../parts/a\"\n[[dependencies]]\nuri = \"../parts/b\"\n";
    world.write("all/package.toml", package);
    world.slug(&arguments(&["all"])).code(0).says("built by b");
}

#[test]
fn rule_8_a_buildpack_for_another_system_is_not_run_and_both_are_named() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    let target = "[[targets]]\nos = \"linux\"\narch = \"s390x\"\n";
    let descriptor =
        format!("api = \"0.10\"\n[buildpack]\nid = \"test/one\"\nversion = \"1\"\n{target}");
    buildpack_of(
        &world,
        "one",
        &descriptor,
        "echo was run >&2; exit 1",
        TAKE_ALL,
    );
    world
        .slug(&arguments(&["one"]))
        .code(21)
        .says("linux/s390x")
        .says_not("was run");
}

#[test]
fn rules_35_to_37_processes_are_those_of_all_buildpacks() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    let process = |kind: &str, command: &str, more: &str| {
        format!(
            "printf '[[processes]]\\ntype = \"{kind}\"\\ncommand = [\"{command}\"]\\n{more}' > \"$1/launch.toml\""
        )
    };
    buildpack(
        &world,
        "one",
        TAKE_ALL,
        &process("web", "one", "default = true\\n"),
    );
    buildpack(&world, "two", TAKE_ALL, &process("web", "two", ""));
    let built = build(&world, &["one", "two"]);
    assert_eq!(built["processes"][0]["command"][0], "two");
    assert_eq!(built["processes"][0]["default"], false);
    assert_eq!(built["warnings"].as_array().unwrap().len(), 1, "{built}");
    let old =
        "api = \"0.8\"\n[buildpack]\nid = \"test/old\"\nversion = \"1\"\n[[stacks]]\nid = \"*\"\n";
    let text = r#"printf '[[processes]]\ntype = "web"\ncommand = "a b"\n' > "$1/launch.toml""#;
    buildpack_of(&world, "old", old, TAKE_ALL, text);
    assert_eq!(build(&world, &["old"])["processes"][0]["command"][0], "a b");
    buildpack(&world, "wrong", TAKE_ALL, text);
    world
        .slug(&arguments(&["wrong"]))
        .code(1)
        .says("launch.toml`, line 3, column 11");
}

#[test]
fn rule_21_what_stands_before_and_after_each_group_is_not_added_to_one_that_has_it() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    for name in ["before", "app-own", "after"] {
        buildpack(&world, name, TAKE_ALL, &format!("echo ran {name}"));
    }
    let wrapped = |named: &[&str]| {
        let arguments = [
            &arguments(named)[..],
            &["--pre", "before", "--post", "after"],
        ]
        .concat();
        let stderr = world.slug(&arguments).code(0).stderr();
        let ran = stderr.lines().filter_map(|line| line.strip_prefix("ran "));
        ran.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(wrapped(&["app-own"]), ["before", "app-own", "after"]);
    assert_eq!(
        wrapped(&["after", "app-own"]),
        ["before", "after", "app-own"]
    );
}

#[test]
fn rule_20_image_extensions_are_refused_because_there_is_no_image_to_extend() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    buildpack(&world, "one", TAKE_ALL, "exit 0");
    let group = "[[order]]\n[[order.group]]\nid = \"test/one\"\n[[order-extensions]]\n[[order-extensions.group]]\nid = \"test/more\"\n";
    world.write("order.toml", group);
    let ordered = ["build", "app", "--order", "order.toml"];
    let run = world.slug(&ordered);
    run.says("order.toml`, line 4").says("image extensions");
    assert_ne!(run.exit(), 0);
    world.write("more/extension.toml", "api = \"0.10\"\n");
    let run = world.slug(&arguments(&["more"]));
    run.says("it is an image extension");
    assert_ne!(run.exit(), 0);
}
