//! `slug` as lifecycle's launcher, with the cases and the test data of lifecycle's `acceptance/launcher_test.go` and
//! `launch/*_test.go` (typed anew), by the names that an image gives it.

use std::ffi::OsStr;
use std::fs;

use crate::support::cnb::Cnb;

const METADATA: &str = r#"
[[buildpacks]]
id = "0.9/buildpack"
version = "0.0.1"
api = "0.9"
[[buildpacks]]
id = "0.8/buildpack"
version = "0.0.1"
api = "0.8"
[[buildpacks]]
id = "0.7/buildpack"
version = "0.0.1"
api = "0.7"

[[processes]]
type = "web"
command = "echo"
args = ["Executing web process-type"]
direct = false
buildpack-id = "0.8/buildpack"
[[processes]]
type = "direct-process"
command = "echo"
args = ["Executing direct-process process-type"]
direct = true
buildpack-id = "0.8/buildpack"
[[processes]]
type = "indirect-process-with-args"
command = "printf"
args = ["'%s' '%s'", "$VAR1", "$VAR2"]
direct = false
buildpack-id = "0.8/buildpack"
[[processes]]
type = "legacy-indirect-process-with-args"
command = "printf \"'%s' '%s'\" \"$0\" \"$1\""
args = ["arg", "arg with spaces"]
direct = false
buildpack-id = "0.7/buildpack"
[[processes]]
type = "indirect-process-with-script"
command = "printf \"'%s' '%s'\" \"$VAR1\" \"$VAR2\""
direct = false
buildpack-id = "0.8/buildpack"
[[processes]]
type = "profile-checker"
command = "echo"
args = ["$VAR_FROM_PROFILE"]
direct = false
buildpack-id = "0.8/buildpack"
[[processes]]
type = "worker"
command = "echo"
args = ["$WORKER_VAR"]
direct = false
buildpack-id = "0.8/buildpack"
[[processes]]
type = "exec.d-checker"
command = "echo \"VAR_FROM_EXEC_D: ${VAR_FROM_EXEC_D}\""
direct = false
buildpack-id = "0.9/buildpack"
[[processes]]
type = "process.with.period"
command = "echo"
args = ["Executing process.with.period process-type"]
direct = false
buildpack-id = "0.8/buildpack"
[[processes]]
type = "fixed"
command = ["printf", "<%s>"]
args = ["default"]
direct = true
buildpack-id = "0.9/buildpack"
[[processes]]
type = "there"
command = ["bin/where"]
direct = true
working-dir = "sub"
buildpack-id = "0.9/buildpack"
[[processes]]
type = "empty"
command = []
direct = true
buildpack-id = "0.9/buildpack"
[[processes]]
type = "tested"
command = ["echo"]
args = ["under test"]
direct = true
exec-env = ["test"]
buildpack-id = "0.9/buildpack"
[[processes]]
type = "tested"
command = ["echo"]
args = ["anywhere"]
direct = true
exec-env = ["*"]
buildpack-id = "0.9/buildpack"
[[processes]]
type = "only-test"
command = ["echo"]
direct = true
exec-env = ["test"]
buildpack-id = "0.9/buildpack"
"#;

/// Writes where it is to descriptor 3, as lifecycle's helper does.
const HELPER: &str = r#"echo "$0 was executed"; echo "Exec.d Working Dir: $(pwd)"
printf 'VAR_FROM_EXEC_D = "%s"\n' "${VAR_FROM_EXEC_D}:val-from-exec.d$(case "$0" in */exec.d-checker/*) echo -for-process-type-exec.d-checker;; esac)" >&3"#;

