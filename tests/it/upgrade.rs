//! A supervisor that becomes another program: nothing is lost, nothing is interrupted, and what cannot take over does
//! not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;
use slug::run::control::Reply;
use slug::run::control::Request;
use slug::run::control::ask;

use crate::support::load::Load;
use crate::support::processes;
use crate::support::processes::Process;
use crate::support::traffic::Traffic;
use crate::support::up::Up;
use crate::support::wait;
use crate::support::world;
use crate::support::world::World;

/// Longer than an upgrade takes on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// The version of the program that the tests have.
const OWN: &str = env!("CARGO_PKG_VERSION");
/// That of one that says so of itself, and is the same otherwise. As long as the other.
const NEXT: &str = "0.1.9";

/// An app with a worker of these lines of Python, and its supervisor when the worker has said `ready`.
#[track_caller]
fn up_with_worker(world: &World, worker: &str) -> Up {
    let app = world.app(
        "app",
        &[
            ("Procfile", "worker: /usr/bin/python3 -u worker\n"),
            ("worker", worker),
        ],
    );
    let slug = world.slug(&["build", app.to_str().unwrap()]).ok();
    world.slug(&["release", &slug]).ok();
    let up = world.start_up(&[]);
    up.said.wait_for("ready", wait::LONG);
    up
}

/// All processes of the sandboxes, without the supervisor and the router, which is replaced.
fn children(world: &World, up: &Up) -> Vec<Process> {
    let mut all = processes::of(world.folder());
    let own = up.pid().as_raw_pid().cast_unsigned();
    all.retain(|process| process.pid != own && !process.command.starts_with("slug-router"));
    all
}

fn host_pid(processes: &[Process], command: &str) -> Pid {
    let found = processes
        .iter()
        .find(|process| process.command.contains(command))
        .unwrap_or_else(|| panic!("no {command} in {processes:?}"));
    Pid::from_raw(found.pid.cast_signed()).unwrap()
}

/// A copy of the program that calls itself another version.
fn next_version(world: &World) -> PathBuf {
    let mut bytes = fs::read(env!("CARGO_BIN_EXE_slug")).unwrap();
    let places: Vec<usize> = bytes
        .windows(OWN.len())
        .enumerate()
        .filter(|(_, window)| *window == OWN.as_bytes())
        .map(|(place, _)| place)
        .collect();
    assert!(!places.is_empty() && NEXT.len() == OWN.len());
    for place in places {
        bytes[place..place + NEXT.len()].copy_from_slice(NEXT.as_bytes());
    }
    let path = world.path("next");
    fs::create_dir(&path).unwrap();
    program(&path.join("slug"), &bytes)
}

fn program(path: &Path, bytes: &[u8]) -> PathBuf {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}

/// Asks the supervisor to become this program.
fn ask_for(world: &World, program: &Path) -> Reply {
    let app = world::app_of(world.folder());
    let socket = world.store().join(format!("run/{app}.sock"));
    let request = Request::Upgrade {
        program: program.to_owned(),
    };
    ask(&socket, &app.parse().unwrap(), &request, &mut |_| {}).unwrap()
}

#[test]
fn twenty_upgrades_fail_no_request_and_cut_no_connection() {
    let world = World::new();
    world.slug(&["release", &world.switchboard("red")]).ok();
    let up = world.up(&[]);
    let before = children(&world, &up);
    let traffic = Traffic::start(up.address);
    for upgrade in 1..=20 {
        traffic.wait_for_more(40);
        if upgrade % 2 == 0 {
            let done = format!("has taken over from slug {OWN}");
            let times = up.said.text().matches(&done).count();
            up.signal(Signal::USR2);
            wait::until(SOON, "the upgrade", || {
                (up.said.text().matches(&done).count() > times).then_some(())
            });
        } else {
            world.slug(&["upgrade"]).ok();
        }
    }
    traffic.wait_for_more(40);
    traffic.finish().none_failed();
    assert_eq!(children(&world, &up), before, "{}", up.story());
}

#[test]
fn no_line_is_lost_doubled_or_cut_by_twenty_upgrades() {
    let world = World::new();
    // Each line in two writes, so that most upgrades find one begun.
    let worker = "import sys, time\nprint('ready')\nnumber = 0\nwhile True:\n    number += 1\n    sys.stdout.write(f'line {number} ')\n    sys.stdout.flush()\n    time.sleep(0.001)\n    sys.stdout.write('is whole\\n')\n    sys.stdout.flush()\n";
    let mut up = up_with_worker(&world, worker);
    let lines = |up: &Up| -> Vec<String> {
        let said = up.said.text();
        let all = said.lines().filter_map(|line| {
            let at = line.find("line ")?;
            Some(line[at..].to_owned())
        });
        all.collect()
    };
    for _ in 0..20 {
        let count = lines(&up).len();
        world.slug(&["upgrade"]).ok();
        wait::until(SOON, "lines after the upgrade", || {
            (lines(&up).len() > count + 50).then_some(())
        });
    }
    up.stop();
    let said = lines(&up);
    for (number, line) in (1..).zip(&said[..said.len() - 1]) {
        assert_eq!(*line, format!("line {number} is whole"));
    }
    assert!(said.len() > 1000, "{}", said.len());
    let history = world.slug(&["logs", "-n", "1000000"]).ok();
    for number in 1..said.len() {
        assert_eq!(
            history.matches(&format!("line {number} is whole")).count(),
            1
        );
    }
}

