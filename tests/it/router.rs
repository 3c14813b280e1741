//! The router by raw sockets: what goes in, what comes out, byte by byte.

use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;

use slug::router::Listen;
use slug::router::Listener;

use crate::support::front::App;
use crate::support::front::Conn;
use crate::support::front::Front;
use crate::support::front::get;
use crate::support::front::header;
use crate::support::front::read_all;

#[test]
fn a_request_reaches_the_app_with_its_origin_and_its_answer_comes_back() {
    let app = App::echo();
    let front = Front::of(&app);
    let answer = front.tell(b"POST /x?y=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nCookie: c\r\nConnection: close\r\n\r\nbody");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("POST /x?y=1 HTTP/1.1\r\n") && answer.ends_with("|body"),
        "{answer}"
    );
    for line in [
        "host: a",
        "cookie: c",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "content-length: 4",
    ] {
        assert!(
            answer.contains(&format!("{line}\r\n")),
            "{line} is missing in {answer}"
        );
    }
    let line = front.line_with("path=\"/x?y=1\"");
    assert!(
        line.contains("at=info method=POST")
            && line.contains("process=web.1 release=v1")
            && line.contains("status=200"),
        "{line}"
    );
}

#[test]
fn requests_of_one_connection_are_answered_in_order_pipelined_too() {
    let app = App::echo();
    let front = Front::of(&app);
    let mut pipelined: Vec<u8> = (0..20)
        .flat_map(|number| get(&format!("/{number}"), false))
        .collect();
    pipelined.extend(get("/last", true));
    let answer = front.tell(&pipelined);
    let paths: Vec<&str> = answer
        .lines()
        .filter_map(|line| line.split("GET ").nth(1)?.strip_suffix(" HTTP/1.1"))
        .collect();
    let expected: Vec<String> = (0..20)
        .map(|number| format!("/{number}"))
        .chain(["/last".to_owned()])
        .collect();
    assert_eq!(paths, expected);
    assert_eq!(app.connections(), 1, "connections to the app are kept");
}

#[test]
fn chunked_bodies_pass_both_ways_with_their_trailers() {
    let app = App::new(|conn, _| {
        let (head, body) = conn.request().unwrap();
        assert_eq!(
            (header(&head, "content-length"), body.as_slice()),
            (None, b"hello world".as_slice())
        );
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n";
        conn.stream.write_all(answer).unwrap();
    });
    let front = Front::of(&app);
    let answer = front.tell(b"POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n");
    assert!(
        answer.contains("transfer-encoding: chunked")
            && answer.contains("3\r\nabc\r\n0\r\nx-sum: 1\r\n"),
        "{answer}"
    );
}

#[test]
fn head_has_the_length_of_the_body_it_does_not_have() {
    let app = App::new(|conn, _| {
        while conn.request().is_some() {
            conn.stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
                .unwrap();
        }
    });
    let front = Front::of(&app);
    let mut stream = front.connect();
    for _ in 0..2 {
        stream
            .write_all(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let mut conn = Conn {
            stream: stream.try_clone().unwrap(),
            rest: Vec::new(),
        };
        let head = conn.head().unwrap();
        assert_eq!(header(&head, "content-length"), Some("1234"));
        assert!(conn.rest.is_empty());
    }
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    let app = App::new(|conn, _| {
        for status in [
            "204 No Content",
            "304 Not Modified",
            "200 OK\r\nContent-Length: 0",
        ] {
            conn.request().unwrap();
            conn.stream
                .write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes())
                .unwrap();
        }
    });
    let front = Front::of(&app);
    let answer = front.tell(&[get("/", false), get("/", false), get("/", true)].concat());
    let statuses: Vec<&str> = answer
        .lines()
        .filter(|line| line.starts_with("HTTP/"))
        .collect();
    assert_eq!(
        statuses,
        [
            "HTTP/1.1 204 No Content",
            "HTTP/1.1 304 Not Modified",
            "HTTP/1.1 200 OK"
        ]
    );
}

#[test]
fn a_client_that_expects_100_gets_it_when_the_app_wants_the_body() {
    let (go, may_go) = mpsc::channel::<()>();
    let may_go = Mutex::new(may_go);
    let app = App::new(move |conn, _| {
        let head = conn.head().unwrap();
        assert_eq!(header(&head, "expect"), Some("100-continue"));
        may_go.lock().unwrap().recv().unwrap();
        conn.stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .unwrap();
        assert_eq!(conn.take(4).unwrap(), b"body");
        conn.answer("got it").unwrap();
    });
    let front = Front::of(&app);
    let mut stream = front.connect();
    stream.write_all(EXPECTING).unwrap();
    let mut conn = Conn {
        stream: stream.try_clone().unwrap(),
        rest: Vec::new(),
    };
    go.send(()).unwrap();
    assert!(conn.head().unwrap().starts_with("HTTP/1.1 100 "));
    stream.write_all(b"body").unwrap();
    let answer = read_all(&mut stream);
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("got it"),
        "{answer}"
    );
}