/// lifecycle's image of its launcher's tests.
fn image(api: &'static str) -> Cnb {
    let cnb = Cnb::new(api);
    cnb.write("layers/config/metadata.toml", METADATA);
    let layer = "layers/0.8_buildpack/some_layer";
    cnb.script(
        &format!("{layer}/bin/bp-executable"),
        "echo 'bp executable'",
    );
    for (file, value) in [
        ("env.launch/OTHER_VAR.append", "other-bp-val"),
        ("env.launch/OTHER_VAR.delim", "**"),
        ("env.launch/worker/WORKER_VAR", "worker-process-val"),
        ("env/SOME_VAR", "some-bp-val"),
        ("env/WORKER_VAR", "worker-no-process-val"),
        ("profile.d/0_bp_profile.sh", "echo \"sourced bp profile\"\n"),
        (
            "profile.d/profile-checker/0_checker.sh",
            "echo \"sourced bp profile-checker profile\"\n",
        ),
    ] {
        cnb.write(&format!("{layer}/{file}"), value);
    }
    let exec_d = "layers/0.9_buildpack/some_layer/exec.d";
    cnb.script(&format!("{exec_d}/helper"), HELPER);
    cnb.script(&format!("{exec_d}/exec.d-checker/helper"), HELPER);
    cnb.write(
        "workspace/.profile",
        "export VAR_FROM_PROFILE=val-from-profile\necho \"sourced app profile\"\n",
    );
    cnb.script("workspace/bin/where", "pwd");
    fs::create_dir(cnb.world.path("workspace/sub")).unwrap();
    cnb
}

const LATEST: &str = "0.15";
const LAUNCHER: &str = "cnb/lifecycle/launcher";
const NOTHING: &[(&str, &dyn AsRef<OsStr>)] = &[];

/// What the process says, without what exec.d said before it.
#[track_caller]
fn said(cnb: &Cnb, process: &str, arguments: &[&str], env: &[(&str, &dyn AsRef<OsStr>)]) -> String {
    let name = format!("cnb/process/{process}");
    if !cnb.exists(&name) {
        cnb.link(&name);
    }
    let stdout = cnb.launch(&name, arguments, env).ok();
    let (_, said) = stdout.rsplit_once("Exec.d Working Dir: ").unwrap();
    said.split_once('\n').unwrap_or_default().1.to_owned()
}

/// The same, of a command of a user's.
#[track_caller]
fn command(cnb: &Cnb, arguments: &[&str], env: &[(&str, &dyn AsRef<OsStr>)]) -> String {
    let stdout = cnb.launch(LAUNCHER, arguments, env).ok();
    let (_, said) = stdout.rsplit_once("Exec.d Working Dir: ").unwrap();
    said.split_once('\n').unwrap_or_default().1.to_owned()
}

const PROFILES: &str = "sourced bp profile\nsourced app profile\n";

#[test]
fn rule_56_exec_d_comes_before_the_profiles() {
    let cnb = image("0.7");
    cnb.link("cnb/process/exec.d-checker");
    let stdout = cnb
        .launch(
            "cnb/process/exec.d-checker",
            &[],
            &[("VAR_FROM_EXEC_D", &"orig-val")],
        )
        .ok();
    let at = |inside: &str| cnb.world.path(inside).display().to_string();
    let layer = at("layers/0.9_buildpack/some_layer/exec.d");
    let app = at("workspace");
    assert_eq!(
        stdout,
        format!(
            "{layer}/helper was executed\nExec.d Working Dir: {app}\n{layer}/exec.d-checker/helper was executed\nExec.d Working Dir: {app}\n{PROFILES}VAR_FROM_EXEC_D: orig-val:val-from-exec.d:val-from-exec.d-for-process-type-exec.d-checker"
        )
    );
}

#[test]
fn rule_51_a_link_is_named_after_the_process_it_starts() {
    let cnb = image(LATEST);
    assert_eq!(
        said(&cnb, "web", &[], NOTHING),
        format!("{PROFILES}Executing web process-type")
    );
    assert_eq!(
        said(&cnb, "process.with.period", &[], NOTHING),
        format!("{PROFILES}Executing process.with.period process-type")
    );
    assert_eq!(
        said(&cnb, "direct-process", &[], NOTHING),
        "Executing direct-process process-type"
    );
}

