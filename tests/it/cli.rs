//! What is typed wrong, or cannot be said: one message, the right exit code, and nothing changed.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::world::World;

#[test]
fn standard_input_gives_one_value() {
    let world = World::new();
    let run = world
        .invoke(&["config", "set", "A=-", "B=-"])
        .stdin(b"value\n")
        .run();
    run.code(2)
        .says("standard input")
        .says("no config var was changed");
    world
        .slug(&["config", "set", "A=1", "A=2"])
        .code(2)
        .says("A is given twice");
    world
        .slug(&["config", "set", "A=@"])
        .code(2)
        .says("names no file");
    world.slug(&["releases"]).code(0).says("no release yet");
}

#[test]
fn what_is_not_set_is_not_unset_in_silence() {
    let world = World::new();
    world.slug(&["config", "set", "A=1"]).ok();
    world
        .slug(&["config", "unset", "A", "NOPE"])
        .code(0)
        .says("NOPE is not set");
}

#[test]
fn a_slug_is_written_to_a_file_or_nowhere() {
    let world = World::new();
    world.app("app", &[("Procfile", "web: sleep 1\n")]);
    world.write("real", "kept");
    symlink(world.path("real"), world.path("link")).unwrap();
    for output in ["link", "app", "no-such-folder/app.slug"] {
        let run = world.slug(&["build", "app", "-o", output]);
        run.code(2).says("nothing was built").says(output);
    }
    assert_eq!(fs::read(world.path("real")).unwrap(), b"kept");
    assert!(world.path("link").is_symlink());
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let world = World::new();
    let full = world
        .program("sh", &["-c", "slug buildpacks > /dev/full"])
        .run();
    full.code(1).says("could not be written");
    let gone = world
        .program(
            "bash",
            &["-c", "slug buildpacks | true; exit ${PIPESTATUS[0]}"],
        )
        .run();
    gone.code(0).says_not("panicked");
}

#[test]
fn every_json_object_is_one_of_schema_1_in_snake_case() {
    let world = World::new();
    let slug = world.greeter("hello");
    let commands: [&[&str]; 14] = [
        &["release", "-n", &slug],
        &["release", &slug],
        &["release", &slug],
        &["config", "set", "A=1"],
        &["config", "set", "-n", "A=1"],
        &["config"],
        &["config", "get", "A"],
        &["config", "diff", "v1", "v2"],
        &["diff", "v1", "v2"],
        &["releases"],
        &["releases", "show", "v2"],
        &["verify"],
        &["gc", "-n"],
        &["buildpacks"],
    ];
    for command in commands {
        let object = world.slug(&[command, &["--json"]].concat()).json();
        assert_eq!(object["schema"], 1, "{command:?}");
        check_keys(&object);
    }
    let plan = world.slug(&["release", "-n", &slug, "--json"]).json();
    assert_eq!(
        (&plan["made"], &plan["dry_run"], &plan["version"]),
        (&false.into(), &true.into(), &"v2".into())
    );
}

#[track_caller]
fn check_keys(value: &serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                assert!(
                    !key.contains(|letter: char| letter.is_ascii_uppercase() || letter == '-'),
                    "{key}"
                );
                check_keys(value);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(check_keys),
        _ => {}
    }
}

#[test]
fn a_name_of_a_user_does_nothing_to_the_terminal() {
    let world = World::new();
    world
        .invoke(&["config", "set", "A=1"])
        .env("USER", "\u{1b}[31mred")
        .run()
        .ok();
    for show in [&["releases"][..], &["releases", "show", "v1"]] {
        world
            .slug(show)
            .code(0)
            .says("\\u{1b}[31mred")
            .says_not("\u{1b}");
    }
}

#[test]
fn an_error_in_slug_toml_shows_the_line() {
    let world = World::new();
    world.app(
        "app",
        &[("Procfile", "web: sleep 1\n"), ("slug.toml", "\napp = 5\n")],
    );
    let run = world.slug(&["build", "app"]);
    run.code(1)
        .says("line 2, column 7")
        .says("  app = 5\n        ^\n");
    // The file is named for its app by other commands too: what they say is not about a build.
    let inside = world
        .invoke(&["releases"])
        .without("SLUG_APP")
        .dir(world.path("app"))
        .run();
    inside
        .code(1)
        .says("line 2, column 7")
        .says("--app NAME")
        .says_not("no slug was made");
}

#[test]
fn a_long_message_is_cut_in_the_table_alone() {
    let world = World::new();
    let message = format!("{}\nmore", "words ".repeat(20));
    world.slug(&["config", "set", "A=1", "-m", &message]).ok();
    world
        .slug(&["releases"])
        .code(0)
        .says("words …")
        .says_not("more");
    world.slug(&["releases", "show", "v1"]).code(0).says("more");
}
