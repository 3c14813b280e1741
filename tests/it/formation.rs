//! `[process.TYPE]` of slug.toml, followed for real; and restarts, beside what runs.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::load::Load;
use crate::support::processes;
use crate::support::up::Up;
use crate::support::wait;
use crate::support::world::World;

/// Longer than anything here takes, shorter than a default.
const SOON: Duration = Duration::from_secs(20);

/// The slug of an app with a worker of these shell lines.
#[track_caller]
fn worker(world: &World, shell: &str, script: &str, settings: &str) -> String {
    let files = [
        ("Procfile", format!("worker: {shell} worker\n")),
        ("worker", script.to_owned()),
        ("slug.toml", format!("[process.worker]\n{settings}")),
    ];
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let app = world.app("app", &files);
    world.slug(&["build", app.to_str().unwrap()]).ok()
}

#[track_caller]
fn up_with(world: &World, shell: &str, script: &str, settings: &str) -> Up {
    let slug = worker(world, shell, script, settings);
    world.slug(&["release", &slug]).ok();
    world.start_up(&[])
}

#[test]
fn a_command_inside_its_sandbox_says_when_a_process_is_ready() {
    let world = World::new();
    // Inside: its own /tmp, its own environment; and what it does not find outside.
    let check = "check = { command = 'test \"$DYNO\" = worker.1 && test -e /tmp/here' }\n";
    let script = "echo begun\nwhile ! test -e /tmp/go; do sleep 0.05; done\n";
    let script = format!("(sleep 2; touch /tmp/go) &\n{script}touch /tmp/here\nsleep 1234\n");
    let up = up_with(&world, "sh", &script, check);
    up.said.wait_for("begun", SOON);
    assert!(world.slug(&["ps"]).ok().contains("starting"));
    up.said.wait_for("v1 is up", SOON);
    assert!(!std::path::Path::new("/tmp/here").exists());

    let never = "check = { command = 'exit 1' }\nready_within = '500ms'\n";
    let broken = worker(&world, "sh", "sleep 1234\n", never);
    let refused = world.slug(&["release", &broken]);
    refused.code(1).says("worker.1 was not ready within 0.5 s");
}

#[test]
fn an_answer_with_another_status_than_the_expected_is_no_readiness() {
    let world = World::new();
    world.slug(&["release", &world.greeter("good")]).ok();
    let up = world.up(&[]);
    let strict = "[process.web]\ncheck = { path = '/', status = 204 }\nready_within = '1s'\n";
    let slug = world.greeter_with("strict", &[("slug.toml", strict)]);
    world.slug(&["release", &slug]).code(1).says("not ready");
    let exact = "[process.web]\ncheck = { path = '/', status = 200 }\n";
    let slug = world.greeter_with("exact", &[("slug.toml", exact)]);
    world.slug(&["release", &slug]).ok();
    assert_eq!(up.get("/").ok(), "exact you v3\n");
}

#[test]
fn a_process_that_fails_its_liveness_check_is_ended_and_started_again() {
    let world = World::new();
    let settings = "check = { command = 'true' }\ngrace = '1s'\nliveness = { command = 'test -e /tmp/alive', every = '100ms', failures = 2 }\n";
    let script = "touch /tmp/alive\necho alive\ntrap '' TERM\nsleep 2\nrm /tmp/alive\nsleep 1234 & wait\nsleep 1234\n";
    let up = up_with(&world, "sh", script, settings);
    up.said.wait_for("v1 is up", SOON);
    let word =
        "worker.1 failed its liveness command `test -e /tmp/alive` 2 times in a row: it is ended";
    up.said.wait_for(word, SOON);
    up.said.wait_for("worker.1 is started again in", SOON);
    let ps = world.slug(&["ps"]).ok();
    assert!(ps.contains("1 crashes"), "{ps}");
    up.said.wait_until("a second life", SOON, |text| {
        text.matches("| alive").count() == 2
    });
}

#[test]
fn each_process_may_open_as_many_files_as_its_type_says() {
    let world = World::new();
    let up = up_with(
        &world,
        "sh",
        "echo has $(ulimit -n) files\nsleep 1234\n",
        "nofile = 321\n",
    );
    up.said.wait_for("has 321 files", SOON);
}

/// Over the hard limit goes who has `CAP_SYS_RESOURCE`: root on most hosts, in few containers.
#[test]
fn more_files_than_the_hard_limit_are_had_where_that_may_be_raised_and_refused_elsewhere() {
    let world = World::new();
    let slug = worker(
        &world,
        "sh",
        "echo has $(ulimit -n) files\nsleep 1234\n",
        "nofile = 200000\n",
    );
    world.slug(&["release", &slug]).ok();
    let low = ["sh", "-c", "ulimit -n 4096; exec \"$@\"", "sh"];
    let up = world.start_up_by(&low, &[], &[]);
    let raise = world.program("sh", &["-c", "ulimit -n 4096; ulimit -n 200000"]);
    let expected = if raise.run().exit() == 0 {
        "has 200000 files"
    } else {
        "allow 200000 open descriptors (the hard limit here is 4096)"
    };
    up.said.wait_for(expected, SOON);
}

