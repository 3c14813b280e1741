//! What becomes of a request's headers, and of an answer's, on their way through:
//! pure functions. What the app may believe about a request's origin is decided here.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::Request;
use hyper::Uri;
use hyper::Version;
use hyper::header;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;

use super::address::TrustedProxy;

pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Never passed on (RFC 9110, 7.6.1), whether `Connection` names them or not. `Trailer` is: it is about the message.
const HOP_BY_HOP: [HeaderName; 5] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
];
/// Not removed though `Connection` names them: that would change what the request means.
const END_TO_END: [HeaderName; 4] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::AUTHORIZATION,
    header::COOKIE,
];

/// The other end of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// An address, and the port that it came to.
    Tcp { address: IpAddr, port: u16 },
    /// A process of this machine that may open the socket.
    Unix,
}

impl Peer {
    fn is_trusted(self, trusted: &[TrustedProxy]) -> bool {
        match self {
            Self::Unix => true,
            Self::Tcp { address, .. } => {
                address.to_canonical().is_loopback()
                    || trusted.iter().any(|proxy| proxy.contains(address))
            }
        }
    }
}

/// Why a request is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// A method that is for proxies of another kind.
    Connect,
    /// No `Host`, or several.
    Host,
}

/// Is it a request that may be passed on? (Framing was looked at before: `screen`.)
pub(super) fn check<B>(request: &Request<B>) -> Result<(), Refused> {
    if request.method() == hyper::Method::CONNECT {
        return Err(Refused::Connect);
    }
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() >= Version::HTTP_11) {
        return Err(Refused::Host);
    }
    Ok(())
}

/// The protocol that a client asks to change to, if it does.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut connection = headers.get_all(header::CONNECTION).iter();
    let is_asked =
        connection.any(|value| tokens(value).any(|token| token.eq_ignore_ascii_case("upgrade")));
    headers.get(header::UPGRADE).filter(|_| is_asked).cloned()
}

