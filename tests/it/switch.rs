//! From one release to the next while requests come: none fails, and a broken one is never switched to.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::load::Load;
use crate::support::processes;
use crate::support::processes::Process;
use crate::support::traffic::Traffic;
use crate::support::up::Up;
use crate::support::world::World;

#[test]
fn twenty_deploys_config_changes_and_rollbacks_fail_no_request() {
    let world = World::new();
    let slugs = ["red", "green", "blue"].map(|greeting| world.greeter(greeting));
    world.slug(&["release", &slugs[0]]).ok();
    let up = world.up(&[]);
    let load = Load::start(up.address, "/", 3);
    // Of each release, the slug's index.
    let mut released = vec![0];
    for change in 1..=20_usize {
        let version = change + 1;
        let last = released[change - 1];
        load.wait_for_more(20);
        match change % 3 {
            1 => {
                released.push((last + 1) % 3);
                world.slug(&["release", &slugs[released[change]]]).ok()
            }
            2 => {
                released.push(last);
                world
                    .slug(&["config", "set", &format!("NAME=number-{change}")])
                    .ok()
            }
            _ => {
                let back_to = version - 3;
                released.push(released[back_to - 1]);
                world.slug(&["rollback", &format!("v{back_to}")]).ok()
            }
        };
        // Returned, hence switched: the very next answer is the new release's.
        let answer = up.get("/").ok();
        assert!(
            answer.ends_with(&format!(" v{version}\n")),
            "{answer} after change {change}\n{}",
            up.story()
        );
    }
    let tally = load.finish();
    tally.none_failed();
    let releases: BTreeSet<&str> = tally
        .answers
        .keys()
        .filter_map(|answer| answer.trim().rsplit(' ').next())
        .collect();
    let all: Vec<String> = (1..=21).map(|version| format!("v{version}")).collect();
    assert_eq!(
        releases,
        all.iter().map(String::as_str).collect(),
        "answered by neither, or one never answered"
    );
}

/// Every way to change what runs, one after the other, a hundred times.
#[test]
fn a_hundred_switches_fail_nothing_of_any_kind_of_traffic() {
    let world = World::new();
    let slugs = ["red", "blue"].map(|name| world.switchboard(name));
    world.slug(&["release", &slugs[0]]).ok();
    let up = world.up(&[]);
    let traffic = Traffic::start(up.address);
    let mut version = 1;
    for change in 0..100_usize {
        traffic.wait_for_more(10);
        traffic.switch(|| {
            let number = format!("NUMBER={change}");
            let back_to = format!("v{}", version.max(2) - 1);
            let arguments = match change % 4 {
                0 => vec!["release", &slugs[(change / 4 + 1) % 2]],
                1 => vec!["config", "set", &number],
                2 => vec!["rollback", &back_to],
                _ => vec!["restart"],
            };
            world.slug(&arguments).ok();
            if change % 4 < 3 {
                version += 1;
            }
            version
        });
    }
    let tally = traffic.finish();
    tally.none_failed();
    assert!(
        tally.drained_websockets > 0,
        "no websocket was closed after its drain: {tally:?}"
    );
}

#[test]
fn a_request_that_is_being_answered_is_answered_by_the_release_that_took_it() {
    let world = World::new();
    world.slug(&["release", &world.greeter("old")]).ok();
    let new = world.greeter("new");
    let up = world.up(&[]);
    let address = up.address;
    let held = std::thread::spawn(move || crate::support::http::get(address, "/hold").unwrap());
    // The switch begins while the request is held; whichever comes first, it must be answered whole.
    world.slug(&["release", &new]).ok();
    assert_eq!(up.get("/").ok(), "new you v2\n");
    let answer = held.join().unwrap().ok();
    assert!(
        ["old you v1\n", "new you v2\n"].contains(&answer.as_str()),
        "{answer}"
    );
}

/// Serving, with the processes that serve.
fn serving(world: &World) -> (Up, Vec<Process>) {
    world.slug(&["release", &world.greeter("good")]).ok();
    let up = world.up(&[]);
    let serving = web_processes(world);
    assert_eq!(serving.len(), 1, "{serving:?}");
    (up, serving)
}

fn web_processes(world: &World) -> Vec<Process> {
    let mut all = processes::of(world.folder());
    all.retain(|process| process.command.contains("python3 serve"));
    all
}

/// Releases a slug that must be refused with exit code 1; the old processes go on, undisturbed.
#[track_caller]
fn a_broken_release(files: &[(&str, &str)], said: &str) {
    let world = World::new();
    let (up, before) = serving(&world);
    let broken = world.greeter_with("broken", files);
    let load = Load::start(up.address, "/", 2);
    load.wait_for_more(10);
    world.slug(&["release", &broken]).code(1).says(said);
    load.wait_for_more(10);
    let tally = load.finish();
    tally.none_failed();
    assert_eq!(tally.answers.keys().collect::<Vec<_>>(), ["good you v1\n"]);
    assert_eq!(web_processes(&world), before, "{}", up.story());
    // What was refused is in nobody's way.
    world.slug(&["release", &world.greeter("better")]).ok();
    assert_eq!(up.get("/").ok(), "better you v3\n");
}

#[test]
fn a_release_that_crashes_at_its_start_never_takes_traffic() {
    let files = [
        ("Procfile", "web: sh -c 'echo out of cheese; exit 1'\n"),
        ("slug.toml", READY_SOON),
    ];
    a_broken_release(&files, "v2");
}

#[test]
fn a_release_that_never_listens_never_takes_traffic() {
    a_broken_release(
        &[("Procfile", "web: sleep 1000\n"), ("slug.toml", READY_SOON)],
        "v2",
    );
}

#[test]
fn a_release_whose_check_fails_never_takes_traffic() {
    let unhealthy = "[process.web]\ncheck = { path = \"/healthz\" }\nready_within = \"2s\"\n";
    let serve = "import os\nfrom http.server import *\nHTTPServer(('127.0.0.1', int(os.environ['PORT'])), SimpleHTTPRequestHandler).serve_forever()\n";
    a_broken_release(&[("serve", serve), ("slug.toml", unhealthy)], "v2");
}

#[test]
fn a_release_whose_command_fails_never_takes_traffic() {
    let procfile = "release: sh -c 'echo out of cheese; exit 3'\nweb: /usr/bin/python3 serve\n";
    a_broken_release(&[("Procfile", procfile)], "out of cheese");
}

/// Long enough for a loaded machine to see a crash, short enough for a test.
const READY_SOON: &str = "[process.web]\nready_within = \"2s\"\n";

#[test]
fn a_crashed_process_is_started_again() {
    let world = World::new();
    let (up, before) = serving(&world);
    let pid = rustix::process::Pid::from_raw(i32::try_from(before[0].pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    crate::support::wait::until(
        Duration::from_secs(30),
        "another process that answers",
        || {
            let now = web_processes(&world);
            (now.len() == 1 && now != before).then_some(())?;
            crate::support::http::get(up.address, "/")
                .ok()
                .filter(|answer| answer.status == 200)
        },
    );
}
