//! One line of history: `2026-11-23T19:55:00.000001Z v42 web.1 out listening on 8000`.

use crate::ident::ReleaseVersion;
use crate::logs::Batch;
use crate::logs::Stream;
use crate::logs::access;

/// One line of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When it was read from its pipe, RFC 3339.
    pub at: &'a str,
    /// The release that said it; of an access line, the one that answered.
    pub release: Option<ReleaseVersion>,
    /// `web.1`, `router`, `slug`.
    pub source: &'a str,
    /// How it was said.
    pub stream: Stream,
    /// The line goes on in the next record.
    pub cut: bool,
    /// What was said, any bytes.
    pub text: &'a [u8],
}

impl<'a> Record<'a> {
    /// Appends it as a line of history.
    pub fn write(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(self.at.as_bytes());
        buffer.push(b' ');
        match self.release {
            Some(release) => buffer.extend_from_slice(release.to_string().as_bytes()),
            None => buffer.push(b'-'),
        }
        buffer.push(b' ');
        buffer.extend_from_slice(self.source.as_bytes());
        buffer.push(b' ');
        buffer.extend_from_slice(self.stream.name().as_bytes());
        buffer.extend_from_slice(if self.cut { b"+ " } else { b" " });
        buffer.extend_from_slice(self.text);
        buffer.push(b'\n');
    }

    /// From a line without its newline; none if it is no record.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(5, |byte| *byte == b' ');
        let at = str::from_utf8(fields.next()?).ok()?;
        let release = str::from_utf8(fields.next()?).ok()?;
        let source = str::from_utf8(fields.next()?).ok()?;
        let stream = fields.next()?;
        let text = fields.next()?;
        let (stream, cut) = stream
            .strip_suffix(b"+")
            .map_or((stream, false), |name| (name, true));
        let stream = Stream::parse(stream)?;
        let release = match (release, stream) {
            ("-", Stream::Router) => access::release(text),
            ("-", _) => None,
            (release, _) => Some(release.parse().ok()?),
        };
        Some(Self {
            at,
            release,
            source,
            stream,
            cut,
            text,
        })
    }
}

/// What stands before the text of each line of a batch.
pub(super) fn start(batch: &Batch) -> Vec<u8> {
    let record = Record {
        at: &batch.at.to_string(),
        release: batch.labels.release,
        source: &batch.labels.source,
        stream: batch.stream,
        cut: batch.cut,
        text: b"",
    };
    let mut start = Vec::new();
    record.write(&mut start);
    start.pop(); // the newline
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_whatever_its_bytes() {
        let text = b"a  b \xff +";
        let record = Record {
            at: "t",
            release: None,
            source: "web.1",
            stream: Stream::Err,
            cut: true,
            text,
        };
        let mut line = Vec::new();
        record.write(&mut line);
        assert_eq!(Record::parse(&line[..line.len() - 1]), Some(record));
        let torn: [&[u8]; 4] = [b"", b"t v1 web.1", b"t v0 web.1 out x", b"t - web.1 oops x"];
        assert_eq!(torn.map(Record::parse), [None; 4]);
    }

    #[test]
    fn an_access_line_is_of_the_release_that_answered() {
        let line = b"t - router router at=info path=\"/ release=v9 \" process=web.1 release=v3";
        let release = Record::parse(line).and_then(|record| record.release);
        assert_eq!(release, ReleaseVersion::from_number(3));
    }
}
