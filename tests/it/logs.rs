//! Logs of a running app: history, what reads it, and sinks that stand still, break or are full.

use std::fs;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;

use crate::support::tools;
use crate::support::transcript::Transcript;
use crate::support::wait;
use crate::support::world;
use crate::support::world::World;

/// More than all that a test says.
const ALL: &str = "10000000";

/// Releases an app with a worker of these shell lines.
#[track_caller]
fn release_worker(world: &World, worker: &str) {
    let files = [
        ("Procfile", "worker: sh worker\n"),
        ("worker", worker),
        (
            "slug.toml",
            "[process.worker]\ninstances = 1\ngrace = \"2s\"\n",
        ),
    ];
    let app = world.app("app", &files);
    let slug = world.slug(&["build", app.to_str().unwrap()]).ok();
    world.slug(&["release", &slug]).ok();
}

/// A supervisor whose standard output nobody reads.
struct Unread(Child);

impl Unread {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Self(command.stderr(Stdio::null()).spawn().unwrap())
    }

    fn stop(&mut self, limit: Duration) {
        rustix::process::kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        wait::exit_of(&mut self.0, limit).expect("it does not end");
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

/// Waits until history has a line with this text.
#[track_caller]
fn wait_for_line(world: &World, text: &str) {
    wait::until(wait::LONG, text, || {
        let found = world.slug(&["logs", "--grep", text]).ok();
        (!found.is_empty()).then_some(())
    });
}

/// What the worker said, without times.
fn texts(world: &World, arguments: &[&str]) -> Vec<String> {
    let said = world.slug(&[&["logs", "-n", ALL], arguments].concat()).ok();
    let text = |line: &str| line.split_once(" | ").map(|(_, text)| text.to_owned());
    said.lines().filter_map(text).collect()
}

#[test]
fn with_a_terminal_that_stands_still_history_gets_every_line_and_stop_works() {
    let world = World::new();
    release_worker(&world, "seq 1 300000\necho finished\nexec sleep 1000\n");
    let mut up = Unread::start(world.command(&["up", "--listen", "127.0.0.2:0"]));
    wait_for_line(&world, "finished");
    let mut expected: Vec<String> = (1..=300_000).map(|number| number.to_string()).collect();
    expected.push("finished".to_owned());
    assert!(
        texts(&world, &["worker"]) == expected,
        "history is not what was said"
    );
    world.slug(&["ps"]).code(0).says("worker.1");
    up.stop(Duration::from_secs(30));
}

#[test]
fn a_crash_is_a_record_below_its_last_lines_and_so_is_what_a_grandchild_said() {
    let world = World::new();
    let grandchild = "setsid sh -c 'echo from afar; sleep 1000' & sleep 0.2; echo last; exit 3\n";
    release_worker(&world, grandchild);
    let up = world.start_up(&[]);
    up.said.wait_for("worker.1 exited with code 3", wait::LONG);
    wait_for_line(&world, "exited with code 3");
    let said = world.slug(&["logs", "--json", "-n", ALL]).ok();
    let records: Vec<serde_json::Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let text = |record: &serde_json::Value| record["text"].as_str().unwrap().to_owned();
    let crash = records.iter().position(|it| it["exit"] == 3).expect(&said);
    let crashed = &records[crash];
    assert_eq!(
        (&crashed["schema"], &crashed["process"]),
        (&1.into(), &"worker.1".into())
    );
    assert_eq!(
        (&crashed["release"], &crashed["source"]),
        (&"v1".into(), &"slug".into())
    );
    let before: Vec<String> = records[..crash].iter().map(text).collect();
    for line in ["from afar", "last"] {
        assert!(before.iter().any(|text| text == line), "{before:?}");
    }
}

#[test]
fn a_line_without_an_end_takes_bounded_memory_and_comes_out_in_marked_pieces() {
    const BYTES: usize = 100_000_000;
    let world = World::new();
    let worker =
        format!("head -c {BYTES} /dev/zero | tr '\\0' x\necho\necho finished\nexec sleep 1000\n");
    release_worker(&world, &worker);
    let up = world.start_up(&[]);
    wait_for_line(&world, "finished");
    let status = fs::read_to_string(format!("/proc/{}/status", up.pid().as_raw_nonzero())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak_kib: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 80_000, "{peak_kib} KiB at its peak"); // a debug build
    let pieces = texts(&world, &["worker"]);
    let bytes = pieces
        .iter()
        .flat_map(|piece| piece.bytes())
        .filter(|byte| *byte == b'x');
    assert_eq!(bytes.count(), BYTES);
    let cut = pieces.iter().filter(|piece| piece.ends_with(" …")).count();
    assert_eq!(cut, BYTES / (256 * 1024), "{} pieces", pieces.len());
}

#[test]
fn a_follower_outlives_the_supervisor_and_lines_are_chosen_by_time_text_and_release() {
    let world = World::new();
    release_worker(
        &world,
        "echo \"hello from $SLUG_RELEASE\"\nexec sleep 1000\n",
    );
    let mut following = world.command(&["logs", "--follow", "worker"]);
    let mut following = following.stdout(Stdio::piped()).spawn().unwrap();
    let seen = Transcript::default();
    seen.follow(following.stdout.take().unwrap());
    let mut up = world.start_up(&[]);
    seen.wait_for("worker.1 | hello from v1", wait::LONG);
    up.stop();
    world.slug(&["config", "set", "GREETING=x"]).ok();
    let _up = world.start_up(&[]);
    seen.wait_for("worker.1 | hello from v2", wait::LONG);
    following.kill().unwrap();
    following.wait().unwrap();
    let both = ["hello from v1", "hello from v2"];
    assert_eq!(texts(&world, &["worker"]), both);
    assert_eq!(texts(&world, &["worker.1", "--since", "1h"]), both);
    assert_eq!(texts(&world, &["--until", "1h"]), [""; 0]);
    assert_eq!(
        texts(&world, &["--release", "v1", "--grep", "hello"]),
        both[..1]
    );
    assert_eq!(texts(&world, &["--grep", "from v2"]), both[1..]);
    let wrong = world.slug(&["logs", "--since", "yesterday"]);
    wrong.code(2).says("no point in time");
    world.slug(&["logs", "-f", "--until", "1h"]).code(2);
}

#[test]
fn history_older_than_is_to_be_kept_goes_when_the_supervisor_starts() {
    let world = World::new();
    release_worker(&world, "echo ready\nexec sleep 1000\n");
    let folder = world
        .store()
        .join("logs")
        .join(world::app_of(world.folder()));
    fs::create_dir_all(&folder).unwrap();
    let line = b"2001-09-09T01:46:40.000000Z v1 web.1 out long ago\n";
    fs::write(folder.join("00001000000000000000.log"), line).unwrap();
    assert_eq!(texts(&world, &[]), ["long ago"]);
    world
        .slug(&["up", "--log-keep-size", "1KB"])
        .code(2)
        .says("1MiB");
    let up = world.start_up(&["--log-keep", "14d", "--color", "always"]);
    up.said.wait_for("ready", wait::LONG);
    assert!(up.said.text().contains("\u{1b}["), "{}", up.story());
    wait_for_line(&world, "ready");
    assert_eq!(texts(&world, &["--grep", "long ago"]), [""; 0]);
}

/// A command in a mount namespace of its own, where the folder of logs is a file system of 256 KiB.
fn with_a_small_disk(world: &World, folder: &str, arguments: &[&str]) -> Command {
    let slug = world.command(arguments);
    let mount = format!("mount -t tmpfs -o size=256k,mode=700 none '{folder}' && exec \"$@\"");
    let environment = slug
        .get_envs()
        .filter_map(|(key, value)| Some((key, value?)));
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &mount, "sh"]);
    command.arg(slug.get_program()).args(slug.get_args());
    command
        .env_clear()
        .envs(environment)
        .current_dir(world.folder());
    command
}

