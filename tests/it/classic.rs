//! Heroku's classic buildpacks, as their scripts see a build and a run: each
//! test as the user who runs it and as one without privilege.

use std::process::Command;

use crate::support::buildpack::{
    TAKE_ALL, arguments, build, buildpack, buildpack_of, classic, layers,
};
use crate::support::world::World;

/// A pack that fits every app and says so.
const DETECT: (&str, &str) = ("detect", r"printf 'A\033ny\nmore\n'");

fn as_both(test: impl Fn(&World)) {
    for world in [World::new(), World::unprivileged()] {
        world.app("app", &[("file", "one\n")]);
        test(&world);
    }
}

/// Builds and releases the folder `app` with these.
#[track_caller]
fn release(world: &World, buildpacks: &[&str]) {
    let built = build(world, buildpacks);
    world
        .slug(&["release", built["slug"].as_str().unwrap()])
        .ok();
}

#[test]
fn a_pack_gets_its_three_folders_its_stack_and_no_config_in_its_environment() {
    as_both(|world| {
        let show = r#"
            echo "args=$*"; echo "cwd=$PWD"; echo "home=$HOME"; echo "zero=$0"; env | sort > "$2/env"
            [ "$(cat "$3/GREETING"; echo .)" = "$(printf 'a b\n.')" ]
            for name in GREETING PATH_LIKE CNB_BUILDPACK_DIR; do [ -z "${!name+set}" ]; done
            case $STACK in heroku-2[0-9]) ;; *) exit 3 ;; esac
            curl --version > /dev/null; : > "$(mktemp)"; : > "$(dirname "$0")/../written""#;
        classic(world, "pack", &[DETECT, ("compile", show)]);
        world.write("vars/GREETING", "a b\n");
        world.write("vars/PATH_LIKE", "/x");
        let mut arguments = arguments(&["pack"]);
        arguments.extend(["--platform-env", "vars"]);
        let run = world.slug(&arguments);
        run.code(0)
            .says("-----> Any app detected\n")
            .says("args=/app /layers/slug_classic/cache /platform/env\n")
            .says("cwd=/app\nhome=/app\n");
        assert!(!world.path("pack/written").exists());
        let other = "[ \"$STACK\" = heroku-20 ]";
        classic(world, "pack", &[("compile", other)]);
        arguments.extend(["--env", "STACK=heroku-20"]);
        world.slug(&arguments).code(0);
    });
}

#[test]
fn packs_run_in_their_order_and_each_finds_what_those_before_it_made_and_exported() {
    as_both(|world| {
        let compile = r#"
            echo made > "$1/by-first"; echo cached > "$2/by-first"
            printf 'export FIRST="from the first"\nPLAIN=1\nexport PATH="$PWD/tools:$PATH"\n[ -d /nonexistent ] && export NEVER=1' > "$(dirname "$0")/../export"
            mkdir -p "$(dirname "$0")/../tools"
            printf '#!/bin/sh\necho tool of the first' > "$(dirname "$0")/../tools/tool"
            chmod +x "$(dirname "$0")/../tools/tool""#;
        let types = "printf 'default_process_types:\\n  web: first\\n  clock: first\\n'";
        classic(
            world,
            "first",
            &[DETECT, ("compile", compile), ("release", types)],
        );
        let compile =
            r#"[ "$FIRST" = "from the first" ]; [ -z "${PLAIN+set}" ]; [ -f "$2/by-first" ]; tool"#;
        let types = r#"[ -z "${FIRST+set}" ]; [ -f "$1/by-first" ]; printf -- '---\naddons: [redis]\ndefault_process_types:\n  web: second\n  rake: second'"#;
        let second = [
            ("detect", "[ -f \"$1/by-first\" ] && echo Second"),
            ("compile", compile),
            ("release", types),
        ];
        classic(world, "second", &second);
        world.write("app/Procfile", "worker: mine\nrake: mine\n");
        let run = world.slug(&arguments(&["first", "second"]));
        run.code(0)
            .says("-----> Second app detected\ntool of the first\n")
            .says("add-on `redis`");
        let types: Vec<String> = run.json()["built"]["processes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|process| {
                format!(
                    "{} {} {}",
                    process["type"], process["command"][0], process["default"]
                )
            })
            .collect();
        assert_eq!(
            types,
            [
                r#""rake" "mine" false"#,
                r#""web" "second" true"#,
                r#""worker" "mine" false"#
            ]
        );
        world
            .slug(&arguments(&["second", "first"]))
            .code(20)
            .says("no buildpack fits");
    });
}

