//! What becomes of a request's headers, and of an answer's, on their way through:
//! pure functions. What the app may believe about a request's origin is decided here.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::Method;
use hyper::Request;
use hyper::StatusCode;
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
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const REQUEST_START: HeaderName = HeaderName::from_static("x-request-start");
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What the screen puts in the place of a request that it refused, with the status to answer. No client can send it.
pub(super) const REFUSED: HeaderName = HeaderName::from_static("slug-refused");
/// What a client may ask that asked for what is refused: others are passed on too.
pub(super) const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// This hop, as `Via` names it (RFC 9110, 7.6.3).
const VIA: &str = "1.1 slug";

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

/// Why a request is not passed on, though its framing is sound: the status that says it.
///
/// `Host` must be there once and be a host; a target must be a path, or a whole URL, or `*` for `OPTIONS`
/// (RFC 9112, 3.2); `CONNECT` is for proxies of another kind, and `TRACE` would show a client what the router added.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), StatusCode> {
    if let Some(status) = request.headers().get(&REFUSED) {
        let status = StatusCode::from_bytes(status.as_bytes());
        return Err(status.unwrap_or(StatusCode::BAD_REQUEST));
    }
    if [Method::CONNECT, Method::TRACE].contains(request.method()) {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let names_host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_host(host.as_bytes()),
        (None, None) => request.version() < Version::HTTP_11,
        _ => false,
    };
    let uri = request.uri();
    let is_target = match (uri.scheme_str(), uri.authority()) {
        (None, None) => uri.path().starts_with('/') || is_asterisk(request),
        (Some("http" | "https"), Some(authority)) => is_host(authority.as_str().as_bytes()),
        _ => false,
    };
    if names_host && is_target {
        Ok(())
    } else {
        Err(StatusCode::BAD_REQUEST)
    }
}

fn is_asterisk<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS && request.uri().path() == "*"
}

/// A name or an address, and perhaps a port; no user, no list, no path (RFC 9110, 7.2). May be empty.
fn is_host(host: &[u8]) -> bool {
    let is_mark = |byte: &u8| b"-._~%!$&'()*+;=:[]".contains(byte);
    host.iter()
        .all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
}

/// Does a line of `Upgrade` name a protocol that a router may pass on? `h2c` is between two neighbours.
pub(super) fn asks_protocol(value: &[u8]) -> bool {
    protocols(value).next().is_some()
}

fn protocols(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let all = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    all.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"h2c"))
}

/// Whether the screen stopped looking after this request's head: it may be the last of its connection.
pub(super) fn ends_screening(headers: &HeaderMap) -> bool {
    let mut asked = headers.get_all(header::UPGRADE).iter();
    asked.any(|value| asks_protocol(value.as_bytes()))
}

/// The protocols that a client asks to change to, if it does.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut connection = headers.get_all(header::CONNECTION).iter();
    let is_asked =
        connection.any(|value| tokens(value).any(|token| token.eq_ignore_ascii_case("upgrade")));
    let lines = headers.get_all(header::UPGRADE).iter();
    let names: Vec<&[u8]> = lines
        .flat_map(|value| protocols(value.as_bytes()))
        .collect();
    let protocols = HeaderValue::from_bytes(&names.join(&b", "[..])).ok();
    protocols.filter(|protocols| is_asked && !protocols.is_empty())
}

