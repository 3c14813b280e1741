//! An upgraded connection: bytes both ways, each side's end passed on by itself,
//! for as long as both like. An idle one costs no buffer and is never timed out.
//!
//! When its target's time is over (`Lane::cut`) it is closed as the protocol has
//! it: a websocket gets a close frame between two frames, and its end when the
//! client has answered; what else it may be ends where it is. Never by a reset.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::pin::pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::time::timeout;

use super::code::Code;
use super::frames::Frames;
use super::frames::GOING_AWAY;
use super::ticket::Ticket;

/// How long a client may take to answer the router's close frame.
pub const CLOSE_REPLY_MAX: Duration = Duration::from_secs(2);
/// How long both sides may take to close what was closed to them.
pub const CLOSE_MAX: Duration = Duration::from_secs(3);
/// How much is read at once.
const PIECE_BYTES: usize = 16 * 1024;

/// Bytes both ways, until both sides have ended or the target is cut.
pub(super) async fn relay(
    theirs: OnUpgrade,
    ours: OnUpgrade,
    is_websocket: bool,
    mut ticket: Ticket,
) {
    let (Ok(client), Ok(app)) = (theirs.await, ours.await) else {
        return ticket.blame(Code::H18);
    };
    let mut tunnel = Tunnel {
        client: TokioIo::new(client),
        app: TokioIo::new(app),
        down: Way::new(is_websocket),
        up: Way::new(is_websocket),
    };
    let cut = ticket.lane().cloned();
    let cut = async {
        match cut {
            Some(lane) => lane.cut().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased; // what comes after the cut is not read before it
        () = cut => {
            ticket.blame(Code::H24);
            tunnel.take_leave().await;
        }
        flowed = poll_fn(|cx| tunnel.poll_flow(cx)) => match flowed {
            Ok(()) => {}
            Err(Side::Client) => ticket.blame(Code::H27),
            Err(Side::App) => ticket.blame(Code::H18),
        },
    }
    tunnel.end().await;
    ticket.count(tunnel.down.passed);
    ticket.complete();
}

/// Who broke a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    App,
}

/// A client, an app, and the two ways between them.
struct Tunnel {
    client: TokioIo<Upgraded>,
    app: TokioIo<Upgraded>,
    /// From the app to the client.
    down: Way,
    /// From the client to the app.
    up: Way,
}