#[test]
fn a_full_disk_is_told_once_and_lines_are_counted_until_there_is_room() {
    if !tools::is_root() && !tools::skip("only root mounts") {
        return;
    }
    let world = World::new();
    release_worker(
        &world,
        "trap 'echo again' USR1\nseq 1 100000\necho finished\nwhile true; do sleep 1; done\n",
    );
    let folder = world
        .store()
        .join("logs")
        .join(world::app_of(world.folder()));
    fs::create_dir_all(&folder).unwrap();
    let folder = folder.to_str().unwrap();
    let mut command = with_a_small_disk(&world, folder, &["up", "--listen", "127.0.0.2:0"]);
    let mut up = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = Transcript::default();
    said.follow(up.stdout.take().unwrap());
    said.wait_for("worker.1 | finished", wait::LONG);
    said.wait_for("log history: could not write", wait::LONG);
    let kept = format!("/proc/{}/root{folder}/current.log", up.id());
    fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&kept)
        .unwrap();
    world.slug(&["restart", "worker"]).code(0);
    wait::until(wait::LONG, "a line in history", || {
        let kept = fs::read_to_string(&kept).unwrap();
        kept.contains("lines before this one could not be kept")
            .then_some(())
    });
    assert_eq!(
        said.text().matches("log history: could not").count(),
        1,
        "{}",
        said.text()
    );
    rustix::process::kill_process(Pid::from_child(&up), Signal::TERM).unwrap();
    wait::exit_of(&mut up, wait::LONG).unwrap();
}
