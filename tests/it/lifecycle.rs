//! `slug` under the names of lifecycle's detector and builder, with the cases of lifecycle's own acceptance tests
//! (`acceptance/{detector,builder}_test.go` and their test data, typed anew).

use std::fs;

use crate::support::cnb::Cnb;

/// lifecycle's `simple_buildpack`.
const SIMPLE: &str = r#"cat >> "$2" <<EOL
[[provides]]
name = "some_requirement"
[[requires]]
name = "some_requirement"
[requires.metadata]
version = "some_version"     # Optional
some_metadata_key = "some_metadata_val" # Optional
EOL"#;

/// lifecycle's `always_detect_buildpack`.
const ALWAYS: &str = r#"echo ENV; env; echo "platform_path: $1"; echo "app_dir: $(pwd)""#;

/// lifecycle's `hello_world`.
const HELLO: &str = r#"set -eo pipefail
echo "CNB_APP_DIR: ${PWD}"; echo "PLATFORM_DIR: $2"; echo "LAYERS_DIR: $1"; echo "PLAN_PATH: $3"
echo "plan contents:"; cat "$3"; echo
env | grep ^CNB_ || true
cat > "$1/launch.toml" << EOL
[[processes]]
type = "hello"
command = ["echo world"]
args = ["arg1"]
EOL"#;

fn with_hello(api: &'static str) -> Cnb {
    let cnb = Cnb::new(api);
    cnb.buildpack("hello_world", "0.0.1", "0.10", &[("build", HELLO)]);
    cnb.write(
        "layers/group.toml",
        "[[group]]\napi = \"0.10\"\nid = \"hello_world\"\nversion = \"0.0.1\"",
    );
    let plan = "[[entries]]\n[[entries.providers]]\nid = \"hello_world\"\nversion = \"0.0.1\"\n[[entries.requires]]\nname = \"subset_content\"\n[entries.requires.metadata]\n# arbitrary\n";
    cnb.write("layers/plan.toml", plan);
    cnb
}

#[test]
fn the_platform_api_must_be_said_and_be_known() {
    let cnb = Cnb::new("0.12");
    let run = |api: &str| {
        cnb.program("cnb/lifecycle/detector", &[])
            .env("CNB_PLATFORM_API", api)
            .run()
    };
    run("").code(11).says("please set 'CNB_PLATFORM_API'");
    run("0.2")
        .code(11)
        .says("platform API version '0.2' is incompatible");
    run("nonsense")
        .code(11)
        .says("parse platform API 'nonsense'");
}

#[test]
fn arguments_and_unknown_flags_are_refused() {
    let cnb = Cnb::new("0.12");
    let expected = "failed to parse arguments: received unexpected arguments";
    cnb.detect(&["some-arg"]).code(3).says(expected);
    cnb.build(&["some-arg"]).code(3).says(expected);
    let expected = "failed to parse arguments: received unexpected Args";
    cnb.restore(&["some-arg"]).code(3).says(expected);
    cnb.detect(&["-nonsense"])
        .code(2)
        .says("-nonsense")
        .says("-order VALUE");
    cnb.detect(&["-log-level=loud"])
        .code(3)
        .says("failed to parse log level");
}

#[test]
fn root_is_refused_where_programs_of_buildpacks_run() {
    if !crate::support::tools::is_root() {
        return; // only root can be root
    }
    let world = crate::support::world::World::new();
    for (phase, code) in [("detect", 1), ("build", 1)] {
        let run = world
            .invoke(&["cnb", phase])
            .env("CNB_PLATFORM_API", "0.12")
            .run();
        run.code(code)
            .says(&format!("failed to {phase}: refusing to run as root"));
    }
}

#[test]
fn an_order_that_is_not_there_is_named() {
    let cnb = Cnb::new("0.12");
    cnb.detect(&["-order=/custom/order.toml"]).code(1).says(
        "failed to initialize detector: reading order: failed to read order file: open /custom/order.toml: no such file or directory",
    );
}

#[test]
fn rule_14_nobody_passing_is_20_and_all_that_was_said_is_shown() {
    let cnb = Cnb::new("0.12");
    let detect = "echo 'Opted out of detection'\nexit 100";
    cnb.buildpack(
        "fail_detect_buildpack",
        "some_version",
        "0.9",
        &[("detect", detect)],
    );
    cnb.order(&["fail_detect_buildpack@some_version"]);
    let detected = cnb.detect(&[]);
    detected
        .code(20)
        .says("No buildpack groups passed detection.");
    detected.says("======== Output: fail_detect_buildpack@some_version ========\nOpted out of detection\n======== Results ========\nfail: fail_detect_buildpack@some_version");
    cnb.buildpack(
        "fail_detect_buildpack",
        "some_version",
        "0.9",
        &[("detect", "exit 7")],
    );
    cnb.detect(&[])
        .code(21)
        .says("err:  fail_detect_buildpack@some_version (7)");
}

