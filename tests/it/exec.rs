//! `slug exec`: another process in a running instance, with its files and rights, and no longer than it.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::processes;
use crate::support::run::Run;
use crate::support::transcript::Transcript;
use crate::support::up::Up;
use crate::support::wait;
use crate::support::world::World;

/// A world with a supervisor whose `web.1` serves, as root and as another user.
fn worlds() -> [(World, Up); 2] {
    [World::new(), World::unprivileged()].map(serving)
}

fn serving(world: World) -> (World, Up) {
    world.slug(&["config", "set", "NAME=Ada"]).ok();
    world.slug(&["release", &world.greeter("hello")]).ok();
    let up = world.up(&[]);
    (world, up)
}

fn inside(world: &World, script: &str) -> Run {
    world.slug(&["exec", "web.1", "--", "sh", "-c", script])
}

#[test]
fn a_command_inside_an_instance_sees_its_processes_files_and_environment() {
    for (world, _up) in worlds() {
        let served = inside(&world, "tr '\\0' ' ' </proc/2/cmdline").ok();
        assert_eq!(served, "/usr/bin/python3 serve");
        let numbers = inside(&world, "cd /proc; echo [0-9]*").ok();
        let numbers: Vec<&str> = numbers.split(' ').collect();
        assert!(
            numbers.contains(&"1") && numbers.contains(&"2"),
            "{numbers:?}"
        );
        let own = inside(
            &world,
            "echo $NAME $DYNO $SLUG_RELEASE $HOME; pwd; cat greeting",
        )
        .ok();
        assert_eq!(own, "Ada web.1 v2 /home/slug\n/workspace\nhello");
        // Both have one /tmp, and the port is the instance's.
        inside(&world, "echo shared > /tmp/note").ok();
        assert_eq!(inside(&world, "cat /tmp/note").ok(), "shared");
        let asks = "import os, urllib.request as u; print(u.urlopen('http://127.0.0.1:' + os.environ['PORT']).read().decode())";
        let answer = world
            .slug(&["exec", "web", "--", "python3", "-c", asks])
            .ok();
        assert_eq!(answer.trim(), "hello Ada v2");
    }
}

#[test]
fn a_command_inside_an_instance_can_change_no_code_and_has_no_right_more() {
    let script = "touch /workspace/new; echo x >> greeting; touch /usr/new; \
        grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs)' /proc/self/status; id -u; stat -c %u /proc/2; \
        ls -A / | tr '\\n' ' '; echo; ls /proc/self/fd | wc -l; nsenter -t 1 -m true; chroot /proc/1/root true; mount -t tmpfs x /tmp";
    for (world, _up) in worlds() {
        let run = inside(&world, script);
        let (said, errors) = (run.stdout(), run.stderr());
        assert_eq!(
            errors.matches("Read-only file system").count(),
            3,
            "{}",
            run.story()
        );
        for set in ["Inh", "Prm", "Eff", "Bnd", "Amb"] {
            assert!(
                said.contains(&format!("Cap{set}:\t0000000000000000")),
                "{}",
                run.story()
            );
        }
        assert!(said.contains("NoNewPrivs:\t1"), "{}", run.story());
        let numbers: Vec<&str> = said
            .lines()
            .filter(|line| line.bytes().all(|byte| byte.is_ascii_digit()))
            .collect();
        assert_eq!(
            numbers[0],
            numbers[1],
            "another user than the instance: {}",
            run.story()
        );
        assert_eq!(
            numbers[2],
            "4",
            "three streams, and the one that lists: {}",
            run.story()
        );
        let top = said
            .lines()
            .find(|line| line.contains("workspace"))
            .unwrap();
        for hidden in ["root", "var", "opt", "run", "sys"] {
            assert!(
                !top.split(' ').any(|name| name == hidden),
                "/{hidden}: {top}"
            );
        }
        assert_ne!(run.exit(), 0, "a mount was made: {}", run.story());
    }
}