#[test]
fn the_cache_folder_is_kept_and_a_failed_build_leaves_it_as_it_was() {
    as_both(|world| {
        let compile = r#"
            echo "before=$(cat "$2/count" 2>/dev/null || echo none)"
            echo "$(($(cat "$2/count" 2>/dev/null || echo 0) + 1))" > "$2/count"
            if [ -f "$1/fail" ]; then exit 3; fi"#;
        classic(world, "pack", &[DETECT, ("compile", compile)]);
        world
            .slug(&arguments(&["pack"]))
            .code(0)
            .says("before=none");
        world.slug(&arguments(&["pack"])).code(0).says("before=1");
        world.write("app/fail", "");
        world.slug(&arguments(&["pack"])).code(51).says("before=2");
        std::fs::remove_file(world.path("app/fail")).unwrap();
        world.slug(&arguments(&["pack"])).code(0).says("before=2");
    });
}

#[test]
fn a_rebuild_that_changes_nothing_keeps_every_layer() {
    let world = World::new();
    world.app("app", &[("file", "one\n")]);
    let compile = r#"echo x > "$2/file.tmp"; cmp -s "$2/file.tmp" "$2/file" || cp "$2/file.tmp" "$2/file"; rm "$2/file.tmp""#;
    classic(&world, "pack", &[DETECT, ("compile", compile)]);
    build(&world, &["pack"]);
    let kept = layers(&build(&world, &["pack"]));
    assert_eq!(kept[1..], ["profile: kept", "app: kept"]);
}

#[test]
fn profiles_are_sourced_after_the_config_vars_and_paths_that_were_baked_in_are_true() {
    as_both(|world| {
        let compile = r#"
            mkdir -p "$1/.heroku/bin" "$1/.profile.d"
            printf '#!%s/.heroku/bin/interpreter\nthe script\n' "$1" > "$1/.heroku/bin/script"
            printf '#!/bin/sh\necho "$0 reads $1"\n' > "$1/.heroku/bin/interpreter"
            chmod +x "$1/.heroku/bin/"*
            echo 'export PATH="$HOME/.heroku/bin:$PATH" SEEN="$GREETING"' > "$1/.profile.d/a.sh"
            echo 'export ORDER="$SEEN, profile.d"' > "$1/.profile.d/b.sh"
            echo 'exit 9' > "$1/.profile.d/not-a-script""#;
        let types = "echo 'default_process_types: {web: \"script; echo \\\"$ORDER  in $PWD\\\"\"}'";
        let programs = [DETECT, ("compile", compile), ("release", types)];
        classic(world, "pack", &programs);
        world.write("app/.profile", "ORDER=\"$ORDER, .profile\"\n");
        world.slug(&["config", "set", "GREETING=hi"]).ok();
        release(world, &["pack"]);
        let expected = "/app/.heroku/bin/interpreter reads /app/.heroku/bin/script\nhi, profile.d, .profile  in /app";
        assert_eq!(world.slug(&["run", "web"]).ok(), expected);
        // A command of the user's has the same environment, and nothing of it is expanded.
        let run = world.slug(&["run", "--", "sh", "-c", "echo \"$ORDER $1\"", "sh", "$HOME"]);
        assert_eq!(run.ok(), "hi, profile.d, .profile $HOME");
        world.slug(&["run", "--", "no-such-program"]).code(127);
        world
            .slug(&["run", "--", "touch", "/app/new"])
            .code(1)
            .says("Read-only file system");
    });
}

