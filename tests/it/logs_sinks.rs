//! Where lines go besides the terminal and history: log services and files, as `--log-to` names them.

use std::fs;
use std::io::IoSliceMut;
use std::io::Read as _;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixDatagram;

use rustix::net::RecvAncillaryBuffer;
use rustix::net::RecvAncillaryMessage;
use rustix::net::RecvFlags;

use crate::support::wait;
use crate::support::world;
use crate::support::world::World;

/// Says a line, and one that is too long for a datagram.
const WORKER: &str =
    "echo one\nhead -c 250000 /dev/zero | tr '\\0' x\necho\necho oops >&2\nexec sleep 1000\n";

/// The messages of a stream with octet counting (RFC 6587, 3.4.1), as they come.
struct Frames {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Frames {
    #[track_caller]
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(wait::LONG)).unwrap();
        let bytes = Vec::new();
        Self { stream, bytes }
    }

    #[track_caller]
    fn next(&mut self) -> String {
        loop {
            if let Some(space) = self.bytes.iter().position(|byte| *byte == b' ') {
                let count = str::from_utf8(&self.bytes[..space]).unwrap();
                let end = space + 1 + count.parse::<usize>().unwrap();
                if self.bytes.len() >= end {
                    let message = self.bytes[space + 1..end].to_vec();
                    self.bytes.drain(..end);
                    return String::from_utf8(message).unwrap();
                }
            }
            let mut part = [0; 16384];
            let count = self.stream.read(&mut part).unwrap();
            assert!(count > 0, "the connection was closed");
            self.bytes.extend_from_slice(&part[..count]);
        }
    }

    /// All messages up to when each of these ends has come: two pipes have no order.
    #[track_caller]
    fn until(&mut self, ends: &[&str]) -> Vec<String> {
        let mut messages = vec![self.next()];
        let has = |messages: &[String], end: &str| messages.iter().any(|it| it.ends_with(end));
        while !ends.iter().all(|end| has(&messages, end)) {
            messages.push(self.next());
        }
        messages
    }
}

/// One datagram; what is in the file that came with it, if one did.
fn receive(socket: &UnixDatagram) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut bytes)];
    let received =
        rustix::net::recvmsg(socket, &mut into, &mut ancillary, RecvFlags::empty()).unwrap();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message {
            let file = fs::File::from(fds.next().unwrap());
            let mut held = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
            file.read_exact_at(&mut held, 0).unwrap();
            return held;
        }
    }
    bytes.truncate(received.bytes);
    bytes
}

/// The first datagram with this in it.
fn receive_until(socket: &UnixDatagram, wanted: &str) -> String {
    loop {
        let message = String::from_utf8(receive(socket)).unwrap();
        if message.contains(wanted) {
            return message;
        }
    }
}

#[track_caller]
fn release_worker(world: &World, worker: &str) {
    let files = [
        ("Procfile", "worker: sh worker\n"),
        ("worker", worker),
        ("slug.toml", "[process.worker]\ninstances = 1\n"),
    ];
    let app = world.app("app", &files);
    let slug = world.slug(&["build", app.to_str().unwrap()]).ok();
    world.slug(&["release", &slug]).ok();
}

fn unix_socket(world: &World, name: &str) -> (UnixDatagram, String) {
    let path = world.path(name);
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(wait::LONG)).unwrap();
    (socket, path.to_str().unwrap().to_owned())
}

#[test]
fn syslog_over_tcp_counts_octets_and_connects_again() {
    let world = World::new();
    release_worker(&world, WORKER);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("syslog+tcp://{}", listener.local_addr().unwrap());
    let up = world.start_up(&["--log-to", &place]);
    let mut frames = Frames::accept(&listener);
    let messages = frames.until(&["] oops", "xxx"]);
    let app = world::app_of(world.folder());
    let one = messages.iter().find(|it| it.ends_with("] one")).unwrap();
    let header = format!(" {app} worker.1 out [origin software=\"{app}\" swVersion=\"v1\"] one");
    assert!(
        one.starts_with("<14>1 20") && one.ends_with(&header),
        "{one}"
    );
    assert!(
        messages
            .iter()
            .any(|it| it.ends_with("xxx") && it.len() > 250_000)
    );
    let oops = messages.iter().find(|it| it.ends_with("] oops")).unwrap();
    assert!(
        oops.starts_with("<12>1 ") && oops.contains(" worker.1 err "),
        "{oops}"
    );
    drop(frames);
    world.slug(&["restart", "worker"]).code(0);
    Frames::accept(&listener).until(&["] one"]);
    drop(up);
}

