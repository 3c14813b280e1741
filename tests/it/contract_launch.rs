//! How processes are started (rules 51 to 59), each in a real sandbox.

use crate::support::buildpack::{TAKE_ALL, buildpack_of};
use crate::support::world::World;

/// An app of these files, built by one buildpack of that API, released.
fn released(api: &str, files: &[(&str, &str)], build: &str) -> World {
    let world = World::unprivileged();
    world.app("app", &[("file", "one\n")]);
    world.app("app", files);
    let descriptor = format!(
        "api = \"{api}\"\n[buildpack]\nid = \"test/one\"\nversion = \"1\"\n[[stacks]]\nid = \"*\"\n"
    );
    buildpack_of(&world, "one", &descriptor, TAKE_ALL, build);
    let slug = world
        .slug(&["build", "--quiet", "app", "--buildpack", "one"])
        .ok();
    world.slug(&["release", &slug]).ok();
    world
}

/// `launch.toml`, written by the build.
fn launch(text: &str) -> String {
    format!("cat > \"$1/launch.toml\" <<'END'\n{text}\nEND\n")
}

/// A layer `l` for launch with these files, each with its text.
fn layer(files: &[(&str, &str)]) -> String {
    let types = "printf '[types]\\nlaunch = true\\n' > \"$1/l.toml\"\n".to_owned();
    let write = |(name, text): &(&str, &str)| {
        format!(
            "mkdir -p \"$1/l/$(dirname {name})\"\ncat > \"$1/l/{name}\" <<'END'\n{text}\nEND\nchmod 755 \"$1/l/{name}\"\n"
        )
    };
    types + &files.iter().map(write).collect::<String>()
}

#[test]
fn rule_57_profiles_of_layers_and_then_the_apps_are_sourced_in_the_apps_folder() {
    let profiles = [
        ("profile.d/b", "SEEN=\"$SEEN b:$PWD\""),
        ("profile.d/a", "export SEEN=a"),
        ("profile.d/web/c", "SEEN=\"$SEEN web\""),
        ("profile.d/worker/c", "SEEN=\"$SEEN worker\""),
    ];
    let processes = "[[processes]]\ntype = \"web\"\ncommand = \"echo \\\"$SEEN; $PWD\\\"\"\nworking-dir = \"sub\"\n\
        [[processes]]\ntype = \"direct\"\ncommand = \"sh\"\nargs = [\"-c\", \"echo ${SEEN-none} $PWD\"]\ndirect = true\nworking-dir = \"sub\"\n";
    let build = format!("mkdir sub\n{}{}", layer(&profiles), launch(processes));
    let files = [(".profile", "SEEN=\"$SEEN app:$PWD\"")];
    let world = released("0.8", &files, &build);
    assert_eq!(
        world.slug(&["run", "web"]).ok(),
        "a b:/workspace web app:/workspace; /workspace/sub"
    );
    assert_eq!(world.slug(&["run", "direct"]).ok(), "none /workspace/sub");
}

#[test]
fn rule_57_since_api_0_9_no_process_has_profiles() {
    let processes =
        "[[processes]]\ntype = \"web\"\ncommand = [\"sh\", \"-c\", \"echo ${SEEN-none}\"]\n";
    let build = layer(&[("profile.d/a", "export SEEN=a")]) + &launch(processes);
    let world = released("0.9", &[(".profile", "export SEEN=app")], &build);
    assert_eq!(world.slug(&["run", "web"]).ok(), "none");
}

#[test]
fn rule_58_a_command_without_arguments_is_a_script_and_with_them_tokens_are_expanded() {
    let processes = "[[processes]]\ntype = \"script\"\ncommand = \"for word in $WORDS; do printf '<%s>' $word; done | cat\"\n\
        [[processes]]\ntype = \"tokens\"\ncommand = \"printf\"\nargs = [\"<%s>\", \"$WORDS\", \"$(echo sub)\", \"a b\", \"'q'\"]\n";
    let build = layer(&[("env.launch/WORDS", "x  y")]) + &launch(processes);
    let world = released("0.8", &[], &build);
    assert_eq!(world.slug(&["run", "script"]).ok(), "<x><y>");
    // As in lifecycle: each token stays one word, quotes in it included.
    assert_eq!(world.slug(&["run", "tokens"]).ok(), "<x  y><sub><a b><'q'>");
    assert_eq!(
        world.slug(&["run", "tokens", "--", "$WORDS"]).ok(),
        "<x  y><sub><a b><'q'><x  y>"
    );
    let failing = "[[processes]]\ntype = \"web\"\ncommand = \"exit 7\"\n";
    let world = released("0.7", &[], &launch(failing));
    world.slug(&["run", "web"]).code(7);
}

#[test]
fn rule_52_a_users_arguments_replace_the_defaults_since_api_0_9_and_are_added_before() {
    let fixed = "[[processes]]\ntype = \"web\"\ncommand = [\"echo\", \"fixed\"]\nargs = [\"default\"]\n\
        [[processes]]\ntype = \"bare\"\ncommand = [\"echo\"]\nargs = [\"default\"]\n";
    let world = released("0.9", &[], &launch(fixed));
    assert_eq!(world.slug(&["run", "web"]).ok(), "fixed default");
    assert_eq!(world.slug(&["run", "web", "--", "mine"]).ok(), "fixed mine");
    assert_eq!(world.slug(&["run", "bare", "--", "mine"]).ok(), "mine");
    let old =
        "[[processes]]\ntype = \"web\"\ncommand = \"echo\"\nargs = [\"default\"]\ndirect = true\n";
    let world = released("0.8", &[], &launch(old));
    assert_eq!(
        world.slug(&["run", "web", "--", "mine"]).ok(),
        "default mine"
    );
}

