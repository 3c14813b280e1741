//! Where in a client's stream of requests each byte is, and which requests are
//! refused: all that two parsers could take apart differently, such as both
//! lengths, a length twice, folded headers, bare line ends, odd codings,
//! malformed chunks (RFC 9112, 5.1, 5.2, 6.1, 6.3, 7.1, 11.2). hyper drops
//! `Content-Length` where `Transfer-Encoding` is, before anybody could refuse it:
//! hence this. Being the stricter of two parsers, it cannot be led astray.

use hyper::StatusCode;

use super::headers;

/// The longest line of a head, in bytes.
pub const LINE_BYTES_MAX: usize = 16 * 1024;
/// The longest head, in bytes.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The most headers of a request.
pub const HEADERS_MAX: usize = 100;
/// The longest method, in bytes.
const METHOD_BYTES_MAX: usize = 32;
/// The longest line with the size of a chunk, extensions included, in bytes.
const CHUNK_LINE_BYTES_MAX: usize = 256;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It could mean two things, or nothing.
    Malformed,
    /// The first line is longer than `LINE_BYTES_MAX`.
    Target,
    /// A later line, or the head, or the number of headers.
    Head,
    /// A version of HTTP that is not 1.0 or 1.1.
    Version,
    /// Its head did not come whole in time.
    Slow,
}

impl Refused {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Target => StatusCode::URI_TOO_LONG,
            Self::Head => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

/// What came of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// So many can be passed on. The others are the beginning of a head, or of what is refused.
    pub(super) whole: usize,
    pub(super) refused: Option<Refused>,
}

/// Where in the stream of requests the next byte is.
#[derive(Debug)]
pub(super) struct Framing {
    place: Place,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    head: Head,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    RequestLine,
    Header,
    Body {
        left: u64,
    },
    ChunkSize,
    ChunkData {
        left: u64,
    },
    ChunkEnd,
    Trailer,
    /// After a request to change the protocol: whoever answers it with anything but 101 closes.
    Unknown,
}

/// What the framing of the body depends on.
#[derive(Debug, Default)]
struct Head {
    bytes: usize,
    headers: usize,
    is_http_11: bool,
    length: Option<u64>,
    is_chunked: bool,
    asks_upgrade: bool,
}

impl Default for Framing {
    fn default() -> Self {
        Self {
            place: Place::RequestLine,
            partial: Vec::new(),
            head: Head::default(),
        }
    }
}

impl Framing {
    /// Looks at the next bytes. After a refusal, none may follow.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Taken {
        let (mut at, mut whole) = (0, 0);
        while at < bytes.len() {
            let rest = &bytes[at..];
            match self.place {
                Place::Unknown => at = bytes.len(),
                Place::Body { left } => {
                    let (skipped, left) = skip(rest, left);
                    self.place = if left == 0 {
                        Place::RequestLine
                    } else {
                        Place::Body { left }
                    };
                    at += skipped;
                }
                Place::ChunkData { left } => {
                    let (skipped, left) = skip(rest, left);
                    self.place = if left == 0 {
                        Place::ChunkEnd
                    } else {
                        Place::ChunkData { left }
                    };
                    at += skipped;
                }
                _ => match self.take_line(rest) {
                    Ok(taken) => at += taken,
                    Err(refused) => {
                        let refused = Some(refused);
                        return Taken { whole, refused };
                    }
                },
            }
            if !self.is_in_head() {
                whole = at;
            }
        }
        Taken {
            whole,
            refused: None,
        }
    }

    /// Has a head begun whose end has not come?
    pub(super) fn is_in_head(&self) -> bool {
        match self.place {
            Place::RequestLine => !self.partial.is_empty(),
            Place::Header => true,
            _ => false,
        }
    }

    /// Is the next byte one of a head, its first included?
    pub(super) fn is_at_head(&self) -> bool {
        matches!(self.place, Place::RequestLine | Place::Header)
    }

    /// Has no request begun that has not ended?
    pub(super) fn is_between(&self) -> bool {
        self.place == Place::RequestLine && self.partial.is_empty()
    }

    /// Takes bytes up to the end of a line, or all.
    fn take_line(&mut self, rest: &[u8]) -> Result<usize, Refused> {
        let (bytes_max, too_long) = match self.place {
            Place::RequestLine => (LINE_BYTES_MAX, Refused::Target),
            Place::ChunkSize | Place::ChunkEnd => (CHUNK_LINE_BYTES_MAX, Refused::Malformed),
            _ => (LINE_BYTES_MAX, Refused::Head),
        };
        let end = memchr::memchr(b'\n', rest);
        let taken = end.map_or(rest.len(), |end| end + 1);
        if self.partial.len() + taken > bytes_max {
            return Err(too_long);
        }
        if end.is_none() {
            self.partial.extend_from_slice(rest);
            return Ok(taken);
        }
        if self.partial.is_empty() {
            self.line(&rest[..taken])?;
        } else {
            let mut line = std::mem::take(&mut self.partial);
            line.extend_from_slice(&rest[..taken]);
            self.line(&line)?;
        }
        Ok(taken)
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Refused> {
        let bytes = line.len();
        let line = line.strip_suffix(b"\r\n").ok_or(Refused::Malformed)?;
        if line.iter().any(|byte| matches!(byte, b'\r' | b'\0')) {
            return Err(Refused::Malformed);
        }
        match self.place {
            Place::RequestLine if line.is_empty() => {} // RFC 9112, 2.2: some clients end a body so
            Place::RequestLine => {
                self.head = Head::begin(line, bytes)?;
                self.place = Place::Header;
            }
            Place::Header if line.is_empty() => self.place = self.head.body(),
            Place::Header => self.head.header(line, bytes)?,
            Place::ChunkSize => {
                let left = chunk_size(line).ok_or(Refused::Malformed)?;
                self.place = if left == 0 {
                    self.head = Head::default(); // trailers have the limits of a head
                    Place::Trailer
                } else {
                    Place::ChunkData { left }
                };
            }
            Place::ChunkEnd if line.is_empty() => self.place = Place::ChunkSize,
            Place::Trailer if line.is_empty() => self.place = Place::RequestLine,
            Place::Trailer => self.head.trailer(line, bytes)?,
            Place::ChunkEnd | Place::Body { .. } | Place::ChunkData { .. } | Place::Unknown => {
                return Err(Refused::Malformed);
            }
        }
        Ok(())
    }
}

