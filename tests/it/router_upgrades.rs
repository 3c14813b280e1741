//! Upgraded connections through the router: websockets, and what else an app changes to.

use std::io::Read as _;
use std::io::Write as _;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;

use crate::support::front::App;
use crate::support::front::Conn;
use crate::support::front::Front;
use crate::support::front::PATIENCE;
use crate::support::front::get;
use crate::support::front::header;
use crate::support::wait;

#[test]
fn an_upgraded_connection_is_bytes_both_ways_and_counts_as_in_flight() {
    let app = App::new(|conn, _| {
        let (head, _) = conn.request().unwrap();
        assert_eq!(header(&head, "upgrade"), Some("websocket"));
        conn.stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi").unwrap();
        let mut buffer = [0; 5];
        conn.stream.read_exact(&mut buffer).unwrap();
        conn.stream.write_all(&buffer).unwrap();
    });
    let front = Front::of(&app);
    let mut stream = front.connect();
    stream
        .write_all(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .unwrap();
    let mut conn = Conn {
        stream: stream.try_clone().unwrap(),
        rest: Vec::new(),
    };
    let head = conn.head().unwrap();
    assert!(
        head.starts_with("HTTP/1.1 101 ") && header(&head, "upgrade") == Some("websocket"),
        "{head}"
    );
    assert_eq!(conn.take(2).unwrap(), b"hi");
    front.router.route(&[], true);
    let (tell, told) = mpsc::channel();
    front
        .router
        .when_idle(app.id, Box::new(move || tell.send(()).unwrap()));
    assert!(told.try_recv().is_err());
    stream.write_all(b"\0\n\r\xff!").unwrap();
    assert_eq!(conn.take(5).unwrap(), b"\0\n\r\xff!");
    assert_eq!(conn.take(1), None);
    drop((stream, conn));
    told.recv_timeout(PATIENCE).unwrap();
    front.line_with("status=101");
}

#[test]
fn an_upgrade_that_is_refused_ends_the_connection_after_the_answer() {
    let app = App::echo();
    let front = Front::of(&app);
    let upgrade =
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".to_vec();
    let answer = front.tell(&[upgrade, get("/second", false)].concat());
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 1, "{answer}");
}

/// An app that changes to a websocket, says `first`, and then does what it likes.
fn websocket(first: &'static [u8], then: impl Fn(&mut Conn) + Send + Sync + 'static) -> App {
    App::new(move |conn, _| {
        conn.request().unwrap();
        conn.stream.write_all(SWITCHED).unwrap();
        conn.stream.write_all(first).unwrap();
        then(conn);
    })
}

const SWITCHED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
/// What the router says when a target's time is over: a close frame with code 1001.
const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xE9];
/// A client's close frame with that code, masked by zeros.
const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE9];

/// A client whose connection was upgraded to this protocol.
fn upgraded(front: &Front, protocol: &str) -> Conn {
    let mut conn = Conn {
        stream: front.connect(),
        rest: Vec::new(),
    };
    let request = format!(
        "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
    );
    conn.stream.write_all(request.as_bytes()).unwrap();
    let head = conn.head().unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    conn
}

/// Retires the app's target and cuts it; the receiver hears when it is idle.
fn cut(front: &Front, app: &App) -> mpsc::Receiver<()> {
    front.router.route(&[], true);
    let (tell, told) = mpsc::channel();
    front
        .router
        .when_idle(app.id, Box::new(move || tell.send(()).unwrap()));
    front.router.cut(app.id);
    told
}

#[test]
fn a_websocket_goes_on_after_a_switch_until_its_targets_time_is_over() {
    let (heard, hears) = mpsc::channel();
    let app = websocket(b"\x81\x02hi", move |conn| {
        assert_eq!(conn.take(8).unwrap(), CLOSE);
        conn.stream.write_all(&GOING_AWAY).unwrap(); // the answer to the client's, which has one already
        heard.send(conn.take(1)).unwrap();
    });
    let front = Front::of(&app);
    let mut client = upgraded(&front, "websocket");
    assert_eq!(client.take(4).unwrap(), b"\x81\x02hi");
    let next = App::echo();
    front.route(&[&next]);
    assert!(front.tell(&get("/", true)).starts_with("HTTP/1.1 200 "));
    let idle = cut(&front, &app);
    assert_eq!(client.take(4).unwrap(), GOING_AWAY);
    assert!(idle.try_recv().is_err(), "the client has not answered yet");
    client.stream.write_all(&CLOSE).unwrap();
    assert_eq!(
        hears.recv_timeout(PATIENCE).unwrap(),
        None,
        "then the app's end is closed"
    );
    assert_eq!(
        client.rest_and_end().unwrap(),
        b"",
        "one close frame, and the end"
    );
    drop(client);
    idle.recv_timeout(PATIENCE).unwrap();
    front.line_with("at=error code=H24 desc=\"Forced close\" method=GET path=\"/socket\"");
}

