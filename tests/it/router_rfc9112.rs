//! What the router refuses, because two parsers could take it apart differently (RFC 9112).

use std::sync::mpsc;

use crate::support::front::App;
use crate::support::front::Front;
use crate::support::front::PATIENCE;
use crate::support::front::get;

#[test]
fn what_two_parsers_could_take_apart_differently_is_refused_and_reaches_no_app() {
    let app = App::echo();
    let front = Front::of(&app);
    let cases: [&[u8]; 16] = [
        b"Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"Host: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"Host: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"Host: a\r\nContent-Length: -1\r\n\r\n",
        b"Host: a\r\nContent-Length: 1 1\r\n\r\nx",
        b"Host: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Host: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Host: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        b"Host: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"Host: a\r\nX: 1\r\n folded\r\n\r\n",
        b"Host: a\r\nX: 1\nY: 2\r\n\r\n",
        b"Host: a\r\nX: a\0b\r\n\r\n",
        b"Host: a\r\nHost: b\r\n\r\n",
        b"X: no host\r\n\r\n",
        b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    ];
    for case in cases {
        let request = [b"POST /smuggled HTTP/1.1\r\n", case].concat();
        let answer = front.tell(&[&request[..], &get("/second", true)].concat());
        let told = String::from_utf8_lossy(case);
        assert!(
            answer.starts_with("HTTP/1.1 400 "),
            "{told:?} was answered {answer:?}"
        );
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{told:?}: what follows is not looked at: {answer}"
        );
    }
    let tunnel = front.tell(b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(tunnel.starts_with("HTTP/1.1 400 "), "{tunnel}");
    assert!(front.tell(&get("/fine", true)).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_chunk_that_turns_bad_midway_is_not_passed_on_as_a_whole_request() {
    let (whole, is_whole) = mpsc::channel();
    let app = App::new(move |conn, _| {
        let head = conn.head();
        whole
            .send(head.is_some() && conn.chunked().is_some())
            .unwrap();
    });
    let front = Front::of(&app);
    let answer = front.tell(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n\r\n");
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
        "{answer}"
    );
    assert!(!is_whole.recv_timeout(PATIENCE).unwrap());
}
