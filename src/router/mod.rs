//! The public listener in front of the routed processes: HTTP/1.1, in this
//! process, one single-threaded runtime a core. Gets its routes handed in;
//! knows no release and no process.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// Where the router listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `127.0.0.1:8080`, `[::]:80`.
    Tcp(SocketAddr),
    /// A unix socket by its path: `unix:/run/shop.sock`, or any text with a `/`.
    Unix(PathBuf),
}

/// The text is not an address to listen at.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not an address to listen at (expected `127.0.0.1:8080`, `[::]:80`, `:8080` or the path of a unix socket)"
)]
pub struct BadListen(String);

impl FromStr for Listen {
    type Err = BadListen;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let _ = text;
        todo!()
    }
}

/// Peers whose `X-Forwarded-*` and `Forwarded` are kept: an address, or a network such as `10.0.0.0/8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedProxy {
    network: IpAddr,
    bits: u8,
}

/// The text is not an address or a network.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not an address or a network (expected such as `10.1.2.3` or `10.0.0.0/8`)")]
pub struct BadTrustedProxy(String);

impl FromStr for TrustedProxy {
    type Err = BadTrustedProxy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let _ = text;
        todo!()
    }
}

/// What the router is given.
pub struct RouterOptions {
    /// At least one.
    pub listen: Vec<Listen>,
    /// Besides loopback and unix peers.
    pub trusted: Vec<TrustedProxy>,
    /// How many threads; one a core is best.
    pub threads: usize,
    /// Gets access lines, whole, each with its newline; must not wait.
    pub access: Arc<dyn Fn(Vec<u8>) + Send + Sync>,
}

/// Why the router does not listen.
#[derive(Debug, Error)]
pub enum RouterError {
    /// The address could not be had.
    #[error("could not listen at {at}")]
    Listen {
        /// Which.
        at: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The threads could not be started.
    #[error("could not start the router")]
    Start(#[from] std::io::Error),
}

/// Where requests may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Never used twice.
    pub id: u64,
    /// For the access line: `web.1`.
    pub instance: String,
    /// For the access line: `v3`.
    pub release: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The running router. Dropping it does not stop it.
#[derive(Clone)]
pub struct Router {
    _todo: (),
}

impl Router {
    /// Listens and starts the threads. Until the first `route`, requests are held.
    pub fn start(options: RouterOptions) -> Result<Self, RouterError> {
        let _ = options;
        todo!()
    }

    /// Where it listens: the ports that the kernel chose for `:0` included.
    pub fn listening(&self) -> &[Listen] {
        todo!()
    }

    /// Replaces the whole table at one instant. With no target, requests are held if `hold`, refused otherwise.
    pub fn route(&self, targets: &[Target], hold: bool) {
        let _ = (targets, hold);
        todo!()
    }

    /// Calls `then` once no request is in flight at that target, which is no longer in the table.
    pub fn when_idle(&self, target: u64, then: Box<dyn FnOnce() + Send>) {
        let _ = (target, then);
        todo!()
    }

    /// Takes no new connection; idle ones are closed, the others end after their request.
    pub fn close(&self) {
        todo!()
    }
}