#[test]
fn another_version_takes_over_and_the_first_takes_over_again() {
    for world in [World::new(), World::unprivileged()] {
        let up = up_with_worker(&world, "import time\nprint('ready')\ntime.sleep(1000)\n");
        let before = children(&world, &up);
        let next = next_version(&world);
        world.give(&next);
        let taken = world.program(next.to_str().unwrap(), &["upgrade"]).run();
        let expected = format!("slug {NEXT} has taken over from slug {OWN}");
        assert_eq!(taken.ok(), expected);
        let executed = fs::read_link(format!("/proc/{}/exe", up.pid().as_raw_pid()));
        assert_eq!(executed.unwrap(), next);
        let taken = world.slug(&["upgrade"]).ok();
        assert_eq!(taken, format!("slug {OWN} has taken over from slug {NEXT}"));
        assert_eq!(children(&world, &up), before, "{}", up.story());
    }
}

#[test]
fn what_cannot_take_over_does_not() {
    let world = World::new();
    world.slug(&["release", &world.greeter("good")]).ok();
    let up = world.up(&[]);
    let before = children(&world, &up);
    let load = Load::start(up.address, "/", 2);
    let own = fs::read(env!("CARGO_BIN_EXE_slug")).unwrap();
    let file = |name: &str, bytes: &[u8]| program(&world.path(name), bytes);
    let writable = file("writable", &own);
    fs::set_permissions(&writable, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = [
        (world.path("nothing"), "could not be opened"),
        (world.folder().to_owned(), "not a regular file"),
        (file("script", b"#!/bin/sh\nexit 0\n"), "a script"),
        (
            file("short", &own[..5000]),
            "was tried and cannot take over",
        ),
        (
            file("false", &fs::read("/bin/false").unwrap()),
            "exit status: 1",
        ),
        (
            file("true", &fs::read("/bin/true").unwrap()),
            "does not know how to take over",
        ),
        (writable, "everybody may write to it"),
        (stranger("refuses", &world), "reads format 2"),
        (stranger("crashes", &world), "signal 6"),
        (stranger("turns-back", &world), "no room for it"),
    ];
    for (path, why) in refused {
        load.wait_for_more(20);
        let Reply::Refused { why: said } = ask_for(&world, &path) else {
            panic!("{} took over", path.display());
        };
        assert!(said.contains(why), "{}: {said}", path.display());
        up.said.wait_for(why, SOON);
    }
    load.wait_for_more(20);
    load.finish().none_failed();
    assert_eq!(children(&world, &up), before, "{}", up.story());
    // And what can, does.
    world.slug(&["upgrade"]).ok();
}

/// A program of the tests that takes over as its name says.
fn stranger(name: &str, world: &World) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let beside = PathBuf::from(env!("CARGO_BIN_EXE_slug"));
        let is_release = beside.parent().unwrap().ends_with("release");
        let profile = if is_release { "release" } else { "dev" };
        let mut cargo = Command::new(env!("CARGO"));
        let status = cargo
            .args(["build", "--locked", "--quiet", "--profile", profile])
            .args(["--example", "upgrade-stranger"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(status.success(), "{cargo:?}: {status}");
        beside.with_file_name("examples").join("upgrade-stranger")
    });
    program(&world.path(name), &fs::read(built).unwrap())
}

#[test]
fn a_crash_during_an_upgrade_is_noticed_after_it_and_crashes_are_still_counted() {
    let world = World::new();
    let worker = "import time\nprint('ready')\ntime.sleep(1000)\n";
    let up = up_with_worker(&world, worker);
    for crash in 1..=3 {
        let now = wait::until(SOON, "the worker", || {
            let all = children(&world, &up);
            let is_there = |process: &Process| process.command.contains("python3 -u worker");
            all.iter().any(is_there).then_some(all)
        });
        // Killed while the supervisor is being replaced: whichever program sees it, it is seen once.
        let worker = host_pid(&now, "python3 -u worker");
        let killing = std::thread::spawn(move || {
            rustix::process::kill_process(worker, Signal::KILL).unwrap();
        });
        world.slug(&["upgrade"]).ok();
        killing.join().unwrap();
        let said = format!("has ended {}", ["", "once", "2 times", "3 times"][crash]);
        up.said.wait_for(&said, SOON);
        assert_eq!(
            up.said.text().matches("was ended by signal 9").count(),
            crash
        );
        // The pause goes on in the next program.
        world.slug(&["upgrade"]).ok();
    }
    let ps: serde_json::Value = serde_json::from_str(&world.slug(&["ps", "--json"]).ok()).unwrap();
    assert_eq!(ps["processes"][0]["crashes"], 3, "{ps}");
}

