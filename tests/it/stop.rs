//! The end: of a supervisor asked to stop, asked twice, or killed. No process outlives it.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::processes;
use crate::support::processes::Process;
use crate::support::up::Up;
use crate::support::wait;
use crate::support::world::World;

/// Longer than the grace of these apps, shorter than what a leftover would take to end by itself.
const SOON: Duration = Duration::from_secs(20);

/// An app with a worker of these shell lines, and its supervisor when the worker has said `ready`.
#[track_caller]
fn up_with_worker(world: &World, worker: &str, grace: &str) -> Up {
    let procfile = "worker: sh worker\n";
    let slug_toml = format!("[process.worker]\ninstances = 1\ngrace = \"{grace}\"\n");
    let app = world.app(
        "app",
        &[
            ("Procfile", procfile),
            ("worker", worker),
            ("slug.toml", &slug_toml),
        ],
    );
    let slug = world.slug(&["build", app.to_str().unwrap()]).ok();
    world.slug(&["release", &slug]).ok();
    let up = world.start_up(&[]);
    up.said.wait_for("ready", wait::LONG);
    up
}

/// A grandchild in a session of its own that holds on to stdout and ignores what it can.
const DAEMON: &str = "trap '' TERM INT HUP\nsetsid sh -c \"trap '' TERM INT HUP; sleep 1234; sleep 1234\" &\necho ready\nsleep 1234 & wait\n";

/// All processes of the world, the init of a sandbox among them, once the one that says so is there.
#[track_caller]
fn processes_with(world: &World, command: &str) -> Vec<Process> {
    let all = wait::until(SOON, command, || {
        let all = processes::of(world.folder());
        all.iter()
            .any(|process| process.command.starts_with(command))
            .then_some(all)
    });
    assert!(
        all.iter()
            .any(|process| process.command.starts_with("slug-shim")),
        "{all:?}"
    );
    all
}

#[test]
fn a_stop_leaves_no_process_not_even_one_that_called_setsid() {
    for world in [World::new(), World::unprivileged()] {
        let mut up = up_with_worker(&world, DAEMON, "1s");
        let before = processes_with(&world, "sleep 1234");
        up.signal(Signal::TERM);
        up.wait(SOON);
        processes::none_left(world.folder(), &before, Duration::ZERO);
    }
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_the_grace() {
    let world = World::new();
    let stubborn = "trap 'echo not yet' TERM\necho ready\nwhile true; do sleep 0.1; done\n";
    let mut up = up_with_worker(&world, stubborn, "5m");
    let before = processes_with(&world, "sh worker");
    up.signal(Signal::INT);
    up.said.wait_for("not yet", SOON);
    up.signal(Signal::INT);
    up.wait(SOON);
    processes::none_left(world.folder(), &before, Duration::ZERO);
}

#[test]
fn a_supervisor_killed_outright_leaves_no_process() {
    for world in [World::new(), World::unprivileged()] {
        let mut up = up_with_worker(&world, DAEMON, "1s");
        let before = processes_with(&world, "sleep 1234");
        up.signal(Signal::KILL);
        up.wait(SOON);
        processes::none_left(world.folder(), &before, SOON);
    }
}

#[test]
fn a_stop_by_command_ends_the_supervisor_with_zero() {
    let world = World::new();
    let mut up = up_with_worker(&world, "echo ready\nexec sleep 1234\n", "5s");
    let before = processes_with(&world, "sleep 1234");
    world.slug(&["stop"]).ok();
    assert!(up.wait(SOON).success(), "{}", up.story());
    processes::none_left(world.folder(), &before, Duration::ZERO);
}

#[test]
fn the_last_words_of_a_process_are_not_lost() {
    let world = World::new();
    let worker = "trap 'seq 1 2000; echo last words; exit 0' TERM\necho ready\nwhile true; do sleep 0.1; done\n";
    let mut up = up_with_worker(&world, worker, "30s");
    up.stop();
    assert!(up.said.text().contains("last words"), "{}", up.story());
    assert_eq!(up.said.text().matches("1999").count(), 1, "{}", up.story());
}

#[test]
fn a_one_off_killed_outright_leaves_no_process() {
    let world = World::new();
    world.slug(&["release", &world.greeter("hello")]).ok();
    let mut child = world
        .command(&["run", "--", "sh", "-c", "setsid sleep 1234 & sleep 1234"])
        .spawn()
        .unwrap();
    let before = processes_with(&world, "sleep 1234");
    child.kill().unwrap();
    child.wait().unwrap();
    processes::none_left(world.folder(), &before, SOON);
}
