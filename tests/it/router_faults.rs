//! The router, when an app or a client breaks off, stands still, or is not there.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use crate::support::front::App;
use crate::support::front::Conn;
use crate::support::front::Front;
use crate::support::front::PATIENCE;
use crate::support::front::get;
use crate::support::front::read_all;

#[test]
fn a_client_that_goes_away_frees_the_app() {
    let (gone, is_gone) = mpsc::channel();
    let app = App::new(move |conn, _| {
        conn.request().unwrap();
        conn.stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            .unwrap();
        while conn.stream.write_all(b"1\r\nx\r\n").is_ok() {}
        gone.send(()).unwrap();
    });
    let front = Front::of(&app);
    let mut stream = front.connect();
    stream.write_all(&get("/", false)).unwrap();
    stream.read_exact(&mut [0; 16]).unwrap();
    drop(stream);
    is_gone.recv_timeout(PATIENCE).unwrap();
    front.line_with("code=H27");
}

#[test]
fn an_app_that_breaks_off_its_answer_breaks_the_clients_too() {
    let app = App::new(|conn, _| {
        conn.request().unwrap();
        conn.stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
            .unwrap();
    });
    let front = Front::of(&app);
    let answer = front.tell(&get("/", false));
    assert!(answer.ends_with("part"), "{answer}");
    front.line_with("code=H18");
}

#[test]
fn an_app_that_closes_without_an_answer_is_asked_once_and_told_as_h13() {
    let app = App::new(|conn, _| drop(conn.request()));
    let front = Front::of(&app);
    let answer = front
        .tell(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx");
    assert!(
        answer.starts_with("HTTP/1.1 502 ") && answer.contains("H13"),
        "{answer}"
    );
    assert_eq!(app.connections(), 1);
}

#[test]
fn a_kept_connection_that_the_app_closed_meanwhile_costs_no_request() {
    // Each connection answers one request, pretends that it stays open, and closes upon the next.
    let app = App::new(|conn, _| {
        conn.request().unwrap();
        conn.answer("ok").unwrap();
        let _ = conn.head();
    });
    let front = Front::of(&app);
    for _ in 0..20 {
        let answer = front.tell(&get("/", true));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[test]
fn a_request_that_cannot_be_said_twice_never_is() {
    let heard = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&heard);
    let app = App::new(move |conn, _| {
        conn.request().unwrap();
        conn.answer("ok").unwrap();
        if conn.request().is_some() {
            counted.fetch_add(1, Ordering::SeqCst); // heard, and not answered
        }
    });
    let front = Front::of(&app);
    let mut stream = front.connect();
    let post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
    stream.write_all(post).unwrap();
    let mut conn = Conn {
        stream: stream.try_clone().unwrap(),
        rest: Vec::new(),
    };
    assert!(conn.request().unwrap().0.starts_with("HTTP/1.1 200 "));
    stream.write_all(post).unwrap();
    assert!(conn.head().unwrap().starts_with("HTTP/1.1 502 "));
    assert_eq!((heard.load(Ordering::SeqCst), app.connections()), (1, 1));
}

#[test]
fn with_no_target_requests_are_held_and_answered_by_the_first_that_comes() {
    let front = Front::new();
    let mut streams: Vec<TcpStream> = (0..50).map(|_| front.connect()).collect();
    for stream in &mut streams {
        stream.write_all(&get("/", true)).unwrap();
    }
    let app = App::says("late");
    front.route(&[&app]);
    for stream in &mut streams {
        assert!(read_all(stream).ends_with("late"));
    }
}

#[test]
fn with_no_target_and_none_expected_requests_are_refused_at_once() {
    let front = Front::new();
    front.router.route(&[], false);
    let answer = front.tell(&get("/", true));
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("H14"),
        "{answer}"
    );
    front.line_with("at=error code=H14 desc=\"No web processes running\"");
}

#[test]
fn a_target_that_refuses_connections_is_waited_for() {
    let dead = App::says("dead");
    let target = dead.target();
    drop(dead);
    let front = Front::new();
    front.router.route(&[target], true);
    let mut stream = front.connect();
    stream.write_all(&get("/", true)).unwrap();
    let app = App::says("alive");
    front.route(&[&app]);
    assert!(read_all(&mut stream).ends_with("alive"));
}