#[test]
fn rule_51_a_process_type_may_have_any_name_of_ours() {
    let cnb = Cnb::new(LATEST);
    let process = |name: &str| {
        format!(
            "[[processes]]\ntype = \"{name}\"\ncommand = [\"echo\", \"the process {name}\"]\ndirect = true\n"
        )
    };
    let names = ["build", "detect", "slug", "detector", "web"];
    let metadata: String = names.iter().map(|name| process(name)).collect();
    cnb.write("layers/config/metadata.toml", metadata);
    for name in names {
        let link = format!("cnb/process/{name}");
        cnb.link(&link);
        assert_eq!(
            cnb.launch(&link, &[], NOTHING).ok(),
            format!("the process {name}")
        );
    }
}

#[test]
fn rule_52_arguments_of_a_user() {
    let cnb = image(LATEST);
    // A buildpack below 0.9: they come after the default ones.
    assert_eq!(
        said(&cnb, "web", &["with user provided args"], NOTHING),
        format!("{PROFILES}Executing web process-type with user provided args")
    );
    assert_eq!(said(&cnb, "fixed", &[], NOTHING), "<default>");
    assert_eq!(said(&cnb, "fixed", &["a b", "c"], NOTHING), "<a b><c>");
    let cnb = image("0.9");
    assert_eq!(said(&cnb, "fixed", &["a"], NOTHING), "<default><a>");
}

#[test]
fn rule_53_the_first_process_for_the_execution_environment() {
    let cnb = image(LATEST);
    assert_eq!(said(&cnb, "tested", &[], NOTHING), "anywhere");
    assert_eq!(
        said(&cnb, "tested", &[], &[("CNB_EXEC_ENV", &"test")]),
        "under test"
    );
    cnb.link("cnb/process/only-test");
    cnb.launch("cnb/process/only-test", &[], NOTHING)
        .code(82)
        .says("process type only-test was not found");
    let old = image("0.14");
    assert_eq!(said(&old, "tested", &[], NOTHING), "under test");
}

#[test]
fn rule_51_without_a_process_the_arguments_are_a_command() {
    let cnb = image(LATEST);
    assert_eq!(
        command(&cnb, &["--", "echo", "something"], NOTHING),
        "something"
    );
    assert_eq!(
        command(&cnb, &["echo", "something"], NOTHING),
        format!("{PROFILES}something")
    );
    assert_eq!(
        command(
            &cnb,
            &["echo", "$SOME_VAR", "$OTHER_VAR", "$WORKER_VAR"],
            NOTHING
        ),
        format!("{PROFILES}some-bp-val other-bp-val worker-no-process-val")
    );
    assert_eq!(
        command(&cnb, &["bp-executable"], NOTHING),
        format!("{PROFILES}bp executable")
    );
    assert_eq!(
        command(&cnb, &["--", "bp-executable"], NOTHING),
        "bp executable"
    );
    let through_slug = cnb.world.binary_folder().join("slug");
    let run = cnb.world.program(
        through_slug.to_str().unwrap(),
        &["cnb", "launch", "--", "echo", "hi"],
    );
    let run = run
        .env("CNB_PLATFORM_API", LATEST)
        .env("CNB_LAYERS_DIR", cnb.world.path("layers"));
    run.env("CNB_APP_DIR", cnb.world.path("workspace"))
        .run()
        .code(0)
        .says("\nhi\n");
}

#[test]
fn nothing_to_start_is_82_and_a_process_type_in_a_variable_is_warned_about() {
    let cnb = image(LATEST);
    let launched = cnb.launch(LAUNCHER, &[], &[("CNB_PROCESS_TYPE", &"direct-process")]);
    launched.code(82);
    launched.says("Warning: CNB_PROCESS_TYPE is not supported in Platform API 0.15");
    launched.says(
        "Warning: Run with ENTRYPOINT 'direct-process' to invoke the 'direct-process' process type",
    );
    launched.says("ERROR: failed to launch: determine start command: when there is no default process a command is required");
    cnb.link("cnb/process/empty");
    cnb.launch("cnb/process/empty", &[], NOTHING)
        .code(82)
        .says("no command provided");
    cnb.launch(LAUNCHER, &["--", "no-such-program"], NOTHING)
        .code(82)
        .says("path lookup");
    cnb.launch(LAUNCHER, &["--", "true"], &[("CNB_PLATFORM_API", &"0.3")])
        .code(11);
    cnb.write(
        "layers/config/metadata.toml",
        "[[buildpacks]]\nid = \"a\"\nversion = \"1\"\napi = \"9.9\"\n",
    );
    cnb.launch(LAUNCHER, &["--", "true"], NOTHING)
        .code(12)
        .says("9.9");
    fs::remove_file(cnb.world.path("layers/config/metadata.toml")).unwrap();
    cnb.launch(LAUNCHER, &["--", "true"], NOTHING)
        .code(1)
        .says("failed to read metadata");
}

