//! How a line looks: for people, for programs, or as it came.

use serde::Serialize;

use super::Batch;
use super::Record;
use super::Stream;
use super::access;
use crate::sys::clock::Timestamp;

/// The version of the objects that `--json` and `ndjson:` write.
pub const JSON_SCHEMA: u32 = 1;

/// Colours are for terminals, and only when asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// The bytes alone.
    Plain,
    /// The prefix in a colour of the process's own.
    Colour,
}

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `20:15:00.000001 web.1 | text`, the time in UTC.
    Text(Paint),
    /// `2026-11-23T20:15:00.000001Z web.1 | text`.
    Dated,
    /// One JSON object a line.
    Json,
    /// The text alone.
    Raw,
}

impl Form {
    /// Appends every line of a batch.
    pub(super) fn write(self, batch: &Batch, out: &mut Vec<u8>) {
        let prefix = match self {
            Self::Text(paint) => prefix(batch.at, &batch.labels.source, paint),
            Self::Dated => format!("{} {} | ", batch.at, batch.labels.source).into_bytes(),
            Self::Raw => Vec::new(),
            Self::Json => return write_json(batch, out),
        };
        let end = if batch.cut { " …\n" } else { "\n" };
        batch.write_lines(&prefix, end.as_bytes(), out);
    }
}

fn write_json(batch: &Batch, out: &mut Vec<u8>) {
    let at = batch.at.to_string();
    for text in batch.lines() {
        let record = Record {
            at: &at,
            release: batch.labels.release,
            source: &batch.labels.source,
            stream: batch.stream,
            cut: batch.cut,
            text,
        };
        record.write_json(out);
    }
}

impl Record<'_> {
    /// Appends it as one JSON object and a newline. Bytes that are not UTF-8 become U+FFFD: JSON has no others.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let is_access = self.stream == Stream::Router;
        let field = |name| access::field(self.text, name).map(String::from_utf8_lossy);
        let answered = || access::release(self.text).map(|release| release.to_string());
        let release = self.release.map(|release| release.to_string());
        let end = Some(self.text).filter(|_| self.stream == Stream::Slug);
        let end = end.and_then(End::parse);
        let line = Line {
            at: self.at,
            cut: self.cut,
            exit: end.as_ref().and_then(|end| end.exit),
            process: end.as_ref().map(|end| end.process),
            release: release.or_else(|| is_access.then(answered).flatten()),
            request_id: is_access.then(|| field("request_id")).flatten(),
            schema: JSON_SCHEMA,
            signal: end.as_ref().and_then(|end| end.signal),
            source: self.source,
            stream: self.stream,
            text: String::from_utf8_lossy(self.text),
        };
        // Numbers and strings alone: there is nothing that could fail.
        let _ = serde_json::to_writer(&mut *out, &line);
        out.push(b'\n');
    }
}

/// The object: its keys are sorted, those without a value left out but for `release`.
#[derive(Serialize)]
struct Line<'a> {
    at: &'a str,
    cut: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<&'a str>,
    release: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<std::borrow::Cow<'a, str>>,
    schema: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<u32>,
    source: &'a str,
    stream: Stream,
    text: std::borrow::Cow<'a, str>,
}

/// How a process ended, as `slug` says it: `web.1 exited with code 3`, `web.1 was ended by signal 9`.
struct End<'a> {
    process: &'a str,
    exit: Option<u32>,
    signal: Option<u32>,
}

impl<'a> End<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        let text = str::from_utf8(text).ok()?;
        let after = |words| {
            let (process, number) = text.split_once(words)?;
            let digits = number.find(|it: char| !it.is_ascii_digit());
            let number = &number[..digits.unwrap_or(number.len())];
            Some((process, number.parse().ok()?))
        };
        let (exit, signal) = (after(" exited with code "), after(" was ended by signal "));
        let (process, _) = exit.or(signal)?;
        Some(Self {
            process,
            exit: exit.map(|(_, code)| code),
            signal: signal.map(|(_, signal)| signal),
        })
    }
}

/// `HH:MM:SS.micro web.1 | `, in UTC.
fn prefix(at: Timestamp, source: &str, paint: Paint) -> Vec<u8> {
    let at = at.to_string();
    let time = at.get(11..26).unwrap_or(&at);
    match paint {
        Paint::Plain => format!("{time} {source} | ").into_bytes(),
        Paint::Colour => format!("\x1b[{}m{time} {source} |\x1b[0m ", colour(source)).into_bytes(),
    }
}

/// The same process always has the same one of the six colours that read well on dark and on light.
fn colour(source: &str) -> u32 {
    if source == "slug" || source == "router" {
        return 90; // grey
    }
    31 + source.bytes().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    }) % 6
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ident::ReleaseVersion;
    use crate::logs::Labels;
    use crate::logs::Piece;

    fn check(form: Form, source: &str, stream: Stream, cut: bool, bytes: &[u8], expected: &str) {
        let labels = Arc::new(Labels {
            source: source.to_owned(),
            release: ReleaseVersion::from_number(3).filter(|_| stream != Stream::Router),
        });
        let at = Timestamp::from_unix_us(1_795_463_700_000_001).unwrap();
        let batch = Batch::new(at, &labels, stream, Piece { bytes, cut });
        let mut out = Vec::new();
        form.write(&batch, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn a_line_looks_as_its_form_says() {
        let plain = Form::Text(Paint::Plain);
        let two = "19:55:00.000001 web.1 | a\n19:55:00.000001 web.1 | \n";
        check(plain, "web.1", Stream::Out, false, b"a\n", two);
        let cut = "19:55:00.000001 web.1 | a …\n";
        check(plain, "web.1", Stream::Out, true, b"a", cut);
        let grey = "\x1b[90m19:55:00.000001 slug |\x1b[0m a\n";
        check(
            Form::Text(Paint::Colour),
            "slug",
            Stream::Slug,
            false,
            b"a",
            grey,
        );
        let dated = "2026-11-23T19:55:00.000001Z web.1 | a\n";
        check(Form::Dated, "web.1", Stream::Out, false, b"a", dated);
        check(Form::Raw, "web.1", Stream::Out, false, b"a\nb", "a\nb\n");
    }

    #[test]
    fn an_object_says_the_request_of_an_access_line_and_how_a_process_ended() {
        let start = r#"{"at":"2026-11-23T19:55:00.000001Z","cut":false"#;
        let line = |rest: &str| format!("{start},{rest}\n");
        let json = |source, stream, text: &str, rest: &str| {
            check(
                Form::Json,
                source,
                stream,
                false,
                text.as_bytes(),
                &line(rest),
            );
        };
        let rest = r#""release":"v3","schema":1,"source":"web.1","stream":"err","text":"a \"b\"""#;
        json("web.1", Stream::Err, "a \"b\"", &(rest.to_owned() + "}"));
        let rest = r#""release":"v4","request_id":"i","schema":1,"source":"router","stream":"router","text":"request_id=i release=v4"}"#;
        json("router", Stream::Router, "request_id=i release=v4", rest);
        let rest = r#""exit":3,"process":"web.1","release":"v3","schema":1,"source":"slug","stream":"slug","text":"web.1 exited with code 3"}"#;
        json("slug", Stream::Slug, "web.1 exited with code 3", rest);
        let rest = r#""process":"web.1","release":"v3","schema":1,"signal":9,"source":"slug","stream":"slug","text":"web.1 was ended by signal 9"}"#;
        json("slug", Stream::Slug, "web.1 was ended by signal 9", rest);
    }
}
