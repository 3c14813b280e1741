//! The router as a process of its own: the supervisor's side.
//!
//! What parses the Internet's bytes holds no config value and none of the
//! supervisor's descriptors; a crash of it touches no app, and it is started
//! again; and it can outlive the program that the supervisor was (`upgrade`).
//! The supervisor keeps the listeners, so that a connection waits in the
//! kernel's queue while there is no router.

mod handed;
mod inside;
mod journal;
mod message;

use std::collections::HashMap;
use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use super::Listener;
use super::RouterError;
use super::Target;
use super::Then;
use super::TrustedProxy;
use crate::sys::channel;
use crate::sys::helper::Helper;
use crate::sys::sandbox::Exit;
use message::Heard;
use message::Order;
use message::Report;

pub use inside::main as process_main;

/// The name by which `main` knows that it was started as the router's process.
pub const PROCESS: &str = "slug-router";
/// How long a router's process may leave an order unanswered, or unread; then it is killed, and started again.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How soon after its last start it is started again, if it ends unasked.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// What the router's process is given.
pub struct ProcessOptions {
    /// This program: `/proc/self/exe`, but for tests.
    pub program: PathBuf,
    /// At least one.
    pub listeners: Vec<Listener>,
    /// Besides loopback and unix peers.
    pub trusted: Vec<TrustedProxy>,
    /// How many threads; one a core is best.
    pub threads: usize,
    /// Gets the reading end of each process's access lines: whole lines, to the end of the pipe.
    pub listen_to: Box<dyn Fn(OwnedFd) + Send + Sync>,
    /// Says a line about the router itself.
    pub say: Box<dyn Fn(&str) + Send + Sync>,
}

/// The router's process, as the supervisor holds it. Dropping the last clone leaves it running until this process ends.
#[derive(Clone)]
pub struct RouterProcess(Arc<Shared>);

struct Shared {
    options: ProcessOptions,
    /// Held while orders are sent: all processes get them in the same order.
    sending: Mutex<()>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Those that run; the last one takes new connections.
    processes: Vec<Live>,
    next_key: u64,
    /// The last table, and its number.
    table: Option<(Vec<Target>, bool)>,
    number: u64,
    /// There is maintenance.
    page: Option<String>,
    waiting: HashMap<u64, Then>,
    is_closing: bool,
    /// Another program of the supervisor's process is to go on with it.
    is_handed_over: bool,
    /// A router ended unasked and its successor is not there yet.
    is_restarting: bool,
}

/// A process that runs.
struct Live {
    key: u64,
    helper: Arc<Helper>,
    channel: Arc<OwnedFd>,
    /// The last table that it said it has.
    routed: u64,
    /// Targets whose idleness it was asked for, and has not told.
    asked: HashSet<u64>,
}

