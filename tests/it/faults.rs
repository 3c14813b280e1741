//! Everything that goes wrong under `slug up`, for real. The rows that any supervisor has to stand are in `support::faults`.

use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::faults;
use crate::support::faults::SOON;
use crate::support::processes;
use crate::support::up::Up;
use crate::support::wait;
use crate::support::world::World;

/// Releases an app of these files, with a grace of a second for each of its types.
#[track_caller]
fn release(world: &World, files: &[(&str, &str)]) {
    let (_, procfile) = files.iter().find(|(name, _)| *name == "Procfile").unwrap();
    let types = procfile.lines().map(|line| line.split(':').next().unwrap());
    let graces = types.fold(String::new(), |all, name| {
        all + "[process." + name + "]\ngrace = \"1s\"\n"
    });
    world.app("app", &[("slug.toml", graces.as_str())]);
    let app = world.app("app", files);
    let slug = world.slug(&["build", app.to_str().unwrap()]).ok();
    world.slug(&["release", &slug]).ok();
}

#[track_caller]
fn by_up(world: &World, files: &[(&str, &str)]) -> Up {
    release(world, files);
    world.start_up(&[])
}

#[test]
fn a_shell_between_is_no_matter() {
    faults::a_shell_stays_between(by_up);
}

#[test]
fn one_that_ignores_its_stop_signal_is_killed_after_its_grace() {
    faults::the_only_process_ignores_its_stop_signal(by_up);
}

#[test]
fn one_that_has_stopped_itself_is_killed_after_its_grace() {
    faults::a_process_has_stopped_itself(by_up);
}

#[test]
fn nothing_outlives_a_supervisor_that_is_killed() {
    faults::the_supervisor_is_killed(by_up);
}

#[test]
fn a_daemon_ends_with_the_process_that_left_it() {
    faults::a_daemon_holds_the_pipe(by_up);
}

#[test]
fn four_that_talk_at_once_are_all_heard() {
    faults::four_processes_talk_at_once(by_up);
}

#[test]
fn half_a_line_holds_up_no_other() {
    faults::half_a_line_holds_nobody_up(by_up);
}

#[test]
fn no_line_before_an_abort_is_lost() {
    faults::the_last_lines_before_an_abort_are_not_lost(by_up);
}

#[test]
fn one_that_closes_its_output_lives_on() {
    faults::a_process_closes_its_output(by_up);
}

/// What `nohup` and some runners of jobs ignore is ignored by `slug up` where that is meant, and by no process of it.
#[test]
fn ignored_signals_are_not_handed_on() {
    let world = World::new();
    let app = "grep SigIgn /proc/self/status\necho ready\nexec sleep 1234\n";
    release(&world, &[("Procfile", "app: sh app\n"), ("app", app)]);
    let ignoring = [
        "sh",
        "-c",
        "trap '' HUP INT QUIT USR1 TERM; exec \"$@\"",
        "sh",
    ];
    let mut up = world.start_up_by(&ignoring, &[], &[]);
    up.said.wait_for("ready", SOON);
    let text = up.said.text();
    assert!(text.contains("SigIgn:\t0000000000000000"), "{text}");
    up.signal(Signal::HUP);
    // It is asked after the signal was: it would be on its way out.
    assert!(world.slug(&["ps"]).ok().contains("app.1"));
    assert!(!up.said.text().contains("stopping"), "{}", up.story());
    up.signal(Signal::TERM);
    up.wait(SOON);
}

#[test]
fn a_terminal_that_hangs_up_stops_everything_in_order() {
    let world = World::new();
    let app = "trap 'echo in order; exit 0' TERM\necho ready\nwhile :; do sleep 0.1; done\n";
    let mut up = by_up(&world, &[("Procfile", "app: sh app\n"), ("app", app)]);
    up.said.wait_for("ready", SOON);
    up.signal(Signal::HUP);
    assert!(up.wait(SOON).success(), "{}", up.story());
    assert!(up.said.text().contains("in order"), "{}", up.story());
}

fn socket(world: &World) -> PathBuf {
    let mut folders = vec![world.store()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry
                .path()
                .extension()
                .is_some_and(|ending| ending == "sock")
            {
                return entry.path();
            }
        }
    }
    panic!("no control socket");
}

