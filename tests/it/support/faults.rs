//! What goes wrong with processes, each as a scenario that any supervisor of ours has to stand: `Supervise` says which.

use std::time::Duration;
use std::time::Instant;

use rustix::process::Signal;

use crate::support::processes;
use crate::support::processes::Process;
use crate::support::up::Up;
use crate::support::wait;
use crate::support::world::World;

/// Starts a supervisor of an app of these files; each process type of its Procfile has one instance and a grace of a second.
pub(crate) type Supervise = fn(&World, &[(&str, &str)]) -> Up;

/// Longer than a grace, shorter than what a leftover would take to end by itself.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The grace of each process.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// All processes of a world, once one of them has this command.
#[track_caller]
fn with(world: &World, command: &str) -> Vec<Process> {
    wait::until(SOON, command, || {
        let all = processes::of(world.folder());
        let is_there = all.iter().any(|process| process.command == command);
        is_there.then_some(all)
    })
}

/// Stops it; says how long that took.
#[track_caller]
fn stop(world: &World, up: &mut Up, before: &[Process]) -> Duration {
    let begun = Instant::now();
    up.signal(Signal::TERM);
    up.wait(SOON);
    let taken = begun.elapsed();
    processes::none_left(world.folder(), before, Duration::ZERO);
    taken
}

/// A shell stays the parent of the app, and does not pass on its signal.
pub(crate) fn a_shell_stays_between(supervise: Supervise) {
    let world = World::new();
    let mut up = supervise(&world, &[("Procfile", "app: sleep 1234; true\n")]);
    let before = with(&world, "sleep 1234");
    let taken = stop(&world, &mut up, &before);
    assert!(taken < GRACE + SOON / 2, "{taken:?}");
}

/// The only process ignores its stop signal: killed when its grace is over, not before and not much later.
pub(crate) fn the_only_process_ignores_its_stop_signal(supervise: Supervise) {
    let world = World::new();
    let app = "trap '' TERM INT HUP\necho ready\nwhile :; do sleep 0.1; done\n";
    let mut up = supervise(&world, &[("Procfile", "app: sh app\n"), ("app", app)]);
    up.said.wait_for("ready", SOON);
    let before = with(&world, "sh app");
    let taken = stop(&world, &mut up, &before);
    assert!(taken >= GRACE && taken < GRACE + SOON / 2, "{taken:?}");
}

/// A process that stopped itself hears nothing but SIGKILL.
pub(crate) fn a_process_has_stopped_itself(supervise: Supervise) {
    let world = World::new();
    let app = "echo ready\nkill -STOP $$\n";
    let mut up = supervise(&world, &[("Procfile", "app: sh app\n"), ("app", app)]);
    up.said.wait_for("ready", SOON);
    let before = with(&world, "sh app");
    stop(&world, &mut up, &before);
}

/// A daemon in a session of its own, which ignores what it can.
const DAEMON: &str =
    "setsid sh -c \"trap '' TERM INT HUP; sleep 1234; sleep 1234\" &\necho ready\nsleep 1235\n";

/// The supervisor is killed outright: nothing is left, not even what called setsid.
pub(crate) fn the_supervisor_is_killed(supervise: Supervise) {
    let world = World::new();
    let mut up = supervise(&world, &[("Procfile", "app: sh app\n"), ("app", DAEMON)]);
    let before = with(&world, "sleep 1234");
    up.signal(Signal::KILL);
    up.wait(SOON);
    processes::none_left(world.folder(), &before, SOON);
}

/// The app ends, a daemon of it holds the pipe: the end is told at once, and the next stop leaves nothing.
pub(crate) fn a_daemon_holds_the_pipe(supervise: Supervise) {
    let world = World::new();
    let app = "setsid sleep 1234 &\necho ready\nsleep 1\nexit 3\n";
    let mut up = supervise(&world, &[("Procfile", "app: sh app\n"), ("app", app)]);
    let before = with(&world, "sleep 1234");
    up.said.wait_for("exited with code 3", SOON);
    processes::none_left_of(&before, "sleep 1234", SOON);
    stop(&world, &mut up, &before);
}

/// Four processes fill their pipes before anything else happens: nobody waits for anybody, and no line is lost.
pub(crate) fn four_processes_talk_at_once(supervise: Supervise) {
    let world = World::new();
    let procfile = "a: sh app\nb: sh app\nc: sh app\nd: sh app\n";
    let app = "seq -f 'line %06g of this process, and some more text to fill the pipe with' 1 4000\necho told all\nsleep 1234\n";
    let mut up = supervise(&world, &[("Procfile", procfile), ("app", app)]);
    up.said.wait_until("the last lines", SOON, |text| {
        text.matches("told all").count() == 4
    });
    let text = up.said.text();
    for name in ["a.1", "b.1", "c.1", "d.1"] {
        let own = text
            .lines()
            .filter(|line| line.contains(name) && line.contains("line "));
        let numbers: Vec<usize> = own
            .filter_map(|line| line.split("line ").nth(1)?.get(..6)?.parse().ok())
            .collect();
        assert_eq!(numbers, (1..=4000).collect::<Vec<_>>(), "{name}");
    }
    let before = processes::of(world.folder());
    stop(&world, &mut up, &before);
}

/// One process holds a line without its end for seconds: the lines of others come meanwhile.
pub(crate) fn half_a_line_holds_nobody_up(supervise: Supervise) {
    let world = World::new();
    let half = "printf half\nwhile ! test -e /tmp/go; do sleep 0.1; done\n";
    let other =
        "for n in $(seq 40); do echo tick $n; sleep 0.05; done\necho all ticked\nsleep 1234\n";
    let files = [
        ("Procfile", "half: sh half\nother: sh other\n"),
        ("half", half),
        ("other", other),
    ];
    let mut up = supervise(&world, &files);
    up.said.wait_for("all ticked", SOON);
    let before = processes::of(world.folder());
    stop(&world, &mut up, &before);
    assert!(
        up.said.text().contains("half"),
        "what was said last is not lost: {}",
        up.story()
    );
}

/// 2,000 lines and an abort: each line is there, and how it ended.
pub(crate) fn the_last_lines_before_an_abort_are_not_lost(supervise: Supervise) {
    let world = World::new();
    let app = "seq -f 'line %04g' 1 2000\nkill -ABRT $$\n";
    let mut up = supervise(&world, &[("Procfile", "app: sh app\n"), ("app", app)]);
    up.said.wait_for("ended by signal 6", SOON);
    let text = up.said.text();
    let first_life = text.split("ended by signal 6").next().unwrap();
    assert_eq!(first_life.matches("line ").count(), 2000);
    assert!(first_life.contains("line 2000"));
    up.signal(Signal::TERM);
    up.wait(SOON);
}

/// A process that closes its output lives on, and ends as any other.
pub(crate) fn a_process_closes_its_output(supervise: Supervise) {
    let world = World::new();
    let app = "echo ready\nexec >&- 2>&-\nexec sleep 1234\n";
    let mut up = supervise(&world, &[("Procfile", "app: sh app\n"), ("app", app)]);
    up.said.wait_for("ready", SOON);
    let before = with(&world, "sleep 1234");
    stop(&world, &mut up, &before);
    assert_eq!(
        up.said.text().matches("| ready").count(),
        1,
        "{}",
        up.story()
    );
}

/// The most memory that a supervisor had so far, in KiB.
pub(crate) fn peak_kib(up: &Up) -> u64 {
    status_kib(up, "VmHWM:")
}

/// A line of the supervisor's `/proc/PID/status`, in KiB.
pub(crate) fn status_kib(up: &Up, key: &str) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", up.pid().as_raw_pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
