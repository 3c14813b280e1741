//! Which buildpacks are tried and what they are told: options, order files, project.toml.

use crate::support::buildpack::{
    TAKE_ALL, build_app, builders, buildpack, buildpack_of, says, world_with_app,
};
use crate::support::oci::Archive;
use crate::support::package::layout_with;

#[test]
fn rule_18_an_order_file_has_groups_with_optional_members_versions_and_nested_composites() {
    let world = world_with_app();
    says(&world, "a");
    buildpack(&world, "declines", "exit 100", "exit 0");
    let newer = "api = \"0.10\"\n[buildpack]\nid = \"test/a\"\nversion = \"2\"\n";
    buildpack_of(&world, "newer", newer, TAKE_ALL, "echo newer builds");
    let inner = "api = \"0.10\"\n[buildpack]\nid = \"test/inner\"\nversion = \"1\"\n[[order]]\n[[order.group]]\nid = \"test/declines\"\nversion = \"1.0.0\"\n[[order]]\n[[order.group]]\nid = \"test/a\"\nversion = \"2\"\n";
    let outer = inner.replace("test/inner", "test/outer").replace(
        "test/declines\"\nversion = \"1.0.0",
        "test/inner\"\nversion = \"1",
    );
    world.write("inner/buildpack.toml", inner);
    world.write("outer/buildpack.toml", outer);
    world.write(
        "outer/package.toml",
        "[[dependencies]]\nuri = \"../inner\"\n[[dependencies]]\nuri = \"../declines\"\n[[dependencies]]\nuri = \"../newer\"\n[[dependencies]]\nuri = \"../a\"\n",
    );
    let order = |text: &str| {
        world.write("orders/order.toml", text);
        builders(&build_app(&world, &["--order", "orders/order.toml"]))
    };
    assert_eq!(
        order(
            "[[order]]\n[[order.group]]\nuri = \"../declines\"\n[[order]]\n[[order.group]]\nuri = \"../declines\"\noptional = true\n[[order.group]]\nuri = \"../a\"\n"
        ),
        "a"
    );
    let nested = "[[order]]\n[[order.group]]\nuri = \"../outer\"\n[[order.group]]\nid = \"test/a\"\nversion = \"1.0.0\"\n";
    assert_eq!(order(nested), "newer", "rule 19: the first of an id wins");
    build_app(&world, &["--order", "none.toml"])
        .code(2)
        .says("is not there");
    world.write(
        "bad.toml",
        "[[order]]\n[[order.group]]\nid = \"test/a\"\nuri = \"a\"\nversion = \"1\"\n",
    );
    build_app(&world, &["--order", "bad.toml"])
        .code(1)
        .says("bad.toml`, line 5, column 11: `version` beside `uri`");
    build_app(&world, &["--order", "bad.toml", "--buildpack", "a"]).code(2);
}

#[test]
fn rule_20_image_extensions_are_refused_with_the_reason() {
    let world = world_with_app();
    world.write(
        "extension/extension.toml",
        "api = \"0.10\"\n[extension]\nid = \"a/b\"\n",
    );
    let layers = serde_json::json!({ "io.buildpacks.extension.layers": "{}" });
    layout_with(&world, "image", &layers, &[]);
    world.write(
        "order.toml",
        "[[order]]\n[[order.group]]\nid = \"slug/procfile\"\n[[order-extensions]]\n[[order-extensions.group]]\nid = \"a/b\"\n",
    );
    let reason = "it is an image extension, which changes images; slug builds without one";
    build_app(&world, &["--buildpack", "extension"])
        .code(2)
        .says(reason);
    build_app(&world, &["--buildpack", "image"])
        .code(3)
        .says(reason);
    build_app(&world, &["--order", "order.toml"])
        .code(1)
        .says("line 4, column 1: image extensions change images");
}

#[test]
fn rule_21_pre_and_post_wrap_whichever_group_is_tried() {
    let world = world_with_app();
    for name in ["a", "b", "first", "last"] {
        says(&world, name);
    }
    buildpack(&world, "declines", "exit 100", "exit 0");
    let around = ["--pre", "first", "--post", "last"];
    let with = |arguments: &[&str]| builders(&build_app(&world, &[arguments, &around].concat()));
    assert_eq!(with(&["--buildpack", "a"]), "first a last");
    assert_eq!(
        with(&["--buildpack", "last", "--buildpack", "a"]),
        "first last a"
    );
    world.write(
        "order.toml",
        "[[order]]\n[[order.group]]\nuri = \"declines\"\n[[order]]\n[[order.group]]\nuri = \"b\"\n",
    );
    assert_eq!(with(&["--order", "order.toml"]), "first b last");
    world.write("app/Procfile", "web: true\n");
    assert_eq!(with(&[]), "first last", "around the built-ins");
}

