//! The router as a process of its own: what it may, what it survives, what the supervisor can rely on.

use std::fs;
use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;
use slug::router::Listen;
use slug::router::Listener;
use slug::router::ProcessOptions;
use slug::router::RouterProcess;
use slug::router::Target;

use crate::support::http;
use crate::support::transcript::Transcript;
use crate::support::wait;
use crate::support::world::World;

/// A router's process on a free port, what it wrote and what was said of it.
struct Front {
    router: RouterProcess,
    address: SocketAddr,
    lines: Transcript,
    said: Arc<Mutex<Vec<String>>>,
}

impl Front {
    fn new() -> Self {
        Self::listening(&["127.0.0.1:0".parse().unwrap()])
    }

    fn listening(listen: &[Listen]) -> Self {
        let (lines, said) = (Transcript::default(), Arc::<Mutex<Vec<String>>>::default());
        let (followed, noted) = (lines.clone(), Arc::clone(&said));
        let listeners: Vec<Listener> = listen
            .iter()
            .map(|at| Listener::bind(at).unwrap())
            .collect();
        let Listen::Tcp(address) = *listeners[0].at() else {
            panic!("the first is tcp")
        };
        let router = RouterProcess::start(ProcessOptions {
            program: PathBuf::from(env!("CARGO_BIN_EXE_slug")),
            listeners,
            trusted: Vec::new(),
            threads: 2,
            listen_to: Box::new(move |pipe: OwnedFd| followed.follow(fs::File::from(pipe))),
            say: Box::new(move |line| noted.lock().unwrap().push(line.to_owned())),
        })
        .unwrap();
        Self {
            router,
            address,
            lines,
            said,
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.router.pid().unwrap().cast_signed()).unwrap()
    }

    fn body(&self) -> String {
        http::get(self.address, "/").unwrap().ok()
    }

    /// A file of the process's in /proc.
    fn proc(&self, name: &str) -> std::io::Result<Vec<u8>> {
        fs::read(format!("/proc/{}/{name}", self.pid()))
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.router.close();
        self.router.join(Duration::ZERO);
    }
}

/// An app that answers each request with the same words, and ends each connection.
fn app(id: u64, words: &'static str) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(&mut stream.unwrap(), words));
        }
    });
    Target {
        id,
        instance: format!("web.{id}"),
        release: "v1".to_owned(),
        address,
    }
}

fn answer(stream: &mut TcpStream, words: &str) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let length = words.len();
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{words}"
    );
}

#[test]
fn a_killed_router_is_started_again_and_no_new_connection_is_refused() {
    let front = Front::new();
    front.router.route(&[app(1, "alive")], true);
    assert_eq!(front.body(), "alive");
    front.lines.wait_for("status=200", wait::LONG);
    let before = front.pid();
    rustix::process::kill_process(before, Signal::KILL).unwrap();
    assert_eq!(front.body(), "alive");
    assert_ne!(front.pid(), before);
    let said = front.said.lock().unwrap().clone();
    assert_eq!(
        said,
        ["the router was ended by signal 9, and is started again"]
    );
    let access = wait::until(wait::LONG, "both access lines", || {
        let text = front.lines.text();
        (text.matches("status=200").count() == 2).then_some(text)
    });
    assert!(access.contains("process=web.1 release=v1"), "{access}");
}

#[test]
fn what_waits_for_a_target_to_be_idle_is_told_when_the_router_that_had_its_requests_is_gone() {
    let front = Front::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut target = app(1, "");
    target.address = silent.local_addr().unwrap();
    front.router.route(&[target], true);
    let mut client = TcpStream::connect(front.address).unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let (_asked, _) = silent.accept().unwrap();
    front.router.route(&[app(2, "new")], true);
    let (tell, told) = mpsc::channel();
    front
        .router
        .when_idle(1, Box::new(move || tell.send(()).unwrap()));
    assert_eq!(front.body(), "new");
    assert!(told.try_recv().is_err(), "a request is in flight there");
    rustix::process::kill_process(front.pid(), Signal::KILL).unwrap();
    told.recv_timeout(wait::LONG).unwrap();
}

#[test]
fn a_route_is_in_force_when_it_was_given_also_for_a_connection_that_is_open() {
    let front = Front::new();
    let apps = [app(1, "one"), app(2, "two")];
    for turn in 0..200 {
        let app = &apps[turn % 2];
        front.router.route(std::slice::from_ref(app), true);
        assert_eq!(front.body(), ["one", "two"][turn % 2]);
    }
}

#[test]
fn it_has_nothing_of_the_supervisors_and_no_key_of_the_terminal_reaches_it() {
    let front = Front::new();
    let status = String::from_utf8(front.proc("status").unwrap()).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("CapEff:"), "0000000000000000");
    assert_eq!(field("CapPrm:"), "0000000000000000");
    if rustix::process::geteuid().is_root() {
        assert_eq!(field("Uid:").split('\t').next(), Some("65534"));
        assert_eq!(front.proc("environ").unwrap(), b"");
        let cwd = fs::read_link(format!("/proc/{}/cwd", front.pid())).unwrap();
        assert_eq!(cwd, PathBuf::from("/"));
    } else {
        let seen = front.proc("environ").unwrap_err();
        assert_eq!(seen.kind(), std::io::ErrorKind::PermissionDenied);
    }
    let session = rustix::process::getsid(Some(front.pid())).unwrap();
    assert_eq!(session, front.pid(), "a session of its own");
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        rustix::process::kill_process(front.pid(), signal).unwrap();
    }
    front.router.route(&[app(1, "alive")], true);
    assert_eq!(front.body(), "alive");
    assert!(front.said.lock().unwrap().is_empty());
}

#[test]
fn closed_it_ends_by_itself_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.sock");
    let front = Front::listening(&["127.0.0.1:0".parse().unwrap(), Listen::Unix(path.clone())]);
    front.router.route(&[app(1, "alive")], true);
    let mut client = UnixStream::connect(&path).unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("alive"));
    front.router.close();
    assert!(front.router.join(wait::LONG));
    assert!(!path.exists());
    assert_eq!(front.router.pid(), None);
    let access = front.lines.text();
    assert!(access.contains("status=200"), "{access:?}");
}

#[test]
fn a_socket_of_a_service_manager_is_served_besides_the_addresses_that_are_typed() {
    let world = World::new();
    world.slug(&["release", &world.greeter("hello")]).ok();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut up = world.start_up_on(socket.try_clone().unwrap().into(), &[]);
    up.wait_until_serving();
    assert!(http::get(address, "/").unwrap().ok().starts_with("hello"));
    up.said.wait_for(&format!("http://{address}"), wait::LONG);
}

#[test]
fn a_socket_of_a_service_manager_that_takes_no_connections_is_refused_before_anything_is_started() {
    let world = World::new();
    world.slug(&["release", &world.greeter("hello")]).ok();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let up = world.start_up_on(socket.into(), &[]);
    up.said.wait_for(
        "error: the socket `shop.socket` of LISTEN_FDS is a socket for datagrams or packets, not one that listens for streams\nunchanged: nothing was started",
        wait::LONG,
    );
}
