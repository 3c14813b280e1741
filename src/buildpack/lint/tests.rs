use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use expect_test::{Expect, expect};

use super::*;
use crate::sys::fs::write_atomic;

/// `line:column severity rule: message -> fix`, one a line.
fn shown(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let Finding {
            file,
            line,
            column,
            severity,
            message,
            fix,
            rule,
            ..
        } = finding;
        let rule = rule.map_or_else(|| "-".to_owned(), |rule| rule.to_string());
        format!("{file}:{line}:{column} {severity:?} {rule}: {message} -> {fix}\n")
    };
    findings.iter().map(line).collect()
}

fn program(name: &'static str, text: &str) -> Program {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    write_atomic(&path, text.as_bytes(), 0o755).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Program::read(folder.path(), name).unwrap()
}

fn good_programs() -> [Program; 2] {
    [
        program("bin/detect", "#!/bin/sh\nexit 100\n"),
        program("bin/build", "#!/bin/sh\nset -eu\n"),
    ]
}

#[track_caller]
fn check(descriptor: &str, expected: &Expect) {
    let findings = lint(Some(descriptor.as_bytes()), &good_programs(), false);
    expected.assert_eq(&shown(&findings));
}

fn after_head(more: &str) -> String {
    format!("api = \"0.12\"\n[buildpack]\nid = \"a/b\"\nversion = \"1.0.0\"\n{more}")
}

const TARGET: &str = "[[targets]]\nos = \"linux\"\n";

#[test]
fn a_good_buildpack_has_no_findings() {
    let more = "name = \"B\"\nhomepage = \"https://example.org\"\ndescription = \"\"\nclear-env = true\nkeywords = [\"b\"]\n\
        sbom-formats = [\"application/spdx+json\"]\nexec-env = [\"production\", \"test\"]\n[[buildpack.licenses]]\ntype = \"MIT\"\n\
        [metadata]\nmine = 1\n[metadata.slug]\nhost-programs = [\"python3.*\"]\n";
    check(
        &after_head(&format!(
            "{more}{TARGET}arch = \"amd64\"\n[[targets.distros]]\nname = \"ubuntu\"\nversion = \"24.04\"\n"
        )),
        &expect![""],
    );
    let composite = "api = \"0.10\"\n[buildpack]\nid = \"a\"\nversion = \"1.0.0\"\n[[order]]\n[[order.group]]\nid = \"b\"\nversion = \"1.0.0\"\n";
    let findings = lint(Some(composite.as_bytes()), &[], false);
    assert_eq!(shown(&findings), "");
}