#[test]
fn types_that_no_procfile_names_start_nothing_but_web() {
    let world = World::new();
    world.app(
        "app",
        &[
            ("Procfile", "worker: exec sleep 1000\n"),
            ("slug.toml", "[process.rake]\ngrace = \"1s\"\n"),
        ],
    );
    let types = "printf 'default_process_types:\\n  web: python3 -m http.server $PORT\\n  rake: exit 1\\n  console: exit 1\\n'";
    let programs = [DETECT, ("compile", "true"), ("release", types)];
    classic(&world, "pack", &programs);
    release(&world, &["pack"]);
    let up = world.up(&[]);
    assert!(up.get("/").ok().contains("Procfile"));
    world
        .slug(&["ps"])
        .code(0)
        .says("web.1")
        .says("worker.1")
        .says_not("rake.1")
        .says_not("console.1");
}

#[test]
fn old_config_vars_of_a_release_are_defaults() {
    let world = World::new();
    world.app("app", &[("Procfile", "web: true\n")]);
    let vars =
        "printf 'config_vars:\\n  WORKERS: 2\\n  NAME: packs\\n  PATH: \"tools:/usr/bin:/bin\"\\n'";
    let programs = [DETECT, ("compile", "true"), ("release", vars)];
    classic(&world, "pack", &programs);
    world.slug(&["config", "set", "NAME=mine"]).ok();
    release(&world, &["pack"]);
    let run = world.slug(&["run", "--", "sh", "-c", "echo $WORKERS $NAME $PATH"]);
    assert_eq!(run.ok(), "2 mine tools:/usr/bin:/bin");
}

#[test]
fn what_does_not_fit_or_fails_says_which_pack_and_why() {
    as_both(|world| {
        let first = [
            ("detect", "echo no such file >&2; exit 1"),
            ("compile", "exit 0"),
        ];
        classic(world, "declines", &first);
        classic(world, "fits", &[DETECT, ("compile", "true")]);
        world
            .slug(&arguments(&["declines"]))
            .code(20)
            .says("no buildpack fits");
        world
            .slug(&arguments(&["fits", "declines"]))
            .code(51)
            .says("no such file")
            .says("declines does not fit this app");
        let fails = [DETECT, ("compile", "echo the reason >&2; exit 3")];
        classic(world, "fails", &fails);
        world
            .slug(&arguments(&["fails"]))
            .code(51)
            .says("the reason\n")
            .says("`bin/compile` of fails failed (exit status: 3)");
        let wrong = [DETECT, ("compile", "true"), ("release", "echo 'web: [\"'")];
        classic(world, "wrong", &wrong);
        world
            .slug(&arguments(&["wrong"]))
            .code(51)
            .says("`bin/release` of wrong says cannot be read");
        let ends = [DETECT, ("compile", "echo 'exit 4' > \"${0%/*}/../export\"")];
        classic(world, "ends", &ends);
        world
            .slug(&arguments(&["ends"]))
            .code(51)
            .says("`export` that ends wrote ends the shell");
        world.write("app/Procfile", "web bin\n");
        world
            .slug(&arguments(&["fits"]))
            .code(51)
            .says("Procfile:1:");
    });
}

#[test]
fn cloud_native_buildpacks_may_stand_before_and_after_but_not_between() {
    as_both(|world| {
        let tool = r#"mkdir -p "$1/tool/env.build"; printf before > "$1/tool/env.build/BEFORE"; printf '[types]\nbuild = true\n' > "$1/tool.toml""#;
        buildpack(world, "before", TAKE_ALL, tool);
        let compile = r#"[ "$BEFORE" = before ]; printf 'export LINES="a\nb"' > "${0%/*}/../export"; echo made > "$1/made""#;
        classic(world, "pack", &[DETECT, ("compile", compile)]);
        let look = r#"[ "$(pwd)" = /app ]; [ "$LINES" = "$(printf 'a\nb')" ]; grep -q made made
            printf '[[processes]]\ntype = "web"\ncommand = ["sh", "-c", "pwd; echo $HOME"]\n' > "$1/launch.toml""#;
        buildpack(world, "after", TAKE_ALL, look);
        release(world, &["before", "pack", "after"]);
        assert_eq!(world.slug(&["run", "web"]).ok(), "/app\n/app");
        classic(world, "other", &[DETECT, ("compile", "true")]);
        world
            .slug(&arguments(&["pack", "before", "other"]))
            .code(1)
            .says("the classic buildpacks pack, other");
    });
}

