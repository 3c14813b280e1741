//! What two parsers could take apart differently, byte by byte (RFC 9112; the cases that smuggling collections name):
//! what the client is told, and that no app sees any of it. Then the same of what an app answers.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;

use crate::support::front::App;
use crate::support::front::Conn;
use crate::support::front::Front;
use crate::support::front::PATIENCE;
use crate::support::front::get;
use crate::support::front::header;
use crate::support::front::read_all;

/// An app that remembers the first line of each request that it got, and answers each.
fn witness() -> (App, Arc<Mutex<Vec<String>>>) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&seen);
    let app = App::new(move |conn, _| {
        while let Some(head) = conn.head() {
            noted
                .lock()
                .unwrap()
                .push(head.lines().next().unwrap().to_owned());
            let length =
                header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            let is_chunked = header(&head, "transfer-encoding").is_some();
            let body = if is_chunked {
                conn.chunked()
            } else {
                conn.take(length)
            };
            if body.is_none() || conn.answer("ok").is_err() {
                return;
            }
        }
    });
    (app, seen)
}

/// Each is sent with another request behind it: the answer is this status, alone, and the app sees neither.
#[track_caller]
fn refused(status: u16, cases: &[&[u8]]) {
    let (app, seen) = witness();
    let front = Front::of(&app);
    for case in cases {
        let told = String::from_utf8_lossy(case);
        let answer = front.tell(&[case, get("/smuggled", true).as_slice()].concat());
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{told:?} was answered {answer:?}"
        );
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{told:?}: what follows is not looked at: {answer}"
        );
        assert!(
            answer.contains("connection: close\r\n"),
            "{told:?}: {answer}"
        );
        assert_eq!(*seen.lock().unwrap(), [""; 0], "{told:?} reached the app");
    }
    let code = if status == 408 { "H28" } else { "H26" };
    front.line_with(&format!("at=error code={code}"));
    assert!(front.tell(&get("/fine", true)).starts_with("HTTP/1.1 200 "));
}

#[test]
fn two_lengths_or_an_odd_one_are_refused() {
    refused(
        400,
        &[
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 \x0b\r\n\r\nhello",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\nx",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nhello",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhello",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length\r\n\r\nhello",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\n\r\nhello",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n",
        ],
    );
}

#[test]
fn codings_but_chunked_alone_are_refused() {
    refused(
        400,
        &[
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\r\n : chunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\tx\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ],
    );
}

#[test]
fn lines_that_end_or_begin_oddly_are_refused() {
    refused(
        400,
        &[
            b"GET / HTTP/1.1\nHost: a\n\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\nY: 2\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
            b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX\xff: 1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\x7f\r\n\r\n",
            b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /a\x0bb HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.10\r\nHost: a\r\n\r\n",
            b"GET /\r\nHost: a\r\n\r\n",
            b"G\0T / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nSlug-Refused: 200\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        ],
    );
}

#[test]
fn requests_without_one_host_or_with_an_odd_target_are_refused() {
    refused(
        400,
        &[
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a/../b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
            b"GET http://user@b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET b:80 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    );
}

#[test]
fn other_versions_methods_for_proxies_and_heads_past_a_limit_have_their_own_answers() {
    refused(
        505,
        &[
            b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ],
    );
    refused(
        405,
        &[
            b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    );
    let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20_000));
    refused(414, &[target.as_bytes()]);
    let line = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    let lines = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "X: y\r\n".repeat(200)
    );
    let endless = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}",
        format!("X: {}\r\n", "x".repeat(8000)).repeat(20)
    );
    refused(
        431,
        &[line.as_bytes(), lines.as_bytes(), endless.as_bytes()],
    );
}