#[test]
fn an_exit_code_is_read_by_a_program_that_did_not_start_the_process() {
    let world = World::new();
    let worker = "import signal, sys, time\nsignal.signal(signal.SIGUSR1, lambda *_: sys.exit(7))\nprint('ready')\nwhile True:\n    time.sleep(1000)\n";
    let up = up_with_worker(&world, worker);
    world.slug(&["upgrade"]).ok();
    let worker = host_pid(&children(&world, &up), "python3 -u worker");
    rustix::process::kill_process(worker, Signal::USR1).unwrap();
    up.said.wait_for("worker.1 exited with code 7", SOON);
}

#[test]
fn a_supervisor_killed_after_an_upgrade_leaves_no_process() {
    for world in [World::new(), World::unprivileged()] {
        let worker = "import subprocess, time\nsubprocess.Popen(['setsid', 'sleep', '1234'])\nprint('ready')\ntime.sleep(1000)\n";
        let mut up = up_with_worker(&world, worker);
        world.slug(&["upgrade"]).ok();
        let before = children(&world, &up);
        host_pid(&before, "sleep 1234");
        up.signal(Signal::KILL);
        up.wait(SOON);
        processes::none_left(world.folder(), &before, SOON);
    }
}

#[test]
fn a_stop_after_an_upgrade_stops_everything() {
    let world = World::new();
    let mut up = up_with_worker(&world, "import time\nprint('ready')\ntime.sleep(1000)\n");
    world.slug(&["upgrade"]).ok();
    let before = children(&world, &up);
    world.slug(&["stop"]).ok();
    assert!(up.wait(SOON).success(), "{}", up.story());
    processes::none_left(world.folder(), &before, Duration::ZERO);
}

#[test]
fn an_upgrade_waits_for_a_switch_and_for_whoever_follows_it() {
    let world = World::new();
    world.slug(&["release", &world.greeter("old")]).ok();
    let slow = [("slug.toml", "[process.web]\nready_within = \"30s\"\n")];
    let new = world.greeter_with("new", &slow);
    let up = world.up(&[]);
    std::thread::scope(|threads| {
        let released = threads.spawn(|| world.slug(&["release", &new]).ok());
        up.said.wait_for("starting v2", SOON);
        world.slug(&["upgrade"]).ok();
        assert_eq!(released.join().unwrap(), "v2");
    });
    assert_eq!(up.get("/").ok(), "new you v2\n");
    // The next program follows the ledger.
    world.slug(&["config", "set", "NAME=me"]).ok();
    assert_eq!(up.get("/").ok(), "new me v3\n");
}

#[test]
fn fifty_upgrades_leave_no_descriptor_no_zombie_and_no_memory() {
    let world = World::new();
    world.slug(&["release", &world.greeter("good")]).ok();
    let up = world.up(&[]);
    let mut first = None;
    for upgrade in 1..=50 {
        world.slug(&["upgrade"]).ok();
        let settled = wait::until(SOON, "the end of the router before", || {
            let own = Footprint::of(up.pid());
            (own.children <= 2).then_some(own)
        });
        if upgrade == 5 {
            first = Some(settled);
        }
    }
    let (first, last) = (first.unwrap(), Footprint::of(up.pid()));
    // One of each upgrade would be 45 more; one or two may just be on their way.
    assert!(
        last.descriptors < first.descriptors + 5,
        "{first:?} {last:?}"
    );
    assert!(
        last.memory_kb < first.memory_kb + 1024,
        "{first:?} {last:?}"
    );
    assert_eq!(up.get("/").ok(), "good you v1\n");
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Footprint {
    descriptors: usize,
    /// Zombies too.
    children: usize,
    memory_kb: u64,
}

impl Footprint {
    fn of(pid: Pid) -> Self {
        let proc = PathBuf::from(format!("/proc/{}", pid.as_raw_pid()));
        let status = fs::read_to_string(proc.join("status")).unwrap();
        let memory = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .unwrap();
        let tasks = fs::read_dir(proc.join("task")).unwrap();
        let children = tasks.map(|task| {
            let children = fs::read_to_string(task.unwrap().path().join("children"));
            children.unwrap_or_default().split_whitespace().count()
        });
        Self {
            descriptors: fs::read_dir(proc.join("fd")).unwrap().count(),
            children: children.sum(),
            memory_kb: memory.parse().unwrap(),
        }
    }
}
