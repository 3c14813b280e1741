//! A connection of a client, and the one answer that is read from it at a time.

use std::io;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;

/// Longer than the router holds a request, so that its own answer is seen.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) struct Connection {
    reader: BufReader<TcpStream>,
}

/// Status and body of an answer, read whole.
pub(super) struct Answer {
    status: String,
    body: String,
}

impl Connection {
    pub(super) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            reader: BufReader::new(stream),
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    pub(super) fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.reader.read_exact(bytes)
    }

    /// A status line and the headers, each a line.
    pub(super) fn head(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(lines);
            }
            lines.push(line);
        }
    }

    pub(super) fn answer(&mut self) -> io::Result<Answer> {
        let mut head = self.head()?;
        let status = head.remove(0);
        let header = |wanted: &str| {
            let mut fields = head.iter().filter_map(|line| line.split_once(": "));
            fields
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value)
        };
        let body = if header("transfer-encoding") == Some("chunked") {
            self.chunks()?
        } else {
            let length = header("content-length").and_then(|length| length.parse().ok());
            self.bytes(length.ok_or_else(|| wrong(format!("no length: {head:?}")))?)?
        };
        let body = String::from_utf8(body).map_err(wrong)?;
        Ok(Answer { status, body })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let ended = line.strip_suffix("\r\n").map(str::to_owned);
        ended.ok_or_else(|| wrong(format!("the connection ended after {line:?}")))
    }

    fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line()?, 16).map_err(wrong)?;
            body.extend(self.bytes(size)?);
            self.line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
}

impl Answer {
    /// Its words, if it is a 200 of a release from `floor` on: the first or last of them is the release.
    pub(super) fn words(&self, floor: u32) -> io::Result<Vec<&str>> {
        let words: Vec<&str> = self.body.split_whitespace().collect();
        let version = |word: &&&str| {
            word.strip_prefix('v')
                .and_then(|number| number.parse().ok())
        };
        let version: Option<u32> = [words.first(), words.last()]
            .iter()
            .flatten()
            .find_map(version);
        match version {
            Some(version) if self.status.contains(" 200 ") && version >= floor => Ok(words),
            Some(version) if self.status.contains(" 200 ") => Err(wrong(format!(
                "answered by v{version} after v{floor} had taken over"
            ))),
            _ => Err(wrong(format!("{} {}", self.status, self.body))),
        }
    }
}

pub(super) fn wrong(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
