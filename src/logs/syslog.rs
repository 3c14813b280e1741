//! Syslog: messages of RFC 5424, over datagrams (RFC 5426, and unix sockets)
//! or a stream with octet counting (RFC 6587).

use std::collections::VecDeque;
use std::sync::Arc;

use super::Batch;
use super::Policy;
use super::Service;
use super::Sink;
use super::Stream;
use super::Written;
use super::transport::Transport;

/// The longest text of a message that is a datagram, in bytes: what UDP over IPv4 carries, less a header. A longer line
/// is sent in pieces, each but the last with the mark of a cut.
pub const DATAGRAM_TEXT_BYTES_MAX: usize = 60_000;

/// How much is gathered for one write to a stream, in bytes. When a connection breaks within a write, all of it is sent again.
const WRITE_BYTES: usize = 4096;

/// Facility `user` (RFC 5424, table 1), times eight.
const FACILITY: u8 = 8;

/// `syslog+tcp://host:port` and the like.
#[derive(Debug)]
pub struct Syslog {
    name: String,
    host: String,
    app: String,
    transport: Transport,
    /// Messages that were not sent yet.
    unsent: VecDeque<Vec<u8>>,
}

impl Syslog {
    /// For the lines of `app` on `host`.
    pub fn new(service: Service, name: String, host: &str, app: &str) -> Self {
        Self {
            name,
            host: printable(host, 255),
            app: printable(app, 48),
            transport: Transport::new(service),
            unsent: VecDeque::new(),
        }
    }

    fn encode(&mut self, batch: &Batch) {
        let header = self.header(batch);
        for line in batch.lines() {
            if !self.transport.is_datagram() {
                self.encode_frame(&header, line, batch.cut);
                continue;
            }
            let mut rest = line;
            loop {
                let (part, after) = rest.split_at(rest.len().min(DATAGRAM_TEXT_BYTES_MAX));
                let is_cut = batch.cut || !after.is_empty();
                let mark = if is_cut { " …" } else { "" };
                let parts = [&header, part, mark.as_bytes()];
                self.unsent.push_back(parts.concat());
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
        }
    }

    fn encode_frame(&mut self, header: &[u8], line: &[u8], cut: bool) {
        let mark = if cut { " …" } else { "" };
        let length = header.len() + line.len() + mark.len();
        let count = format!("{length} ");
        let parts = [count.as_bytes(), header, line, mark.as_bytes()];
        match self.unsent.back_mut() {
            Some(frames) if frames.len() < WRITE_BYTES => frames.extend(parts.concat()),
            _ => self.unsent.push_back(parts.concat()),
        }
    }

    /// `<PRI>1 TIME HOST APP-NAME PROCID MSGID [origin …] `: the release is the version of the software that speaks.
    fn header(&self, batch: &Batch) -> Vec<u8> {
        let priority = FACILITY + severity(batch.stream);
        let (host, app, at) = (&self.host, &self.app, batch.at);
        let process = printable(&batch.labels.source, 128);
        let stream = batch.stream.name();
        let version = batch
            .labels
            .release
            .map(|it| format!(" swVersion=\"{it}\""));
        let version = version.unwrap_or_default();
        format!(
            "<{priority}>1 {at} {host} {app} {process} {stream} [origin software=\"{app}\"{version}] "
        )
        .into_bytes()
    }
}

/// RFC 5424, table 2.
pub(super) fn severity(stream: Stream) -> u8 {
    match stream {
        Stream::Err => 4,                  // warning
        Stream::Slug => 5,                 // notice
        Stream::Out | Stream::Router => 6, // informational
    }
}

/// A field of a header: printable ASCII, of this length at most, `-` for none.
fn printable(text: &str, length_max: usize) -> String {
    let field: String = text
        .chars()
        .filter(char::is_ascii_graphic)
        .take(length_max)
        .collect();
    if field.is_empty() {
        "-".to_owned()
    } else {
        field
    }
}

impl Sink for Syslog {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn policy(&self) -> Policy {
        Policy::DropOldest
    }

    fn write(&mut self, batches: &[Arc<Batch>], alive: &dyn Fn()) -> Written {
        for batch in batches {
            self.encode(batch);
        }
        while let Some(message) = self.unsent.front() {
            if let Err(error) = self.transport.send(message) {
                return Written::Later(self.transport.pause(), error.to_string());
            }
            alive();
            self.unsent.pop_front();
        }
        Written::All
    }
}