/// Does the app change to a websocket?
pub(super) fn is_websocket(answer: &HeaderMap) -> bool {
    let protocol = answer.get(header::UPGRADE);
    protocol.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Does the client wait for `100 Continue` before it sends its body?
pub(super) fn expects_continue<B>(request: &Request<B>) -> bool {
    let expected = request.headers().get(header::EXPECT);
    request.version() >= Version::HTTP_11
        && expected
            .is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// What the router adds to a request.
pub(super) struct Origin<'a> {
    pub(super) peer: Peer,
    pub(super) trusted: &'a [TrustedProxy],
    /// When the head had come, in milliseconds since 1970.
    pub(super) at_ms: i64,
    pub(super) new_id: fn() -> String,
}

/// Makes a client's request one for the app.
pub(super) fn pass_on<B>(request: &mut Request<B>, origin: &Origin<'_>) {
    let upgrade = upgrade(request.headers());
    let takes_trailers = takes_trailers(request.headers());
    let is_old = request.version() < Version::HTTP_11;
    to_origin_form(request);
    let headers = request.headers_mut();
    // HTTP/1.0 has no `Host`; the app is asked by HTTP/1.1, which must have one.
    set_if_missing(headers, header::HOST, || {
        Some(HeaderValue::from_static("localhost"))
    });
    remove_hop_by_hop(headers);
    if is_old {
        headers.remove(header::EXPECT);
    }
    match upgrade {
        Some(protocol) => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, protocol);
        }
        None if takes_trailers => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        None => {}
    }
    say_origin(headers, origin);
    add(headers, header::VIA, VIA);
    if !headers.get(&REQUEST_ID).is_some_and(is_request_id) {
        let id = (origin.new_id)();
        let id = HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("none"));
        headers.insert(REQUEST_ID, id);
    }
    *request.version_mut() = Version::HTTP_11;
}

fn takes_trailers(headers: &HeaderMap) -> bool {
    let mut te = headers.get_all(header::TE).iter();
    te.any(|value| tokens(value).any(|token| token.eq_ignore_ascii_case("trailers")))
}

/// Why an answer is not passed on: its framing can be read in two ways (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ambiguous;

/// Is an answer one whose end is known for sure?
pub(super) fn check_answer(status: StatusCode, headers: &HeaderMap) -> Result<(), Ambiguous> {
    let count = |name: HeaderName| headers.get_all(name).iter().count();
    let (lengths, codings) = (
        count(header::CONTENT_LENGTH),
        count(header::TRANSFER_ENCODING),
    );
    let coding = headers.get(header::TRANSFER_ENCODING);
    let is_chunked = coding.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let length = headers.get(header::CONTENT_LENGTH);
    let is_number = length.is_none_or(|length| {
        !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit)
    });
    let is_sound = lengths + codings <= 1 && is_chunked && is_number;
    let has_no_body = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    if is_sound || (has_no_body && lengths <= 1 && codings <= 1) {
        Ok(())
    } else {
        Err(Ambiguous)
    }
}

/// Makes the app's answer one for a client.
pub(super) fn pass_back(headers: &mut HeaderMap, status: StatusCode) {
    let protocol = headers
        .get(header::UPGRADE)
        .filter(|_| status == StatusCode::SWITCHING_PROTOCOLS)
        .cloned();
    remove_hop_by_hop(headers);
    if status == StatusCode::NO_CONTENT || status == StatusCode::SWITCHING_PROTOCOLS {
        headers.remove(header::CONTENT_LENGTH); // RFC 9110, 8.6: none may be there
    }
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
/// With `_` for `-` they would be the same to CGI and WSGI.
fn say_origin(headers: &mut HeaderMap, origin: &Origin<'_>) {
    let is_trusted = origin.peer.is_trusted(origin.trusted);
    let is_claim = |name: &HeaderName| {
        let is_odd = name.as_str().contains('_');
        if is_trusted && !is_odd {
            return false;
        }
        let plain = name.as_str().replace('_', "-");
        let is_one_of = |names: &[HeaderName]| names.iter().any(|other| *other == *plain);
        plain.starts_with("x-forwarded-")
            || is_one_of(&[header::FORWARDED, REAL_IP, REQUEST_START])
            || (is_odd && is_one_of(&[REQUEST_ID, header::HOST]))
    };
    let claims: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_claim(name))
        .cloned()
        .collect();
    for name in claims {
        headers.remove(name);
    }
    set_if_missing(headers, REQUEST_START, || Some(origin.at_ms.into()));
    let host = headers.get(header::HOST).cloned();
    set_if_missing(headers, FORWARDED_PROTO, || {
        Some(HeaderValue::from_static("http"))
    });
    set_if_missing(headers, FORWARDED_HOST, || host.clone());
    let Peer::Tcp { address, port } = origin.peer else {
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
mod tests;
