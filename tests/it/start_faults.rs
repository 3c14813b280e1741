//! Each fault that runners of Procfiles fail at, caused for real under `slug start`.

use std::fs;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;

use crate::support::processes;
use crate::support::processes::Process;
use crate::support::start::Started;
use crate::support::start::lines_of;
use crate::support::wait;
use crate::support::world::World;

/// Far longer than an end takes, far shorter than what a leftover would take to end by itself.
const SOON: Duration = Duration::from_secs(20);

/// A grandchild that made itself a session of its own, was forked twice, holds on to the output and hears no TERM.
const DAEMON: &str =
    "(setsid bash -c 'trap \"\" TERM INT HUP; echo daemon; while true; do sleep 1234; done' &)";

/// The processes of the world once one of them is this command.
#[track_caller]
fn processes_with(world: &World, command: &str) -> Vec<Process> {
    wait::until(wait::LONG, command, || {
        let all = processes::of(world.folder());
        let is_there = all
            .iter()
            .any(|process| process.command.starts_with(command));
        is_there.then_some(all)
    })
}

#[track_caller]
fn kill(process: &Process) {
    let pid = Pid::from_raw(i32::try_from(process.pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

#[test]
fn a_shell_that_stays_the_parent_leaves_no_child() {
    let world = World::new();
    let app = world.procfile("web: sleep 1234; true\n");
    let mut started = world.start(&[&app]);
    let before = processes_with(&world, "sleep 1234");
    assert_eq!(started.stop(), Some(143));
    processes::none_left(world.folder(), &before, Duration::ZERO);
}

#[test]
fn a_child_that_ignores_its_stop_signal_is_killed_when_its_grace_is_over() {
    let world = World::new();
    let app = world.procfile("web: trap '' TERM; echo ready; while true; do sleep 1234; done\n");
    world.write("app/slug.toml", "[process.web]\ngrace = \"300ms\"\n");
    let mut started = world.start(&[&app]);
    started.said.wait_for("| ready", wait::LONG);
    let before = processes_with(&world, "sleep 1234");
    started.signal(Signal::TERM);
    assert_eq!(started.wait(SOON).code(), Some(143));
    let said = started.said.text();
    assert!(
        said.contains("web.1 did not end within 0.3 s of its stop signal and is killed"),
        "{said}"
    );
    processes::none_left(world.folder(), &before, Duration::ZERO);
}

#[test]
fn a_supervisor_killed_outright_leaves_no_process() {
    for world in [World::new(), World::unprivileged()] {
        let app = world.procfile(&format!(
            "web: {DAEMON}; sleep 1234; true\nworker: exec sleep 1234\n"
        ));
        world.write("app/slug.toml", "[process.web]\ngrace = \"300ms\"\n");
        let mut started = world.start(&[&app]);
        started.said.wait_for("| daemon", wait::LONG);
        let before = processes_with(&world, "sleep 1234");
        started.signal(Signal::KILL);
        started.wait(SOON);
        processes::none_left(world.folder(), &before, SOON);
    }
}

#[test]
fn a_grandchild_of_another_session_that_holds_the_output_holds_up_nothing() {
    let world = World::new();
    let app = world.procfile(&format!("web: {DAEMON}; until pgrep -s 0 >/dev/null; do :; done; read -t 0.3 < <(sleep 1234); echo last; exit 6\n"));
    world.write("app/slug.toml", "[process.web]\ngrace = \"300ms\"\n");
    let mut started = world.start(&[&app, "--exit-on", "web"]);
    assert_eq!(started.wait(wait::LONG).code(), Some(6));
    let said = started.said.text();
    assert!(said.contains("web.1 has ended; what it left ("), "{said}");
    assert!(said.contains("had to be killed"), "{said}");
    assert!(
        started.lines_of("web.1").contains(&"last".to_owned()),
        "{said}"
    );
    processes::none_left(world.folder(), &[], Duration::ZERO);
}

#[test]
fn four_that_are_chatty_from_the_first_moment_lose_no_line() {
    let world = World::new();
    let app = world.procfile("web: seq 1 20000; echo done; exec sleep 1234\n");
    let mut started = world.start(&[&app, "-m", "web=4"]);
    let instances = ["web.1", "web.2", "web.3", "web.4"];
    for instance in instances {
        started
            .said
            .wait_for(&format!("{instance} | done"), wait::LONG);
    }
    started.stop();
    let expected: Vec<String> = (1..=20_000).map(|number| number.to_string()).collect();
    let said = started.said.text();
    for instance in instances {
        let lines = lines_of(&said, instance);
        assert_eq!(lines.len(), expected.len() + 1, "{instance}");
        assert!(lines[..expected.len()] == expected[..], "{instance}");
    }
}

#[test]
fn a_line_that_is_not_ended_delays_no_other() {
    let world = World::new();
    let app = world.procfile("partial: printf begun; echo x >begun; exec sleep 1234\nother: until [ -e begun ]; do :; done; echo through; exec sleep 1234\n");
    let mut started = world.start(&[&app]);
    started.said.wait_for("other.1 | through", wait::LONG);
    started.stop();
    assert_eq!(started.lines_of("partial.1"), ["begun"]);
}

#[test]
fn a_reader_that_is_stuck_costs_little_memory_and_does_not_hold_up_stop() {
    let world = World::new();
    let app = world.procfile("web: exec yes a line that nobody reads\n");
    let mut command = world.command(&["start", &app]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let pid = child.id();
    let flood = processes_with(&world, "yes a line");
    let flood = flood
        .iter()
        .find(|process| process.command.starts_with("yes"));
    let flood = flood.unwrap().pid;
    let written = || {
        let io = fs::read_to_string(format!("/proc/{flood}/io")).unwrap_or_default();
        let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
        line.map_or(0, |count| count.parse::<u64>().unwrap())
    };
    // Has written more than a pipe holds, and then not a byte for a while.
    let mut last = (0, 0);
    wait::until(wait::LONG, "the end of the flood", || {
        let now = written();
        last = if now == last.0 {
            (now, last.1 + 1)
        } else {
            (now, 0)
        };
        (now > 100_000 && last.1 > 100).then_some(())
    });
    assert!(written() < 16 << 20, "{} bytes were taken in", written());
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let anonymous = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib: u64 = anonymous
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    assert!(kib < 16 << 10, "{kib} KiB");
    rustix::process::kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let ended = wait::exit_of(&mut child, SOON);
    assert_eq!(ended.and_then(|status| status.code()), Some(143));
    processes::none_left(world.folder(), &[], Duration::ZERO);
}

#[test]
fn the_last_lines_of_who_aborts_or_exits_at_once_are_all_there() {
    let world = World::new();
    let app = world.procfile("web: seq 1 2000; kill -ABRT $$\nother: seq 1 5000\n");
    for _ in 0..10 {
        let run = world.slug(&["start", &app, "web", "--exit-on", "web"]);
        assert_eq!(lines_of(&run.code(134).stdout(), "web.1").len(), 2000);
        let run = world.slug(&["start", &app, "other", "--exit-on", "other"]);
        assert_eq!(lines_of(&run.code(0).stdout(), "other.1").len(), 5000);
    }
}

#[test]
fn as_the_first_process_it_reaps_orphans_and_takes_none_for_its_own() {
    let world = World::new();
    // `orphan` is a child of process 1 before that is slug.
    let app = world.procfile("web: until [ -e gone ]; do :; done; while grep -qs '^State:.Z' /proc/[0-9]*/status; do :; done; echo reaped; exit 5\n");
    let slug = world.binary_folder().join("slug");
    let script = format!(
        "(until [ -e '{app}/go' ]; do :; done; echo >'{app}/gone'; exit 7) & echo >'{app}/go'; exec '{}' start '{app}' --exit-on web",
        slug.display()
    );
    let namespaces = [
        "-U",
        "-r",
        "-p",
        "-f",
        "--mount-proc",
        "bash",
        "-c",
        &script,
    ];
    let run = world.program("unshare", &namespaces).run();
    assert_eq!(
        lines_of(&run.code(5).stdout(), "web.1"),
        ["reaped"],
        "{}",
        run.story()
    );
}

#[test]
fn ignored_signals_are_not_handed_on() {
    let world = World::new();
    let app = world.procfile("web: grep -E '^Sig(Ign|Blk)' /proc/self/status; exec sleep 1234\n");
    let mut command = Command::new("bash");
    let slug = world.command(&["start", &app]);
    command.args([
        "-c",
        "trap '' HUP INT QUIT USR1 TERM PIPE CHLD; exec \"$0\" \"$@\"",
    ]);
    command.arg(slug.get_program()).args(slug.get_args());
    command.env_clear().current_dir(world.folder());
    command.envs(
        slug.get_envs()
            .filter_map(|(key, value)| Some((key, value?))),
    );
    let mut started = Started::spawn(command);
    started.said.wait_for("SigIgn", wait::LONG);
    for line in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"] {
        started.said.wait_for(line, wait::LONG);
    }
    assert_eq!(started.stop(), Some(143), "SIGTERM is always heard");
}

#[test]
fn an_init_that_is_killed_takes_its_tree_along_and_is_started_again() {
    let world = World::new();
    let app = world.procfile(&format!(
        "web: {DAEMON}; echo $$ >>pids; sleep 1234; true\nworker: sleep 4321; true\n"
    ));
    let mut started = world.start(&[&app]);
    started.said.wait_for("| daemon", wait::LONG);
    let before = processes_with(&world, "sleep 1234");
    let worker = processes_with(&world, "sleep 4321");
    let web = fs::read_to_string(world.path("app/pids")).unwrap();
    let init = parent_of(web.trim().parse().unwrap());
    kill(&Process {
        pid: init,
        command: String::new(),
    });
    started
        .said
        .wait_for("web.1 was killed with its init", wait::LONG);
    started.said.wait_for("web.1 is started again", wait::LONG);
    wait::until(SOON, "the end of its daemon", || {
        let gone = |process: &&Process| !processes::of(world.folder()).contains(process);
        let old = before
            .iter()
            .filter(|process| process.command.starts_with("sleep 1234"));
        old.clone().all(|process| gone(&process)).then_some(())
    });
    let of_worker = worker
        .iter()
        .filter(|process| process.command.starts_with("sleep 4321"));
    let now = processes::of(world.folder());
    assert!(
        of_worker.clone().all(|process| now.contains(process)),
        "the other was ended too"
    );
    assert_eq!(started.stop(), Some(143));
    processes::none_left(world.folder(), &worker, Duration::ZERO);
}

#[test]
fn a_fork_server_that_is_killed_is_started_again() {
    let world = World::new();
    let app = world.procfile("web: echo up; read -t 0.2 < <(sleep 1234); exit 1\n");
    let mut started = world.start(&[&app]);
    started.said.wait_for("| up", wait::LONG);
    let all = processes::of(world.folder());
    let is_server = |process: &&Process| {
        let name = fs::read_to_string(format!("/proc/{}/comm", process.pid));
        name.is_ok_and(|name| name == "slug-forkserver\n")
    };
    let server = all.iter().find(is_server);
    kill(server.unwrap_or_else(|| panic!("{all:?}")));
    started
        .said
        .wait_until("a second start", wait::LONG, |said| {
            said.matches("web.1 | up").count() >= 3
        });
    assert_eq!(started.stop(), Some(143));
}

#[test]
fn a_child_that_stopped_itself_hears_its_stop_signal() {
    let world = World::new();
    let app =
        world.procfile("web: trap 'echo bye; exit' TERM; echo ready; kill -STOP $$; sleep 1234\n");
    let mut started = world.start(&[&app]);
    started.said.wait_for("| ready", wait::LONG);
    started.signal(Signal::TERM);
    assert_eq!(started.wait(SOON).code(), Some(143));
    processes::none_left(world.folder(), &[], Duration::ZERO);
}

fn parent_of(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.unwrap().trim().parse().unwrap()
}