#[test]
fn exit_codes_and_signals_of_a_command_inside_are_told_exactly() {
    let (world, _up) = serving(World::new());
    inside(&world, "exit 7").code(7);
    inside(&world, "kill -TERM $$").code(143);
    world
        .slug(&["exec", "web.1", "--", "no-such-program"])
        .code(127)
        .says("was not found");
    let run = world
        .invoke(&["exec", "web.1", "--", "cat"])
        .stdin(b"a\0b")
        .run();
    assert_eq!(run.stdout_bytes(), b"a\0b");
}

#[test]
fn an_instance_that_is_not_there_is_told_with_those_that_are() {
    let (world, _up) = serving(World::new());
    world
        .slug(&["exec", "web.2", "--", "sh"])
        .code(125)
        .says("these run: web.1");
    world.slug(&["scale", "web=2"]).ok();
    wait::until(wait::LONG, "the second", || {
        let listed = world.slug(&["ps"]).ok();
        (listed.matches("  up  ").count() == 2).then_some(())
    });
    world
        .slug(&["exec", "web", "--", "sh"])
        .code(125)
        .says("web.1, web.2");
    world
        .slug(&["exec", "web.2", "--", "sh", "-c", "echo $DYNO"])
        .says("web.2");
}

#[test]
fn a_command_inside_ends_with_the_instance() {
    for (world, mut up) in worlds() {
        let mut run = world.on_terminal(&[
            "exec",
            "web.1",
            "--",
            "sh",
            "-c",
            "tty; trap '' TERM HUP; setsid sleep 4321 & echo re''ady; sleep 4321",
        ]);
        run.shows("/dev/pts/0\r\n");
        run.shows("ready");
        let before = processes::of(world.folder());
        assert!(
            before.iter().any(|process| process.command == "sleep 4321"),
            "{before:?}"
        );
        up.signal(Signal::INT);
        assert_eq!(run.end().code(), Some(137), "{}", run.shown.text());
        up.wait(wait::LONG);
        processes::none_left(world.folder(), &before, Duration::from_secs(20));
    }
}

#[test]
fn what_a_command_inside_left_ends_with_it_and_with_whoever_asked() {
    for (world, up) in worlds() {
        let sleeping = || {
            let all = processes::of(world.folder());
            all.iter()
                .filter(|process| process.command == "sleep 4321")
                .count()
        };
        let gone = || wait::until(wait::LONG, "its end", || (sleeping() == 0).then_some(()));
        inside(
            &world,
            "setsid sleep 4321 >/dev/null 2>&1 & (sleep 4321 >/dev/null 2>&1 &)",
        )
        .ok();
        gone();
        let mut asking = world
            .command(&[
                "exec",
                "web.1",
                "--",
                "sh",
                "-c",
                "setsid sleep 4321 & echo ready; sleep 4321",
            ])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let said = Transcript::default();
        said.follow(asking.stdout.take().unwrap());
        said.wait_for("ready", wait::LONG);
        asking.kill().unwrap();
        asking.wait().unwrap();
        gone();
        assert_eq!(up.get("/").ok().trim(), "hello Ada v2");
    }
}

#[test]
fn a_one_off_can_be_entered_without_a_supervisor() {
    let world = World::new();
    world.slug(&["release", &world.greeter("hello")]).ok();
    world.slug(&["run", "-d", "--", "sleep", "4321"]).ok();
    let seen = world.slug(&[
        "exec",
        "run.1",
        "--",
        "sh",
        "-c",
        "echo $DYNO; tr '\\0' ' ' </proc/2/cmdline",
    ]);
    assert_eq!(seen.ok(), "run.1\nsleep 4321");
    world.slug(&["stop", "run.1"]).ok();
    world
        .slug(&["exec", "run.1", "--", "sh"])
        .code(125)
        .says("nothing of");
}
