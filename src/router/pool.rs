//! Connections to targets that wait for their next request; each thread has its own.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;
use std::time::Instant;

use hyper::client::conn::http1;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::body::Upload;
use super::code::Code;
use super::table::Lane;

/// An idle connection is used no later than this: gunicorn closes its own after 2 s, and a request that
/// meets that close may be lost. Also frees a server that can serve one connection at a time.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// How often idle connections are looked through.
const SWEEP: Duration = Duration::from_millis(500);
/// How long a connection may take to be made (Heroku's H19).
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Idle connections by target.
#[derive(Default)]
pub(super) struct Pool {
    idle: RefCell<HashMap<u64, Vec<Idle>>>,
    is_swept: Cell<bool>,
}

struct Idle {
    sender: SendRequest<Upload>,
    since: Instant,
}

impl Pool {
    /// The connection that was used last, if there is one that can be used again. One that is not ready at once
    /// is still sending a body that its answer did not wait for: it is given up.
    pub(super) async fn take(&self, lane: &Lane) -> Option<SendRequest<Upload>> {
        loop {
            let Idle { sender, since } = self.idle.borrow_mut().get_mut(&lane.target.id)?.pop()?;
            if !sender.is_ready() {
                // An answer may end before the task of its connection has noticed: it gets one turn.
                tokio::task::yield_now().await;
            }
            if since.elapsed() < IDLE_MAX && sender.is_ready() && !sender.is_closed() {
                return Some(sender);
            }
        }
    }

    /// Keeps a connection whose answer was read whole.
    pub(super) fn put(self: &Rc<Self>, lane: &Lane, sender: SendRequest<Upload>) {
        if lane.is_retired() || sender.is_closed() {
            return;
        }
        let idle = Idle {
            sender,
            since: Instant::now(),
        };
        self.idle
            .borrow_mut()
            .entry(lane.target.id)
            .or_default()
            .push(idle);
        if !self.is_swept.replace(true) {
            tokio::task::spawn_local(Rc::clone(self).sweep());
        }
    }

    /// While there is any: a router that nobody asks does not wake up.
    async fn sweep(self: Rc<Self>) {
        while self.is_swept.get() {
            tokio::time::sleep(SWEEP).await;
            let mut idle = self.idle.borrow_mut();
            for connections in idle.values_mut() {
                connections
                    .retain(|idle| idle.since.elapsed() < IDLE_MAX && !idle.sender.is_closed());
            }
            idle.retain(|_, connections| !connections.is_empty());
            self.is_swept.set(!idle.is_empty());
        }
    }
}

/// A new connection to a target.
pub(super) async fn connect(lane: &Lane) -> Result<SendRequest<Upload>, Code> {
    let connecting = timeout(CONNECT_MAX, TcpStream::connect(lane.target.address)).await;
    let stream = connecting
        .map_err(|_| Code::H19)?
        .map_err(|error| code_of(&error))?;
    // Fails only on a socket that is dead, which the request will find out.
    let _ = stream.set_nodelay(true);
    let (sender, connection) = http1::handshake(TokioIo::new(Prompt::new(stream)))
        .await
        .map_err(|_| Code::H21)?;
    tokio::task::spawn_local(async move {
        // Whoever waits for the answer is told the error too.
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

fn code_of(error: &io::Error) -> Code {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Code::H21,
        io::ErrorKind::TimedOut => Code::H19,
        _ => Code::H99, // no descriptor, no port left: not the app's fault
    }
}

/// A connection to an app, whose packets are acknowledged at once. An app that writes head and body apiece
/// without `TCP_NODELAY` (Python's `http.server`, Ruby's) would hold the body back until the head is
/// acknowledged, which the kernel puts off by 40 ms on a connection that has been used before.
///
/// An app that answers early and closes (413) makes a write fail while its answer waits to be read: then the rest of the
/// request goes nowhere, and reading tells what there is to tell.
struct Prompt {
    stream: TcpStream,
    is_deaf: bool,
}

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Prompt {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            is_deaf: false,
        }
    }

    fn or_deaf(&mut self, written: Poll<io::Result<usize>>, all: usize) -> Poll<io::Result<usize>> {
        let is_refused = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
            )
        };
        if matches!(&written, Poll::Ready(Err(error)) if is_refused(error)) {
            self.is_deaf = true;
            return Poll::Ready(Ok(all));
        }
        written
    }

    /// The kernel forgets it after a while: it is said again with each request. Fails only on a dead socket.
    fn acknowledge_at_once(&self) {
        let _ = rustix::net::sockopt::set_tcp_quickack(&self.stream, true);
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.acknowledge_at_once();
        self.or_deaf(written, bytes.len())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = parts.iter().map(|part| part.len()).sum();
        if self.is_deaf {
            return Poll::Ready(Ok(all));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.acknowledge_at_once();
        self.or_deaf(written, all)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