#[test]
fn what_heroku_needs_not_be_an_executable_nor_without_a_descriptor() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    let pack = classic(&world, "pack", &[DETECT, ("compile", "echo compiled")]);
    world.write("pack/buildpack.toml", "[buildpack]\nname = \"Any\"\n");
    for program in ["detect", "compile"] {
        let path = pack.join("bin").join(program);
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
    }
    world.slug(&arguments(&["pack"])).code(0).says("compiled");
    // One that states a Buildpack API is no classic one, whatever else lies there.
    let descriptor = "api = \"0.10\"\n[buildpack]\nid = \"test/both\"\nversion = \"1\"\n";
    buildpack_of(&world, "both", descriptor, TAKE_ALL, "echo built");
    classic(&world, "both", &[("compile", "echo compiled")]);
    world
        .slug(&arguments(&["both"]))
        .code(0)
        .says("built")
        .says_not("compiled");
}

#[test]
fn a_pack_is_told_the_commit_of_the_source() {
    let world = World::new();
    let app = world.app("app", &[("file", "")]);
    let git = |arguments: &[&str]| {
        let ran = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@b", "-C"])
            .arg(&app)
            .args(arguments)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "one"]);
    let commit = git(&["rev-parse", "HEAD"]);
    let compile = "echo \"version=$SOURCE_VERSION\"; [ ! -e \"$3/SOURCE_VERSION\" ]";
    classic(&world, "pack", &[DETECT, ("compile", compile)]);
    world
        .slug(&arguments(&["pack"]))
        .code(0)
        .says(&format!("version={commit}"));
    let tells = "[ -z \"${SOURCE_VERSION+set}\" ]";
    buildpack(&world, "native", TAKE_ALL, tells);
    build(&world, &["native"]);
}

#[test]
fn slugs_of_both_kinds_follow_each_other_and_are_rolled_back_to() {
    let world = World::new();
    let serve = "exec python3 -m http.server $PORT";
    world.app(
        "app",
        &[
            ("Procfile", &format!("web: {serve}\n")),
            ("kind", "native\n"),
        ],
    );
    let compile = "echo classic > \"$1/kind\"";
    classic(&world, "pack", &[DETECT, ("compile", compile)]);
    release(&world, &["pack"]);
    let up = world.up(&[]);
    assert_eq!(up.get("/kind").ok(), "classic\n");
    release(&world, &["slug/procfile"]);
    assert_eq!(up.get("/kind").ok(), "native\n");
    world.slug(&["rollback", "v1"]).ok();
    assert_eq!(up.get("/kind").ok(), "classic\n");
    let changes = world.slug(&["diff", "v1", "v2"]).ok();
    assert!(
        changes.contains("/app/kind") && changes.contains("/workspace/kind"),
        "{changes}"
    );
}

#[test]
fn the_image_says_where_its_app_lies() {
    let world = World::new();
    world.app("app", &[("Procfile", "web: true\n")]);
    classic(&world, "pack", &[DETECT, ("compile", "true")]);
    let mut arguments = arguments(&["pack"]);
    arguments.extend(["-o", "made.slug"]);
    world.slug(&arguments).code(0);
    let archive = crate::support::oci::Archive::read(&world.path("made.slug"));
    let config = archive.config();
    assert_eq!(config["config"]["WorkingDir"], "/app");
    assert_eq!(config["config"]["Labels"]["slug.classic"], "pack");
}

#[test]
fn the_built_in_python_buildpack_runs_the_hooks_that_herokus_runs() {
    let world = World::new();
    let pre = "#!/bin/sh\nset -eu\necho \"pre in $PWD of $BUILD_DIR\"; echo flag > from-pre; test -d \"$ENV_DIR\"\n";
    // Without a line that names its interpreter, and without the mode of a program.
    let post = "[ -f from-pre ] && python -c 'import sys; print(\"post by\", sys.executable)' && echo 'web = 1' > made.py\n";
    world.app(
        "app",
        &[
            ("app.py", "print(1)\n"),
            ("Procfile", "web: cat made.py\n"),
            ("bin/pre_compile", pre),
            ("bin/post_compile", post),
        ],
    );
    let built = world.slug(&["build", "--json", "app"]);
    built
        .code(0)
        .says("pre in /workspace of /workspace")
        .says("post by /layers/slug_python/");
    let digest = built.json()["built"]["slug"].as_str().unwrap().to_owned();
    world.slug(&["release", &digest]).ok();
    assert_eq!(world.slug(&["run", "web"]).ok(), "web = 1");
    world.write("app/bin/post_compile", "echo the reason; exit 5\n");
    world
        .slug(&["build", "app"])
        .code(51)
        .says("the reason")
        .says("bin/post_compile failed (exit status: 5)");
}