impl Head {
    fn begin(line: &[u8], bytes: usize) -> Result<Self, Refused> {
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refused::Malformed);
        };
        // No fragment may be in a target (RFC 9112, 3.2): some cut it off, others do not.
        let is_target = |byte: &u8| *byte > b' ' && *byte != 0x7F && *byte != b'#';
        if !is_token(method) || method.len() > METHOD_BYTES_MAX || !target.iter().all(is_target) {
            return Err(Refused::Malformed);
        }
        match version {
            b"HTTP/1.1" | b"HTTP/1.0" if !target.is_empty() => Ok(Self {
                bytes,
                is_http_11: version == b"HTTP/1.1",
                ..Self::default()
            }),
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() && *major != b'1' =>
            {
                Err(Refused::Version)
            }
            _ => Err(Refused::Malformed),
        }
    }

    fn header(&mut self, line: &[u8], bytes: usize) -> Result<(), Refused> {
        let (name, value) = self.field(line, bytes)?;
        if is_like(name, b"content-length") {
            let is_first = self.length.is_none() && !self.is_chunked;
            let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let length = str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok());
            let is_sound = is_first && is_number && is(name, b"content-length");
            self.length = length.filter(|_| is_sound);
            self.length.ok_or(Refused::Malformed)?;
        } else if is_like(name, b"transfer-encoding") {
            let is_alone = self.is_http_11 && !self.is_chunked && self.length.is_none();
            let is_sound = is(name, b"transfer-encoding") && is(value, b"chunked");
            if !is_alone || !is_sound {
                return Err(Refused::Malformed);
            }
            self.is_chunked = true;
        } else if is(name, b"upgrade") {
            self.asks_upgrade |= headers::asks_protocol(value);
        } else if is(name, headers::REFUSED.as_str().as_bytes()) {
            return Err(Refused::Malformed);
        }
        Ok(())
    }

    fn trailer(&mut self, line: &[u8], bytes: usize) -> Result<(), Refused> {
        let (name, _) = self.field(line, bytes)?;
        if is_like(name, b"content-length") || is_like(name, b"transfer-encoding") {
            return Err(Refused::Malformed);
        }
        Ok(())
    }

    /// Name and value; refused if the line is folded, or has no name, or blanks around it.
    fn field<'a>(&mut self, line: &'a [u8], bytes: usize) -> Result<(&'a [u8], &'a [u8]), Refused> {
        self.bytes += bytes;
        self.headers += 1;
        if self.bytes + 2 > HEAD_BYTES_MAX || self.headers > HEADERS_MAX {
            return Err(Refused::Head);
        }
        let colon = memchr::memchr(b':', line).ok_or(Refused::Malformed)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let is_text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7F);
        if is_token(name) && value.iter().all(is_text) {
            Ok((name, value.trim_ascii()))
        } else {
            Err(Refused::Malformed)
        }
    }

    fn body(&self) -> Place {
        match self.length {
            _ if self.asks_upgrade => Place::Unknown,
            _ if self.is_chunked => Place::ChunkSize,
            Some(left) if left > 0 => Place::Body { left },
            _ => Place::RequestLine,
        }
    }
}

/// RFC 9110, 5.6.2.
fn is_token(text: &[u8]) -> bool {
    let is_mark = |byte: &u8| b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty()
        && text
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
}

fn is(name: &[u8], wanted: &[u8]) -> bool {
    name.eq_ignore_ascii_case(wanted)
}

/// As CGI and WSGI read names: `_` is `-` to them.
fn is_like(name: &[u8], wanted: &[u8]) -> bool {
    let same = |(a, b): (&u8, &u8)| a.eq_ignore_ascii_case(b) || (*a == b'_' && *b == b'-');
    name.len() == wanted.len() && name.iter().zip(wanted).all(same)
}

/// Hex digits, then perhaps an extension, which nobody uses and everybody ignores.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?;
    let is_number = (1..=16).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    is_number.then(|| u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok())?
}

/// How many of these bytes belong to what is `left`, and what is left then.
fn skip(bytes: &[u8], left: u64) -> (usize, u64) {
    let available = bytes.len() as u64;
    let skipped = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    (skipped, left.saturating_sub(available))
}

#[cfg(test)]
mod tests;
