//! Rows of bytes, and what becomes of them.

use proptest::prelude::*;

use super::*;

/// Where the next byte is after these; why they are refused, and where what is refused begins.
fn take(text: &str) -> Result<Place, (Refused, usize)> {
    let mut framing = Framing::default();
    let Taken { whole, refused } = framing.take(text.as_bytes());
    refused.map_or(Ok(framing.place), |refused| Err((refused, whole)))
}

#[test]
fn requests_that_mean_one_thing_pass() {
    for good in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET / HTTP/1.0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\na\n\0GET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\na\r\n\r\n0\r\nTrailer: 1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    ] {
        assert_eq!(take(good), Ok(Place::RequestLine), "{good:?}");
    }
    let upgrade = "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\u{1}\0\n";
    assert_eq!(take(upgrade), Ok(Place::Unknown));
}

#[test]
fn requests_that_could_mean_two_things_are_refused_at_the_line_that_makes_them_so() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\n";
    for bad in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "Content-Length: 5, 5\r\n\r\n",
        "Content-Length: +5\r\n\r\n",
        "Content-Length: 0x5\r\n\r\n",
        "Content-Length:\r\n\r\n",
        "Content-Length: 99999999999999999999\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n",
        "Transfer-Encoding: chunked, chunked\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n",
        "Transfer Encoding: chunked\r\n\r\n",
        "X: a\r\n folded\r\n\r\n",
        " X: a\r\n\r\n",
        "X: a\n\r\n",
        "X: a\rb\r\n\r\n",
        "X: a\0b\r\n\r\n",
        "X: a\x07b\r\n\r\n",
        "X(y): a\r\n\r\n",
        "Content_Length: 5\r\n\r\n",
        "Transfer_Encoding: chunked\r\n\r\n",
        "Slug-Refused: 200\r\n\r\n",
        "no colon\r\n\r\n",
        ": no name\r\n\r\n",
    ] {
        let text = format!("{head}{bad}");
        let before = "GET / HTTP/1.1\r\n\r\n";
        let refused = take(&format!("{before}{text}"));
        assert_eq!(refused, Err((Refused::Malformed, before.len())), "{bad:?}");
    }
    assert!(take("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
}

#[test]
fn malformed_chunks_are_refused() {
    for bad in [
        "x\r\n",
        "\r\n",
        "-1\r\n",
        "0x1\r\n",
        "1 \r\n",
        "1\n",
        "11111111111111111\r\n",
        "1\r\nab\r\n",
        "0\r\nContent-Length: 1\r\n",
        "0\r\n folded\r\n",
    ] {
        assert!(
            take(&format!(
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{bad}"
            ))
            .is_err(),
            "{bad:?}"
        );
    }
}

#[test]
fn first_lines_that_are_none_are_refused() {
    for bad in [
        "GET /\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1 \r\n\r\n",
        "GET\t/\tHTTP/1.1\r\n\r\n",
        "GET /a b HTTP/1.1\r\n\r\n",
        "GET /a#b HTTP/1.1\r\n\r\n",
        "GET /\x01 HTTP/1.1\r\n\r\n",
        "GET / http/1.1\r\n\r\n",
        "GET / HTTP/1.2\r\n\r\n",
        "GET / HTTP/1.1X\r\n\r\n",
        "G(T / HTTP/1.1\r\n\r\n",
        " GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\n\n",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(take(bad), Err((Refused::Malformed, 0)), "{bad:?}");
    }
    for other in [
        "GET / HTTP/2.0\r\n\r\n",
        "GET / HTTP/0.9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        assert_eq!(take(other), Err((Refused::Version, 0)), "{other:?}");
    }
}

#[test]
fn each_limit_holds_at_its_edge_and_not_one_past_it() {
    let line = |bytes: usize| format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(bytes - 5));
    assert!(take(&line(LINE_BYTES_MAX)).is_ok());
    assert_eq!(take(&line(LINE_BYTES_MAX + 1)), Err((Refused::Head, 0)));
    let target = |bytes: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(bytes - 16));
    assert!(take(&target(LINE_BYTES_MAX)).is_ok());
    assert_eq!(take(&target(LINE_BYTES_MAX + 1)), Err((Refused::Target, 0)));
    // "GET / HTTP/1.1" and the empty line are 18 bytes; "X: …" with its end is a line of 8192, three of them more.
    let head = |bytes: usize| {
        let line = format!("X: {}\r\n", "x".repeat(8187));
        let last = format!("X: {}\r\n", "x".repeat(bytes - 18 - 7 * 8192 - 5));
        format!("GET / HTTP/1.1\r\n{}{last}\r\n", line.repeat(7))
    };
    assert_eq!(head(HEAD_BYTES_MAX).len(), HEAD_BYTES_MAX);
    assert!(take(&head(HEAD_BYTES_MAX)).is_ok());
    assert_eq!(take(&head(HEAD_BYTES_MAX + 1)), Err((Refused::Head, 0)));
    let headers = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(count));
    assert!(take(&headers(HEADERS_MAX)).is_ok());
    assert_eq!(take(&headers(HEADERS_MAX + 1)), Err((Refused::Head, 0)));
    let chunk = |bytes: usize| {
        let extension = "x".repeat(bytes - 4);
        format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;{extension}\r\n")
    };
    assert!(take(&chunk(CHUNK_LINE_BYTES_MAX)).is_ok());
    assert!(take(&chunk(CHUNK_LINE_BYTES_MAX + 1)).is_err());
}

#[test]
fn a_head_is_held_back_until_it_is_whole() {
    let whole = |text: &str| {
        let mut framing = Framing::default();
        (
            framing.take(text.as_bytes()).whole,
            framing.is_in_head(),
            framing.is_between(),
        )
    };
    let request = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(whole(request), (request.len(), false, true));
    assert_eq!(
        whole(&request[..request.len() - 1]),
        (request.len() - 1, false, false)
    );
    assert_eq!(whole(&format!("{request}G")), (request.len(), true, false));
    assert_eq!(
        whole(&format!("{request}GET / HTTP/1.1\r\nX: y\r\n")),
        (request.len(), true, false)
    );
    assert_eq!(whole("\r\n"), (2, false, true));
}

proptest! {
    #[test]
    fn however_the_reads_fall_the_verdict_is_the_same(cut in 0usize..200, bad in any::<bool>()) {
        let length = if bad { "Content-Length: 1\r\n" } else { "" };
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{length}\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n");
        let cut = cut.min(text.len());
        let mut framing = Framing::default();
        let mut refused = framing.take(&text.as_bytes()[..cut]).refused;
        if refused.is_none() {
            refused = framing.take(&text.as_bytes()[cut..]).refused;
        }
        prop_assert_eq!(refused.is_some(), bad);
    }
}
