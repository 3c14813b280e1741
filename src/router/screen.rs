//! A client's connection, every byte of it looked at before hyper sees it.
//!
//! A head is held back until it is whole, so that one that is refused can be
//! replaced by a request that says so (`headers::REFUSED`): it gets its answer in
//! turn, and its access line. A body that turns bad is broken off. A client that
//! sends a head, or takes an answer, too slowly is given up; one that still sends
//! when the connection is closed is read on for a while, because closing with
//! bytes unread is a reset, which would take the answer from it.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use hyper::Uri;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio::time::timeout;

use super::framing::Framing;
use super::framing::Refused;
use super::framing::Taken;
use super::headers;

/// How long a head may take from its first byte to its last (Heroku's H28).
pub const HEAD_MAX: Duration = Duration::from_secs(30);
/// How long a client may take none of an answer.
pub const CLIENT_STILL_MAX: Duration = Duration::from_secs(55);
/// How long a closed connection is read on while its client still sends.
pub const LINGER_MAX: Duration = Duration::from_secs(10);
/// How long a closed connection is read on while nothing comes.
const LINGER_STILL_MAX: Duration = Duration::from_secs(2);
/// The longest target of a refused request that is shown.
const SHOWN_BYTES_MAX: usize = 1024;

/// What a client's connection is to be.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// Why nothing more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// More is.
    No,
    /// The client has closed.
    Closed,
    /// It was refused. Not told as an end, which would be a client that went away from its answer.
    Refused,
}

/// A client's connection, looked at.
pub(super) struct Screen<T: Stream> {
    /// None only while it is dropped.
    inner: Option<T>,
    framing: Framing,
    /// A head whose end has not come.
    held: Vec<u8>,
    /// What is to be seen next, and how much of it was.
    ready: Vec<u8>,
    seen: usize,
    end: End,
    head_time: Option<Pin<Box<Sleep>>>,
    write_time: Option<Pin<Box<Sleep>>>,
    /// That one connection more is open, also once it is upgraded, when nobody but its tunnel has this. None only
    /// while it is dropped.
    permit: Option<OwnedSemaphorePermit>,
}

impl<T: Stream> Screen<T> {
    pub(super) fn new(inner: T, permit: OwnedSemaphorePermit) -> Self {
        Self {
            inner: Some(inner),
            framing: Framing::default(),
            held: Vec::new(),
            ready: Vec::new(),
            seen: 0,
            end: End::No,
            head_time: None,
            write_time: None,
            permit: Some(permit),
        }
    }

    /// Gives out what is ready; false if nothing is.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let left = &self.ready[self.seen..];
        if left.is_empty() {
            return false;
        }
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..count]);
        self.seen += count;
        if self.seen == self.ready.len() {
            (self.ready, self.seen) = (Vec::new(), 0);
        }
        true
    }

    /// Looks at what was read into the buffer from `before` on, and leaves there what may be seen.
    fn take(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let new = &buffer.filled()[before..];
        if new.is_empty() {
            self.end = End::Closed;
            return;
        }
        let Taken { whole, refused } = self.framing.take(new);
        if whole > 0 {
            self.head_time = None;
        }
        if self.held.is_empty() {
            self.held.extend_from_slice(&new[whole..]);
            buffer.set_filled(before + whole);
        } else {
            let (end, next) = new.split_at(whole);
            self.held.extend_from_slice(end);
            if whole > 0 {
                self.ready = std::mem::replace(&mut self.held, next.to_vec());
            } else {
                self.held.extend_from_slice(next);
            }
            buffer.set_filled(before);
        }
        if let Some(refused) = refused {
            self.refuse(refused);
        }
    }

    /// A head becomes a request that says so; a NUL is allowed in no line of a body, and in no trailer.
    fn refuse(&mut self, refused: Refused) {
        let head = std::mem::take(&mut self.held);
        self.end = End::Refused;
        if self.framing.is_at_head() {
            self.ready.extend_from_slice(&refusal(&head, refused));
        } else {
            self.ready.extend_from_slice(b"\0\r\n\r\n");
        }
    }
}

