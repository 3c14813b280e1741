//! One-offs: their names, who sees them, how they are ended.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;

use crate::support::processes;
use crate::support::transcript::Transcript;
use crate::support::wait;
use crate::support::world::World;

fn world() -> World {
    released(World::new())
}

fn released(world: World) -> World {
    world.slug(&["release", &world.greeter("hello")]).ok();
    world
}

/// A one-off in the foreground that has said `ready`.
struct Foreground {
    child: std::process::Child,
    said: Transcript,
}

impl Foreground {
    fn start(world: &World, script: &str) -> Self {
        let mut child = world
            .command(&["run", "--", "sh", "-c", script, "s3cret"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Transcript::default();
        said.follow(child.stdout.take().unwrap());
        said.wait_for("ready", wait::LONG);
        Self { child, said }
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn code(&mut self) -> Option<i32> {
        wait::exit_of(&mut self.child, wait::LONG).unwrap().code()
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

#[test]
fn each_one_off_has_a_name_that_is_not_given_again() {
    for world in [world(), released(World::unprivileged())] {
        let name = || {
            world
                .slug(&["run", "--", "sh", "-c", "echo $DYNO $SLUG_PROCESS"])
                .ok()
        };
        assert_eq!(name(), "run.1 run.1");
        assert_eq!(name(), "run.2 run.2");
        world.slug(&["run", "--", "sh", "-c", "exit 7"]).code(7);
        let events = world.slug(&["logs", "run.3"]).ok();
        let texts: Vec<&str> = events
            .lines()
            .filter_map(|line| line.split(" | ").nth(1))
            .collect();
        assert!(texts[0].starts_with("run.3 was started by "), "{events}");
        assert!(texts[0].ends_with(": sh"), "{events}");
        assert_eq!(texts[1..], ["run.3 exited with code 7"]);
    }
}

#[test]
fn ps_lists_one_offs_with_and_without_a_supervisor_and_no_argument_of_theirs() {
    let world = world();
    let mut run = Foreground::start(&world, "echo ready; exec sleep 1234");
    let alone = world.slug(&["ps"]);
    assert!(
        alone.stdout().starts_with("run.1  v1  up"),
        "{}",
        alone.story()
    );
    assert!(
        alone.stdout().trim_end().ends_with("  sh"),
        "{}",
        alone.story()
    );
    assert!(!alone.stdout().contains("s3cret"), "{}", alone.story());
    let up = world.up(&[]);
    let both = world.slug(&["ps", "--json"]).json();
    assert_eq!(both["processes"][0]["instance"], "web.1", "{both:#}");
    let one_off = &both["one_offs"][0];
    assert_eq!(one_off["instance"], "run.1", "{both:#}");
    assert_eq!(
        (&one_off["state"], &one_off["command"]),
        (&"up".into(), &"sh".into())
    );
    assert_eq!(one_off["detached"], false, "{both:#}");
    drop(up);
    run.signal(Signal::KILL);
    assert_eq!(run.code(), None);
    // What a killed one left is recognised.
    world.slug(&["ps"]).code(1).says("no supervisor");
}

#[test]
fn a_signal_is_passed_on_and_a_second_one_kills() {
    let world = world();
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::HUP)] {
        let script = "trap 'echo not yet' TERM INT; echo ready; while :; do sleep 0.1; done";
        let mut run = Foreground::start(&world, script);
        run.signal(first);
        run.said.wait_for("not yet", wait::LONG);
        run.signal(second);
        assert_eq!(run.code(), Some(137), "{}", run.said.text());
    }
}

#[test]
fn a_time_limit_ends_a_one_off_in_its_own_way() {
    let world = world();
    let script = "trap 'echo in time; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    let run = world.slug(&["run", "--time-limit", "1s", "--", "sh", "-c", script]);
    run.code(3).says("in time");
    world
        .slug(&["logs", "run.1"])
        .says("run.1 exited with code 3: its time limit was over");
}

#[test]
fn stop_ends_one_one_off_and_no_other() {
    let world = world();
    let mut first = Foreground::start(&world, "echo ready; exec sleep 1234");
    let mut second = Foreground::start(&world, "echo ready; exec sleep 1234");
    world.slug(&["stop", "run.1"]).ok();
    assert_eq!(first.code(), Some(143));
    let left = world.slug(&["ps"]).ok();
    assert!(
        left.starts_with("run.2 ") && left.lines().count() == 1,
        "{left}"
    );
    world
        .slug(&["stop", "run.1"])
        .code(1)
        .says("no one-off `run.1`");
    world
        .slug(&["stop", "web.1"])
        .code(2)
        .says("only a one-off is stopped by its name");
    world.slug(&["stop", "run.2"]).ok();
    assert_eq!(second.code(), Some(143));
    processes::none_left(world.folder(), &[], Duration::from_secs(20));
}