#[test]
fn garbage_in_the_control_socket_and_clients_that_hang_harm_nobody() {
    let world = World::new();
    let up = by_up(
        &world,
        &[("Procfile", "app: echo ready; exec sleep 1234\n")],
    );
    up.said.wait_for("ready", SOON);
    let socket = socket(&world);
    let connect = || wait::until(SOON, "a connection", || UnixStream::connect(&socket).ok());
    let mut noise = 0x1234_5678_u64;
    let mut random = move || {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        noise.to_be_bytes()[0]
    };
    let mut bytes: Vec<Vec<u8>> = (0..50)
        .map(|length| (0..length * 40).map(|_| random()).collect())
        .collect();
    bytes.extend([
        b"\n".to_vec(),
        b"{\"do\":\"ps\"".to_vec(),
        vec![b'x'; 8 << 20],
        vec![b'['; 60_000],
    ]);
    for garbage in bytes {
        let mut client = connect();
        let _ = client.write_all(&garbage); // it may be cut off
        let _ = client.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer); // a reset is an answer
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.contains("refused"), "{answer}");
    }
    let hanging: Vec<UnixStream> = (0..100)
        .map(|number| {
            let mut client = connect();
            let _ = client.write_all(&b"{\"do\":\"ps"[..number % 9]);
            client
        })
        .collect();
    let begun = std::time::Instant::now();
    assert!(world.slug(&["ps"]).ok().contains("app.1"));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    drop(hanging);
    assert_eq!(
        up.said.text().matches("| ready").count(),
        1,
        "{}",
        up.story()
    );
}

#[test]
fn a_line_without_end_is_cut_and_takes_no_memory() {
    let world = World::new();
    let app = "head -c 1073741824 /dev/zero | tr '\\0' x >&2\ntouch /tmp/told\nexec sleep 1234\n";
    let settings =
        "[process.app]\ncheck = { command = 'test -e /tmp/told' }\nready_within = '10m'\n";
    let files = [
        ("Procfile", "app: sh app\n"),
        ("app", app),
        ("slug.toml", settings),
    ];
    release(&world, &files);
    let quiet = ["sh", "-c", "exec \"$@\" >/dev/null", "sh"];
    let mut up = world.start_up_by(&quiet, &[], &[]);
    wait::until(wait::LONG, "the end of a gigabyte", || {
        world.slug(&["ps"]).stdout().contains(" up ").then_some(())
    });
    let peak = faults::peak_kib(&up);
    assert!(peak < 64 << 10, "{peak} KiB");
    up.signal(Signal::TERM);
    up.wait(SOON);
}

/// What makes namespaces for a user who is not root, and changes nothing of who that is.
fn as_who_it_is(more: &[&'static str]) -> Vec<&'static str> {
    if rustix::process::getuid().is_root() {
        return Vec::new();
    }
    [&["--map-current-user"], more].concat()
}

/// In a network of its own, where somebody holds each port that it could give.
#[test]
fn with_all_ports_taken_it_says_so_and_goes_on_when_one_is_free() {
    let world = World::new();
    world.slug(&["release", &world.greeter("hello")]).ok();
    let holder = "import fcntl, os, socket, struct, sys
loopback = struct.pack('16sh22x', b'lo', 1)
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8914, loopback)
held = [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(10000)]
for number, one in enumerate(held): one.bind('\\0slug/port/%d' % (20000 + number))
if os.fork() == 0: os.execvp(sys.argv[2], sys.argv[2:])
while not os.path.exists(sys.argv[1]): __import__('time').sleep(0.05)
for one in held: one.close()
os.wait()
";
    let script = world.write("holder.py", holder);
    let go = world.path("go");
    let shell = "ulimit -n 11000; exec python3 \"$0\" \"$@\"";
    let (script, go_path) = (script.to_str().unwrap(), go.to_str().unwrap());
    let mut wrapper = vec!["unshare", "-n"];
    wrapper.extend(as_who_it_is(&["--keep-caps"]));
    wrapper.extend(["sh", "-c", shell, script, go_path]);
    let up = world.start_up_by(&wrapper, &[], &[]);
    up.said
        .wait_for("every port from 20000 to 29999 is taken", SOON);
    up.said.wait_for("web.1 is started again in", SOON);
    std::fs::write(go, "").unwrap();
    up.said.wait_for("v1 is up", wait::LONG);
}

/// As the first process of a PID namespace it inherits whatever loses its parent there.
#[test]
fn as_pid_1_it_takes_no_orphan_for_its_own_and_leaves_no_zombie() {
    let world = World::new();
    let files = [
        ("Procfile", "app: echo ready; exec sleep 1234\n"),
        ("slug.toml", "[process.app]\ncheck = { command = 'true' }\n"),
    ];
    release(&world, &files);
    // Orphans before and after it is up; their own children outlive them.
    let orphans = "for n in 1 2 3; do (sleep 0.$n; (sleep 2; exit 4) & exit 3) & done; exec \"$@\"";
    let mut wrapper = vec!["unshare", "-pf", "--mount-proc", "--kill-child"];
    wrapper.extend(as_who_it_is(&[]));
    wrapper.extend(["sh", "-c", orphans, "sh"]);
    let mut up = world.start_up_by(&wrapper, &[], &[]);
    up.said.wait_for("ready", SOON);
    up.said.wait_for("v1 is up", SOON);
    let is_zombie = |process: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| rest.starts_with(" Z"))
    };
    let supervisor = wait::until(SOON, "the supervisor", || {
        let of_unshare = processes::children_of(up.pid().as_raw_pid().cast_unsigned());
        of_unshare.first().copied()
    });
    wait::until(SOON, "the end of every orphan", || {
        let children = processes::children_of(supervisor);
        // What is its own is left: the router, and the init of the app's process.
        let is_quiet = children.len() == 2 && !children.iter().any(is_zombie);
        is_quiet.then_some(())
    });
    assert!(!up.said.text().contains("exited"), "{}", up.story());
    let pid = rustix::process::Pid::from_raw(supervisor.cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert!(up.wait(SOON).success(), "{}", up.story());
}