#[test]
fn a_close_frame_never_falls_into_a_message() {
    let (go, may_go) = mpsc::channel::<()>();
    let may_go = Mutex::new(may_go);
    // Half of a frame of 300 bytes; the other half, with another frame behind it, when it may.
    let app = websocket(b"\x82\x7e\x01\x2chalf", move |conn| {
        may_go.lock().unwrap().recv().unwrap();
        let rest = [[b'x'; 296].as_slice(), b"\x81\x04late"].concat();
        conn.stream.write_all(&rest).unwrap();
        while conn.more().is_some() {}
    });
    let front = Front::of(&app);
    let mut client = upgraded(&front, "websocket");
    assert_eq!(client.take(8).unwrap(), b"\x82\x7e\x01\x2chalf");
    let idle = cut(&front, &app);
    go.send(()).unwrap();
    assert_eq!(client.take(296).unwrap(), [b'x'; 296]);
    assert_eq!(client.take(4).unwrap(), GOING_AWAY);
    client.stream.write_all(&CLOSE).unwrap();
    assert_eq!(
        client.rest_and_end().unwrap(),
        b"",
        "nothing after the close frame"
    );
    drop(client);
    idle.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn a_client_that_does_not_answer_the_close_frame_is_ended_all_the_same_and_not_reset() {
    let app = websocket(b"", |conn| while conn.more().is_some() {});
    let front = Front::of(&app);
    let mut client = upgraded(&front, "websocket");
    client.stream.write_all(b"\x81\x80\0\0\0\0").unwrap();
    let idle = cut(&front, &app);
    assert_eq!(client.rest_and_end().unwrap(), GOING_AWAY);
    idle.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn another_protocol_ends_where_it_is_and_is_not_reset() {
    let app = App::new(|conn, _| {
        conn.request().unwrap();
        conn.stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nhello").unwrap();
        while conn.more().is_some() {}
    });
    let front = Front::of(&app);
    let mut client = upgraded(&front, "chat");
    assert_eq!(client.take(5).unwrap(), b"hello");
    client.stream.write_all(b"unread").unwrap();
    let idle = cut(&front, &app);
    assert_eq!(client.rest_and_end().unwrap(), b"");
    drop(client);
    idle.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn each_side_of_an_upgraded_connection_ends_by_itself() {
    let app = App::new(|conn, _| {
        conn.request().unwrap();
        conn.stream
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n",
            )
            .unwrap();
        let said = conn.rest_and_end().unwrap(); // the client has ended; the answer goes on
        conn.stream.write_all(&said).unwrap();
    });
    let front = Front::of(&app);
    let mut client = upgraded(&front, "chat");
    client.stream.write_all(b"a question").unwrap();
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest_and_end().unwrap(), b"a question");
    front.line_with("status=101 bytes=10");
}

#[test]
fn a_tunnel_holds_back_who_sends_faster_than_the_other_reads() {
    const BYTES: usize = 64 * 1024 * 1024;
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let app = App::new(move |conn, _| {
        conn.request().unwrap();
        conn.stream.write_all(SWITCHED).unwrap();
        let piece = [0x82, 0]; // empty frames
        let piece = piece.repeat(32 * 1024);
        for _ in 0..BYTES / piece.len() {
            conn.stream.write_all(&piece).unwrap();
            counted.fetch_add(piece.len(), Ordering::SeqCst);
        }
    });
    let front = Front::of(&app);
    let mut client = upgraded(&front, "websocket");
    // The app stands still once the kernel's buffers are full; then it may go on.
    let mut before = usize::MAX;
    wait::until(PATIENCE, "the app to be held back", || {
        thread::yield_now();
        let now = sent.load(Ordering::SeqCst);
        let is_still = now > 0 && std::mem::replace(&mut before, now) == now;
        is_still.then_some(())
    });
    assert!(before < BYTES, "the router has taken all of it");
    assert_eq!(client.rest_and_end().unwrap().len(), BYTES);
}
