//! Bodies on their way through: never gathered, each byte passed on when there
//! is room for it. They tell how far a request has come, and end it.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;
use std::time::Instant;

use http_body_util::Full;
use hyper::body::Body;
use hyper::body::Bytes;
use hyper::body::Frame;
use hyper::body::Incoming;
use hyper::body::SizeHint;
use hyper::client::conn::http1::SendRequest;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::code::Code;
use super::pool::Pool;
use super::table::Lane;
use super::ticket::Ticket;

/// An answer that stands still for so long is broken off (Heroku's H15).
pub const STILL_MAX: Duration = Duration::from_secs(55);

/// A client's body, on its way to the app.
pub(super) struct Upload {
    /// None: there never was a body.
    inner: Option<Incoming>,
    progress: Arc<Progress>,
    /// While the client waits for `100 Continue`: until the app says so, or has said nothing for long enough.
    gate: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

/// How an upload gets on; seen from outside.
pub(super) struct Progress {
    begun: Instant,
    last_ms: AtomicU64,
    turn: AtomicU8,
}

/// Whose turn it is in an upload, or who spoiled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Turn {
    /// The app's: it has all, or reads no more for now.
    App,
    /// The client's: the app waits for it.
    Client,
    /// Nobody's: the client sent what is no body.
    Bad,
    /// Nobody's: the client is gone.
    Gone,
}

impl Upload {
    pub(super) fn new(inner: Incoming) -> Self {
        let progress = Progress {
            begun: Instant::now(),
            last_ms: AtomicU64::new(0),
            turn: AtomicU8::new(Turn::App as u8),
        };
        Self {
            inner: Some(inner),
            progress: Arc::new(progress),
            gate: None,
        }
    }

    /// For another attempt at a request that has no body.
    pub(super) fn empty(of: &Self) -> Self {
        Self {
            inner: None,
            progress: of.progress(),
            gate: None,
        }
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Is not sent before the app wants it, or has been silent for so long.
    pub(super) fn wait_until(&mut self, wanted: Arc<Notify>, at_most: Duration) {
        self.gate = Some(Box::pin(async move {
            let _ = timeout(at_most, wanted.notified()).await; // silence is consent
        }));
    }
}

impl Progress {
    /// When the last byte was passed on, the turn changed, or the request began.
    pub(super) fn last(&self) -> Instant {
        self.begun + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }

    pub(super) fn turn(&self) -> Turn {
        let turn = self.turn.load(Ordering::Relaxed);
        let mut all = [Turn::Client, Turn::Bad, Turn::Gone].into_iter();
        all.find(|other| *other as u8 == turn).unwrap_or(Turn::App)
    }

    fn step(&self, turn: Turn) {
        let passed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(passed, Ordering::Relaxed);
        self.turn.store(turn as u8, Ordering::Relaxed);
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(gate) = &mut self.gate {
            ready!(gate.as_mut().poll(cx));
            self.gate = None;
        }
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Err(error))) => self.progress.step(spoiler(error)),
            Poll::Ready(_) => self.progress.step(Turn::App),
            Poll::Pending if self.progress.turn() == Turn::App => self.progress.step(Turn::Client),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

/// A body that ends early is a client's that went away; one that cannot be read is bad.
fn spoiler(error: &hyper::Error) -> Turn {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>());
    let is_bad = cause.is_some_and(|cause| {
        matches!(
            cause.kind(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
        )
    });
    if is_bad { Turn::Bad } else { Turn::Gone }
}

/// What a client gets: an answer of the app, or a few words of the router's own.
pub(super) enum Answer {
    /// The router's own.
    Words(Full<Bytes>),
    /// The app's.
    Stream(Box<Stream>),
}

/// An answer of the app on its way to the client. Dropping it ends the request.
pub(super) struct Stream {
    pub(super) inner: Incoming,
    pub(super) ticket: Ticket,
    pub(super) connection: Option<SendRequest<Upload>>,
    pub(super) pool: Rc<Pool>,
    /// Set only while nothing comes, so that a quick answer costs no timer.
    pub(super) still: Option<Pin<Box<dyn Future<Output = Code>>>>,
}

/// The app broke off its answer, or the router did.
#[derive(Debug)]
pub(super) enum Broken {
    App(hyper::Error),
    Off(Code),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App(error) => error.fmt(f),
            Self::Off(code) => f.write_str(code.description()),
        }
    }
}

impl std::error::Error for Broken {}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        Self::other(broken)
    }
}

impl Answer {
    /// No body.
    pub(super) fn empty() -> Self {
        Self::Words(Full::default())
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Words(words) => Pin::new(words)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Self::Stream(stream) => stream.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Words(words) => words.is_end_stream(),
            Self::Stream(stream) => stream.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Words(words) => words.size_hint(),
            Self::Stream(stream) => stream.inner.size_hint(),
        }
    }
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.still = None;
                self.ticket
                    .count(frame.data_ref().map_or(0, Bytes::len) as u64);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.ticket.blame(Code::H18);
                Poll::Ready(Some(Err(Broken::App(error))))
            }
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let lane = self.ticket.lane();
                let still = self
                    .still
                    .get_or_insert_with(|| Box::pin(stands_still(lane.cloned())));
                let code = ready!(still.as_mut().poll(cx));
                self.ticket.blame(code);
                Poll::Ready(Some(Err(Broken::Off(code))))
            }
        }
    }

    /// The answer came whole: its connection can have another.
    fn end(&mut self) {
        self.ticket.complete();
        if let (Some(connection), Some(lane)) = (self.connection.take(), self.ticket.lane()) {
            self.pool.put(lane, connection);
        }
    }
}

/// Until an answer of which nothing comes is broken off, and why.
async fn stands_still(lane: Option<Arc<Lane>>) -> Code {
    let cut = async {
        match lane {
            Some(lane) => lane.cut().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = tokio::time::sleep(STILL_MAX) => Code::H15,
        () = cut => Code::H24,
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // hyper does not ask again after the frame that it knows to be the last.
        if self.inner.is_end_stream() {
            self.end();
        }
    }
}
