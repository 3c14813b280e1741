//! `slug run` on an operator's terminal, and with a part of it.

use rustix::process::Signal;
use rustix::termios::LocalModes;

use crate::support::processes;
use crate::support::wait;
use crate::support::world::World;

/// A world with a release, as root and as another user.
fn worlds() -> [World; 2] {
    [World::new(), World::unprivileged()].map(released)
}

fn world() -> World {
    released(World::new())
}

fn released(world: World) -> World {
    world.slug(&["release", &world.greeter("hello")]).ok();
    world
}

#[test]
fn a_one_off_on_a_terminal_has_one_of_its_own_with_a_name_and_a_size_that_follows() {
    let script = "tty; stty size; echo $TERM; stty -a | grep -o 'intr = ^C'; [ -t 2 ] && echo three; \
        until [ \"$(stty size)\" = '50 150' ]; do sleep 0.1; done; echo resized; read line; echo \"got $line\"; exit 7";
    for world in worlds() {
        let mut run = world.on_terminal(&["run", "--", "sh", "-c", script]);
        let before = run.settings();
        run.shows("/dev/pts/0\r\n40 132\r\nvt220\r\nintr = ^C\r\nthree\r\n");
        run.resize(50, 150);
        run.shows("resized");
        run.keys("hello\r");
        run.shows("hello\r\ngot hello\r\n");
        assert_eq!(run.end().code(), Some(7), "{}", run.shown.text());
        assert_eq!(run.settings().local_modes, before.local_modes);
    }
}

/// Waits until the job of the next test has this state.
#[track_caller]
fn until_job(world: &World, wanted: char) {
    wait::until(wait::LONG, "the job", || {
        let all = processes::of(world.folder());
        let job = all.iter().find(|process| process.command == "sleep 1234")?;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", job.pid)).ok()?;
        let state = stat.rsplit_once(") ")?.1.chars().next()?;
        (state == wanted).then_some(())
    });
}

#[test]
fn a_shell_on_a_terminal_has_jobs() {
    for world in worlds() {
        let mut run = world.on_terminal(&["run", "--", "bash", "--norc", "-i"]);
        run.keys("echo one-$((1 + 1))\r");
        run.shows("one-2\r\n");
        run.keys("sleep 1234\r");
        until_job(&world, 'S');
        run.keys("\x1a");
        run.shows("Stopped");
        run.keys("fg\r");
        until_job(&world, 'S');
        run.keys("\x03");
        run.keys("echo two-$((1 + $?))\r");
        run.shows("two-131\r\n");
        run.keys("exit 7\r");
        assert_eq!(run.end().code(), Some(7), "{}", run.shown.text());
    }
}

#[test]
fn a_prompt_that_edits_lines_works_and_the_terminal_is_given_back() {
    let world = world();
    let mut run = world.on_terminal(&["run", "--", "python3", "-q", "-I"]);
    let before = run.settings();
    run.shows(">>> ");
    run.keys("print(6 * 8\x7f7)\r"); // with a correction
    run.shows("42\r\n");
    assert!(!run.settings().local_modes.contains(LocalModes::ECHO));
    run.keys("\x04");
    assert_eq!(run.end().code(), Some(0), "{}", run.shown.text());
    assert_eq!(run.settings().local_modes, before.local_modes);
    assert_eq!(run.settings().input_modes, before.input_modes);
}

#[test]
fn the_keys_that_end_a_process_end_the_process() {
    let world = world();
    for (key, code) in [("\x03", 130), ("\x1c", 131)] {
        let mut run =
            world.on_terminal(&["run", "--", "sh", "-c", "echo re''ady; exec sleep 1234"]);
        run.shows("ready");
        run.keys(key);
        assert_eq!(run.end().code(), Some(code), "{}", run.shown.text());
    }
}

#[test]
fn the_terminal_is_given_back_when_a_signal_ends_slug() {
    let world = world();
    let script = "stty raw -echo; echo re''ady; exec sleep 1234";
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let mut run = world.on_terminal(&["run", "--", "sh", "-c", script]);
        let before = run.settings();
        run.shows("ready");
        run.signal(signal);
        assert_eq!(run.end().code(), Some(code), "{}", run.shown.text());
        assert_eq!(run.settings().local_modes, before.local_modes);
    }
}

#[test]
fn ctrl_z_from_outside_gives_the_terminal_back_until_slug_goes_on() {
    let world = world();
    let script = "echo re''ady; read line; echo \"got $line\"";
    let mut run = world.on_terminal(&["run", "--", "sh", "-c", script]);
    let before = run.settings();
    run.shows("ready");
    let state = format!("/proc/{}/stat", run.pid().as_raw_pid());
    run.signal(Signal::TSTP);
    wait::until(wait::LONG, "the stop", || {
        let stat = std::fs::read_to_string(&state).unwrap();
        stat.contains(") T ").then_some(())
    });
    assert_eq!(run.settings().local_modes, before.local_modes);
    run.signal(Signal::CONT);
    wait::until(wait::LONG, "the raw terminal", || {
        (run.settings().local_modes != before.local_modes).then_some(())
    });
    run.keys("hello\r");
    run.shows("got hello");
    assert_eq!(run.end().code(), Some(0));
}

#[test]
fn a_process_gets_the_streams_that_are_no_terminal_as_they_are() {
    let world = world();
    // Output goes into a file; whoever types still does.
    let script =
        "[ -t 0 ] && [ ! -t 1 ] && [ -t 2 ] && echo as expected; read line; echo \"got $line\"";
    let mut run = world.partly_on_terminal(&["run", "--", "sh", "-c", script], ">said");
    run.keys("hello\r");
    assert_eq!(run.end().code(), Some(0), "{}", run.shown.text());
    let said = std::fs::read_to_string(world.path("said")).unwrap();
    assert_eq!(said, "as expected\ngot hello\n");
    // Input comes from a pipe, and its end is the process's; Ctrl-C is too.
    let script = "[ ! -t 0 ] && [ -t 1 ] && cat; echo ended; exec sleep 1234";
    let mut run = world.partly_on_terminal(&["run", "--", "sh", "-c", script], "</dev/null");
    run.shows("ended");
    run.keys("\x03");
    assert_eq!(run.end().code(), Some(130), "{}", run.shown.text());
}

#[test]
fn bytes_through_pipes_are_untouched_both_ways() {
    let world = world();
    let bytes: Vec<u8> = (0..=255_u8).cycle().take(300_001).collect();
    let run = world.invoke(&["run", "--", "cat"]).stdin(&bytes).run();
    assert_eq!(run.exit(), 0);
    assert!(
        run.stdout_bytes() == bytes,
        "{} bytes",
        run.stdout_bytes().len()
    );
}