#[test]
fn syslog_over_datagrams_sends_a_long_line_in_pieces() {
    let world = World::new();
    release_worker(&world, WORKER);
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(wait::LONG)).unwrap();
    let (unix, path) = unix_socket(&world, "log");
    let by_udp = format!("syslog+udp://{}", udp.local_addr().unwrap());
    let by_unix = format!("syslog+unix:{path},block");
    let _up = world.start_up(&["--log-to", &by_udp, "--log-to", &by_unix]);
    let first = receive_until(&unix, "] xx");
    assert!(
        first.ends_with("x …") && first.len() < 65_536,
        "{} bytes",
        first.len()
    );
    let mut pieces = first.matches('x').count();
    while pieces < 250_000 {
        pieces += receive_until(&unix, "] xx")
            .rsplit(' ')
            .map(|it| it.matches('x').count())
            .sum::<usize>();
    }
    let mut message = vec![0; 65_536];
    let one = wait::until(wait::LONG, "a datagram", || {
        let count = udp.recv(&mut message).unwrap();
        let text = String::from_utf8_lossy(&message[..count]).into_owned();
        text.ends_with("] one").then_some(text)
    });
    assert!(one.starts_with("<14>1 "), "{one}");
}

#[test]
fn journald_gets_fields_and_a_long_line_in_a_sealed_file() {
    let world = World::new();
    release_worker(&world, WORKER);
    let (journal, path) = unix_socket(&world, "journal");
    let _up = world.start_up(&["--log-to", &format!("journald:{path}")]);
    let one = receive_until(&journal, "MESSAGE=one\n");
    let app = world::app_of(world.folder());
    let fields = [
        "PRIORITY=6",
        "SLUG_RELEASE=v1",
        "SLUG_PROCESS=worker.1",
        "SLUG_STREAM=out",
    ];
    let named = [
        format!("SYSLOG_IDENTIFIER={app}"),
        format!("SLUG_APP={app}"),
    ];
    for field in fields.into_iter().map(str::to_owned).chain(named) {
        assert!(
            one.lines().any(|line| line == field),
            "{field} is not in\n{one}"
        );
    }
    let mut messages = Vec::new();
    let mut with = |text: &str| loop {
        let found = messages.iter().find(|it: &&String| it.contains(text));
        if let Some(found) = found {
            return found.clone();
        }
        messages.push(String::from_utf8(receive(&journal)).unwrap());
    };
    let oops = with("MESSAGE=oops\n");
    assert!(oops.contains("PRIORITY=4\n"), "{oops}");
    assert!(with("MESSAGE=xxx").contains(&"x".repeat(250_000)));
}

#[test]
fn files_are_appended_to_and_opened_anew_when_another_program_moved_them() {
    let world = World::new();
    release_worker(&world, "echo one\nexec sleep 1000\n");
    let (text, json) = (world.path("shop.log"), world.path("shop.ndjson"));
    let places = [
        format!("file:{}", text.display()),
        format!("ndjson:{}", json.display()),
    ];
    let _up = world.start_up(&[
        "--log-format",
        "raw",
        "--log-to",
        &places[0],
        "--log-to",
        &places[1],
    ]);
    let has_one = |path: &std::path::Path| {
        fs::read_to_string(path).is_ok_and(|all| all.contains("one\n") || all.contains("\"one\""))
    };
    let both = || (has_one(&text) && has_one(&json)).then_some(());
    wait::until(wait::LONG, "the line", both);
    let line = fs::read_to_string(&json).unwrap();
    let line = line.lines().find(|line| line.contains("\"one\"")).unwrap();
    let record: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        (&record["schema"], &record["source"]),
        (&1.into(), &"worker.1".into())
    );
    for path in [&text, &json] {
        fs::rename(path, path.with_extension("1")).unwrap();
    }
    world.slug(&["restart", "worker"]).code(0);
    wait::until(wait::LONG, "the line", both);
}

#[test]
fn a_service_that_is_not_there_holds_nothing_up_and_is_told_once() {
    let world = World::new();
    release_worker(&world, "seq 1 20000\necho finished\nexec sleep 1000\n");
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let place = format!("syslog+tcp://{gone}");
    let mut up = world.start_up(&["--log-to", &place]);
    up.said.wait_for("worker.1 | finished", wait::LONG);
    up.said.wait_for(&format!("{place}: "), wait::LONG);
    up.stop();
    assert_eq!(
        up.said.text().matches(&format!("slug | {place}: ")).count(),
        1,
        "{}",
        up.story()
    );
}

#[test]
fn a_place_that_is_none_is_refused_with_all_that_are() {
    let world = World::new();
    for place in ["syslog:/dev/log", "file:relative", "journald,sometimes"] {
        let refused = world.slug(&["up", "--log-to", place]);
        refused
            .code(2)
            .says(place)
            .says("syslog+tcp://HOST:PORT")
            .says("drop-oldest");
    }
}
