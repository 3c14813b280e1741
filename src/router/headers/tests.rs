//! Rows of headers, and what becomes of them.

use super::*;

const STRANGER: Peer = Peer::Tcp {
    address: IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7)),
    port: 80,
};
const LOOPBACK: Peer = Peer::Tcp {
    address: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    port: 8080,
};

fn check(peer: Peer, uri: &str, lines: &[(&str, &str)]) -> Vec<String> {
    let mut request = Request::builder().uri(uri);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    let mut request = request.body(()).unwrap();
    let origin = Origin {
        peer,
        trusted: &[],
        at_ms: 5,
        new_id: || "new".to_owned(),
    };
    pass_on(&mut request, &origin);
    let headers = request.headers().iter();
    let mut passed: Vec<String> = headers
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    passed.sort();
    passed.insert(0, request.uri().to_string());
    passed
}

#[test]
fn what_a_stranger_says_of_its_origin_is_replaced() {
    let lines = [
        ("host", "a"),
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=x"),
        ("x_forwarded_for", "1.1.1.1"),
        ("x-forwarded_host", "b"),
        ("x-forwarded-ssl", "on"),
        ("x-real-ip", "1.1.1.1"),
        ("x_request_id", "01234567890123456789"),
        ("x-request-start", "1"),
    ];
    let expected = [
        "/",
        "forwarded: for=203.0.113.7;host=\"a\";proto=http",
        "host: a",
        "via: 1.1 slug",
        "x-forwarded-for: 203.0.113.7",
        "x-forwarded-host: a",
        "x-forwarded-port: 80",
        "x-forwarded-proto: http",
        "x-request-id: new",
        "x-request-start: 5",
    ];
    assert_eq!(check(STRANGER, "/", &lines), expected);
}

#[test]
fn what_a_proxy_on_this_machine_says_is_kept_and_its_own_address_added() {
    let id = "0123456789abcdef0123";
    let lines = [
        ("host", "a"),
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-for", "2.2.2.2"),
        ("x-forwarded-proto", "https"),
        ("x-request-id", id),
    ];
    let passed = check(LOOPBACK, "/", &lines);
    assert!(
        passed.contains(&"x-forwarded-for: 1.1.1.1, 2.2.2.2, 127.0.0.1".to_owned()),
        "{passed:?}"
    );
    assert!(passed.contains(&"x-forwarded-proto: https".to_owned()));
    assert!(passed.contains(&format!("x-request-id: {id}")));
    let over_unix = check(
        Peer::Unix,
        "/",
        &[("host", "a"), ("x-forwarded-for", "1.1.1.1")],
    );
    assert!(over_unix.contains(&"x-forwarded-for: 1.1.1.1".to_owned()));
}

#[test]
fn what_is_for_one_hop_is_not_passed_on_and_nothing_else_can_be_made_so() {
    let lines = [
        ("host", "a"),
        ("connection", "close, x-mine, host, cookie, x-forwarded-for"),
        ("keep-alive", "1"),
        ("te", "gzip"),
        ("proxy-connection", "close"),
        ("x-mine", "1"),
        ("cookie", "c"),
        ("upgrade", "h2c"),
    ];
    let passed = check(LOOPBACK, "/", &lines);
    let names: Vec<&str> = passed[1..]
        .iter()
        .filter_map(|line| line.split(':').next())
        .collect();
    let expected = [
        "cookie",
        "forwarded",
        "host",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-request-id",
        "x-request-start",
    ];
    assert_eq!(names, expected);
}

#[test]
fn an_upgrade_is_passed_on_and_an_absolute_form_is_not() {
    let passed = check(
        LOOPBACK,
        "http://b/x?y",
        &[
            ("host", "a"),
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
        ],
    );
    assert_eq!(passed[0], "/x?y");
    for line in ["connection: upgrade", "upgrade: websocket", "host: b"] {
        assert!(passed.contains(&line.to_owned()), "{passed:?}");
    }
}

#[test]
fn only_what_the_app_could_speak_is_passed_on_of_an_upgrade() {
    let asked = |value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static(value));
        assert_eq!(
            upgrade(&headers).is_some(),
            ends_screening(&headers),
            "{value}"
        );
        upgrade(&headers).map(|protocol| protocol.to_str().unwrap().to_owned())
    };
    assert_eq!(asked("H2C"), None);
    assert_eq!(asked(" , h2c"), None);
    assert_eq!(asked("h2c, websocket").as_deref(), Some("websocket"));
    assert_eq!(asked("chat").as_deref(), Some("chat"));
}

#[test]
fn trailers_are_asked_for_where_the_client_takes_them() {
    let passed = check(STRANGER, "/", &[("host", "a"), ("te", "gzip, Trailers")]);
    assert!(
        passed.contains(&"te: trailers".to_owned())
            && passed.contains(&"connection: te".to_owned())
    );
}

#[test]
fn a_request_that_names_no_one_host_and_no_path_is_refused() {
    let check = |method: &str, target: &str, hosts: &[&str]| {
        let request = Request::builder().method(method).uri(target);
        let with_hosts =
            |request: hyper::http::request::Builder, host: &&str| request.header("host", *host);
        let request = hosts.iter().fold(request, with_hosts).body(()).unwrap();
        super::check(&request).map_err(|status| status.as_u16())
    };
    for (method, target, host) in [
        ("GET", "/", "a"),
        ("GET", "/a:80//b", "[::1]:80"),
        ("GET", "http://b/x", "a"),
        ("GET", "https://b:443/x", ""),
        ("OPTIONS", "*", "a"),
        ("PURGE", "/", "xn--a.example"),
    ] {
        assert_eq!(
            check(method, target, &[host]),
            Ok(()),
            "{method} {target} {host}"
        );
    }
    for (method, target, hosts) in [
        ("GET", "/", [].as_slice()),
        ("GET", "/", &["a", "a"]),
        ("GET", "/", &["a, b"]),
        ("GET", "/", &["a/b"]),
        ("GET", "/", &["user@a"]),
        ("GET", "/", &["a b"]),
        ("GET", "*", &["a"]),
        ("GET", "a:80", &["a"]),
        ("GET", "ftp://a/", &["a"]),
        ("GET", "http://user@a/", &["a"]),
    ] {
        assert_eq!(
            check(method, target, hosts),
            Err(400),
            "{method} {target} {hosts:?}"
        );
    }
    assert_eq!(check("CONNECT", "a:80", &["a"]), Err(405));
    assert_eq!(check("TRACE", "/", &["a"]), Err(405));
}

#[test]
fn an_answer_with_two_ends_is_refused() {
    let check = |status: u16, lines: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        check_answer(StatusCode::from_u16(status).unwrap(), &headers).is_ok()
    };
    assert!(check(200, &[]) && check(200, &[("content-length", "5")]));
    assert!(check(200, &[("transfer-encoding", "Chunked")]));
    assert!(check(
        304,
        &[("content-length", "5"), ("transfer-encoding", "chunked")]
    ));
    for bad in [
        [("content-length", "5"), ("transfer-encoding", "chunked")].as_slice(),
        &[("content-length", "5"), ("content-length", "5")],
        &[("content-length", "+5")],
        &[("content-length", "5, 5")],
        &[("transfer-encoding", "gzip, chunked")],
        &[("transfer-encoding", "identity")],
        &[
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ],
    ] {
        assert!(!check(200, bad), "{bad:?}");
    }
}