#[test]
fn rule_27_group_and_plan_are_written_where_they_are_looked_for() {
    let cnb = Cnb::new("0.12");
    cnb.buildpack(
        "simple_buildpack",
        "simple_buildpack_version",
        "0.9",
        &[("detect", SIMPLE)],
    );
    cnb.order(&["simple_buildpack@simple_buildpack_version"]);
    let detected = cnb.detect(&[]);
    detected
        .code(0)
        .says("simple_buildpack simple_buildpack_version");
    detected.says_not("======== Results ========");
    assert_eq!(
        cnb.read("layers/group.toml"),
        "[[group]]\nid = \"simple_buildpack\"\nversion = \"simple_buildpack_version\"\napi = \"0.9\"\n"
    );
    assert_eq!(
        cnb.read("layers/plan.toml"),
        "[[entries]]\n\n[[entries.providers]]\nid = \"simple_buildpack\"\nversion = \"simple_buildpack_version\"\n\n[[entries.requires]]\nname = \"some_requirement\"\n\n[entries.requires.metadata]\nversion = \"some_version\"\nsome_metadata_key = \"some_metadata_val\"\n"
    );
}

#[test]
fn variables_name_the_folders_and_the_files() {
    let cnb = Cnb::new("0.12");
    let (id, version) = ("always_detect_buildpack", "always_detect_buildpack_version");
    cnb.buildpack_in(
        "cnb/custom_buildpacks",
        id,
        version,
        "0.10",
        &[("detect", ALWAYS)],
    );
    cnb.order(&["always_detect_buildpack@always_detect_buildpack_version"]);
    cnb.write("custom_workspace/file", "");
    let detected = cnb
        .program("cnb/lifecycle/detector", &["-log-level=debug"])
        .env(
            "CNB_BUILDPACKS_DIR",
            cnb.world.path("cnb/custom_buildpacks"),
        )
        .env("CNB_APP_DIR", "custom_workspace")
        .env("CNB_GROUP_PATH", "./layers/custom_group.toml")
        .env("CNB_PLAN_PATH", "./layers/custom_plan.toml")
        .env("CNB_PLATFORM_DIR", "/custom_platform")
        .env("SECRET", "of the platform")
        .run();
    detected
        .code(0)
        .says("platform_path: /custom_platform")
        .says_not("SECRET");
    detected.says(&format!(
        "app_dir: {}",
        cnb.world.path("custom_workspace").display()
    ));
    assert!(
        cnb.read("layers/custom_group.toml")
            .contains("always_detect_buildpack_version")
    );
    assert_eq!(cnb.read("layers/custom_plan.toml"), "");
}

#[test]
fn rule_1_an_unsupported_buildpack_api_is_12() {
    let cnb = Cnb::new("0.12");
    cnb.buildpack("bad_api", "bad_api_version", "0.1", &[("detect", "exit 0")]);
    cnb.order(&["bad_api@bad_api_version"]);
    let expected = "buildpack API version '0.1' is incompatible with the lifecycle";
    cnb.detect(&[]).code(12).says(expected);
    let cnb = with_hello("0.12");
    let group = "[[group]]\napi = \"0.2wrong\"\nid = \"hello_world\"\nversion = \"0.0.1\"\n";
    cnb.write("layers/group.toml", group);
    let expected = "parse buildpack API '0.2wrong' for buildpack 'hello_world@0.0.1'";
    cnb.build(&[]).code(12).says(expected);
}

#[test]
fn a_version_does_not_lead_out_of_the_buildpacks() {
    let cnb = Cnb::new("0.12");
    cnb.buildpack_in("elsewhere", "a", "1", "0.10", &[("detect", "echo ran")]);
    fs::create_dir_all(cnb.world.path("cnb/buildpacks/a")).unwrap();
    for version in ["../../../elsewhere/a/1", ".."] {
        cnb.order(&[&format!("a@{version}")]);
        let detected = cnb.detect(&["-log-level=debug"]);
        detected.code(1).says("no name of a folder").says_not("ran");
    }
}

#[test]
fn a_detect_that_is_not_there_or_ends_by_a_signal_is_an_error() {
    let cnb = Cnb::new("0.12");
    cnb.buildpack("none", "1", "0.10", &[]);
    cnb.order(&["none@1"]);
    cnb.detect(&[])
        .code(21)
        .says("err:  none@1")
        .says("No such file");
    cnb.buildpack("killed", "1", "0.10", &[("detect", "kill -9 $$")]);
    cnb.order(&["none@1?", "killed@1"]);
    cnb.detect(&[]).code(21).says("err:  killed@1 (137)");
}

