//! `slug up DIR --watch`: what is written is built and released.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::processes;
use crate::support::up::Up;
use crate::support::wait;
use crate::support::world::World;

const SOON: Duration = Duration::from_secs(30);

/// An app that answers what its file `greeting` says, and its supervisor once it watches and answers.
#[track_caller]
fn watched(world: &World, files: &[(&str, &str)]) -> Up {
    let app = world.greeter_source("hello", files);
    let up = world.up(&[app.to_str().unwrap(), "--watch"]);
    up.wait_for_answer("/", "hello");
    up
}

#[track_caller]
fn builds(up: &Up) -> usize {
    up.said.text().matches("changed: ").count()
}

#[test]
fn what_is_changed_is_served_and_a_build_that_fails_leaves_what_was() {
    let world = World::new();
    let mut up = watched(&world, &[]);
    world.write("greeter-hello/greeting", "second");
    up.wait_for_answer("/", "second");
    world.write("greeter-hello/Procfile", "web = nothing\n");
    up.said.wait_for("hint:", wait::LONG);
    up.said.wait_for("the release before goes on", wait::LONG);
    up.wait_for_answer("/", "second");
    world.write("greeter-hello/greeting", "third");
    world.write("greeter-hello/Procfile", "web: /usr/bin/python3 serve\n");
    up.wait_for_answer("/", "third");
    assert!(up.stop().success());
    processes::none_left(world.folder(), &[], SOON);
}

#[test]
fn a_folder_that_is_new_is_watched_and_one_that_is_no_source_is_not() {
    let world = World::new();
    let files = [
        (".gitignore", "ignored/\n"),
        (".slugignore", "left-out/\n*.log\n"),
        ("ignored/a", ""),
        ("left-out/a", ""),
        ("__pycache__/a.pyc", ""),
    ];
    let source = world.greeter_source("hello", &files);
    let git = Command::new("git")
        .args(["init", "-q"])
        .arg(&source)
        .status();
    assert!(git.unwrap().success());
    let up = watched(&world, &files);
    for no_source in [
        "ignored/b",
        "left-out/b",
        "__pycache__/b.pyc",
        ".git/b",
        "a.log",
    ] {
        world.write(&format!("greeter-hello/{no_source}"), "x");
    }
    fs::create_dir(source.join("new")).unwrap();
    world.write("greeter-hello/new/deep/file", "x");
    up.said.wait_for("changed: new/deep/file\n", wait::LONG);
    up.wait_for_answer("/", "v2");
    world.write("greeter-hello/new/deep/file", "y");
    up.wait_for_answer("/", "v3");
    let said = up.said.text();
    assert_eq!((builds(&up), said.contains(".log")), (2, false), "{said}");
}

#[test]
fn a_change_during_a_build_leads_to_one_more() {
    let world = World::new();
    let up = watched(&world, &[]);
    world.write("greeter-hello/greeting", "first");
    up.said.wait_for("changed: greeting", wait::LONG);
    world.write("greeter-hello/greeting", "last"); // the build of `first` has not ended
    up.wait_for_answer("/", "last");
}

#[test]
fn what_watches_ends_with_a_supervisor_that_is_killed() {
    let world = World::new();
    let mut up = watched(&world, &[]);
    let before = processes::of(world.folder());
    assert!(
        before
            .iter()
            .any(|process| process.command.starts_with("slug-watch"))
    );
    up.signal(Signal::KILL);
    up.wait(SOON);
    processes::none_left(world.folder(), &before, SOON);
}

#[test]
fn without_a_folder_there_is_nothing_to_watch() {
    let world = World::new();
    world.slug(&["up", "--watch"]).code(2);
}

#[test]
fn a_limit_of_the_system_is_named_before_anything_is_built() {
    let world = World::new();
    let app = world.greeter_source("hello", &[("a/b/c", "")]);
    let slug = world.binary_folder().join("slug");
    for (limit, sysctl) in [
        ("max_inotify_watches", "fs.inotify.max_user_watches"),
        ("max_inotify_instances", "fs.inotify.max_user_instances"),
    ] {
        // The limits of a user namespace are its root's to lower.
        let script = format!(
            "echo 0 >/proc/sys/user/{limit}; exec '{}' up '{}' --watch",
            slug.display(),
            app.display()
        );
        let run = world
            .program("unshare", &["-U", "-r", "bash", "-c", &script])
            .run();
        run.code(1).says(sysctl);
        assert!(!world.store().join("slugs").exists(), "{}", run.story());
    }
}