#[test]
fn the_list_of_buildpacks_is_the_apps_own_unless_the_operator_names_others() {
    let world = World::new();
    for (name, word) in [
        ("one", "listed"),
        ("two", "of app.json"),
        ("named", "named"),
    ] {
        let compile = format!("echo built by {word}");
        classic(&world, name, &[DETECT, ("compile", &compile)]);
    }
    let (list, json) = ("../one\n", r#"{"buildpacks": [{"url": "../two"}]}"#);
    world.app("app", &[(".buildpacks", list), ("app.json", json)]);
    world
        .slug(&["build", "app"])
        .code(0)
        .says("built by listed")
        .says_not("app.json");
    world
        .slug(&arguments(&["named"]))
        .code(0)
        .says("built by named")
        .says_not("listed");
    let project = "[_]\nschema-version = \"0.2\"\n[[io.buildpacks.group]]\nuri = \"../named\"\n";
    world.write("app/project.toml", project);
    world
        .slug(&["build", "app"])
        .code(0)
        .says("built by named")
        .says_not("listed");
    std::fs::remove_file(world.path("app/project.toml")).unwrap();
    std::fs::remove_file(world.path("app/.buildpacks")).unwrap();
    world
        .slug(&["build", "app"])
        .code(0)
        .says("built by of app.json");
    // A name that cannot be followed is no matter where the operator names another.
    world.write("app/.buildpacks", "\nmars/create-react-app\n");
    world
        .slug(&["build", "app"])
        .code(1)
        .says(".buildpacks`, line 2, column 1: `mars/create-react-app` is a name of Heroku's list");
    world.slug(&arguments(&["named"])).code(0);
}

#[test]
fn env_of_app_json_is_the_config_contract_and_slug_toml_wins() {
    let world = World::new();
    let json = r#"{"env": {"SECRET_KEY": {"generator": "secret"}, "OPTIONAL": {"required": false}, "WORKERS": "2"}}"#;
    let toml = "[env.WORKERS]\nrequired = false\n";
    world.app(
        "app",
        &[
            ("app.json", json),
            ("slug.toml", toml),
            ("Procfile", "web: true\n"),
        ],
    );
    let built = world.slug(&["build", "--json", "app"]).json();
    let digest = built["built"]["slug"].as_str().unwrap();
    world
        .slug(&["release", digest])
        .code(3)
        .says("SECRET_KEY")
        .says_not("WORKERS")
        .says_not("OPTIONAL");
    world.slug(&["config", "set", "SECRET_KEY=x"]).ok();
    world.slug(&["release", digest]).ok();
}

#[test]
fn a_pack_of_a_git_repository_is_recorded_with_its_commit() {
    let world = World::new();
    world.app("app", &[("Procfile", "web: true\n")]);
    let pack = classic(
        &world,
        "pack",
        &[
            DETECT,
            ("compile", "[ ! -e \"${0%/*}/../.git\" ]; echo cloned"),
        ],
    );
    let git = |arguments: &[&str]| {
        let ran = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@b", "-C"])
            .arg(&pack)
            .args(arguments)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "one"]);
    let url = format!("git+file://{}", pack.display());
    let mut arguments = arguments(&[&url]);
    arguments.extend(["-o", "made.slug"]);
    world.slug(&arguments).code(0).says("cloned");
    let config = crate::support::oci::Archive::read(&world.path("made.slug")).config();
    let expected = format!("pack@{}", git(&["rev-parse", "HEAD"]));
    assert_eq!(config["config"]["Labels"]["slug.classic"], expected);
}