impl RouterProcess {
    /// Starts the process. Until the first `route`, requests are held.
    pub fn start(options: ProcessOptions) -> Result<Self, RouterError> {
        let shared = Arc::new(Shared {
            options,
            sending: Mutex::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        launch(&shared)?;
        Ok(Self(shared))
    }

    /// Its process id, for people.
    pub fn pid(&self) -> Option<u32> {
        let state = lock(&self.0.state);
        state.processes.last().map(|live| live.helper.pid())
    }

    /// Where it listens.
    pub fn listening(&self) -> impl Iterator<Item = &super::Listen> {
        self.0.options.listeners.iter().map(Listener::at)
    }

    /// Replaces the whole table at one instant: when this returns, no request is routed by an earlier one. With no
    /// target, requests are held if `hold`, refused otherwise. Takes a fraction of a millisecond; a process that does
    /// not answer is killed after 5 s, and its successor begins with this table.
    pub fn route(&self, targets: &[Target], hold: bool) {
        let sending = lock(&self.0.sending);
        let number = {
            let mut state = lock(&self.0.state);
            state.number += 1;
            state.table = Some((targets.to_vec(), hold));
            state.number
        };
        let order = Order::Route {
            number,
            targets: targets.to_vec(),
            hold,
        };
        self.0.tell_all(&order);
        drop(sending);
        self.0.wait_until_routed(number);
    }

    /// Calls `then`, on a thread of the router's, once no request is in flight at that target, which is no longer in the table.
    pub fn when_idle(&self, target: u64, then: Then) {
        let _sending = lock(&self.0.sending);
        let mut asked = Vec::new();
        {
            let mut state = lock(&self.0.state);
            state.waiting.insert(target, then);
            for live in &mut state.processes {
                if live.asked.insert(target) {
                    asked.push(live.handle());
                }
            }
        }
        self.0.tell(&asked, &Order::WhenIdle { target });
        // With no process there is no request.
        self.0.call_the_idle();
    }

    /// Ends what is in flight at a target that is no longer in the table: websockets by a close frame, other upgraded
    /// connections and answers that have begun where they are, requests without an answer by a 504 (H24).
    pub fn cut(&self, target: u64) {
        let _sending = lock(&self.0.sending);
        self.0.tell_all(&Order::Cut { target });
    }

    /// With a page: every request is answered by it and a 503 (H80). Without: they go to targets again.
    pub fn maintenance(&self, page: Option<String>) {
        let _sending = lock(&self.0.sending);
        lock(&self.0.state).page.clone_from(&page);
        self.0.tell_all(&Order::Maintain { page });
    }

    /// Takes no new connection; idle ones are closed, the others end after their request.
    pub fn close(&self) {
        let _sending = lock(&self.0.sending);
        lock(&self.0.state).is_closing = true;
        self.0.options.listeners.iter().for_each(Listener::unlink);
        self.0.tell_all(&Order::Close);
        self.0.changed.notify_all();
    }

    /// After `close`: waits until every connection has ended, for at most `patience`, and kills what is left then.
    pub fn join(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let is_left = |state: &mut State| !state.processes.is_empty() || state.is_restarting;
        let state = self.0.wait_while(deadline, is_left);
        for live in &state.processes {
            live.helper.kill();
        }
        state.processes.is_empty()
    }
}

/// What an order is sent by, without the state's lock.
type Handle = (Arc<Helper>, Arc<OwnedFd>);

impl State {
    /// No process is to be started any more.
    fn is_over(&self) -> bool {
        self.is_closing || self.is_handed_over
    }
}

impl Live {
    fn handle(&self) -> Handle {
        (Arc::clone(&self.helper), Arc::clone(&self.channel))
    }
}

impl Shared {
    fn tell_all(&self, order: &Order) {
        let state = lock(&self.state);
        let all: Vec<Handle> = state.processes.iter().map(Live::handle).collect();
        drop(state);
        self.tell(&all, order);
    }

    /// A process that has ended gets nothing, one that does not read is killed: its thread sees both.
    fn tell(&self, processes: &[Handle], order: &Order) {
        for (helper, channel) in processes {
            match message::tell(channel.as_fd(), order, &[]) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                Err(error) => {
                    (self.options.say)(&format!("the router takes no orders: {error}"));
                    helper.kill();
                }
            }
        }
    }

    fn wait_until_routed(&self, number: u64) {
        let is_behind = |state: &mut State| state.processes.iter().any(|live| live.routed < number);
        let state = self.wait_while(Instant::now() + SILENCE_MAX, is_behind);
        for live in state.processes.iter().filter(|live| live.routed < number) {
            (self.options.say)("the router does not answer, and is killed");
            live.helper.kill();
        }
    }

    fn wait_while(
        &self,
        deadline: Instant,
        goes_on: impl FnMut(&mut State) -> bool,
    ) -> MutexGuard<'_, State> {
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self
            .changed
            .wait_timeout_while(lock(&self.state), left, goes_on);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// What one process tells, until it ends.
    fn listen(&self, key: u64, channel: &OwnedFd) {
        loop {
            let report = match message::hear(channel.as_fd()) {
                Ok(Heard::Message(report, _)) => report,
                Ok(Heard::Unknown) => continue,
                Ok(Heard::Closed) | Err(_) => return,
            };
            let mut state = lock(&self.state);
            let Some(live) = state.processes.iter_mut().find(|live| live.key == key) else {
                return;
            };
            match report {
                Report::Serving | Report::Failed { .. } => {} // was heard by `launch`
                Report::Routed { number } => live.routed = number,
                Report::Idle { target } => drop(live.asked.remove(&target)),
            }
            drop(state);
            self.changed.notify_all();
            self.call_the_idle();
        }
    }

    /// Calls what waits for a target at which no process has a request.
    fn call_the_idle(&self) {
        let mut state = lock(&self.state);
        let State {
            processes, waiting, ..
        } = &mut *state;
        let is_idle = |target: &u64| !processes.iter().any(|live| live.asked.contains(target));
        let idle: Vec<Then> = waiting
            .extract_if(|target, _| is_idle(target))
            .map(|(_, then)| then)
            .collect();
        drop(state);
        for then in idle {
            then();
        }
    }
}

/// Starts a process, waits until it serves, gives it the table.
fn launch(shared: &Arc<Shared>) -> Result<(), RouterError> {
    let begun = Instant::now();
    let _sending = lock(&shared.sending);
    if lock(&shared.state).is_over() {
        return Ok(());
    }
    let (helper, channel) = spawn(&shared.options)?;
    let (table, page) = {
        let state = lock(&shared.state);
        let table = state.table.clone().map(|table| (state.number, table));
        (table, state.page.clone())
    };
    if page.is_some() {
        message::tell(channel.as_fd(), &Order::Maintain { page }, &[])?;
    }
    if let Some((number, (targets, hold))) = table {
        let order = Order::Route {
            number,
            targets,
            hold,
        };
        message::tell(channel.as_fd(), &order, &[])?;
    }
    Ok(attend(shared, helper, channel, begun)?)
}

/// From now on the process is one of those that run: it gets orders, and is listened to until it ends.
fn attend(
    shared: &Arc<Shared>,
    helper: Helper,
    channel: OwnedFd,
    begun: Instant,
) -> io::Result<()> {
    let (helper, channel) = (Arc::new(helper), Arc::new(channel));
    let key = {
        let mut state = lock(&shared.state);
        state.next_key += 1;
        let key = state.next_key;
        state.processes.push(Live {
            key,
            helper: Arc::clone(&helper),
            channel: Arc::clone(&channel),
            routed: 0,
            asked: HashSet::new(),
        });
        key
    };
    let listening = Arc::clone(shared);
    let listen = move || {
        listening.listen(key, &channel);
        ended(&listening, key, &helper, begun);
    };
    let thread = thread::Builder::new().name("slug-router".to_owned());
    thread.spawn(listen).map(drop)
}

fn spawn(options: &ProcessOptions) -> io::Result<(Helper, OwnedFd)> {
    let (ours, theirs) = channel::pair()?;
    for timeout in [
        rustix::net::sockopt::Timeout::Send,
        rustix::net::sockopt::Timeout::Recv,
    ] {
        rustix::net::sockopt::set_socket_timeout(&ours, timeout, Some(SILENCE_MAX))?;
    }
    let order = Order::Serve {
        threads: options.threads,
        trusted: options.trusted.iter().map(ToString::to_string).collect(),
    };
    let sockets: Vec<_> = options.listeners.iter().map(|one| one.as_fd()).collect();
    message::tell(ours.as_fd(), &order, &sockets)?;
    let (reading, writing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let helper = Helper::spawn(&options.program, PROCESS, theirs, writing)?;
    (options.listen_to)(reading);
    let failed = |why: &str| {
        helper.kill();
        helper.wait();
        Err(io::Error::other(why.to_owned()))
    };
    match message::hear(ours.as_fd())? {
        Heard::Message(Report::Serving, _) => {}
        Heard::Message(Report::Failed { why }, _) => return failed(&why),
        Heard::Message(..) | Heard::Unknown => return failed("its process answers something else"),
        Heard::Closed => return failed("its process ended, or did not answer in time"),
    }
    rustix::net::sockopt::set_socket_timeout(&ours, rustix::net::sockopt::Timeout::Recv, None)?;
    Ok((helper, ours))
}

/// One process has ended: asked, or by a fault, after which another is started.
fn ended(shared: &Arc<Shared>, key: u64, helper: &Helper, begun: Instant) {
    helper.kill(); // if it only closed the channel
    let exit = helper.wait();
    let mut state = lock(&shared.state);
    state.processes.retain(|live| live.key != key);
    // One that was retired ends when its last connection has; the one that took its place goes on.
    let is_unasked = !state.is_over() && state.processes.is_empty();
    state.is_restarting = is_unasked;
    drop(state);
    shared.changed.notify_all();
    // What was in flight there has ended with it.
    shared.call_the_idle();
    if !is_unasked {
        return;
    }
    let how = match exit {
        Some(Exit::Signal(signal)) => format!("was ended by signal {signal}"),
        Some(Exit::Code(code)) => format!("ended with {code}"),
        None => "ended".to_owned(),
    };
    (shared.options.say)(&format!("the router {how}, and is started again"));
    keep_starting(shared, begun + RESTART_PAUSE);
}

/// Starts a process where none is left, on a thread of its own.
fn start_again(shared: &Arc<Shared>, due: Instant) {
    lock(&shared.state).is_restarting = true;
    let starting = Arc::clone(shared);
    let thread = thread::Builder::new().name("slug-router".to_owned());
    if let Err(error) = thread.spawn(move || keep_starting(&starting, due)) {
        lock(&shared.state).is_restarting = false;
        (shared.options.say)(&format!("the router cannot be started again: {error}"));
    }
}

/// Tries from `due` on until one serves, or none is wanted any more.
fn keep_starting(shared: &Arc<Shared>, mut due: Instant) {
    loop {
        drop(shared.wait_while(due, |state| !state.is_over()));
        match launch(shared) {
            Ok(()) => break,
            Err(error) => (shared.options.say)(&format!("{error}: {}", cause(&error))),
        }
        due = Instant::now() + RESTART_PAUSE;
    }
    lock(&shared.state).is_restarting = false;
    shared.changed.notify_all();
}

fn cause(error: &RouterError) -> String {
    std::error::Error::source(error).map_or_else(String::new, ToString::to_string)
}

/// A poisoned lock means a panic between two whole changes: the state is sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
