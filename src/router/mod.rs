//! The public listener in front of the routed processes: HTTP/1.1, in a process of
//! its own (`process`), one single-threaded runtime a core. Gets its routes handed
//! in; knows no release and no process of the app.
//!
//! A request: `serve` takes its connection, `screen` looks at its bytes (`framing`
//! says what they are), `headers` makes it one for the app, `proxy` finds a target
//! in the `table` and a connection in the `pool`, `body` passes bytes both ways,
//! `tunnel` those of an upgraded connection (`frames` knows a websocket's), `ticket`
//! keeps what `access` writes into its line, with a `code` where something failed.

mod access;
mod address;
mod body;
mod code;
mod frames;
mod framing;
mod headers;
mod listen;
mod pool;
mod process;
mod proxy;
mod screen;
mod serve;
mod table;
mod ticket;
mod tunnel;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use thiserror::Error;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use access::Journal;
use listen::Bound;
use pool::Pool;
use proxy::Thread;
use table::Table;

pub use address::{BadListen, BadTrustedProxy, Listen, TrustedProxy};
pub use body::STILL_MAX;
pub use code::codes;
pub use framing::{HEAD_BYTES_MAX, HEADERS_MAX, LINE_BYTES_MAX};
pub use listen::Listener;
pub use process::{PROCESS, ProcessOptions, RouterProcess, process_main};
pub use proxy::{EXPECT_MAX, FIRST_BYTE_MAX, HELD_REQUESTS_MAX, HOLD_MAX};
pub use screen::{CLIENT_STILL_MAX, HEAD_MAX, LINGER_MAX};
pub use table::{Target, Then};
pub use ticket::RETRY_AFTER_S;
pub use tunnel::{CLOSE_MAX, CLOSE_REPLY_MAX};

/// What the router is given.
pub struct RouterOptions {
    /// At least one.
    pub listeners: Vec<Listener>,
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
        at: Listen,
        /// What the kernel said: `AddrInUse`, `PermissionDenied`, …
        source: io::Error,
    },
    /// A service manager handed over what is not such a socket.
    #[error("the socket `{name}` of LISTEN_FDS is {what}, not one that listens for streams")]
    Inherited {
        /// As `LISTEN_FDNAMES` says.
        name: String,
        /// What it is.
        what: String,
    },
    /// Its process, a thread or its runtime could not be made.
    #[error("could not start the router")]
    Start(#[from] io::Error),
}

/// The running router. Dropping the last clone does not stop it: `close` does.
#[derive(Clone)]
pub struct Router {
    table: Arc<Table>,
    phase: watch::Sender<Phase>,
    ended: Arc<Mutex<mpsc::Receiver<()>>>,
}

/// How near its end is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Retired,
    Closing,
}

impl Router {
    /// Listens and starts the threads. Until the first `route`, requests are held.
    pub fn start(options: RouterOptions) -> Result<Self, RouterError> {
        let RouterOptions {
            listeners,
            trusted,
            threads,
            access,
        } = options;
        let table = Arc::new(Table::new());
        let (phase, held) = (
            watch::Sender::new(Phase::Serving),
            Arc::new(AtomicUsize::new(0)),
        );
        let trusted: Arc<[TrustedProxy]> = trusted.into();
        let (end, ended) = mpsc::channel();
        for number in 0..threads.max(1) {
            // All that can fail is done here, where it can be told.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .enable_time()
                .build()?;
            let bound: Vec<Bound> = listeners
                .iter()
                .map(Listener::bound)
                .collect::<io::Result<_>>()?;
            let shared = (
                Arc::clone(&table),
                Arc::clone(&held),
                Arc::clone(&trusted),
                Arc::clone(&access),
            );
            let (phase, end) = (phase.subscribe(), end.clone());
            let name = format!("slug-http-{number}");
            thread::Builder::new().name(name).spawn(move || {
                let (table, held, trusted, access) = shared;
                let (routes, journal, pool) = (
                    table.watch(),
                    Journal::new(access),
                    Rc::new(Pool::default()),
                );
                let thread = Thread {
                    table,
                    routes,
                    held,
                    trusted,
                    journal,
                    pool,
                };
                run(&runtime, bound, thread, &phase);
                drop(end);
            })?;
        }
        Ok(Self {
            table,
            phase,
            ended: Arc::new(Mutex::new(ended)),
        })
    }

    /// Replaces the whole table at one instant. With no target, requests are held if `hold`, refused otherwise.
    pub fn route(&self, targets: &[Target], hold: bool) {
        self.table.replace(targets, hold);
    }

    /// Calls `then` once no request is in flight at that target, which is no longer in the table.
    pub fn when_idle(&self, target: u64, then: Then) {
        self.table.when_idle(target, then);
    }

    /// With a page: every request is answered by it and a 503 (H80). Without: they go to targets again.
    pub fn maintenance(&self, page: Option<String>) {
        self.table.maintain(page.map(Into::into));
    }

    /// Ends what is in flight at a target that is no longer in the table: websockets by a close frame, other upgraded
    /// connections and answers that have begun where they are, requests without an answer by a 504 (H24).
    pub fn cut(&self, target: u64) {
        self.table.cut(target);
    }

    /// Takes no new connection; those that are there go on for as long as their clients want.
    pub fn retire(&self) {
        self.advance(Phase::Retired);
    }

    /// Takes no new connection; idle ones are closed, the others end after their request.
    pub fn close(&self) {
        self.advance(Phase::Closing);
    }

    /// There is no way back.
    fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let is_ahead = *phase < to;
            *phase = to.max(*phase);
            is_ahead
        });
    }

    /// After `retire` or `close`: waits until every connection has ended and every access line was handed over, for at most `patience`.
    pub fn join(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let left = deadline.saturating_duration_since(Instant::now());
        matches!(
            ended.recv_timeout(left),
            Err(mpsc::RecvTimeoutError::Disconnected)
        )
    }
}

fn run(runtime: &Runtime, bound: Vec<Bound>, thread: Thread, phase: &watch::Receiver<Phase>) {
    let access = thread.journal.clone();
    if let Err(error) = serve::run(runtime, bound, thread, phase) {
        access.say(&format!("a thread of the router could not listen: {error}"));
    }
}