/// Does the app change to a websocket?
pub(super) fn is_websocket(answer: &HeaderMap) -> bool {
    let protocol = answer.get(header::UPGRADE);
    protocol.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Makes a client's request one for the app.
pub(super) fn pass_on<B>(
    request: &mut Request<B>,
    peer: Peer,
    trusted: &[TrustedProxy],
    new_id: impl FnOnce() -> String,
) {
    let upgrade = upgrade(request.headers());
    to_origin_form(request);
    let headers = request.headers_mut();
    // HTTP/1.0 has no `Host`; the app is asked by HTTP/1.1, which must have one.
    set_if_missing(headers, header::HOST, || {
        Some(HeaderValue::from_static("localhost"))
    });
    remove_hop_by_hop(headers);
    // The router asks for the body itself, which makes hyper answer `100 Continue`.
    headers.remove(header::EXPECT);
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
    say_origin(headers, peer, trusted);
    if !headers.get(&REQUEST_ID).is_some_and(is_request_id) {
        let id = HeaderValue::try_from(new_id()).unwrap_or(HeaderValue::from_static("none"));
        headers.insert(REQUEST_ID, id);
    }
    *request.version_mut() = Version::HTTP_11;
}

/// Makes the app's answer one for a client.
pub(super) fn pass_back(headers: &mut HeaderMap, is_upgraded: bool) {
    let protocol = headers
        .get(header::UPGRADE)
        .filter(|_| is_upgraded)
        .cloned();
    remove_hop_by_hop(headers);
    if let Some(protocol) = protocol {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
}

/// `GET http://host/path` becomes `GET /path`, and its host the `Host` (RFC 9112, 3.2.2).
fn to_origin_form<B>(request: &mut Request<B>) {
    let Some(authority) = request.uri().authority().cloned() else {
        return;
    };
    let path = request.uri().path_and_query().cloned();
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        request.headers_mut().insert(header::HOST, host);
    }
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(tokens)
        .filter_map(|token| token.parse().ok())
        .filter(|name| !END_TO_END.contains(name))
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    headers.remove(header::UPGRADE);
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or_default().split(',').map(str::trim)
}

/// `X-Forwarded-*` and `Forwarded`: of a trusted peer they are kept, with the peer itself added; of others, replaced.
fn say_origin(headers: &mut HeaderMap, peer: Peer, trusted: &[TrustedProxy]) {
    if !peer.is_trusted(trusted) {
        for name in [
            &FORWARDED_FOR,
            &FORWARDED_PROTO,
            &FORWARDED_HOST,
            &FORWARDED_PORT,
            &header::FORWARDED,
        ] {
            headers.remove(name);
        }
    }
    let host = headers.get(header::HOST).cloned();
    set_if_missing(headers, FORWARDED_PROTO, || {
        Some(HeaderValue::from_static("http"))
    });
    set_if_missing(headers, FORWARDED_HOST, || host.clone());
    let Peer::Tcp { address, port } = peer else {
        return;
    };
    let address = address.to_canonical();
    set_if_missing(headers, FORWARDED_PORT, || Some(port.into()));
    add(headers, FORWARDED_FOR, &address.to_string());
    let node = if address.is_ipv6() {
        format!("\"[{address}]\"")
    } else {
        address.to_string()
    };
    let host = host
        .as_ref()
        .and_then(|host| host.to_str().ok())
        .filter(|host| !host.contains(['"', '\\']));
    let host = host
        .map(|host| format!(";host=\"{host}\""))
        .unwrap_or_default();
    add(
        headers,
        header::FORWARDED,
        &format!("for={node}{host};proto=http"),
    );
}

fn set_if_missing(
    headers: &mut HeaderMap,
    name: HeaderName,
    value: impl FnOnce() -> Option<HeaderValue>,
) {
    if !headers.contains_key(&name)
        && let Some(value) = value()
    {
        headers.insert(name, value);
    }
}

/// Adds to a list, which may have come in several lines.
fn add(headers: &mut HeaderMap, name: HeaderName, item: &str) {
    let mut list: Vec<&[u8]> = headers
        .get_all(&name)
        .iter()
        .map(HeaderValue::as_bytes)
        .filter(|line| !line.is_empty())
        .collect();
    list.push(item.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&list.join(&b", "[..])) {
        headers.insert(name, value);
    }
}

/// As Heroku takes them: 20 to 200 characters that need no quoting anywhere.
fn is_request_id(value: &HeaderValue) -> bool {
    (20..=200).contains(&value.len())
        && value
            .as_bytes()
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.=+/".contains(byte))
}

#[cfg(test)]
mod tests {
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
        pass_on(&mut request, peer, &[], || "new".to_owned());
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
        ];
        let expected = [
            "/",
            "forwarded: for=203.0.113.7;host=\"a\";proto=http",
            "host: a",
            "x-forwarded-for: 203.0.113.7",
            "x-forwarded-host: a",
            "x-forwarded-port: 80",
            "x-forwarded-proto: http",
            "x-request-id: new",
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
            ("te", "trailers"),
            ("x-mine", "1"),
            ("cookie", "c"),
            ("expect", "100-continue"),
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
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-proto",
            "x-request-id",
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
    fn a_request_without_a_host_or_for_a_tunnel_is_refused() {
        let request = |method: &str, hosts: usize| {
            let request = Request::builder().method(method).uri("/");
            (0..hosts)
                .fold(request, |request, _| request.header("host", "a"))
                .body(())
                .unwrap()
        };
        assert_eq!(super::check(&request("GET", 1)), Ok(()));
        assert_eq!(super::check(&request("GET", 0)), Err(Refused::Host));
        assert_eq!(super::check(&request("GET", 2)), Err(Refused::Host));
        assert_eq!(super::check(&request("CONNECT", 1)), Err(Refused::Connect));
    }
}