const EXPECTING: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n";

#[test]
fn a_client_that_expects_100_and_is_refused_sends_no_body() {
    let app = App::new(|conn, _| {
        conn.head().unwrap();
        let answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";
        conn.stream.write_all(answer).unwrap();
        while conn.more().is_some() {}
    });
    let front = Front::of(&app);
    let answer = front.tell(EXPECTING);
    assert!(
        answer.starts_with("HTTP/1.1 401 ") && answer.ends_with("no"),
        "{answer}"
    );
}

#[test]
fn an_app_that_knows_no_100_gets_the_body_all_the_same() {
    let app = App::echo();
    let front = Front::of(&app);
    let mut stream = front.connect();
    stream.write_all(EXPECTING).unwrap();
    let mut conn = Conn {
        stream: stream.try_clone().unwrap(),
        rest: Vec::new(),
    };
    assert!(conn.head().unwrap().starts_with("HTTP/1.1 100 "));
    stream.write_all(b"body").unwrap();
    assert!(read_all(&mut stream).ends_with("|body"));
}

#[test]
fn what_an_app_streams_reaches_the_client_piece_by_piece() {
    let (go, may_go) = mpsc::channel::<()>();
    let may_go = Mutex::new(may_go);
    let app = App::new(move |conn, _| {
        conn.request().unwrap();
        conn.stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            .unwrap();
        while may_go.lock().unwrap().recv().is_ok() {
            conn.stream.write_all(b"data: x\n\n").unwrap();
        }
    });
    let front = Front::of(&app);
    let mut conn = Conn {
        stream: front.connect(),
        rest: Vec::new(),
    };
    conn.stream.write_all(&get("/events", true)).unwrap();
    assert!(conn.head().unwrap().contains("text/event-stream"));
    for _ in 0..5 {
        go.send(()).unwrap(); // the next is sent only when this one has come
        assert_eq!(conn.take(14).unwrap(), b"9\r\ndata: x\n\n\r\n");
    }
    drop(go);
    assert_eq!(
        conn.rest_and_end().unwrap(),
        b"0\r\n\r\n",
        "the app's end is the answer's"
    );
}

#[test]
fn an_old_client_gets_an_answer_that_ends_with_its_connection() {
    let app = App::new(|conn, _| {
        let (head, _) = conn.request().unwrap();
        assert!(
            head.starts_with("GET / HTTP/1.1\r\n") && header(&head, "host").is_some(),
            "{head}"
        );
        conn.stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
            .unwrap();
    });
    let front = Front::of(&app);
    let answer = front.tell(b"GET / HTTP/1.0\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.0 200 ") && answer.ends_with("\r\n\r\nok"),
        "{answer}"
    );
}

#[test]
fn large_bodies_stream_both_ways_at_once() {
    const BYTES: usize = 32 * 1024 * 1024;
    // Answers while it reads: neither side could hold all of it back.
    let app = App::new(|conn, _| {
        conn.head().unwrap();
        conn.stream
            .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n").as_bytes())
            .unwrap();
        let mut left = BYTES;
        while left > 0 {
            let piece = conn.take(left.min(65536)).unwrap();
            left -= piece.len();
            conn.stream.write_all(&piece).unwrap();
        }
    });
    let front = Front::of(&app);
    let mut stream = front.connect();
    let mut reader = stream.try_clone().unwrap();
    let sending = thread::spawn(move || {
        stream.write_all(format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {BYTES}\r\n\r\n").as_bytes()).unwrap();
        let piece: Vec<u8> = (0..=255).cycle().take(65536).collect();
        (0..BYTES / 65536).for_each(|_| stream.write_all(&piece).unwrap());
        stream
    });
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    drop(sending.join().unwrap());
    let body = &all[all.len() - BYTES..];
    assert!(
        body.iter()
            .zip((0..=255).cycle())
            .all(|(got, sent): (&u8, u8)| *got == sent)
    );
}

#[test]
fn several_addresses_serve_and_a_dead_sockets_file_is_no_hindrance() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let app = App::echo();
    let front = Front::listening(&["127.0.0.1:0".parse().unwrap(), Listen::Unix(path.clone())]);
    front.route(&[&app]);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream
        .write_all(
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
    assert!(read_all(&mut stream).contains("x-forwarded-for: 9.9.9.9\r\n"));
    assert!(front.tell(&get("/", true)).starts_with("HTTP/1.1 200 "));
    assert!(
        Listener::bind(&Listen::Unix(path)).is_err(),
        "a live socket is not taken away"
    );
}

#[test]
fn a_file_that_is_no_socket_is_nobodys_to_replace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.py");
    std::fs::write(&path, "mine").unwrap();
    assert!(Listener::bind(&Listen::Unix(path.clone())).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}