/// A body may have begun to reach the app when it turns out bad: it never becomes a whole request.
#[test]
fn a_body_that_turns_bad_never_becomes_a_whole_request() {
    for bad in [
        "zz\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "-1\r\nabc\r\n0\r\n\r\n",
        "1_0\r\nabc\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3;x\ny\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nab\r\n0\r\n\r\n",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\nnonsense\r\n\r\n",
        "3\r\nabc\r\n0\r\nContent-Length: 44\r\n\r\n",
        "3\r\nabc\r\n0\r\n folded\r\n\r\n",
        "3\r\nabc\r\n0\r\nX: 1\nY: 2\r\n\r\n",
        "3\r\nabc\r\n0\n\r\n",
    ] {
        let (whole, is_whole) = mpsc::channel();
        let app = App::new(move |conn, _| {
            let head = conn.head();
            let body = head.and_then(|_| conn.chunked());
            drop(whole.send(body));
        });
        let front = Front::of(&app);
        let request =
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{bad}");
        let answer = front.tell(&[request.as_bytes(), &get("/smuggled", true)].concat());
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{bad:?} was answered {answer:?}"
        );
        drop((front, app)); // an app that was not reached has sent nothing
        if let Ok(body) = is_whole.recv_timeout(PATIENCE) {
            assert_eq!(body, None, "{bad:?}");
        }
    }
}

/// What the client means, the app sees: once, and in the router's own words.
#[test]
fn what_means_one_thing_is_passed_on_in_one_way() {
    let (app, seen) = witness();
    let front = Front::of(&app);
    for (request, line) in [
        (
            "GET http://b/x?y HTTP/1.1\r\nHost: a\r\n",
            "GET /x?y HTTP/1.1",
        ),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n", "OPTIONS * HTTP/1.1"),
        (
            "GET /a/../b//c?d%00 HTTP/1.1\r\nHost: a\r\n",
            "GET /a/../b//c?d%00 HTTP/1.1",
        ),
        (
            "GET /\u{e4} HTTP/1.1\r\nHost: a\r\n",
            "GET /\u{e4} HTTP/1.1",
        ),
        ("PURGE /p HTTP/1.1\r\nHost: a\r\n", "PURGE /p HTTP/1.1"),
        (
            "\r\nGET /late HTTP/1.1\r\nHost: a\r\n",
            "GET /late HTTP/1.1",
        ),
        ("GET /old HTTP/1.0\r\n", "GET /old HTTP/1.1"),
        (
            "GET /h2c HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x\r\n",
            "GET /h2c HTTP/1.1",
        ),
        (
            "GET /named HTTP/1.1\r\nHost: a\r\nConnection: content-length, host\r\nContent-Length: 0\r\n",
            "GET /named HTTP/1.1",
        ),
    ] {
        let answer = front.tell(format!("{request}Connection: close\r\n\r\n").as_bytes());
        assert!(
            answer.starts_with("HTTP/1.") && answer.ends_with("ok"),
            "{request:?}: {answer}"
        );
        assert_eq!(
            std::mem::take(&mut *seen.lock().unwrap()),
            [line],
            "{request:?}"
        );
    }
}

#[test]
fn a_head_that_comes_in_pieces_is_one_request_and_what_follows_another() {
    let (app, seen) = witness();
    let front = Front::of(&app);
    let mut stream = front.connect();
    let all = [
        b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".as_slice(),
        b"POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        &get("/3", true),
    ]
    .concat();
    for byte in all.chunks(1) {
        stream.write_all(byte).unwrap();
        thread::yield_now();
    }
    assert_eq!(read_all(&mut stream).matches("HTTP/1.1 200 ").count(), 3);
    assert_eq!(
        *seen.lock().unwrap(),
        ["POST /1 HTTP/1.1", "POST /2 HTTP/1.1", "GET /3 HTTP/1.1"]
    );
}