#[test]
fn rule_51_a_process_is_selected_by_its_type_and_what_is_not_there_is_named() {
    let two = "[[processes]]\ntype = \"web\"\ncommand = [\"echo\", \"web\"]\ndefault = true\n\
        [[processes]]\ntype = \"worker\"\ncommand = [\"echo\", \"worker\"]\n";
    let world = released("0.10", &[], &launch(two));
    assert_eq!(world.slug(&["run"]).ok(), "web");
    assert_eq!(world.slug(&["run", "worker"]).ok(), "worker");
    assert_eq!(world.slug(&["run", "--", "echo", "mine"]).ok(), "mine");
    world.slug(&["run", "clock"]).says("web, worker");
}

#[test]
fn rule_54_a_process_is_told_nothing_of_the_platform() {
    let web = "[[processes]]\ntype = \"web\"\ncommand = [\"sh\", \"-c\", \"env | grep ^CNB_; echo $PATH\"]\n";
    let world = released("0.12", &[], &launch(web));
    let path = world.slug(&["run", "web"]).ok();
    assert!(
        path.starts_with("/usr/local/sbin:") && !path.contains("cnb"),
        "{path}"
    );
}

#[test]
fn rules_45_and_55_paths_of_all_layers_then_files_in_the_order_of_the_names() {
    let build = r#"
        for layer in a b; do
            mkdir -p "$1/$layer/bin" "$1/$layer/env" "$1/$layer/env.launch/web"
            printf '[types]\nlaunch = true\n' > "$1/$layer.toml"
            printf "$layer" > "$1/$layer/env/APPENDED.append"
            printf "$layer" > "$1/$layer/env/PREPENDED.prepend"
            printf "$layer" > "$1/$layer/env/LAST"
            printf "$layer" > "$1/$layer/env/FIRST.default"
            printf "$layer:" > "$1/$layer/env.launch/PATH.prepend"
        done
        printf web > "$1/a/env.launch/web/LAST""#;
    let web = "[[processes]]\ntype = \"web\"\ncommand = [\"sh\", \"-c\", \"echo $APPENDED $PREPENDED $LAST $FIRST $PATH\"]\n";
    let world = released("0.10", &[], &format!("{build}\n{}", launch(web)));
    let said = world.slug(&["run", "web"]).ok();
    let expected = "ab ba b a b:a:/layers/test_one/b/bin:/layers/test_one/a/bin:/usr/local/sbin:";
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn rule_56_exec_d_runs_in_the_apps_folder_after_the_environment_and_its_failure_ends_the_start() {
    let programs = [
        ("env.launch/A", "layer"),
        (
            "exec.d/2",
            "#!/bin/sh\nprintf 'B = \"%s then\"\\n' \"$B\" >&3",
        ),
        (
            "exec.d/1",
            "#!/bin/sh\nprintf 'B = \"%s %s\"\\n' \"$(echo $A)\" \"$PWD\" >&3",
        ),
        ("exec.d/web/0", "#!/bin/sh\nprintf 'C = \"web\"\\n' >&3"),
        ("exec.d/broken/0", "#!/bin/sh\necho 'C = 1' >&3"),
    ];
    let processes = "[[processes]]\ntype = \"web\"\ncommand = [\"sh\", \"-c\", \"echo $B $C $PWD\"]\nworking-dir = \"/tmp\"\n\
        [[processes]]\ntype = \"broken\"\ncommand = [\"echo\", \"started\"]\n";
    let world = released("0.10", &[], &(layer(&programs) + &launch(processes)));
    assert_eq!(
        world.slug(&["run", "web"]).ok(),
        "layer /workspace then web /tmp"
    );
    let broken = world.slug(&["run", "broken"]);
    assert_ne!(broken.exit(), 0);
    broken
        .says("/layers/test_one/l/exec.d/broken/0")
        .says("no table of strings")
        .says_not("started");
}

#[test]
fn rule_59_a_program_is_looked_for_on_the_path_that_layers_made() {
    let processes = "[[processes]]\ntype = \"web\"\ncommand = [\"tool\"]\nworking-dir = \"sub\"\n\
        [[processes]]\ntype = \"path\"\ncommand = [\"./here\"]\nworking-dir = \"sub\"\n\
        [[processes]]\ntype = \"none\"\ncommand = [\"no-such-tool\"]\n";
    let build = format!(
        "mkdir sub; printf '#!/bin/sh\\necho here\\n' > sub/here; chmod 755 sub/here\n{}{}",
        layer(&[("bin/tool", "#!/bin/sh\necho tool in $PWD")]),
        launch(processes)
    );
    let world = released("0.10", &[], &build);
    assert_eq!(world.slug(&["run", "web"]).ok(), "tool in /workspace/sub");
    assert_eq!(world.slug(&["run", "path"]).ok(), "here");
    world.slug(&["run", "none"]).code(127).says("no-such-tool");
}

#[test]
fn rule_59_an_empty_command_is_refused_at_the_build() {
    let world = World::unprivileged();
    world.app("app", &[("file", "one\n")]);
    for (api, command) in [("0.10", "[]"), ("0.8", "\"\"")] {
        let descriptor = format!(
            "api = \"{api}\"\n[buildpack]\nid = \"test/one\"\nversion = \"1\"\n[[stacks]]\nid = \"*\"\n"
        );
        let text = format!("[[processes]]\ntype = \"web\"\ncommand = {command}\n");
        buildpack_of(&world, "one", &descriptor, TAKE_ALL, &launch(&text));
        world
            .slug(&["build", "app", "--buildpack", "one"])
            .code(1)
            .says("`/layers/test_one/launch.toml`, line 3, column 11")
            .says("no command");
    }
}
