//! What `slug up` tells the service manager that started it, on a real socket.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use crate::support::up::Up;
use crate::support::wait;
use crate::support::world::World;

/// A manager that listens, and all that it has heard.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn new(address: &SocketAddr) -> Self {
        let socket = UnixDatagram::bind_addr(address).unwrap();
        socket.set_read_timeout(Some(wait::LONG)).unwrap();
        Self {
            socket,
            heard: Vec::new(),
        }
    }

    /// Listens until a message has all of these lines.
    #[track_caller]
    fn wait_for(&mut self, lines: &[&str], up: &Up) {
        let deadline = Instant::now() + wait::LONG;
        while Instant::now() < deadline {
            let mut message = [0; 4096];
            match self.socket.recv(&mut message) {
                Ok(length) => {
                    let text = String::from_utf8(message[..length].to_vec()).unwrap();
                    let fits = lines
                        .iter()
                        .all(|line| text.lines().any(|one| one == *line));
                    self.heard.push(text);
                    if fits {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("{lines:?} was not said: {:?}\n{}", self.heard, up.story());
    }

    fn has_heard(&self, line: &str) -> bool {
        let mut lines = self.heard.iter().flat_map(|text| text.lines());
        lines.any(|one| one == line)
    }
}

/// A socket with a path, and `slug up` that is told of it.
fn start(world: &World, more: &[(&str, &str)]) -> (Manager, Up) {
    let path = world.path("notify");
    let manager = Manager::new(&SocketAddr::from_pathname(&path).unwrap());
    (manager, start_with(world, path.into(), more))
}

fn start_with(world: &World, socket: OsString, more: &[(&str, &str)]) -> Up {
    let mut vars: Vec<(&str, OsString)> = vec![("NOTIFY_SOCKET", socket)];
    vars.extend(more.iter().map(|(key, value)| (*key, (*value).into())));
    world.start_up_with(&[], &vars)
}

#[test]
fn a_supervisor_is_ready_when_its_release_is_up_and_says_that_it_stops() {
    let world = World::new();
    world.slug(&["release", &world.greeter("hello")]).ok();
    let (mut manager, mut up) = start(&world, &[]);
    manager.wait_for(&["READY=1", "STATUS=v1 is up"], &up);
    assert!(manager.has_heard("STATUS=v1 is starting"));
    assert!(manager.has_heard("EXTEND_TIMEOUT_USEC=30000000"));
    assert_eq!(up.get("/").status, 200);
    world.slug(&["config", "set", "A=1"]).ok();
    manager.wait_for(&["STATUS=v1 is up, v2 is starting"], &up);
    manager.wait_for(&["STATUS=v2 is up"], &up);
    assert!(up.stop().success());
    manager.wait_for(&["STOPPING=1", "EXTEND_TIMEOUT_USEC=30000000"], &up);
    let ready = manager.heard.iter().filter(|text| text.contains("READY=1"));
    assert_eq!(ready.count(), 1, "{:?}", manager.heard);
    assert!(!manager.has_heard("WATCHDOG=1"));
}

#[test]
fn a_manager_hears_of_an_upgrade_and_of_its_end() {
    let world = World::new();
    world.slug(&["release", &world.greeter("hello")]).ok();
    let (mut manager, up) = start(&world, &[("WATCHDOG_USEC", "60000000")]);
    for _ in 0..2 {
        manager.wait_for(&["READY=1", "STATUS=v1 is up", "WATCHDOG=1"], &up);
        world.slug(&["upgrade"]).ok();
        manager.wait_for(&["RELOADING=1"], &up);
        let reloading = manager.heard.last().unwrap();
        assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    }
    manager.wait_for(&["READY=1", "STATUS=v1 is up", "WATCHDOG=1"], &up);
}

#[test]
fn a_supervisor_without_a_release_is_ready_at_once() {
    let world = World::new();
    let (mut manager, up) = start(&world, &[]);
    manager.wait_for(&["READY=1", "STATUS=waiting for the first release"], &up);
}

#[test]
fn a_supervisor_whose_release_does_not_come_up_is_ready_to_try_it_again() {
    let world = World::new();
    let broken = world.greeter_with("broken", &[("Procfile", "web: exit 1\n")]);
    world.slug(&["release", &broken]).ok();
    let (mut manager, up) = start(&world, &[]);
    manager.wait_for(
        &["READY=1", "STATUS=v1 does not come up, and is tried again"],
        &up,
    );
}

#[test]
fn the_reactor_beats_for_the_watchdog_on_an_abstract_socket() {
    let world = World::new();
    world.slug(&["release", &world.greeter("hello")]).ok();
    let name = world.folder().file_name().unwrap().to_str().unwrap();
    let mut manager = Manager::new(&SocketAddr::from_abstract_name(name).unwrap());
    let up = start_with(
        &world,
        format!("@{name}").into(),
        &[("WATCHDOG_USEC", "400000")],
    );
    manager.wait_for(&["READY=1", "WATCHDOG=1"], &up);
    let before = Instant::now();
    for _ in 0..4 {
        manager.wait_for(&["WATCHDOG=1"], &up);
    }
    // Four beats, a fifth of a second apart.
    assert!(before.elapsed().as_millis() >= 500);
}

#[test]
fn no_process_of_the_app_is_told_of_the_manager() {
    let world = World::new();
    world.release_real_app("plain");
    let (mut manager, up) = start(&world, &[("WATCHDOG_USEC", "60000000")]);
    manager.wait_for(&["READY=1"], &up);
    let env: serde_json::Value = serde_json::from_str(&up.get("/env").ok()).unwrap();
    let env = env.as_object().unwrap();
    assert!(!env.is_empty());
    for key in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        assert!(!env.contains_key(key), "{env:?}");
    }
}

#[test]
fn a_socket_of_another_kind_is_refused() {
    let world = World::new();
    world.slug(&["release", &world.greeter("hello")]).ok();
    let up = world.invoke(&["up"]).env("NOTIFY_SOCKET", "vsock:2:1234");
    up.run()
        .code(1)
        .says("NOTIFY_SOCKET")
        .says("nothing was started");
}