/// The clock jumps a day ahead and two back: a grace stays a grace, a pause a pause.
#[test]
fn a_clock_that_is_set_changes_no_time_that_passes() {
    let world = World::new();
    let shim = "#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *at) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, \"clock_gettime\");
  int result = real(id, at);
  if (id == CLOCK_REALTIME) {
    if (access(getenv(\"BACK\"), F_OK) == 0) at->tv_sec -= 2 * 86400;
    else if (access(getenv(\"AHEAD\"), F_OK) == 0) at->tv_sec += 86400;
  }
  return result;
}
";
    let source = world.write("step.c", shim);
    let library = world.path("step.so");
    let (source, library) = (source.to_str().unwrap(), library.to_str().unwrap());
    let compile = ["-shared", "-fPIC", "-o", library, source, "-ldl"];
    world.program("cc", &compile).run().ok();
    let app = "trap '' TERM\necho ready\nsleep 1234 & wait\n";
    release(&world, &[("Procfile", "app: sh app\n"), ("app", app)]);
    let (back, ahead) = (world.path("back"), world.path("ahead"));
    let set = |name: &str, value: &str| format!("{name}={value}");
    let wrapper = [
        "env",
        &set("LD_PRELOAD", library),
        &set("BACK", back.to_str().unwrap()),
        &set("AHEAD", ahead.to_str().unwrap()),
    ];
    let mut up = world.start_up_by(&wrapper, &[], &[]);
    up.said.wait_for("ready", SOON);
    std::fs::write(ahead, "").unwrap();
    world.slug(&["restart", "app"]).ok();
    up.said.wait_until("a second life", SOON, |text| {
        text.matches("| ready").count() == 2
    });
    std::fs::write(back, "").unwrap();
    let begun = std::time::Instant::now();
    up.signal(Signal::TERM);
    up.wait(SOON);
    let taken = begun.elapsed();
    assert!(
        taken >= faults::GRACE && taken < SOON / 2,
        "{taken:?}\n{}",
        up.story()
    );
}

/// What a supervisor holds: descriptors, children, memory in KiB.
fn held(up: &Up) -> (usize, usize, u64) {
    let pid = up.pid().as_raw_pid().cast_unsigned();
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count();
    (
        descriptors,
        processes::children_of(pid).len(),
        faults::status_kib(up, "VmRSS:"),
    )
}

/// 500 processes, each started anew twenty times, over the control socket.
#[test]
fn ten_thousand_restarts_leak_nothing() {
    const INSTANCES: usize = 500;
    const ROUNDS: usize = 20;
    let world = World::new();
    // Of the type that has a port there is none.
    let files = [
        ("Procfile", "web: false\napp: exec sleep 1234\n"),
        (
            "slug.toml",
            "[process.web]\ninstances = 0\n[process.app]\ninstances = 500\n",
        ),
    ];
    release(&world, &files);
    let quiet = ["sh", "-c", "exec \"$@\" >/dev/null", "sh"];
    let up = world.start_up_by(&quiet, &[], &[]);
    let pids = || {
        let ps = world.slug(&["ps", "--json"]).stdout(); // nobody is there at first
        let ps: serde_json::Value = serde_json::from_str(&ps).unwrap_or_default();
        let processes = ps["processes"].as_array().cloned().unwrap_or_default();
        let up = processes.iter().filter(|process| process["state"] == "up");
        let pids: Vec<u64> = up.filter_map(|process| process["pid"].as_u64()).collect();
        (pids.len() == INSTANCES && processes.len() == INSTANCES).then_some(pids)
    };
    let mut before = wait::until(wait::LONG, "all instances", pids);
    let mut first = None;
    for round in 1..=ROUNDS {
        world.slug(&["restart", "app"]).ok();
        before = wait::until(wait::LONG, "a new process for each", || {
            pids().filter(|now| now.iter().all(|pid| !before.contains(pid)))
        });
        // What is allocated once, for the most that runs at a time, is there after the first rounds.
        if round == 3 {
            first = Some(held(&up));
        }
    }
    let (first, last) = (first.unwrap(), held(&up));
    assert_eq!(
        (last.0, last.1),
        (first.0, first.1),
        "descriptors, children"
    );
    assert!(
        last.2 <= first.2 + 1024,
        "{} KiB, then {} KiB",
        first.2,
        last.2
    );
}
