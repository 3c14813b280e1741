//! Looks at every byte that a client sends before hyper does, and lets nothing
//! pass that two parsers could take apart differently: both lengths, a length
//! twice, folded headers, bare line ends, odd codings, malformed chunks
//! (RFC 9112, 5.1, 5.2, 6.1, 6.3, 7.1, 11.2). hyper drops `Content-Length` where
//! `Transfer-Encoding` is, before anybody could refuse it: hence this.
//!
//! What is refused is replaced by a NUL, which is nowhere allowed: hyper answers
//! 400 and closes. Being the stricter of two parsers, it cannot be led astray.

use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;

/// The longest line of a head, in bytes.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;
/// The longest line with the size of a chunk, extensions included, in bytes.
const CHUNK_LINE_BYTES_MAX: usize = 256;

/// A client's connection, looked at.
pub(super) struct Screen<T> {
    inner: T,
    framing: Framing,
    is_refused: bool,
}

impl<T> Screen<T> {
    pub(super) fn new(inner: T) -> Self {
        Self {
            inner,
            framing: Framing::default(),
            is_refused: false,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Screen<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_refused {
            return Poll::Ready(Ok(())); // as if the client had closed
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        if let Err(Bad { at }) = self.framing.take(&buffer.filled()[before..]) {
            self.is_refused = true;
            buffer.set_filled(before + at);
            buffer.put_slice(b"\0");
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Screen<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// Where the refused line begins in the bytes that were taken; 0 if in earlier ones.
#[derive(Debug, PartialEq, Eq)]
struct Bad {
    at: usize,
}

/// Where in the stream of requests the next byte is.
#[derive(Debug)]
struct Framing {
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
    fn take(&mut self, bytes: &[u8]) -> Result<(), Bad> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match self.place {
                Place::Unknown => return Ok(()),
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
                _ => at += self.take_line(rest).ok_or(Bad { at })?,
            }
        }
        Ok(())
    }

    /// Takes bytes up to the end of a line, or all; none if they are refused.
    fn take_line(&mut self, rest: &[u8]) -> Option<usize> {
        let is_chunk = matches!(self.place, Place::ChunkSize | Place::ChunkEnd);
        let bytes_max = if is_chunk {
            CHUNK_LINE_BYTES_MAX
        } else {
            LINE_BYTES_MAX
        };
        let end = rest.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(rest.len(), |end| end + 1);
        if self.partial.len() + taken > bytes_max {
            return None;
        }
        if end.is_none() {
            self.partial.extend_from_slice(rest);
            return Some(taken);
        }
        if self.partial.is_empty() {
            self.line(&rest[..taken])?;
        } else {
            let mut line = std::mem::take(&mut self.partial);
            line.extend_from_slice(&rest[..taken]);
            self.line(&line)?;
        }
        Some(taken)
    }

    fn line(&mut self, line: &[u8]) -> Option<()> {
        let line = line.strip_suffix(b"\r\n")?;
        if line.iter().any(|byte| matches!(byte, b'\r' | b'\0')) {
            return None;
        }
        match self.place {
            Place::RequestLine if line.is_empty() => {} // RFC 9112, 2.2: some clients end a body so
            Place::RequestLine => {
                self.head = Head {
                    is_http_11: line.ends_with(b" HTTP/1.1"),
                    ..Head::default()
                };
                self.place = Place::Header;
            }
            Place::Header if line.is_empty() => self.place = self.head.body(),
            Place::Header => self.head.header(line)?,
            Place::ChunkSize => {
                let left = chunk_size(line)?;
                self.place = if left == 0 {
                    Place::Trailer
                } else {
                    Place::ChunkData { left }
                };
            }
            Place::ChunkEnd => {
                line.is_empty().then_some(())?;
                self.place = Place::ChunkSize;
            }
            Place::Trailer if line.is_empty() => self.place = Place::RequestLine,
            Place::Trailer => {
                let (name, _) = field(line)?;
                let is_framing = is(name, b"content-length") || is(name, b"transfer-encoding");
                (!is_framing).then_some(())?;
            }
            Place::Body { .. } | Place::ChunkData { .. } | Place::Unknown => return None,
        }
        Some(())
    }
}

impl Head {
    fn header(&mut self, line: &[u8]) -> Option<()> {
        let (name, value) = field(line)?;
        if is(name, b"content-length") {
            let is_first = self.length.is_none() && !self.is_chunked;
            let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let length = str::from_utf8(value).ok()?.parse().ok()?;
            self.length = (is_first && is_number).then_some(length);
            self.length?;
        } else if is(name, b"transfer-encoding") {
            let is_alone = self.is_http_11 && !self.is_chunked && self.length.is_none();
            self.is_chunked = is_alone && is(value, b"chunked");
            self.is_chunked.then_some(())?;
        } else if is(name, b"upgrade") {
            self.asks_upgrade = true;
        }
        Some(())
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

/// Name and value; none if the line is folded, or has no name, or blanks around it.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_name = !name.is_empty() && !name.iter().any(|byte| matches!(byte, b' ' | b'\t'));
    is_name.then_some((name, value.trim_ascii()))
}

fn is(name: &[u8], wanted: &[u8]) -> bool {
    name.eq_ignore_ascii_case(wanted)
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take(text: &str) -> Result<Place, Bad> {
        let mut framing = Framing::default();
        framing.take(text.as_bytes()).map(|()| framing.place)
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
            "no colon\r\n\r\n",
            ": no name\r\n\r\n",
        ] {
            let text = format!("{head}{bad}");
            let refused = take(&text).expect_err(bad).at;
            assert!(
                refused >= head.len() && text[..refused].ends_with("\r\n"),
                "{bad:?} at {refused}"
            );
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
    fn a_line_at_the_limit_passes_and_one_past_it_does_not() {
        let line = |bytes: usize| format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(bytes - 5));
        assert!(take(&line(LINE_BYTES_MAX)).is_ok());
        assert!(take(&line(LINE_BYTES_MAX + 1)).is_err());
        let chunk = |bytes: usize| {
            format!(
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;{}\r\n",
                "x".repeat(bytes - 4)
            )
        };
        assert!(take(&chunk(CHUNK_LINE_BYTES_MAX)).is_ok());
        assert!(take(&chunk(CHUNK_LINE_BYTES_MAX + 1)).is_err());
    }

    proptest! {
        #[test]
        fn however_the_reads_fall_the_verdict_is_the_same(cut in 0usize..200, bad in any::<bool>()) {
            let length = if bad { "Content-Length: 1\r\n" } else { "" };
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{length}\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n");
            let cut = cut.min(text.len());
            let mut framing = Framing::default();
            let verdict = framing.take(&text.as_bytes()[..cut]).and_then(|()| framing.take(&text.as_bytes()[cut..]));
            prop_assert_eq!(verdict.is_err(), bad);
        }
    }
}
