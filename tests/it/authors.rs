//! What those who write buildpacks use: `slug buildpack`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use expect_test::expect;

use crate::support::buildpack::{TAKE_ALL, build, buildpack};
use crate::support::world::World;

/// Runs the test as both kinds of user.
fn as_both(test: impl Fn(&World)) {
    for world in [World::new(), World::unprivileged()] {
        test(&world);
    }
}

#[test]
fn a_new_buildpack_passes_its_own_lint_and_tests() {
    as_both(|world| {
        let made = world.slug(&["buildpack", "new", "acme/hello"]);
        assert_eq!(made.ok(), "hello");
        world
            .slug(&["buildpack", "lint", "hello"])
            .code(0)
            .says("nothing is wrong");
        let tested = world.slug(&["buildpack", "test", "hello"]);
        assert_eq!(tested.ok(), "2 fixtures, all passed");
        tested.says("declines: ok").says("greets: ok");
    });
}

#[test]
fn a_new_buildpack_needs_an_empty_folder_and_an_id() {
    let world = World::new();
    world.write("hello/file", "");
    world
        .slug(&["buildpack", "new", "acme/hello"])
        .code(2)
        .says("not an empty folder");
    world.slug(&["buildpack", "new", "a_b"]).code(2).says("a_b");
    assert_eq!(fs::read_dir(world.path("hello")).unwrap().count(), 1);
    world
        .slug(&["buildpack", "new", "acme/hello", "other"])
        .code(0);
    assert!(world.path("other/bin/build").is_file());
}

/// Its programs are made by `cargo`; what is not compiled here is tried by hand.
#[test]
fn a_new_buildpack_in_rust_passes_its_own_lint() {
    let world = World::new();
    world
        .slug(&["buildpack", "new", "acme/hello", "--language", "rust"])
        .code(0);
    world
        .slug(&["buildpack", "lint", "hello"])
        .code(0)
        .says("bin/build is not there yet")
        .says("2 warnings");
    let manifest = fs::read_to_string(world.path("hello/Cargo.toml")).unwrap();
    assert!(
        manifest.contains("name = \"hello-buildpack\""),
        "{manifest}"
    );
    let mode = fs::metadata(world.path("hello/package")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o111, 0o111);
}