/// What an app answers, and what the client gets: status, and the access line's code.
#[test]
fn an_answer_that_could_be_read_in_two_ways_is_not_passed_on() {
    for (answer, code) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "H25",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
            "H25",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
            "H17",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok", "H17"),
        ("HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", "H17"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
            "H25",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nok",
            "H25",
        ),
        ("HTTP/1.1 200 OK\r\nX : 1\r\n\r\n", "H17"),
        ("HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\n\r\n", "H17"),
        ("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", "H17"),
        ("HTTP/1.1 abc OK\r\n\r\n", "H17"),
        ("HTTP/9.1 200 OK\r\n\r\n", "H17"),
        ("nonsense\r\n\r\n", "H17"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "H17",
        ),
        ("HTTP/1.1 200 OK\r\n", "H13"),
        ("", "H13"),
    ] {
        let app = App::new(move |conn, _| {
            if conn.request().is_some() {
                drop(conn.stream.write_all(answer.as_bytes()));
            }
        });
        let front = Front::of(&app);
        let got = front.tell(&get("/", true));
        assert!(
            got.starts_with("HTTP/1.1 502 ") && got.contains(code),
            "{answer:?} became {got:?}"
        );
        front.line_with(&format!("at=error code={code}"));
    }
}

/// Bytes that an app sends past the end of its answer are never taken for the answer to another request.
#[test]
fn what_an_app_says_too_much_is_no_answer_to_anybody_else() {
    for (method, answer) in [
        (
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        ),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 48\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        ),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil",
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\nevil",
        ),
        (
            "GET",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\nevil",
        ),
    ] {
        let app = App::new(move |conn, number| {
            while conn.request().is_some() {
                let said = if number == 0 {
                    answer
                } else {
                    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
                };
                if conn.stream.write_all(said.as_bytes()).is_err() {
                    return;
                }
            }
        });
        let front = Front::of(&app);
        let first = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        let got = front.tell(&[first.as_bytes(), &get("/", true)].concat());
        assert!(
            got.ends_with("\r\n\r\ngood") && !got.contains("evil"),
            "{answer:?} became {got:?}"
        );
        assert_eq!(
            got.matches("HTTP/1.1 ").count(),
            2,
            "{answer:?} became {got:?}"
        );
    }
}

#[test]
fn a_chunk_of_an_answer_that_turns_bad_breaks_the_clients_off_too() {
    let app = App::new(|conn, _| {
        conn.request().unwrap();
        let answer =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nnonsense\r\n";
        conn.stream.write_all(answer).unwrap();
        while conn.more().is_some() {}
    });
    let front = Front::of(&app);
    let got = front.tell(&get("/", false));
    assert!(
        got.contains("2\r\nok\r\n") && !got.contains("0\r\n\r\n"),
        "{got}"
    );
    front.line_with("at=error code=H18");
}

#[test]
fn neither_a_path_nor_a_header_can_forge_an_access_line() {
    let app = App::says("ok");
    let front = Front::of(&app);
    let request = "GET /\"\u{202e}code=H99 HTTP/1.1\r\nHost: a\r\nX-Request-Id: x\" code=H99 aaaaaaaaaaaaaaaaaaaa\r\nX-Forwarded-For: 1\" code=H99\u{85}\r\nConnection: close\r\n\r\n";
    let request = request.replacen(" code=H99 aaaa", "-code=H99-aaaa", 1);
    assert!(front.tell(request.as_bytes()).ends_with("ok"));
    let line = front.line_with("status=200");
    assert!(
        line.starts_with(
            "at=info method=GET path=\"/\\\"\\u{202e}code=H99\" host=\"a\" request_id="
        ),
        "{line}"
    );
    assert!(
        !line.contains("request_id=x") && line.contains("fwd=\"1\\\" code=H99"),
        "{line}"
    );
    assert!(line.is_ascii(), "{line}");
}

#[test]
fn a_connection_in_a_refused_upgrade_is_not_read_on() {
    let (app, seen) = witness();
    let front = Front::of(&app);
    let mut conn = Conn {
        stream: front.connect(),
        rest: Vec::new(),
    };
    let upgrade = b"GET /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    conn.stream.write_all(upgrade).unwrap();
    let answer = String::from_utf8(conn.rest_and_end().unwrap()).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.matches("HTTP/1.1").count() == 1,
        "{answer}"
    );
    assert_eq!(*seen.lock().unwrap(), ["GET /up HTTP/1.1"]);
}
