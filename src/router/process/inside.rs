//! The life of a router's process: does what it is told, until the channel closes.

use std::collections::HashSet;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use super::journal::AccessPipe;
use super::message;
use super::message::Heard;
use super::message::Order;
use super::message::Report;
use crate::router::Listener;
use crate::router::Router;
use crate::router::RouterOptions;
use crate::sys::helper;

/// The exit code of one that could not begin.
const FAILED: u8 = 1;
/// How long the last access lines may take to be written.
const FAREWELL: Duration = Duration::from_secs(1);
/// Longer than any connection: its end is waited for.
const FOR_EVER: Duration = Duration::from_hours(24 * 365);

/// `main` calls it, before any thread, when `argv[0]` is `PROCESS`. Standard input is the channel to the
/// supervisor, standard output the pipe of access lines.
pub fn main() -> ExitCode {
    let Ok(channel) = helper::settle() else {
        return ExitCode::from(FAILED); // started by nobody who would listen
    };
    let Ok(mut inside) = Inside::begin(channel) else {
        return ExitCode::from(FAILED);
    };
    inside.obey();
    inside.pipe.finish(FAREWELL);
    ExitCode::SUCCESS
}

struct Inside {
    channel: Arc<OwnedFd>,
    pipe: Arc<AccessPipe>,
    router: Router,
    /// Targets whose idleness is waited for: it is told once.
    awaited: Arc<Mutex<HashSet<u64>>>,
}

impl Inside {
    /// Takes the first order, and answers it.
    fn begin(channel: OwnedFd) -> std::io::Result<Self> {
        let output = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        let pipe = Arc::new(AccessPipe::new(output)?);
        let failed = |why: String| {
            let _ = message::tell(channel.as_fd(), &Report::Failed { why: why.clone() }, &[]);
            std::io::Error::other(why)
        };
        let Heard::Message(order, sockets) = message::hear(channel.as_fd())? else {
            return Err(failed("its first order is missing".to_owned()));
        };
        let router = serve(order, sockets, &pipe).map_err(failed)?;
        message::tell(channel.as_fd(), &Report::Serving, &[])?;
        Ok(Self {
            channel: Arc::new(channel),
            pipe,
            router,
            awaited: Arc::default(),
        })
    }

    /// Until the supervisor is gone, or all has ended that it asked to end.
    fn obey(&mut self) {
        loop {
            match message::hear(self.channel.as_fd()) {
                Ok(Heard::Message(order, _)) => self.act(order),
                Ok(Heard::Unknown) => {}
                Ok(Heard::Closed) | Err(_) => return,
            }
        }
    }

    fn act(&mut self, order: Order) {
        match order {
            Order::Serve { .. } => {} // it does
            Order::Route {
                number,
                targets,
                hold,
            } => {
                self.router.route(&targets, hold);
                self.tell(&Report::Routed { number });
            }
            Order::WhenIdle { target } => self.when_idle(target),
            Order::Maintain { page } => self.router.maintenance(page),
            Order::Cut { target } => self.router.cut(target),
            Order::Retire => {
                self.router.retire();
                self.end_when_done();
            }
            Order::Close => {
                self.router.close();
                self.end_when_done();
            }
        }
    }

    fn when_idle(&self, target: u64) {
        if !lock(&self.awaited).insert(target) {
            return;
        }
        let (channel, awaited) = (Arc::clone(&self.channel), Arc::clone(&self.awaited));
        let then = move || {
            lock(&awaited).remove(&target);
            // If nobody hears it, this process is about to end.
            let _ = message::tell(channel.as_fd(), &Report::Idle { target }, &[]);
        };
        self.router.when_idle(target, Box::new(then));
    }

    /// Ends `obey` when the last connection has ended.
    fn end_when_done(&self) {
        let (router, channel) = (self.router.clone(), Arc::clone(&self.channel));
        let wait = move || {
            router.join(FOR_EVER);
            let _ = rustix::net::shutdown(channel.as_fd(), rustix::net::Shutdown::Both);
        };
        // Without a thread to wait, it ends with the supervisor.
        let _ = thread::Builder::new()
            .name("slug-http-end".to_owned())
            .spawn(wait);
    }

    fn tell(&self, report: &Report) {
        // If nobody hears it, the next order is the end.
        let _ = message::tell(self.channel.as_fd(), report, &[]);
    }
}

fn serve(order: Order, sockets: Vec<OwnedFd>, pipe: &Arc<AccessPipe>) -> Result<Router, String> {
    let Order::Serve { threads, trusted } = order else {
        return Err("its first order is another".to_owned());
    };
    let trusted = trusted.iter().map(|text| text.parse());
    let trusted = trusted
        .collect::<Result<_, crate::router::BadTrustedProxy>>()
        .map_err(|bad| bad.to_string())?;
    let listeners = sockets
        .into_iter()
        .map(|socket| Listener::received(socket, true));
    let listeners = listeners
        .collect::<std::io::Result<_>>()
        .map_err(|error| format!("a listener: {error}"))?;
    let pipe = Arc::clone(pipe);
    let options = RouterOptions {
        listeners,
        trusted,
        threads,
        access: Arc::new(move |lines: Vec<u8>| pipe.write(&lines)),
    };
    Router::start(options).map_err(|error| error.to_string())
}

/// A poisoned lock means a panic between two whole changes: the state is sound.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
