//! One HTTP request over a connection of its own.

use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The status line and the header lines.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    /// The body of an answer that must be a 200.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.body
    }
}

pub(crate) fn get(address: SocketAddr, path: &str) -> io::Result<Response> {
    send(address, "GET", path, "")
}

pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> io::Result<Response> {
    send(address, "POST", path, body)
}

fn send(address: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
    stream.set_read_timeout(Some(Duration::from_secs(90)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| {
        let message = format!(
            "no whole HTTP answer: {:?}",
            String::from_utf8_lossy(&answer)
        );
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

fn parse(answer: &str) -> Option<Response> {
    let (head, rest) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let chunked = header(head, "transfer-encoding")
        .is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    let body = if chunked {
        unchunked(rest)?
    } else {
        rest.to_owned()
    };
    let length = header(head, "content-length").and_then(|value| value.parse().ok());
    if length.is_some_and(|length: usize| length != body.len()) {
        return None; // cut short
    }
    Some(Response {
        status,
        head: head.to_owned(),
        body,
    })
}

fn header<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    headers
        .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
        .map(|(_, value)| value.trim())
}

fn unchunked(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body += after.get(..size)?;
        rest = after.get(size..)?.strip_prefix("\r\n")?;
    }
}
