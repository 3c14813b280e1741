//! A request from its head to its end: where it is in flight, and what its access line will say.

use std::sync::Arc;
use std::time::Instant;

use http_body_util::Full;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;

use super::access::Entry;
use super::access::Journal;
use super::body::Answer;
use super::code::Code;
use super::headers;
use super::table::InFlight;
use super::table::Lane;

/// When a client may ask again while there is maintenance, in seconds.
pub const RETRY_AFTER_S: u32 = 60;
/// What a client went away from, in the access line (nginx's word).
const CLIENT_CLOSED: u16 = 499;

/// A request from its head to its end; the access line is written when it is dropped.
pub(super) struct Ticket {
    entry: Entry,
    journal: Journal,
    in_flight: Option<InFlight>,
    is_complete: bool,
}

impl Ticket {
    pub(super) fn new<B>(request: &Request<B>, journal: &Journal) -> Self {
        let header = |name: &HeaderName| {
            let value = request
                .headers()
                .get(name)
                .map(|value| String::from_utf8_lossy(value.as_bytes()));
            value.unwrap_or_default().into_owned()
        };
        let entry = Entry {
            method: request.method().clone(),
            path: request
                .uri()
                .path_and_query()
                .map_or("*", |path| path.as_str())
                .to_owned(),
            host: header(&header::HOST),
            request_id: header(&headers::REQUEST_ID),
            forwarded_for: header(&headers::FORWARDED_FOR),
            instance: "-".to_owned(),
            release: "-".to_owned(),
            begun: Instant::now(),
            connected: None,
            status: CLIENT_CLOSED,
            bytes: 0,
            code: None,
        };
        Self {
            entry,
            journal: journal.clone(),
            in_flight: None,
            is_complete: false,
        }
    }

    /// It goes to this target now.
    pub(super) fn enter(&mut self, in_flight: InFlight) {
        self.entry.instance.clone_from(&in_flight.target().instance);
        self.entry.release.clone_from(&in_flight.target().release);
        self.in_flight = Some(in_flight);
    }

    /// It goes to that target no more.
    pub(super) fn leave(&mut self) {
        self.in_flight = None;
    }

    /// The target that answers it.
    pub(super) fn lane(&self) -> Option<&Arc<Lane>> {
        self.in_flight.as_ref().map(InFlight::lane)
    }

    /// A connection to the target was had.
    pub(super) fn connected(&mut self) {
        self.entry.connected = Some(self.entry.begun.elapsed());
    }

    /// What the app answers.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.entry.status = status.as_u16();
    }

    /// So many bytes of the answer's body were passed on.
    pub(super) fn count(&mut self, bytes: u64) {
        self.entry.bytes += bytes;
    }

    /// Why it fails; the first reason holds.
    pub(super) fn blame(&mut self, code: Code) {
        self.entry.code.get_or_insert(code);
    }

    /// All of the answer was passed on.
    pub(super) fn complete(&mut self) {
        self.is_complete = true;
    }

    /// A few words instead of an answer.
    pub(super) fn fail(self, status: StatusCode, code: Code) -> Response<Answer> {
        let words = format!("{} {} ({code:?})\n", status.as_u16(), code.description());
        let mut response = self.say(status, code, "text/plain; charset=utf-8", words.into());
        let headers = response.headers_mut();
        if status.is_client_error() || status == StatusCode::HTTP_VERSION_NOT_SUPPORTED {
            // What follows on this connection cannot be trusted to begin where we think.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static(headers::ALLOWED));
        }
        response
    }

    /// The page of `slug maintenance on`.
    pub(super) fn maintain(self, page: Bytes) -> Response<Answer> {
        let code = Code::H80;
        let mut response = self.say(code.status(), code, "text/html; charset=utf-8", page);
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn say(
        mut self,
        status: StatusCode,
        code: Code,
        kind: &'static str,
        body: Bytes,
    ) -> Response<Answer> {
        // Who went away reads no status.
        let noted = if code == Code::H27 {
            CLIENT_CLOSED
        } else {
            status.as_u16()
        };
        self.entry.status = noted;
        self.blame(code);
        self.count(body.len() as u64);
        self.is_complete = true;
        let mut response = Response::new(Answer::Words(Full::new(body)));
        *response.status_mut() = status;
        let kind = HeaderValue::from_static(kind);
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_complete {
            self.blame(Code::H27);
        }
        self.journal.note(&self.entry);
    }
}