#[test]
fn rule_9_a_buildpack_and_a_member_for_another_execution_environment_are_passed_over() {
    let world = world_with_app();
    let descriptor = |name: &str, exec_env: &str| {
        format!(
            "api = \"0.12\"\n[buildpack]\nid = \"test/{name}\"\nversion = \"1\"\nexec-env = [\"{exec_env}\"]\n"
        )
    };
    for (name, exec_env) in [("tests", "test"), ("ships", "production"), ("both", "*")] {
        let build = format!("echo {name}-$CNB_EXEC_ENV builds");
        buildpack_of(&world, name, &descriptor(name, exec_env), TAKE_ALL, &build);
    }
    says(&world, "old");
    world.write(
        "order.toml",
        "[[order]]\n[[order.group]]\nuri = \"tests\"\n[[order.group]]\nuri = \"ships\"\n[[order.group]]\nuri = \"both\"\n[[order.group]]\nuri = \"old\"\nexec-env = [\"test\"]\n",
    );
    let with = |more: &[&str]| {
        builders(&build_app(
            &world,
            &[&["--order", "order.toml"], more].concat(),
        ))
    };
    assert_eq!(with(&[]), "ships-production both-production");
    assert_eq!(with(&["--exec-env", "test"]), "tests-test both-test old");
    build_app(&world, &["--exec-env", "a/b"])
        .code(2)
        .says("is not an execution environment");
}

#[test]
fn rule_49_what_was_cached_for_another_execution_environment_is_not_restored() {
    let world = world_with_app();
    let script = "[ -f \"$1/a.toml\" ] && echo kept builds || echo fresh builds\nmkdir -p \"$1/a\"\nprintf '[types]\\ncache = true\\n' > \"$1/a.toml\"";
    buildpack(&world, "caches", TAKE_ALL, script);
    let with = |exec_env: &str| {
        builders(&build_app(
            &world,
            &["--buildpack", "caches", "--exec-env", exec_env],
        ))
    };
    assert_eq!(with("production"), "fresh");
    assert_eq!(with("production"), "kept");
    assert_eq!(with("test"), "fresh");
}

const PROJECT: &str = "[_]\nschema-version = \"0.2\"\n";

#[test]
fn project_toml_names_buildpacks_by_id_by_place_and_as_a_script() {
    let world = world_with_app();
    says(&world, "app/tools/mine");
    world.write("app/Procfile", "web: true\n");
    let project = format!(
        "{PROJECT}[io.buildpacks]\nexclude = [\"tools\"]\n[[io.buildpacks.group]]\nid = \"slug/procfile\"\n[[io.buildpacks.group]]\nuri = \"tools/mine\"\n[[io.buildpacks.group]]\nid = \"my/script\"\n[io.buildpacks.group.script]\napi = \"0.10\"\ninline = \"\"\"\necho script builds\nls tools 2>&1 | sed 's/$/ builds/'\necho \"$CNB_BUILDPACK_DIR\"\n\"\"\"\n"
    );
    world.write("app/project.toml", project);
    let built = build_app(&world, &[]);
    built
        .code(0)
        .says("app/tools/mine builds")
        .says("script builds");
    built
        .says("No such file or directory builds")
        .says("/cnb/buildpacks/my_script/0.0.0");
    let shell = format!(
        "{PROJECT}[[io.buildpacks.group]]\nid = \"my/script\"\nversion = \"3\"\nscript = {{ api = \"0.10\", shell = \"/bin/bash\", inline = \"[[ $BASH ]] && echo $CNB_BUILDPACK_DIR builds\" }}\n"
    );
    world.write("app/project.toml", shell);
    assert_eq!(
        builders(&build_app(&world, &[])),
        "/cnb/buildpacks/my_script/3"
    );
}

/// The shape of `apps/bash-script` of the public samples of CNB.
#[test]
fn the_old_schema_of_the_public_samples_builds() {
    let world = world_with_app();
    world.write("app/app.sh", "#!/usr/bin/env bash\necho hello\n");
    world.write(
        "app/project.toml",
        "[project]\nid = \"io.buildpacks.bash-script\"\nname = \"Bash Script\"\nversion = \"1.0.0\"\n\n[build]\nexclude = [\n    \"README.md\",\n    \"bash-script-buildpack\"\n]\n\n[[build.buildpacks]]\nuri = \"bash-script-buildpack/\"",
    );
    let descriptor = "api = \"0.10\"\n[buildpack]\nid = \"samples/bash-script\"\nversion = \"0.0.1\"\n[[stacks]]\nid = \"*\"\n";
    let build = "printf '[[processes]]\\ntype = \"web\"\\ncommand = [\"bash\", \"app.sh\"]\\ndefault = true\\n' > \"$1/launch.toml\"\nls; echo sample builds";
    buildpack_of(
        &world,
        "app/bash-script-buildpack",
        descriptor,
        "[ -f app.sh ] || exit 100",
        build,
    );
    let built = build_app(&world, &["-o", "app.slug"]);
    assert_eq!(builders(&built), "sample");
    built.says_not("warning");
    let config = Archive::read(&world.path("app.slug")).config();
    let label = config["config"]["Labels"]["io.buildpacks.project.metadata"].as_str();
    assert_eq!(
        label,
        Some(
            r#"{"source":{"metadata":{"url":""},"type":"project","version":{"declared":"1.0.0"}}}"#
        )
    );
}

