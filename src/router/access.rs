//! One line a request, in Heroku's words: operators know `at=error code=H12`.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use hyper::Method;
use tokio::sync::Notify;

use super::code::Code;

/// How long lines are gathered before they are handed over.
const GATHER: Duration = Duration::from_millis(10);
/// A path of a longer length is cut in the line, in bytes.
const PATH_BYTES_MAX: usize = 2048;

/// What is known of a request when it ends.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) host: String,
    pub(super) request_id: String,
    pub(super) forwarded_for: String,
    pub(super) instance: String,
    pub(super) release: String,
    pub(super) begun: Instant,
    pub(super) connected: Option<Duration>,
    pub(super) status: u16,
    pub(super) bytes: u64,
    pub(super) code: Option<Code>,
}

impl Entry {
    fn line(&self) -> String {
        let mut line = String::with_capacity(256);
        let at = if self.code.is_some() { "error" } else { "info" };
        let _ = write!(line, "at={at} ");
        if let Some(code) = self.code {
            let _ = write!(line, "code={code:?} desc=\"{}\" ", code.description());
        }
        let _ = write!(line, "method={} path=\"", self.method);
        quote(&self.path, &mut line);
        line.push_str("\" host=\"");
        quote(&self.host, &mut line);
        let _ = write!(line, "\" request_id={} fwd=\"", self.request_id);
        quote(&self.forwarded_for, &mut line);
        let connect = self.connected.map_or(0, |time| time.as_millis());
        let service = self.begun.elapsed().as_millis();
        let _ = writeln!(
            line,
            "\" process={} release={} connect={connect}ms service={service}ms status={} bytes={} protocol=http",
            self.instance, self.release, self.status, self.bytes
        );
        line
    }
}

/// Header values and paths are a client's: none may end the line, or forge a field.
fn quote(text: &str, line: &mut String) {
    let end = text.floor_char_boundary(PATH_BYTES_MAX);
    for character in text[..end].chars() {
        match character {
            '"' | '\\' => line.extend(['\\', character]),
            ' '..='~' => line.push(character),
            // Control characters, and letters that a terminal shows as something else.
            character => line.extend(character.escape_unicode()),
        }
    }
    if end < text.len() {
        line.push('…');
    }
}

/// Gathers the lines of one thread.
#[derive(Clone)]
pub(super) struct Journal(Rc<Gathered>);

struct Gathered {
    lines: RefCell<Vec<u8>>,
    is_noted: Notify,
    out: Arc<dyn Fn(Vec<u8>) + Send + Sync>,
}

impl Journal {
    pub(super) fn new(out: Arc<dyn Fn(Vec<u8>) + Send + Sync>) -> Self {
        Self(Rc::new(Gathered {
            lines: RefCell::default(),
            is_noted: Notify::new(),
            out,
        }))
    }

    pub(super) fn note(&self, entry: &Entry) {
        let mut lines = self.0.lines.borrow_mut();
        if lines.is_empty() {
            self.0.is_noted.notify_one();
        }
        lines.extend_from_slice(entry.line().as_bytes());
    }

    /// A line that is about no request.
    pub(super) fn say(&self, words: &str) {
        (self.0.out)(format!("{words}\n").into_bytes());
    }

    /// Hands the lines over, for ever; sleeps while there are none.
    pub(super) async fn run(self) {
        loop {
            self.0.is_noted.notified().await;
            tokio::time::sleep(GATHER).await;
            self.flush();
        }
    }

    pub(super) fn flush(&self) {
        let lines = std::mem::take(&mut *self.0.lines.borrow_mut());
        if !lines.is_empty() {
            (self.0.out)(lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_client_sends_can_forge_a_field_or_a_line() {
        let entry = Entry {
            method: Method::GET,
            path: "/a\" code=H99 \n\u{85}x".to_owned(),
            host: "h\\".to_owned(),
            request_id: "i".to_owned(),
            forwarded_for: String::new(),
            instance: "web.1".to_owned(),
            release: "v3".to_owned(),
            begun: Instant::now(),
            connected: None,
            status: 200,
            bytes: 5,
            code: Some(Code::H27),
        };
        let line = entry.line();
        let start = "at=error code=H27 desc=\"Client request interrupted\" method=GET path=\"/a\\\" code=H99 \\u{a}\\u{85}x\" host=\"h\\\\\" request_id=i fwd=\"\" process=web.1 release=v3 connect=0ms service=";
        assert!(line.starts_with(start), "{line}");
        assert!(line.ends_with("status=200 bytes=5 protocol=http\n"));
    }
}