#[test]
fn lint_shows_place_rule_and_fix_and_fails_for_errors_alone() {
    let world = World::new();
    buildpack(&world, "one", TAKE_ALL, "exit 0");
    world.write(
        "one/buildpack.toml",
        "api = \"0.10\"\n[buildpack]\nid = \"test/one\"\nversion = \"1\"\nhome-page = \"x\"\n",
    );
    let linted = world.slug(&["buildpack", "lint", "one"]);
    linted.code(1).stdout_is(&expect![[r#"
        buildpack.toml: warning: no `[[targets]]` say what it runs on: any Linux is taken for granted [rule 6, Targets]
          fix: add `[[targets]]` with `os = "linux"`, and `arch` where it matters
        buildpack.toml:4:11: error: the version `1` is not of the form X.Y.Z [rule 3, buildpack.toml (TOML)]
            version = "1"
                      ^
          fix: write three numbers without leading zeros, such as `0.1.0`
        buildpack.toml:5:1: warning: `home-page` is no key of `[buildpack]`: platforms ignore it [rule 4, buildpack.toml (TOML)]
            home-page = "x"
            ^
          fix: write `homepage`, if that is meant
    "#]]);
    let json = world.slug(&["buildpack", "lint", "--json", "one"]);
    let json: serde_json::Value = serde_json::from_str(&json.code(1).stdout()).unwrap();
    let finding = &json["findings"][1];
    assert_eq!(
        (&finding["line"], &finding["column"], &finding["rule"]),
        (&4.into(), &11.into(), &3.into())
    );
    world.slug(&["buildpack", "lint", "nowhere"]).code(2);
    world.write(
        "one/buildpack.toml",
        "api = \"0.10\"\n[buildpack]\nid = \"test/one\"\nversion = \"1.0.0\"\n",
    );
    world
        .slug(&["buildpack", "lint", "one"])
        .code(0)
        .says("1 warning");
}

/// A layer of each type, an environment, a process, a label, words.
const MAKES: &str = r#"
    mkdir -p "$1/tool/bin" "$1/tool/env.build" "$1/tool/env.launch/web" "$1/tool/lib/a/b"
    echo "made of $WORD"
    touch "$1/tool/bin/tool" "$1/tool/lib/a/b/c.so"
    printf v > "$1/tool/env.build/V"; printf w > "$1/tool/env.launch/web/W"
    printf '[types]\nlaunch = true\nbuild = true\n[metadata]\nkey = "1"\n' > "$1/tool.toml"
    printf '[[labels]]\nkey = "k"\nvalue = "v"\n[[processes]]\ntype = "web"\ncommand = ["tool"]\n' > "$1/launch.toml""#;

#[test]
fn a_fixture_is_compared_in_all_that_its_file_speaks_of() {
    as_both(|world| {
        let plan = r#"[ -f take ] || exit 100; printf '[[provides]]\nname = "tool"\n' > "$2""#;
        buildpack(world, "one", plan, MAKES);
        world.write("one/tests/takes/app/take", "");
        let good = r#"
            output = ["made of cloth"]
            given = { env = { WORD = "cloth" }, requires = [{ name = "tool", metadata = { version = "1" } }] }
            plan = { provides = ["tool"] }
            processes = { web = { command = ["tool"] } }
            labels = { k = "v" }
            second = { kept = [] }
            [layers.tool]
            types = ["build", "launch"]
            files = ["bin/tool", "lib/**/*.so", "!share/**"]
            metadata = { key = "1" }
            [env]
            build = { PATH = "/layers/test_one/tool/bin:$PATH", LD_LIBRARY_PATH = "/layers/test_one/tool/lib", LIBRARY_PATH = "/layers/test_one/tool/lib", V = "v" }
            launch = { PATH = "/layers/test_one/tool/bin:$PATH", LD_LIBRARY_PATH = "/layers/test_one/tool/lib" }
            [env.process.web]
            LD_LIBRARY_PATH = "/layers/test_one/tool/lib"
            PATH = "/layers/test_one/tool/bin:$PATH"
            W = "w"
            "#;
        world.write("one/tests/takes/expect.toml", good);
        world.slug(&["buildpack", "test", "one"]).code(0);
        let wrong = good
            .replace("made of cloth", "made of silk")
            .replace(
                "[\"tool\"] }\n            processes",
                "[\"tools\"] }\n            processes",
            )
            .replace("k = \"v\"", "k = \"w\", l = \"v\"")
            .replace("[\"build\", \"launch\"]", "[\"cache\"]")
            .replace("!share/**", "!bin/*\", \"share/**")
            .replace("V = \"v\"", "V = \"u\"")
            .replace(
                "web = { command = [\"tool\"] }",
                "web = { command = [\"tool\"], default = true }, worker = {}",
            )
            .replace("W = \"w\"", "")
            .replace("key = \"1\"", "key = \"2\"")
            .replace("kept = []", "kept = [\"tool\"]");
        world.write("one/tests/takes/expect.toml", wrong);
        let failed = world.slug(&["buildpack", "test", "one"]);
        failed.code(1).stderr_is(&expect![[r#"
            takes: failed
              output
                - "made of silk"
                (it did not say that)
              plan
                - { provides = ["tools"] }
                + { provides = ["tool"] }
              layers.tool.types
                - ["cache"]
                + ["launch", "build"]
              layers.tool.metadata
                - { key = "2" }
                + { key = "1" }
              layers.tool.files
                - "!bin/*"
                + "bin/tool"
              layers.tool.files
                - "share/**"
              processes.worker
                - { command = [] }
              processes.web
                - { command = ["tool"], default = true }
                + { command = ["tool"] }
              labels.l
                - "v"
              labels.k
                - "w"
                + "v"
              env.build.V
                - "u"
                + "v"
              env.process.web
                - { LD_LIBRARY_PATH = "/layers/test_one/tool/lib", PATH = "/layers/test_one/tool/bin:$PATH" }
                + { LD_LIBRARY_PATH = "/layers/test_one/tool/lib", PATH = "/layers/test_one/tool/bin:$PATH", W = "w" }
              second.kept
                - ["tool"]
                + []
              what it said:
                made of cloth
        "#]]);
    });
}

#[test]
fn what_is_found_can_be_written_and_then_passes() {
    let world = World::new();
    buildpack(&world, "one", "[ -f take ] || exit 100", MAKES);
    world.write("one/tests/takes/app/take", "");
    world.write("one/tests/leaves/app/other", "");
    world.write(
        "one/tests/leaves/expect.toml",
        "# Not ours.\ndetect = \"error\"\n",
    );
    world
        .slug(&["buildpack", "test", "one"])
        .code(1)
        .says("no expect.toml");
    let arguments = ["buildpack", "test", "--update", "one"];
    // The build fails: the script wants a variable. What is found is that.
    world.slug(&arguments).code(0).says("takes: written");
    let read = |name: &str| {
        fs::read_to_string(world.path(format!("one/tests/{name}/expect.toml"))).unwrap()
    };
    expect![[r#"
        build = "error"
    "#]]
    .assert_eq(&read("takes"));
    expect![[r##"
        # Not ours.

        detect = "fail"
    "##]]
    .assert_eq(&read("leaves"));
    world.write(
        "one/tests/takes/expect.toml",
        "[given.env]\nWORD = \"x\"\n[layers]\n[second]\n",
    );
    world.slug(&arguments).code(0);
    expect![[r#"
        [given.env]
        WORD = "x"

        [layers.tool]
        types = ["launch", "build"]
        files = ["bin/tool", "env.build/V", "env.launch/web/W", "lib/a/b/c.so"]

        [layers.tool.metadata]
        key = "1"

        [second]
    "#]]
    .assert_eq(&read("takes"));
    world.slug(&["buildpack", "test", "one", "takes"]).code(0);
    world.slug(&arguments).code(0).says_not("written");
}

#[test]
fn what_a_buildpack_writes_against_the_rules_fails_its_fixture() {
    let world = World::new();
    let build = r#"mkdir "$1/a"; printf '[types]\nlaunch = true\n' > "$1/a.toml"; printf '[[process]]\n' > "$1/launch.toml"; touch "$1/launch.sbom.cdx.json""#;
    buildpack(&world, "one", TAKE_ALL, "exit 0");
    world.write("one/tests/any/app/file", "");
    world.write("one/tests/any/expect.toml", "");
    world.slug(&["buildpack", "test", "one"]).code(0);
    buildpack(&world, "one", TAKE_ALL, build);
    world
        .slug(&["buildpack", "test", "one"])
        .code(1)
        .says("sbom-formats");
    let top = r#"echo 'launch = true' > "$1/a.toml""#;
    buildpack(&world, "one", TAKE_ALL, top);
    world
        .slug(&["buildpack", "test", "one"])
        .code(1)
        .says("[types]");
}

#[test]
fn a_wrong_fixture_is_told_with_its_place() {
    let world = World::new();
    buildpack(&world, "one", TAKE_ALL, "exit 0");
    world
        .slug(&["buildpack", "test", "one"])
        .code(2)
        .says("no fixtures");
    world.write("one/tests/any/app/file", "");
    world.write(
        "one/tests/any/expect.toml",
        "detect = \"pass\"\nlayer = {}\n",
    );
    world
        .slug(&["buildpack", "test", "one"])
        .code(1)
        .says("line 2, column 1")
        .says("unknown field `layer`");
    world
        .slug(&["buildpack", "test", "one", "other"])
        .code(2)
        .says("there are any");
    // Nobody requires what it provides: the fixture must say so.
    buildpack(
        &world,
        "one",
        r#"printf '[[provides]]\nname = "x"\n' > "$2""#,
        "exit 0",
    );
    world.write("one/tests/any/expect.toml", "");
    world
        .slug(&["buildpack", "test", "one"])
        .code(1)
        .says("`x`");
    world.write(
        "one/tests/any/expect.toml",
        "given.requires = [{ name = \"x\" }]\n",
    );
    world.slug(&["buildpack", "test", "one"]).code(0);
}

#[test]
fn the_second_build_sees_other_files_and_what_the_first_one_cached() {
    as_both(|world| {
        let build = r#"
            if [ "$(cat "$1/a/version" 2>/dev/null)" != "$(cat version)" ]; then
                rm -rf "$1/a"; mkdir "$1/a"; cp version "$1/a/version"; echo made
            fi
            printf '[types]\ncache = true\n' > "$1/a.toml""#;
        buildpack(world, "one", TAKE_ALL, build);
        world.write("one/tests/same/app/version", "1");
        world.write("one/tests/same/expect.toml", "[second]\nkept = [\"a\"]\n");
        world.write("one/tests/newer/app/version", "1");
        world.write("one/tests/newer/second/version", "2");
        world.write(
            "one/tests/newer/expect.toml",
            "[second]\nkept = []\noutput = [\"made\"]\n",
        );
        world.slug(&["buildpack", "test", "one"]).code(0);
    });
}

#[test]
fn a_program_is_tried_out_on_one_app_without_the_buildpacks_around_it() {
    as_both(|world| {
        world.app("app", &[("take", "")]);
        let plan = r#"[ -f take ] || exit 100; echo looking; printf '[[provides]]\nname = "tool"\n[[requires]]\nname = "jdk"\n' > "$2""#;
        buildpack(world, "one", plan, MAKES);
        let run = |program: &str, more: &[&str]| {
            let all = [&["buildpack", "run", program, "one", "--on", "app"], more].concat();
            world.slug(&all)
        };
        let detected = run("detect", &[]);
        let plan = "[plan]\nprovides = [\"tool\"]\n\n[[plan.requires]]\nname = \"jdk\"";
        assert_eq!(detected.ok(), plan);
        detected.says("looking");
        let built = run("build", &["--env", "WORD=wood"]);
        assert!(built.ok().contains("[layers.tool]"), "{}", built.story());
        built
            .says("made of wood")
            .says("nobody provides `jdk`")
            .says("nobody requires `tool`");
        run("build", &[]).code(51).says("WORD");
        fs::remove_file(world.path("app/take")).unwrap();
        world.write("app/other", "");
        run("detect", &[]).code(20);
        run("build", &[]).code(20);
    });
}

#[test]
fn a_shell_has_the_mounts_and_the_environment_of_the_program() {
    as_both(|world| {
        world.app("app", &[("file", "of the app")]);
        let build = r#"mkdir "$1/half"; echo made > "$1/half/file"; exit 3"#;
        buildpack(world, "one", "exit 1", build);
        let run = |program: &str, more: &str, typed: &str| {
            world
                .invoke(&["buildpack", "run", program, "one", "--on", "app", more])
                .stdin(typed.as_bytes())
                .run()
        };
        let typed = "echo \"in $(pwd): $(cat file)\"; cat $CNB_LAYERS_DIR/half/file; echo $CNB_BUILDPACK_DIR; exit 9\n";
        let detected = run("detect", "--shell", typed);
        detected
            .code(21)
            .says("it ended with exit code 1")
            .says("in /workspace: of the app")
            .says("/cnb/buildpacks/test_one/1.0.0");
        buildpack(world, "one", TAKE_ALL, build);
        run("build", "--shell", typed)
            .code(51)
            .says("in /workspace: of the app\nmade\n")
            .says("/cnb/buildpacks/test_one/1.0.0/bin/build /layers/test_one /platform");
        run("build", "--no-shell", typed)
            .code(51)
            .says_not("in /workspace");
    });
}

#[test]
fn an_exported_built_in_is_a_buildpack_like_any_other() {
    as_both(|world| {
        world.app("app", &[("Procfile", "web: sh run.sh\n"), ("run.sh", "")]);
        world
            .slug(&["buildpack", "export", "procfile", "out"])
            .code(0);
        world
            .slug(&["buildpack", "lint", "out"])
            .code(0)
            .says("nothing is wrong");
        let built = build(world, &["out"]);
        assert_eq!(built["processes"][0]["type"], "web");
        // Without the platform's own, as another platform runs it.
        let plan = world.write("plan.toml", "");
        fs::create_dir(world.path("platform")).unwrap();
        let detect = world.path("out/bin/detect");
        let detected = world
            .program(
                detect.to_str().unwrap(),
                &[
                    world.path("platform").to_str().unwrap(),
                    plan.to_str().unwrap(),
                ],
            )
            .dir(world.path("app"))
            .run();
        detected.code(0);
        assert!(fs::read_to_string(&plan).unwrap().contains("procfile"));
        world
            .slug(&["buildpack", "export", "procfile", "out"])
            .code(2)
            .says("not an empty folder");
        world
            .slug(&["buildpack", "export", "cobol", "other"])
            .code(2)
            .says("slug/python");
    });
}

#[test]
fn an_exported_buildpackage_is_built_with() {
    let world = World::new();
    world.app("app", &[("Procfile", "web: sh run.sh\n"), ("run.sh", "")]);
    world
        .slug(&["buildpack", "export", "slug/procfile", "procfile.cnb"])
        .code(0);
    let built = build(&world, &["procfile.cnb"]);
    assert_eq!(built["processes"][0]["type"], "web");
}
