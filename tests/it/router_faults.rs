//! The router, when an app or a client breaks off, stands still, or is not there.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;

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

#[test]
fn an_answer_that_does_not_wait_for_the_upload_reaches_the_client() {
    let app = App::new(|conn, _| {
        conn.head().unwrap();
        let answer =
            b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\ntoo";
        conn.stream.write_all(answer).unwrap();
        // It closes with the upload unread: its kernel resets.
    });
    let front = Front::of(&app);
    for _ in 0..10 {
        let mut stream = front.connect();
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 67108864\r\n\r\n";
        stream.write_all(head).unwrap();
        let mut sending = stream.try_clone().unwrap();
        let upload = thread::spawn(move || {
            let piece = vec![b'x'; 65536];
            // Whatever of it is not taken: the answer is what counts.
            let _ = (0..1024).try_for_each(|_| sending.write_all(&piece));
        });
        let answer = read_all(&mut stream);
        assert!(
            answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("too"),
            "{answer}"
        );
        drop(stream);
        upload.join().unwrap();
    }
}

#[test]
fn while_there_is_maintenance_a_page_is_the_answer_to_all_and_to_those_who_wait() {
    let app = App::says("app");
    let front = Front::new();
    let mut held = front.connect();
    held.write_all(&get("/", true)).unwrap();
    front.router.maintenance(Some("<p>back soon".to_owned()));
    for answer in [read_all(&mut held), front.tell(&get("/", true))] {
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\n<p>back soon"),
            "{answer}"
        );
        for line in [
            "retry-after: 60",
            "content-type: text/html; charset=utf-8",
            "cache-control: no-store",
        ] {
            assert!(
                answer.contains(&format!("{line}\r\n")),
                "{line} is missing in {answer}"
            );
        }
    }
    front.line_with("at=error code=H80 desc=\"Maintenance mode\"");
    front.route(&[&app]); // a release in the meantime changes nothing
    assert!(front.tell(&get("/", true)).starts_with("HTTP/1.1 503 "));
    front.router.maintenance(None);
    assert!(front.tell(&get("/", true)).ends_with("app"));
}

#[test]
fn a_request_in_flight_when_its_targets_time_is_over_is_answered_504() {
    let (arrived, has_arrived) = mpsc::channel();
    let app = App::new(move |conn, _| {
        let (head, _) = conn.request().unwrap();
        if head.starts_with("GET /begun") {
            let begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n";
            conn.stream.write_all(begun).unwrap();
        }
        arrived.send(()).unwrap();
        while conn.more().is_some() {}
    });
    let front = Front::of(&app);
    let mut waiting = front.connect();
    waiting.write_all(&get("/waiting", true)).unwrap();
    let mut begun = front.connect();
    begun.write_all(&get("/begun", false)).unwrap();
    begun.read_exact(&mut [0; 16]).unwrap();
    has_arrived.recv_timeout(PATIENCE).unwrap();
    has_arrived.recv_timeout(PATIENCE).unwrap();
    front.router.cut(app.id);
    front.router.route(&[], true); // a target that is in the table is not cut
    let (tell, told) = mpsc::channel();
    front
        .router
        .when_idle(app.id, Box::new(move || tell.send(()).unwrap()));
    assert!(told.try_recv().is_err());
    front.router.cut(app.id);
    let answer = read_all(&mut waiting);
    assert!(
        answer.starts_with("HTTP/1.1 504 ") && answer.contains("H24"),
        "{answer}"
    );
    let mut rest = Vec::new();
    begun.read_to_end(&mut rest).unwrap();
    assert!(
        !rest.ends_with(b"0\r\n\r\n"),
        "an answer that is cut is not a whole one"
    );
    told.recv_timeout(PATIENCE).unwrap();
}