#[test]
fn a_stop_signal_reaches_whom_it_is_meant_for() {
    let script = "trap 'echo leader heard; exit 0' RTMIN+3\nbash -c 'trap \"echo child heard\" RTMIN+3; echo ready; while :; do sleep 0.1; done' &\nwhile :; do sleep 0.1; done\n";
    for (scope, is_heard) in [("leader", false), ("group", true)] {
        let world = World::new();
        let settings = format!("stop_signal = 'RTMIN+3'\nstop_scope = '{scope}'\n");
        let mut up = up_with(&world, "bash", script, &settings);
        up.said.wait_for("ready", SOON);
        up.signal(Signal::TERM);
        up.wait(SOON);
        let story = up.said.text();
        assert!(story.contains("leader heard"), "{story}");
        // The leader may end, and all with it, before the child has said so.
        assert!(
            is_heard || !story.contains("child heard"),
            "{scope}: {story}"
        );
    }
}

#[test]
fn a_type_that_wants_a_terminal_writes_to_one_and_no_line_is_changed() {
    let world = World::new();
    let script = "test -t 1 && test -t 2 && echo is a terminal\necho an error >&2\nsleep 1\nprintf 'last words'\n";
    let up = up_with(&world, "sh", script, "tty = true\n");
    up.said.wait_for("worker.1 exited with code 0", SOON);
    let story = up.said.text();
    for line in ["| is a terminal\n", "| an error\n", "| last words\n"] {
        assert!(story.contains(line), "{story:?}");
    }
}

#[test]
fn everything_ends_with_the_type_that_was_named_and_with_its_exit_code() {
    let world = World::new();
    let files = [
        ("Procfile", "job: sh job\nworker: sleep 1234\n"),
        ("job", "sleep 1.5; exit 7\n"),
    ];
    let app = world.app("app", &files);
    let slug = world.slug(&["build", app.to_str().unwrap()]).ok();
    world.slug(&["release", &slug]).ok();
    let mut up = world.start_up(&["--exit-on", "job"]);
    assert_eq!(up.wait(SOON).code(), Some(7), "{}", up.story());
    assert!(
        up.said.text().contains("as `--exit-on` says"),
        "{}",
        up.story()
    );
    processes::none_left(world.folder(), &[], Duration::ZERO);
}

#[test]
fn a_restart_starts_beside_what_serves_and_fails_no_request() {
    let world = World::new();
    world.slug(&["release", &world.greeter("good")]).ok();
    let up = world.up(&[]);
    let load = Load::start(up.address, "/", 3);
    for which in ["web.1", "web"] {
        let before = pid_of(&world, "web.1");
        load.wait_for_more(20);
        world.slug(&["restart", which]).ok();
        wait::until(SOON, "another process", || {
            (pid_of(&world, "web.1")? != before?).then_some(())
        });
        load.wait_for_more(20);
    }
    load.finish().none_failed();
}

#[test]
fn a_restart_of_what_does_not_come_up_again_leaves_it_running() {
    let world = World::new();
    // The second process of the release finds a name taken on which it insists.
    world.slug(&["release", &world.greeter("good")]).ok();
    let up = world.up(&[]);
    let before = pid_of(&world, "web.1");
    let name = format!(
        "\\0{}",
        world.folder().file_name().unwrap().to_str().unwrap()
    );
    let alone = format!(
        "import socket\nalone = socket.socket(socket.AF_UNIX)\nalone.bind(\"{name}\")\n{}",
        include_str!("support/greeter.py")
    );
    let slug = world.greeter_with("alone", &[("serve", &alone)]);
    world.slug(&["release", &slug]).ok();
    let alone = wait::until(SOON, "the second release", || {
        pid_of(&world, "web.1").filter(|pid| Some(*pid) != before)
    });
    world.slug(&["restart", "web.1"]).ok();
    up.said.wait_for(
        "the restart of web.1 is undone: web.1 exited with code 1",
        SOON,
    );
    assert_eq!(up.get("/").ok(), "alone you v2\n");
    assert_eq!(pid_of(&world, "web.1"), Some(alone));
}

#[test]
fn a_release_that_falls_over_right_after_the_switch_is_undone() {
    let world = World::new();
    world.slug(&["release", &world.greeter("good")]).ok();
    let up = world.up(&[]);
    let serving = pid_of(&world, "web.1");
    let falls = format!(
        "import os, threading\nthreading.Timer(1.5, lambda: os._exit(9)).start()\n{}",
        include_str!("support/greeter.py")
    );
    let slug = world.greeter_with("falls", &[("serve", &falls)]);
    world.slug(&["release", &slug]).ok();
    up.said
        .wait_for("v2 is rejected: web.1 exited with code 9; v1 goes on", SOON);
    assert_eq!(up.get("/").ok(), "good you v1\n");
    assert_eq!(
        pid_of(&world, "web.1"),
        serving,
        "it was there all the time"
    );
    let ledger = world.slug(&["releases", "--json"]).ok();
    assert!(ledger.contains("exited with code 9"), "{ledger}");
}

/// The newest process of this name that is up.
fn pid_of(world: &World, instance: &str) -> Option<u64> {
    let ps: serde_json::Value = serde_json::from_str(&world.slug(&["ps", "--json"]).ok()).unwrap();
    let processes = ps["processes"].as_array().unwrap();
    let up = processes
        .iter()
        .rfind(|process| process["instance"] == instance && process["state"] == "up");
    up.and_then(|process| process["pid"].as_u64())
}