#[test]
fn rule_54_a_process_is_not_told_of_the_platform() {
    let cnb = image(LATEST);
    let env: &[(&str, &dyn AsRef<OsStr>)] = &[
        ("SOME_USER_VAR", &"some-user-val"),
        ("OTHER_VAR", &"other-user-val"),
        ("CNB_DEPRECATION_MODE", &"quiet"),
        (
            "PATH",
            &"/cnb/process:/usr/bin:/cnb/lifecycle:/bin:/cnb/process",
        ),
    ];
    let said = command(&cnb, &["--", "env"], env);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.contains(&"SOME_USER_VAR=some-user-val"), "{said}");
    assert!(
        lines.contains(&"OTHER_VAR=other-user-val**other-bp-val"),
        "{said}"
    );
    let bin = cnb.world.path("layers/0.8_buildpack/some_layer/bin");
    assert!(
        lines.contains(&format!("PATH={}:/usr/bin:/bin", bin.display()).as_str()),
        "{said}"
    );
    for hidden in [
        "CNB_LAYERS_DIR",
        "CNB_APP_DIR",
        "CNB_PLATFORM_API",
        "CNB_DEPRECATION_MODE",
    ] {
        assert!(!said.contains(hidden), "{said}");
    }
    assert!(
        said.contains("CNB_BUILDPACKS_DIR="),
        "what is not named stays: {said}"
    );
}

#[test]
fn rule_57_profiles_of_the_type_and_of_the_app() {
    let cnb = image(LATEST);
    assert_eq!(
        said(&cnb, "profile-checker", &[], NOTHING),
        "sourced bp profile\nsourced bp profile-checker profile\nsourced app profile\nval-from-profile"
    );
    assert_eq!(
        said(&cnb, "worker", &[], NOTHING),
        format!("{PROFILES}worker-process-val")
    );
}

#[test]
fn rule_58_a_command_of_the_shell() {
    let cnb = image(LATEST);
    let env: &[(&str, &dyn AsRef<OsStr>)] = &[
        ("VAR1", &"val1"),
        ("VAR2", &"val with space"),
        ("QUOTED", &"a \"b\" && c"),
    ];
    let expected = format!("{PROFILES}'val1' 'val with space'");
    assert_eq!(said(&cnb, "indirect-process-with-args", &[], env), expected);
    assert_eq!(
        said(&cnb, "indirect-process-with-script", &[], env),
        expected
    );
    assert_eq!(
        command(&cnb, &["printf", "<%s>", "$QUOTED"], env),
        format!("{PROFILES}<a \"b\" && c>")
    );
}

#[test]
fn rule_59_a_direct_command_is_found_from_the_apps_folder_and_starts_in_its_own() {
    let cnb = image(LATEST);
    let sub = cnb.world.path("workspace/sub").display().to_string();
    assert_eq!(said(&cnb, "there", &[], NOTHING), sub);
}

#[test]
fn the_process_takes_the_launchers_place() {
    let cnb = image(LATEST);
    let trap = "trap '' PIPE; trap -p PIPE; trap - PIPE; kill -s PIPE $$; echo still there";
    let launched = cnb.launch(LAUNCHER, &["--", "bash", "-c", trap], NOTHING);
    // A signal that Rust's runtime ignores is not ignored by the process.
    launched.code(128 + 13).says_not("still there");
    cnb.launch(LAUNCHER, &["--", "sh", "-c", "exit 7"], NOTHING)
        .code(7);
}