#[test]
fn rule_20_image_extensions_are_refused_with_the_reason() {
    let cnb = Cnb::new("0.12");
    cnb.buildpack("a", "1", "0.10", &[("detect", "exit 0")]);
    cnb.order(&["a@1"]);
    let order = cnb.read("layers/order.toml");
    let extensions =
        "[[order-extensions]]\n[[order-extensions.group]]\nid = \"e\"\nversion = \"1\"\n";
    cnb.write("layers/order.toml", order + extensions);
    cnb.detect(&[])
        .code(1)
        .says("image extensions")
        .says("Dockerfiles");
}

#[test]
fn rule_21_system_buildpacks_count_since_platform_api_0_15() {
    let system = "[[system.pre.buildpacks]]\nid = \"first\"\nversion = \"1\"\n[[system.post.buildpacks]]\nid = \"last\"\nversion = \"1\"\n";
    for (api, expected) in [
        ("0.14", vec!["mid"]),
        ("0.15", vec!["first", "mid", "last"]),
    ] {
        let cnb = Cnb::new(api);
        for id in ["first", "mid", "last"] {
            cnb.buildpack(id, "1", "0.10", &[("detect", "exit 0")]);
        }
        cnb.order(&["mid@1"]);
        cnb.write("cnb/system.toml", system);
        cnb.detect(&[]).code(0);
        let group: toml::Table = cnb.read("layers/group.toml").parse().unwrap();
        let members = group["group"].as_array().unwrap().iter();
        let ids: Vec<&str> = members
            .map(|member| member["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, expected, "{api}");
    }
}

#[test]
fn rule_28_a_build_writes_what_the_launcher_reads() {
    for (api, command, args) in [
        ("0.15", "[\"echo world\"]", "[\"arg1\"]"),
        ("0.9", "\"echo world\"", "[\"arg1\"]"),
    ] {
        let cnb = with_hello(api);
        let built = cnb.build(&[]);
        built.code(0).says(&format!(
            "CNB_APP_DIR: {}",
            cnb.world.path("workspace").display()
        ));
        built.says(&format!(
            "LAYERS_DIR: {}",
            cnb.world.path("layers/hello_world").display()
        ));
        built.says("name = \"subset_content\"");
        assert_eq!(
            cnb.read("layers/config/metadata.toml"),
            format!(
                "[[buildpacks]]\nid = \"hello_world\"\nversion = \"0.0.1\"\napi = \"0.10\"\n\n[[processes]]\ntype = \"hello\"\ncommand = {command}\nargs = {args}\ndirect = true\nbuildpack-id = \"hello_world\"\n"
            )
        );
        assert_eq!(cnb.read("layers/sbom/launch/sbom.legacy.json"), "null");
    }
}

#[test]
fn files_of_a_build_that_are_not_there_are_named() {
    let cnb = Cnb::new("0.12");
    let missing = |file: &str| {
        let path = cnb.world.path(format!("layers/{file}.toml"));
        format!(
            "failed to read {file} file: open {}: no such file or directory",
            path.display()
        )
    };
    cnb.build(&[]).code(1).says(&missing("group"));
    cnb.write("layers/group.toml", "");
    cnb.build(&[]).code(1).says(&missing("plan"));
    cnb.write("layers/plan.toml", "");
    cnb.build(&[]).code(0);
    assert_eq!(cnb.read("layers/config/metadata.toml"), "processes = []\n");
    cnb.write(
        "layers/group.toml",
        "I am a group.toml file which not correct",
    );
    cnb.build(&[])
        .code(1)
        .says("failed to read group file: toml: ")
        .says("line 1");
    cnb.write("layers/group.toml", "");
    cnb.write(
        "layers/plan.toml",
        "I am a plan.toml file which not correct",
    );
    cnb.build(&[])
        .code(1)
        .says("failed to read plan file: toml: ");
}

#[test]
fn rule_12_the_target_is_that_of_the_run_image() {
    let cnb = with_hello("0.12");
    let analyzed = "[run-image.target]\nid = \"my id\"\nos = \"linux\"\narch = \"amd64\"\narch-variant = \"some-variant\"\n[run-image.target.distro]\nname = \"ubuntu\"\nversion = \"some-cute-version\"\n";
    cnb.write("layers/analyzed.toml", analyzed);
    let built = cnb.build(&[]);
    for (name, value) in [
        ("ARCH", "amd64"),
        ("ARCH_VARIANT", "some-variant"),
        ("OS", "linux"),
        ("DISTRO_NAME", "ubuntu"),
        ("DISTRO_VERSION", "some-cute-version"),
    ] {
        built.code(0).says(&format!("CNB_TARGET_{name}={value}\n"));
    }
}

#[test]
fn rule_28_a_failed_build_is_51_and_a_wrong_answer_52() {
    let cnb = with_hello("0.12");
    cnb.buildpack(
        "hello_world",
        "0.0.1",
        "0.10",
        &[("build", "echo why; exit 3")],
    );
    cnb.build(&[])
        .code(51)
        .says("why")
        .says("failed to build: exit status 3");
    let unmet = "printf '[[unmet]]\\nname = \"other\"\\n' > \"$1/build.toml\"";
    cnb.buildpack("hello_world", "0.0.1", "0.10", &[("build", unmet)]);
    cnb.build(&[])
        .code(52)
        .says("unmet.name 'other' must match a requested dependency");
    let top = "mkdir \"$1/a\"; echo 'launch = true' > \"$1/a.toml\"";
    cnb.buildpack("hello_world", "0.0.1", "0.10", &[("build", top)]);
    cnb.build(&[])
        .code(52)
        .says("`launch` must stand under `[types]`");
}

#[test]
fn rules_30_32_41_and_43_later_builds_see_what_earlier_ones_left() {
    let cnb = Cnb::new("0.15");
    let first = r#"set -e
mkdir -p "$1/tool/bin" "$1/tool/env" "$1/none" "$1/env-a/env" "$1/env-a-b/env"
printf tool > "$1/tool/env/TOOL"; printf a: > "$1/env-a/env/WHO.append"; printf b: > "$1/env-a-b/env/WHO.append"
for layer in tool env-a env-a-b; do printf '[types]\nbuild = true\n' > "$1/$layer.toml"; done
printf '[types]\n' > "$1/none.toml"
printf '[[unmet]]\nname = "dep"\n' > "$1/build.toml""#;
    let second = r#"echo "TOOL=$TOOL WHO=$WHO SET=$SET USER_SAYS=$USER_SAYS PATH=$PATH"; cat "$3""#;
    cnb.buildpack("x/first", "1", "0.10", &[("build", first)]);
    cnb.buildpack("second", "2", "0.10", &[("build", second)]);
    let group = "[[group]]\nid = \"x/first\"\nversion = \"1\"\napi = \"0.10\"\n[[group]]\nid = \"second\"\nversion = \"2\"\napi = \"0.10\"\n";
    cnb.write("layers/group.toml", group);
    let plan = "[[entries]]\n[[entries.providers]]\nid = \"x/first\"\n[[entries.providers]]\nid = \"second\"\n[[entries.requires]]\nname = \"dep\"\n";
    cnb.write("layers/plan.toml", plan);
    cnb.write("cnb/build-config/env/SET", "by the operator");
    cnb.write("platform/env/USER_SAYS", "hello\n");
    let built = cnb.build(&[]);
    let tool = cnb.world.path("layers/x_first/tool/bin");
    // The order of launch, for both: lifecycle would put `env-a-b` before `env-a` here.
    let expected = format!(
        "TOOL=tool WHO=a:b: SET=by the operator USER_SAYS=hello\n PATH={}:",
        tool.display()
    );
    built.code(0).says(&expected).says("name = \"dep\"");
    assert!(cnb.exists("layers/x_first/none.ignore") && !cnb.exists("layers/x_first/none"));
}

#[test]
fn rule_39_sboms_are_laid_out() {
    let cnb = Cnb::new("0.12");
    let build = r#"set -e
mkdir "$1/a"; printf '[types]\nlaunch = true\ncache = true\n' > "$1/a.toml"
echo '{}' > "$1/a.sbom.cdx.json"; echo '{}' > "$1/build.sbom.cdx.json""#;
    cnb.buildpack("x/b", "1", "0.10", &[("build", build)]);
    let descriptor = "api = \"0.10\"\n[buildpack]\nid = \"x/b\"\nversion = \"1\"\nsbom-formats = [\"application/vnd.cyclonedx+json\"]\n";
    cnb.write("cnb/buildpacks/x_b/1/buildpack.toml", descriptor);
    cnb.write(
        "layers/group.toml",
        "[[group]]\nid = \"x/b\"\nversion = \"1\"\napi = \"0.10\"\n",
    );
    cnb.write("layers/plan.toml", "");
    cnb.write("layers/sbom/launch/of-another-build", "");
    cnb.build(&[]).code(0);
    for file in [
        "launch/x_b/a/sbom.cdx.json",
        "cache/x_b/a/sbom.cdx.json",
        "build/x_b/sbom.cdx.json",
    ] {
        assert!(cnb.exists(&format!("layers/sbom/{file}")), "{file}");
    }
    assert!(!cnb.exists("layers/sbom/launch/of-another-build"));
}
