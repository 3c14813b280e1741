//! `slug run --detach`: it goes on without terminal and supervisor, and its lines are in the history.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::processes;
use crate::support::wait;
use crate::support::world::World;

fn world() -> World {
    released(World::new())
}

fn released(world: World) -> World {
    world.slug(&["release", &world.greeter("hello")]).ok();
    world
}

/// Waits until the history of this one-off says so.
#[track_caller]
fn until_logged(world: &World, name: &str, part: &str) -> String {
    wait::until(wait::LONG, part, || {
        let said = world.slug(&["logs", name]).ok();
        said.contains(part).then_some(said)
    })
}

#[test]
fn a_detached_one_off_is_named_logged_listed_and_stopped() {
    for world in [world(), released(World::unprivileged())] {
        let script = "echo from $DYNO; echo oops >&2; exec sleep 1234";
        assert_eq!(
            world.slug(&["run", "-d", "--", "sh", "-c", script]).ok(),
            "run.1"
        );
        until_logged(&world, "run.1", "from run.1");
        until_logged(&world, "run.1", "oops");
        let listed = world.slug(&["ps", "--json"]).json();
        assert_eq!(listed["one_offs"][0]["detached"], true, "{listed:#}");
        world.slug(&["stop", "run.1"]).ok();
        let said = until_logged(&world, "run.1", "ended by signal 15");
        assert!(said.contains("run.1 was started by "), "{said}");
        assert!(said.contains(": sh, detached"), "{said}");
        processes::none_left(world.folder(), &[], Duration::from_secs(20));
        let shown = world.slug(&["releases", "show", "v1", "--json"]).json();
        assert_eq!(shown["release"]["ran"][0]["exit"], 143, "{shown:#}");
    }
}

#[test]
fn what_cannot_be_executed_is_told_to_whoever_asked() {
    let world = world();
    world
        .slug(&["run", "-d", "--", "no-such-program"])
        .code(127)
        .says("was not found");
    world
        .slug(&["run", "-d", "no-such-type"])
        .code(125)
        .says("no process type");
    world.slug(&["ps"]).code(1);
}

#[test]
fn a_detached_one_off_outlives_the_terminal_and_the_supervisor() {
    let world = world();
    let mut up = world.up(&[]);
    let script = "trap 'echo hung up' HUP; echo ready; while :; do sleep 0.1; done";
    let mut run = world.on_terminal(&["run", "-d", "--", "sh", "-c", script]);
    run.shows("run.1\r\n");
    assert_eq!(run.end().code(), Some(0));
    drop(run); // the terminal is gone
    world.slug(&["stop"]).ok();
    assert!(up.wait(wait::LONG).success());
    until_logged(&world, "run.1", "ready");
    let left = world.slug(&["ps"]).ok();
    assert!(
        left.starts_with("run.1 ") && left.lines().count() == 1,
        "{left}"
    );
    world.slug(&["stop", "run.1"]).ok();
    let said = until_logged(&world, "run.1", "run.1 was ended by signal 15");
    assert!(!said.contains("hung up"), "{said}");
}

#[test]
fn no_value_of_the_config_and_no_argument_is_in_the_argv_of_who_stands_by() {
    let world = world();
    let secret = "canary-5308";
    world
        .invoke(&["config", "set", "TOKEN=-"])
        .stdin(secret.as_bytes())
        .run()
        .ok();
    let script = format!("echo $TOKEN | wc -c; : {secret}; exec sleep 1234");
    world.slug(&["run", "-d", "--", "sh", "-c", &script]).ok();
    until_logged(&world, "run.1", "12");
    let runners: Vec<String> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| line.starts_with("slug-one-off"))
        .collect();
    assert!(!runners.is_empty());
    assert!(
        runners.iter().all(|line| !line.contains(secret)),
        "{runners:?}"
    );
    world.slug(&["stop", "run.1"]).ok();
}

#[test]
fn the_lines_of_several_writers_stay_whole() {
    const LINES: usize = 3000;
    let worker = "worker: sh worker\n";
    let script = format!(
        "seq -f 'worker %.0f {}' {LINES}; echo worker done; sleep 1234",
        "x".repeat(200)
    );
    let world = World::new();
    let app = world.app("app", &[("Procfile", worker), ("worker", &script)]);
    let slug = world.slug(&["build", app.to_str().unwrap()]).ok();
    world.slug(&["release", &slug]).ok();
    let up = world.start_up(&[]);
    let names: Vec<String> = (0..2)
        .map(|_| {
            let script = format!(
                "seq -f \"$DYNO %.0f {}\" {LINES}; echo $DYNO done",
                "y".repeat(200)
            );
            world.slug(&["run", "-d", "--", "sh", "-c", &script]).ok()
        })
        .collect();
    up.said.wait_for("worker done", wait::LONG);
    for name in &names {
        until_logged(&world, name, "exited with code 0");
    }
    let all = world.slug(&["logs", "-n", "100000"]).ok();
    for source in ["worker", "run.1", "run.2"] {
        let fill = if source == "worker" { "x" } else { "y" }.repeat(200);
        let seen: Vec<&str> = all
            .lines()
            .filter_map(|line| {
                line.split_once(" | ")?
                    .1
                    .strip_prefix(source)?
                    .strip_suffix(&fill)
            })
            .collect();
        let expected: Vec<String> = (1..=LINES).map(|number| format!(" {number} ")).collect();
        assert_eq!(seen, expected, "{source}");
    }
}

#[test]
fn a_killed_runner_takes_its_one_off_with_it() {
    let world = world();
    world
        .slug(&[
            "run",
            "-d",
            "--",
            "sh",
            "-c",
            "setsid sleep 1234 & sleep 1234",
        ])
        .ok();
    let before = processes::of(world.folder());
    let entry = world
        .store()
        .join("run")
        .join(crate::support::world::app_of(world.folder()));
    let entry = std::fs::read_to_string(entry.join("run.1")).unwrap();
    let entry: serde_json::Value = serde_json::from_str(entry.lines().last().unwrap()).unwrap();
    let runner = i32::try_from(entry["runner"].as_i64().unwrap()).unwrap();
    let runner = rustix::process::Pid::from_raw(runner).unwrap();
    rustix::process::kill_process(runner, Signal::KILL).unwrap();
    processes::none_left(world.folder(), &before, Duration::from_secs(20));
    world.slug(&["ps"]).code(1);
}