impl Tunnel {
    fn poll_flow(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Side>> {
        let down = self.poll_down(cx)?;
        let up = self.poll_up(cx)?;
        ready!(down);
        // A websocket whose server has ended is over (RFC 6455, 7.1.1); other protocols may go on half.
        if self.down.frames.is_none() {
            ready!(up);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Side>> {
        let passed = self.down.poll(cx, &mut self.app, &mut self.client);
        match passed {
            Poll::Ready(Err(Fault::Read)) => Poll::Ready(Err(Side::App)),
            // A client that had ended, and does not listen either: the answer is over.
            Poll::Ready(Err(Fault::Write)) if !self.up.is_eof => Poll::Ready(Err(Side::Client)),
            Poll::Ready(_) => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Side>> {
        let passed = self.up.poll(cx, &mut self.client, &mut self.app);
        match passed {
            Poll::Ready(Err(Fault::Read)) => Poll::Ready(Err(Side::Client)),
            Poll::Ready(Err(Fault::Write)) if !self.down.is_eof => Poll::Ready(Err(Side::App)),
            Poll::Ready(_) => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The last words: of a websocket a close frame, and its answer; of others what was read already.
    async fn take_leave(&mut self) {
        self.down.close();
        let said = poll_fn(|cx| {
            let _ = self.poll_down(cx)?;
            let _ = self.poll_up(cx)?;
            let is_over = self.down.is_over() && self.up.is_over();
            if is_over {
                Poll::Ready(Ok::<(), Side>(()))
            } else {
                Poll::Pending
            }
        });
        // Whoever does not answer, or is gone, is not waited for.
        let _ = timeout(CLOSE_REPLY_MAX, said).await;
    }

    /// Tells both sides that no more comes, and reads what they still send: closing with bytes unread would be a reset.
    async fn end(&mut self) {
        let Self { client, app, .. } = self;
        let _ = timeout(CLOSE_MAX, async {
            tokio::join!(finish(client), finish(app))
        })
        .await;
    }
}

async fn finish(stream: &mut TokioIo<Upgraded>) {
    let shut = poll_fn(|cx| Pin::new(&mut *stream).poll_shutdown(cx)).await;
    if shut.is_ok() {
        while matches!(read(stream, |_| ()).await, Ok(1..)) {}
    }
}

async fn read<R: AsyncRead + Unpin>(
    from: &mut R,
    mut take: impl FnMut(&[u8]),
) -> io::Result<usize> {
    poll_fn(|cx| poll_read(cx, from, &mut take)).await
}

/// Reads into a buffer that is there only for the call.
fn poll_read<R: AsyncRead + Unpin>(
    cx: &mut Context<'_>,
    from: &mut R,
    mut take: impl FnMut(&[u8]),
) -> Poll<io::Result<usize>> {
    let mut piece = [MaybeUninit::uninit(); PIECE_BYTES];
    let mut piece = ReadBuf::uninit(&mut piece);
    ready!(Pin::new(from).poll_read(cx, &mut piece))?;
    take(piece.filled());
    Poll::Ready(Ok(piece.filled().len()))
}

/// Which end of a way failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Read,
    Write,
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    /// Read, and not written yet: at most one piece, and a close frame.
    unsent: Vec<u8>,
    /// What of it was written.
    sent: usize,
    /// Only of a websocket.
    frames: Option<Frames>,
    is_eof: bool,
    is_shut: bool,
    leave: Leave,
    passed: u64,
}

/// How far a websocket's way is with its last word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Leave {
    #[default]
    No,
    /// The frame that is under way is passed on, then a close frame.
    Begun,
    /// The close frame is said: what comes after it is not passed on.
    Said,
}

impl Way {
    fn new(is_websocket: bool) -> Self {
        Self {
            frames: is_websocket.then(Frames::default),
            ..Self::default()
        }
    }

    /// From now on: the frame that is under way, a close frame, and nothing more.
    fn close(&mut self) {
        self.leave = Leave::Begun;
        self.pass(&[]);
    }

    /// Has it no more to say that is worth waiting for?
    fn is_over(&self) -> bool {
        let is_done = match &self.frames {
            None => true,
            Some(frames) => self.leave == Leave::Said || frames.has_closed() || self.is_eof,
        };
        is_done && self.unsent.is_empty()
    }

    /// Ready when one side has ended and the other was told.
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
    ) -> Poll<Result<(), Fault>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            ready!(self.poll_send(cx, to)).map_err(|_| Fault::Write)?;
            if self.is_shut {
                return Poll::Ready(Ok(()));
            }
            if self.is_eof {
                ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(|_| Fault::Write)?;
                self.is_shut = true;
                return Poll::Ready(Ok(()));
            }
            let read = ready!(poll_read(cx, from, |bytes| self.pass(bytes)));
            self.is_eof = read.map_err(|_| Fault::Read)? == 0;
        }
    }

    /// Writes all that is unsent.
    fn poll_send<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.unsent.len() {
            let mut to = pin!(&mut *to);
            let written = ready!(to.as_mut().poll_write(cx, &self.unsent[self.sent..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
            self.passed += written as u64;
        }
        if !self.unsent.is_empty() {
            (self.unsent, self.sent) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Queues what was read, as far as it is to be passed on.
    fn pass(&mut self, bytes: &[u8]) {
        match &mut self.frames {
            _ if self.leave == Leave::Said => {}
            Some(frames) if self.leave == Leave::Begun => {
                let end = frames.pass_to_boundary(bytes);
                self.unsent.extend_from_slice(&bytes[..end]);
                if frames.is_at_boundary() {
                    if !frames.has_closed() {
                        self.unsent.extend_from_slice(&GOING_AWAY);
                    }
                    self.leave = Leave::Said;
                }
            }
            frames => {
                if let Some(frames) = frames {
                    frames.pass(bytes);
                }
                self.unsent.extend_from_slice(bytes);
            }
        }
    }
}