#[test]
fn who_names_buildpacks_last_wins() {
    let world = world_with_app();
    for name in [
        "typed", "ordered", "before", "after", "app/own", "app/pre", "app/post",
    ] {
        says(&world, name);
    }
    world.write("app/Procfile", "web: true\n");
    world.write(
        "order.toml",
        "[[order]]\n[[order.group]]\nuri = \"ordered\"\n",
    );
    let around = "[[io.buildpacks.pre.group]]\nuri = \"pre\"\n[[io.buildpacks.post.group]]\nuri = \"post\"\n";
    world.write("app/project.toml", format!("{PROJECT}{around}"));
    let with = |arguments: &[&str]| builders(&build_app(&world, arguments));
    assert_eq!(with(&[]), "app/pre app/post", "around the built-ins");
    let own = "[[io.buildpacks.group]]\nuri = \"own\"\n";
    world.write("app/project.toml", format!("{PROJECT}{own}{around}"));
    assert_eq!(with(&[]), "app/pre app/own app/post");
    assert_eq!(with(&["--buildpack", "typed"]), "app/pre typed app/post");
    assert_eq!(with(&["--order", "order.toml"]), "app/pre ordered app/post");
    assert_eq!(
        with(&["--pre", "before", "--post", "after"]),
        "before app/own after"
    );
}

#[test]
fn rules_42_and_43_who_sets_a_variable_last_wins() {
    let mut world = world_with_app();
    let names =
        "for name in A B C D E F; do eval \"echo $name=\\$$name\"; done; cat /platform/env/C";
    buildpack(&world, "shows", TAKE_ALL, names);
    let variable = |name: &str| {
        format!("[[io.buildpacks.build.env]]\nname = \"{name}\"\nvalue = \"project\"\n")
    };
    let project: String = ["A", "B", "C", "F"].map(variable).concat();
    world.write("app/project.toml", format!("{PROJECT}{project}"));
    for name in ["B", "C", "E"] {
        world.write(&format!("platform/{name}"), "folder");
    }
    world.write("config/env/D", "default");
    world.write("config/env/F.override", "config");
    world.set_env("E", "shell");
    let options = [
        "--platform-env",
        "platform",
        "--env",
        "C=typed=1",
        "--env",
        "E",
    ];
    let options = [
        &options[..],
        &["--build-config", "config", "--buildpack", "shows"],
    ]
    .concat();
    let built = build_app(&world, &options);
    let said = built.code(0).stderr();
    for line in [
        "A=project",
        "B=folder",
        "C=typed=1",
        "D=default",
        "E=shell",
        "F=config",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
    for (option, value, expected) in [
        (
            "--env",
            "NOT_SET",
            "`NOT_SET` has no value: it is not set in this shell",
        ),
        ("--env", "=x", "cannot be the name of a variable"),
        ("--platform-env", "none", "is not a folder"),
        ("--build-config", "none", "is not a folder"),
    ] {
        build_app(&world, &[option, value]).code(2).says(expected);
    }
}

#[test]
fn a_mistake_in_project_toml_is_shown_in_its_place() {
    let world = world_with_app();
    world.write(
        "app/project.toml",
        format!("{PROJECT}[[io.buildpacks.group]]\nuri = \"docker://example.org/a\"\n"),
    );
    build_app(&world, &[])
        .code(1)
        .says("project.toml`, line 4, column 7: `docker://example.org/a` is an image")
        .says("uri = \"docker://example.org/a\"\n");
    world.write(
        "app/project.toml",
        format!("{PROJECT}[[io.buildpacks.group]]\nid = \"other/id\"\nuri = \"../a\"\n"),
    );
    says(&world, "a");
    build_app(&world, &[])
        .code(1)
        .says("is the buildpack `test/a`, and `other/id` is written beside it");
}

#[test]
fn a_built_in_is_named_by_its_id_everywhere() {
    let world = world_with_app();
    world.write("app/Procfile", "web: true\n");
    for reference in [
        "slug/procfile",
        "from=builder:slug/procfile",
        "slug/procfile@0.1.0",
    ] {
        let planned = world.slug(&["plan", "app", "--buildpack", reference]);
        planned.code(0).says("process web: true");
    }
    build_app(&world, &["--buildpack", "slug/procfile@9"])
        .code(1)
        .says("the buildpack `slug/procfile@9` is not there");
}
