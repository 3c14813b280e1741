//! A thread of the router: one runtime, every listener, the connections that it took.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::runtime::Runtime;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::Phase;
use super::framing::HEAD_BYTES_MAX;
use super::framing::HEADERS_MAX;
use super::headers::Peer;
use super::listen::Bound;
use super::proxy::Thread;
use super::screen::Screen;

/// How many connections one thread has open at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 10_000;
/// How long a client may take to send a head, and how long it may keep a connection without a request (Heroku: 90 s).
const CLIENT_IDLE_MAX: Duration = Duration::from_secs(90);
/// How long accepting pauses when there is no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Serves until it is retired or closed, and then until the last connection has ended.
pub(super) fn run(
    runtime: &Runtime,
    bound: Vec<Bound>,
    thread: Thread,
    phase: &watch::Receiver<Phase>,
) -> io::Result<()> {
    let local = LocalSet::new();
    let journal = thread.journal.clone();
    let thread = Rc::new(thread);
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let served: io::Result<()> = local.block_on(runtime, async {
        tokio::task::spawn_local(journal.clone().run());
        let mut accepting = Vec::new();
        for bound in bound {
            let (thread, connections, phase) =
                (Rc::clone(&thread), Arc::clone(&connections), phase.clone());
            accepting.push(match bound {
                Bound::Tcp(listener) => {
                    let listener = tokio::net::TcpListener::from_std(listener)?;
                    tokio::task::spawn_local(accept_tcp(listener, thread, connections, phase))
                }
                Bound::Unix(listener) => {
                    let listener = tokio::net::UnixListener::from_std(listener)?;
                    tokio::task::spawn_local(accept_unix(listener, thread, connections, phase))
                }
            });
        }
        for task in accepting {
            // A panic in it has ended one listener of one thread; the others go on.
            let _ = task.await;
        }
        let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
        let _ = connections.acquire_many(all).await;
        Ok(())
    });
    journal.flush();
    served
}

async fn accept_tcp(
    listener: tokio::net::TcpListener,
    thread: Rc<Thread>,
    connections: Arc<Semaphore>,
    mut phase: watch::Receiver<Phase>,
) {
    let port = listener.local_addr().map_or(0, |address| address.port());
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = phase.wait_for(|phase| *phase > Phase::Serving) => return,
        };
        let Ok((stream, address)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await; // the client has gone, or no descriptor is left
            continue;
        };
        let _ = stream.set_nodelay(true);
        let peer = Peer::Tcp {
            address: address.ip(),
            port,
        };
        let (thread, phase) = (Rc::clone(&thread), phase.clone());
        tokio::task::spawn_local(async move {
            serve(stream, permit, peer, thread, phase).await;
        });
    }
}

async fn accept_unix(
    listener: tokio::net::UnixListener,
    thread: Rc<Thread>,
    connections: Arc<Semaphore>,
    mut phase: watch::Receiver<Phase>,
) {
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = phase.wait_for(|phase| *phase > Phase::Serving) => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (thread, phase) = (Rc::clone(&thread), phase.clone());
        tokio::task::spawn_local(async move {
            serve(stream, permit, Peer::Unix, thread, phase).await;
        });
    }
}

/// One connection of a client, to its end.
async fn serve<S>(
    stream: S,
    permit: OwnedSemaphorePermit,
    peer: Peer,
    thread: Rc<Thread>,
    mut phase: watch::Receiver<Phase>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let thread = Rc::clone(&thread);
        async move { Ok::<_, Infallible>(thread.handle(peer, request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(CLIENT_IDLE_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    let connection = http
        .serve_connection(TokioIo::new(Screen::new(stream, permit)), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    // What goes wrong on a client's connection is in the access line of its request, or no request was made.
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = phase.wait_for(|phase| *phase == Phase::Closing) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
