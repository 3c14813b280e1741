//! Connections to targets that wait for their next request; each thread has its own.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use std::time::Instant;

use hyper::client::conn::http1;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::access::Code;
use super::body::Upload;
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
    /// The connection that was used last, if there is one that can be used again.
    pub(super) async fn take(&self, lane: &Lane) -> Option<SendRequest<Upload>> {
        loop {
            let Idle { mut sender, since } =
                self.idle.borrow_mut().get_mut(&lane.target.id)?.pop()?;
            if since.elapsed() < IDLE_MAX && sender.ready().await.is_ok() {
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
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
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