/// A request that is answered with its refusal. Method and path are the client's, for the access line.
fn refusal(head: &[u8], refused: Refused) -> Vec<u8> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let method = words.next().filter(|method| {
        (1..=20).contains(&method.len()) && method.iter().all(u8::is_ascii_uppercase)
    });
    let method = method.filter(|method| *method != b"CONNECT");
    let target = words.next().unwrap_or_default();
    let target = &target[..target.len().min(SHOWN_BYTES_MAX)];
    let target = Some(target).filter(|target| {
        target.starts_with(b"/")
            && target.iter().all(u8::is_ascii_graphic)
            && Uri::try_from(*target).is_ok()
    });
    let status = refused.status().as_u16().to_string();
    [
        method.unwrap_or(b"GET"),
        b" ",
        target.unwrap_or(b"/"),
        b" HTTP/1.1\r\nhost: refused\r\n",
        headers::REFUSED.as_str().as_bytes(),
        b": ",
        status.as_bytes(),
        b"\r\n\r\n",
    ]
    .concat()
}

impl<T: Stream> AsyncRead for Screen<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let before = buffer.filled().len();
        while !me.give(buffer) {
            match me.end {
                End::No => {}
                End::Closed => break,
                End::Refused => return Poll::Pending,
            }
            let Some(inner) = &mut me.inner else {
                break;
            };
            match Pin::new(inner).poll_read(cx, buffer) {
                Poll::Ready(read) => {
                    read?;
                    me.take(buffer, before);
                }
                Poll::Pending if me.held.is_empty() => return Poll::Pending,
                Poll::Pending => {
                    ready!(poll_time(&mut me.head_time, HEAD_MAX, cx));
                    me.refuse(Refused::Slow);
                }
            }
            if buffer.filled().len() > before {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Begins to count when it is asked first.
fn poll_time(
    time: &mut Option<Pin<Box<Sleep>>>,
    limit: Duration,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let time = time.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
    time.as_mut().poll(cx)
}

impl<T: Stream> Screen<T> {
    /// A write that nobody takes is given up in time.
    fn poll_out<R>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let me = self.get_mut();
        let Some(inner) = &mut me.inner else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let written = write(Pin::new(inner), cx);
        if written.is_pending() {
            ready!(poll_time(&mut me.write_time, CLIENT_STILL_MAX, cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        me.write_time = None;
        written
    }
}

impl<T: Stream> AsyncWrite for Screen<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_out(cx, |inner, cx| inner.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_out(cx, T::poll_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_out(cx, T::poll_shutdown)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_out(cx, |inner, cx| inner.poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.as_ref().is_some_and(T::is_write_vectored)
    }
}

impl<T: Stream> Drop for Screen<T> {
    fn drop(&mut self) {
        let may_send = match self.end {
            End::No => !self.framing.is_between(),
            End::Closed => false,
            End::Refused => true,
        };
        if let Some(inner) = self.inner.take().filter(|_| may_send)
            && let Ok(runtime) = Handle::try_current()
        {
            let permit = self.permit.take();
            runtime.spawn(async move {
                // What has not come by then is not read.
                let _ = timeout(LINGER_MAX, linger(inner)).await;
                drop(permit);
            });
        }
    }
}

/// Says that no more comes, and reads what still does.
async fn linger<T: Stream>(mut stream: T) {
    let shut = poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await;
    let mut is_open = shut.is_ok();
    while is_open {
        let read = timeout(LINGER_STILL_MAX, poll_fn(|cx| poll_drop(&mut stream, cx))).await;
        is_open = matches!(read, Ok(Ok(1..)));
    }
}

fn poll_drop<T: Stream>(stream: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut piece = [MaybeUninit::uninit(); 16 * 1024];
    let mut piece = ReadBuf::uninit(&mut piece);
    ready!(Pin::new(stream).poll_read(cx, &mut piece))?;
    Poll::Ready(Ok(piece.filled().len()))
}