#[test]
fn rule_1_the_api_is_one_that_platforms_know() {
    let text = |api: &str| format!("{api}\n{}", after_head(TARGET).split_once('\n').unwrap().1);
    check(
        &text(""),
        &expect![[r#"
        buildpack.toml:0:0 Error 1: there is no `api` -> add `api = "0.10"` as the first line
    "#]],
    );
    check(
        &text("api = 0.10"),
        &expect![[r#"
        buildpack.toml:1:7 Error 4: `api` is a number -> write a string: `api = "…"`
    "#]],
    );
    check(
        &text("api = \"0.6\""),
        &expect![[r#"
        buildpack.toml:1:7 Error 1: Buildpack API `0.6` is not supported (supported are 0.7 to 0.12) -> state one of 0.7 to 0.12, and follow what it says
    "#]],
    );
    check(
        &text("api = \"v1\""),
        &expect![[r#"
        buildpack.toml:1:7 Error 1: `v1` is not a Buildpack API (expected a version such as `0.10`) -> write two numbers, such as `0.10`
    "#]],
    );
}

#[test]
fn rules_2_and_3_the_id_and_the_version_are_of_their_form() {
    let text = |id: &str, version: &str| {
        format!("api = \"0.12\"\n[buildpack]\nid = \"{id}\"\nversion = \"{version}\"\n{TARGET}")
    };
    check(
        &text("config", "1.0"),
        &expect![[r#"
        buildpack.toml:3:6 Error 2: the id `config` is reserved -> name it after you: `your-name/config`
        buildpack.toml:4:11 Error 3: the version `1.0` is not of the form X.Y.Z -> write three numbers without leading zeros, such as `0.1.0`
    "#]],
    );
    check(
        &text("a_b", "1.02.3"),
        &expect![[r#"
        buildpack.toml:3:6 Error 2: `a_b` is not the id of a buildpack -> use letters, digits, `.`, `/` and `-` only, with nothing empty beside a `/`
        buildpack.toml:4:11 Error 3: the version `1.02.3` is not of the form X.Y.Z -> write three numbers without leading zeros, such as `0.1.0`
    "#]],
    );
    check(
        "api = \"0.12\"\n[buildpack]\n",
        &expect![[r#"
        buildpack.toml:0:0 Error 2: `[buildpack]` has no `id` -> add `id = "your-name/what-it-is"`: letters, digits, `.`, `/` and `-`
        buildpack.toml:0:0 Error 3: `[buildpack]` has no `version` -> add `version = "0.1.0"`
        buildpack.toml:0:0 Warning 6: no `[[targets]]` say what it runs on: any Linux is taken for granted -> add `[[targets]]` with `os = "linux"`, and `arch` where it matters
    "#]],
    );
    check(
        "api = \"0.12\"\n",
        &expect![[r#"
        buildpack.toml:0:0 Error 4: there is no `[buildpack]` -> add `[buildpack]` with `id` and `version`
        buildpack.toml:0:0 Warning 6: no `[[targets]]` say what it runs on: any Linux is taken for granted -> add `[[targets]]` with `os = "linux"`, and `arch` where it matters
    "#]],
    );
}

#[test]
fn rule_4_an_unknown_key_and_a_value_of_another_type_are_told_with_what_is_meant() {
    check(
        &after_head(&format!(
            "home-page = \"x\"\nkeywords = \"b\"\nclear-env = \"yes\"\nxyzzy = 1\n[[buildpack.licenses]]\n[metadata.slug]\nhost-program = []\n{TARGET}[targets.distributions]\n"
        )),
        &expect![[r#"
            buildpack.toml:5:1 Warning 4: `home-page` is no key of `[buildpack]`: platforms ignore it -> write `homepage`, if that is meant
            buildpack.toml:6:12 Error 4: `buildpack.keywords` is a string -> write a list of strings: `keywords = ["…"]`
            buildpack.toml:7:13 Error 4: `buildpack.clear-env` is a string -> write `clear-env = true` or `clear-env = false`
            buildpack.toml:8:1 Warning 4: `xyzzy` is no key of `[buildpack]`: platforms ignore it -> remove it, or put it under `[metadata]`; known are id, name, version, homepage, clear-env, description, keywords, sbom-formats, licenses, exec-env
            buildpack.toml:9:1 Error 4: this license says nothing -> add `type`, an SPDX expression such as "MIT", or `uri`
            buildpack.toml:11:1 Warning 4: `host-program` is no key of `[metadata.slug]`: platforms ignore it -> write `host-programs`, if that is meant
            buildpack.toml:14:10 Warning 4: `distributions` is no key of `[targets]`: platforms ignore it -> write `distros`, if that is meant
        "#]],
    );
    check(
        "api = \"0.10\n",
        &expect![[r#"
        buildpack.toml:1:12 Error 4: not TOML: invalid basic string, expected `"` -> correct the line: https://toml.io says how TOML is written
    "#]],
    );
}

#[test]
fn rule_5_a_composite_has_no_programs_and_no_targets() {
    let text = after_head(&format!(
        "{TARGET}[[order]]\n[[order.group]]\nid = \"a_b\"\n[[order.group]]\nid = \"c\"\nversion = \"1\"\n[[order.group]]\nid = \"c\"\nversion = \"2\"\n[[order]]\n"
    ));
    check(
        &text,
        &expect![[r#"
        buildpack.toml:5:3 Error 5: a buildpack with `[[order]]` has no `targets`: its parts have them -> remove `targets`
        buildpack.toml:8:1 Error 5: this member has no `version` -> add `version = "…"`, as the member's buildpack.toml has it
        buildpack.toml:9:6 Error 2: `a_b` is not the id of a buildpack -> write the member's id as its buildpack.toml has it
        buildpack.toml:14:6 Warning 5: `c` is in this group already: only the first counts -> remove the second one
        buildpack.toml:16:1 Error 5: this group has no members -> add `[[order.group]]` with `id` and `version`
        bin/detect:0:0 Error 5: a buildpack with `[[order]]` has no bin/detect: it is never run -> remove bin/detect, or `[[order]]`
        bin/build:0:0 Error 5: a buildpack with `[[order]]` has no bin/build: it is never run -> remove bin/build, or `[[order]]`
    "#]],
    );
}

#[test]
fn rules_6_and_7_targets_since_0_10_and_stacks_before() {
    check(
        &after_head(
            "[[targets]]\nos = \"Linux\"\narch = \"x86_64\"\nvariant = \"v8\"\n[[targets.distros]]\nname = \"Ubuntu\"\n[[targets.distros]]\n[[targets]]\nos = \"windows\"\n",
        ),
        &expect![[r#"
            buildpack.toml:6:6 Error 6: `Linux` is no operating system -> write `linux`, as Go names it
            buildpack.toml:7:8 Error 6: `x86_64` is no architecture -> write `amd64`, as Go names it
            buildpack.toml:8:1 Warning 6: `variant` is the specification's name of a key that lifecycle reads as `arch-variant` -> write `arch-variant`, which lifecycle, pack and slug read
            buildpack.toml:10:8 Warning 6: `Ubuntu` is not what any /etc/os-release has as its `ID` -> write it as `ID` has it, such as `ubuntu`
            buildpack.toml:11:1 Warning 6: this distribution has no `name` -> add `name`, the `ID` of /etc/os-release
            buildpack.toml:13:6 Warning 6: slug does not build for windows -> add a target with `os = "linux"`, if it runs there too
        "#]],
    );
    check(
        &after_head(""),
        &expect![[r#"
        buildpack.toml:0:0 Warning 6: no `[[targets]]` say what it runs on: any Linux is taken for granted -> add `[[targets]]` with `os = "linux"`, and `arch` where it matters
    "#]],
    );
    check(
        &after_head("[[stacks]]\nid = \"*\"\nmixins = [\"x\"]\n[[stacks]]\n"),
        &expect![[r#"
            buildpack.toml:5:3 Warning 7: `stacks` are deprecated in Buildpack API 0.12 -> write `[[targets]]` with `os = "linux"` and `arch` instead
            buildpack.toml:6:6 Error 7: any stack can have no mixins -> remove `mixins`
            buildpack.toml:8:1 Error 7: this stack has no `id` -> add `id`, or `id = "*"` for any stack
        "#]],
    );
    let old = |more: &str| after_head(more).replace("0.12", "0.9");
    check(
        &old(""),
        &expect![[r#"
        buildpack.toml:0:0 Error 7: no `[[stacks]]` say what it runs on, which Buildpack API 0.9 wants -> add `[[stacks]]` with `id = "*"`, or state `api = "0.10"` and `[[targets]]`
    "#]],
    );
    check(
        &old(TARGET),
        &expect![[r#"
        buildpack.toml:5:3 Warning 6: Buildpack API 0.9 has no `targets` -> state `api = "0.10"`, or write `[[stacks]]`
    "#]],
    );
    check(&old("[[stacks]]\nid = \"*\"\n"), &expect![]);
}

#[test]
fn rule_9_execution_environments_have_names_and_need_0_12() {
    check(
        &after_head(&format!("exec-env = [\"a/b\", \"\"]\n{TARGET}")),
        &expect![[r#"
            buildpack.toml:5:13 Error 9: `a/b` is no name of an execution environment -> write a name such as `production`, `test` or `development`, or `*` for all
            buildpack.toml:5:20 Error 9: `` is no name of an execution environment -> write a name such as `production`, `test` or `development`, or `*` for all
        "#]],
    );
    check(
        &after_head(&format!(
            "[[buildpack.exec-env]]\n[[buildpack.exec-env]]\nname = \"test\"\n{TARGET}"
        ))
        .replace("0.12", "0.11"),
        &expect![[r#"
            buildpack.toml:5:1 Error 9: this execution environment has no `name` -> add `name = "production"`
            buildpack.toml:5:13 Warning 9: Buildpack API 0.11 has no `exec-env`: it has no effect -> state `api = "0.12"`, or remove it
        "#]],
    );
    check(
        &after_head(&format!("exec-env = \"test\"\n{TARGET}")),
        &expect![[r#"
            buildpack.toml:5:12 Error 4: `buildpack.exec-env` is a string -> write a list of strings, or tables with a name: `[[buildpack.exec-env]]`
        "#]],
    );
}

#[test]
fn rule_39_sbom_formats_are_those_that_platforms_know() {
    check(
        &after_head(&format!("sbom-formats = [\"application/json\"]\n{TARGET}")),
        &expect![[r#"
            buildpack.toml:5:17 Error 39: `application/json` is no media type of an SBOM that platforms know -> write one of application/vnd.cyclonedx+json, application/spdx+json, application/vnd.syft+json
        "#]],
    );
}

#[track_caller]
fn check_program(name: &'static str, text: &str, expected: &Expect) {
    let known = Known::default();
    expected.assert_eq(&shown(&program(name, text).lint(&known, false)));
}

#[test]
fn rule_5_programs_can_be_executed() {
    check_program(
        "bin/build",
        "#!/bin/sh\r\nset -e\r\n",
        &expect![[r#"
        bin/build:1:10 Error 5: lines end in CR LF: the shell takes the CR as part of its words -> `sed -i 's/\r$//' bin/build`, and `bin/build text eol=lf` in .gitattributes
    "#]],
    );
    check_program(
        "bin/build",
        "\u{feff}#!/bin/sh\nset -e\n",
        &expect![[r#"
        bin/build:1:1 Error 5: it begins with a byte order mark, so that the kernel sees no `#!` -> save it as UTF-8 without one
    "#]],
    );
    check_program(
        "bin/build",
        "echo\n",
        &expect![[r#"
        bin/build:1:1 Error 5: it is neither a program nor a script: there is no `#!` -> begin with a line such as `#!/usr/bin/env bash`
    "#]],
    );
    check_program(
        "bin/build",
        "#!sh\n",
        &expect![[r#"
        bin/build:1:1 Error 5: `#!sh` names no program by its whole path -> write `#!/usr/bin/env` and the name of the program
        bin/build:1:1 Warning -: a command that fails does not end the build -> add `set -eu` (in bash: `set -euo pipefail`) below the first line
    "#]],
    );
    check_program(
        "bin/build",
        "#!/no/such/program\n",
        &expect![[r#"
        bin/build:1:1 Warning 5: `/no/such/program` is not on this machine -> name a program that every build image has, such as `/bin/sh` or `/usr/bin/env`
    "#]],
    );
    check_program(
        "bin/build",
        "#!/usr/bin/env bash\necho\n",
        &expect![[r#"
        bin/build:1:1 Warning -: a command that fails does not end the build -> add `set -eu` (in bash: `set -euo pipefail`) below the first line
    "#]],
    );
    check_program("bin/build", "\u{7f}ELF", &expect![]);
    check_program(
        "bin/detect",
        "#!/bin/sh\n# exit 1\n[ -f x ] || exit 1\n",
        &expect![[r#"
            bin/detect:3:13 Warning 13: `exit 1` means that the detect itself went wrong, not that the app is for others -> write `exit 100` where the app is not for this buildpack
        "#]],
    );
    check_program(
        "bin/detect",
        "#!/bin/sh\n[ -f x ] || exit 100\nexit 1\n",
        &expect![],
    );
}

#[test]
fn rule_5_links_and_modes_of_programs() {
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let found = |make: &dyn Fn(PathBuf)| {
        let path = bin.join("build");
        make(path.clone());
        let program = Program::read(folder.path(), "bin/build").unwrap();
        let removed = if path.is_dir() && !path.is_symlink() {
            std::fs::remove_dir(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.unwrap();
        shown(&program.lint(&Known::default(), false))
    };
    let link =
        |to: &'static str| move |path: PathBuf| std::os::unix::fs::symlink(to, path).unwrap();
    let all = [
        found(&link("detect")),
        found(&link("/bin/sh")),
        found(&|path| std::fs::create_dir(path).unwrap()),
        found(&|path| write_atomic(&path, b"#!/bin/sh\nset -e\n", 0o644).unwrap()),
    ];
    expect![[r#"
        bin/build:0:0 Error 5: bin/build is a link to something that is not there -> link to a file of the buildpack, or put the program itself there
        bin/build:0:0 Error 5: bin/build is a link that leads out of the buildpack, which is all that a platform takes along -> put the program into the buildpack's folder
        bin/build:0:0 Error 5: bin/build is not a file -> put a program there
        bin/build:0:0 Error 5: bin/build is not executable -> `chmod +x bin/build`
    "#]].assert_eq(&all.concat());
    let missing = Program::read(folder.path(), "bin/detect").unwrap();
    expect![[r#"
        bin/detect:0:0 Error 5: bin/detect is not there -> write it and make it executable: `chmod +x bin/detect`
    "#]].assert_eq(&shown(&missing.lint(&Known::default(), false)));
    expect![[r#"
        bin/detect:0:0 Warning 5: bin/detect is not there yet -> run `./package`, which makes it
    "#]]
    .assert_eq(&shown(&missing.lint(&Known::default(), true)));
    assert_eq!(
        shown(&missing.lint(
            &Known {
                is_composite: true,
                api: None
            },
            false
        )),
        ""
    );
}

/// What is found in a layers folder of these files.
#[track_caller]
fn check_written(api: &str, files: &[(&str, &str)], expected: &Expect) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        if name.ends_with('/') {
            std::fs::create_dir(path).unwrap();
        } else {
            write_atomic(&path, text.as_bytes(), 0o644).unwrap();
        }
    }
    let what = Written::Layers(folder.path());
    let found = written(
        what,
        api.parse().unwrap(),
        &["application/spdx+json".to_owned()],
    );
    expected.assert_eq(&shown(&found.unwrap()));
}

#[test]
fn rule_15_a_plan_has_names_and_no_versions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.toml");
    let text = "[[provides]]\n[[requires]]\nname = \"a\"\nversion = \"1\"\n[[or]]\n[[or.requires]]\nname = \"a\"\nversion = 1\n[[or.provide]]\n";
    write_atomic(&path, text.as_bytes(), 0o644).unwrap();
    let found = written(Written::Plan(&path), Api::MAX, &[]).unwrap();
    expect![[r#"
        build plan:1:1 Error 15: an entry of `provides` has no `name` -> add `name = "…"`
        build plan:4:1 Error 15: `version` is no key of a require -> put it under `[requires.metadata]`
        build plan:8:1 Error 15: `version` is no key of a require -> put it under `[requires.metadata]`
        build plan:9:6 Warning 4: `provide` is no key of `[or]`: platforms ignore it -> write `provides`, if that is meant
    "#]].assert_eq(&shown(&found));
}

#[test]
fn rules_33_and_34_layers_say_what_they_are_for_under_types() {
    let files = [
        ("a.toml", "launch = true\n"),
        ("a/", ""),
        ("b.toml", "[types]\nlaunch = 1\nlaunhc = true\n"),
        ("b/", ""),
        ("c.toml", "[metadata]\nversion = 1\n"),
        ("d/", ""),
        ("launch/", ""),
        ("sbom/", ""),
        ("e.toml", "[types"),
    ];
    check_written(
        "0.10",
        &files,
        &expect![[r#"
        a.toml:1:1 Error 33: `launch` at the top has no effect -> put it under `[types]`
        b.toml:2:10 Error 4: `types.launch` is an integer -> write `launch = true` or `launch = false`
        b.toml:3:1 Warning 4: `launhc` is no key of `[types]`: platforms ignore it -> write `launch`, if that is meant
        c.toml:0:0 Warning 33: no `[types]` say what the layer is for: it is thrown away -> add `[types]` with `launch`, `build` or `cache`, at every build
        d:0:0 Warning 33: there is no d.toml beside this layer: it is thrown away -> write d.toml with `[types]`, or remove the folder
        e.toml:1:7 Error 4: not TOML: unclosed table, expected `]` -> correct the line: https://toml.io says how TOML is written
        launch:0:0 Error 34: no layer can have the name `launch`: it is the contract's own -> name the layer otherwise
        sbom:0:0 Error 34: no layer can have the name `sbom`: it is the contract's own -> name the layer otherwise
    "#]],
    );
}

#[test]
fn rules_35_to_38_processes_are_of_the_form_of_their_api() {
    let text = "[[processes]]\ntype = \"web\"\ncommand = \"a\"\ndirect = true\ndefault = true\nexec-env = [\"x\"]\n\
        [[processes]]\ntype = \"web\"\ncommand = [\"a\"]\ndefault = true\nworking-dir = \"x\"\n\
        [[processes]]\ntype = \"a b\"\ncommand = []\n[[processes]]\n[[labels]]\nkey = \"a\"\nvalue = \"1\"\n[[labels]]\nkey = \"a\"\n[[slice]]\n[[bom]]\nname = \"x\"\n";
    check_written(
        "0.10",
        &[("launch.toml", text)],
        &expect![[r#"
        launch.toml:3:11 Error 35: `command` is a list in Buildpack API 0.10 -> write `["program", "argument"]`, or `["bash", "-c", "…"]` for a line of shell
        launch.toml:4:1 Error 35: `direct` is no key of a process in Buildpack API 0.10 -> remove it: every process is direct since 0.9
        launch.toml:6:1 Warning 35: `exec-env` is no key of a process in Buildpack API 0.10 -> state `api = "0.12"`
        launch.toml:7:1 Error 36: more than one process is the default -> keep `default = true` in one of them
        launch.toml:8:8 Error 37: the process `web` is there twice: the last one counts -> remove one of them
        launch.toml:13:8 Error 37: `a b` is not a process type -> use letters, digits, `.`, `_` and `-`, and a letter or digit first
        launch.toml:14:11 Error 35: the command is empty -> name a program
        launch.toml:15:1 Error 35: this process has no `command` -> add `command`
        launch.toml:15:1 Error 35: this process has no `type` -> add `type`
        launch.toml:19:1 Error 38: this label has no `value` -> add `value = "…"`
        launch.toml:20:7 Error 38: the label `a` is there twice: the last one counts -> remove one of them
        launch.toml:21:3 Warning 4: `slice` is no key of this file: platforms ignore it -> write `slices`, if that is meant
        launch.toml:22:3 Warning 39: `bom` is deprecated since Buildpack API 0.7 -> write an SBOM file instead, such as `launch.sbom.cdx.json`
    "#]],
    );
    check_written(
        "0.7",
        &[("launch.toml", text)],
        &expect![[r#"
        launch.toml:6:1 Warning 35: `exec-env` is no key of a process in Buildpack API 0.7 -> state `api = "0.12"`
        launch.toml:7:1 Error 36: more than one process is the default -> keep `default = true` in one of them
        launch.toml:8:8 Error 37: the process `web` is there twice: the last one counts -> remove one of them
        launch.toml:9:11 Error 35: `command` is a string in Buildpack API 0.7 -> write one string and `args`, or state `api = "0.9"` or newer
        launch.toml:11:1 Warning 35: `working-dir` is no key of a process in Buildpack API 0.7 -> state `api = "0.8"` or newer
        launch.toml:13:8 Error 37: `a b` is not a process type -> use letters, digits, `.`, `_` and `-`, and a letter or digit first
        launch.toml:14:11 Error 35: `command` is a string in Buildpack API 0.7 -> write one string and `args`, or state `api = "0.9"` or newer
        launch.toml:14:11 Error 35: the command is empty -> name a program
        launch.toml:15:1 Error 35: this process has no `command` -> add `command`
        launch.toml:15:1 Error 35: this process has no `type` -> add `type`
        launch.toml:19:1 Error 38: this label has no `value` -> add `value = "…"`
        launch.toml:20:7 Error 38: the label `a` is there twice: the last one counts -> remove one of them
        launch.toml:21:3 Warning 4: `slice` is no key of this file: platforms ignore it -> write `slices`, if that is meant
        launch.toml:22:3 Warning 39: `bom` is deprecated since Buildpack API 0.7 -> write an SBOM file instead, such as `launch.sbom.cdx.json`
    "#]],
    );
}

#[test]
fn rules_30_38_and_39_the_other_files_of_a_build() {
    let files = [
        (
            "build.toml",
            "[[unmet]]\n[[unmet]]\nname = \"\"\n[[unmet]]\nname = \"a\"\n",
        ),
        ("store.toml", "[metadat]\na = 1\n"),
        ("launch.sbom.cdx.json", "{}"),
        ("launch.sbom.spdx.json", "{}"),
        ("a.sbom.json", "{}"),
    ];
    check_written(
        "0.10",
        &files,
        &expect![[r#"
        a.sbom.json:0:0 Error 39: `.json` is no ending of an SBOM file -> end it in one of cdx.json, spdx.json, syft.json
        build.toml:1:1 Error 30: this entry has no `name` -> write the name of an entry of the buildpack plan
        build.toml:2:1 Error 30: this entry has no `name` -> write the name of an entry of the buildpack plan
        launch.sbom.cdx.json:0:0 Error 39: buildpack.toml does not announce SBOM files of `application/vnd.cyclonedx+json` -> add `application/vnd.cyclonedx+json` to `sbom-formats` in buildpack.toml
        store.toml:1:2 Warning 4: `metadat` is no key of this file: platforms ignore it -> write `metadata`, if that is meant
    "#]],
    );
}
