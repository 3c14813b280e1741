//! Traffic of every kind at once, and what became of it: short requests on connections of their own and on kept
//! ones, bodies in pieces, uploads and downloads that take seconds, websockets. Short requests come in an open loop:
//! each at its instant, whether those before it were answered or not.
//!
//! What counts as a failure: anything but the whole right answer; an answer by a release that had been replaced
//! before the request began; a kept connection that ends; a websocket that ends before its `drain`, or without a
//! close frame.

mod exchange;
mod requests;
mod websocket;

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use crate::support::wait;
use crate::support::world::World;

const SERVE: &str = include_str!("../switchboard.py");
/// How long websockets of a replaced release may go on: short, so that a test sees them end.
const DRAIN: Duration = Duration::from_secs(2);
/// Traffic ends by itself after that.
const TIME_MAX: Duration = Duration::from_mins(8);

impl World {
    /// Builds an app that answers all that `Traffic` asks. Gives the digest.
    #[track_caller]
    pub(crate) fn switchboard(&self, name: &str) -> String {
        let settings = format!("[process.web]\ndrain = \"{}s\"\n", DRAIN.as_secs());
        let app = self.app(
            &format!("switchboard-{name}"),
            &[
                ("Procfile", "web: /usr/bin/python3 serve\n"),
                ("serve", SERVE),
                ("name", name),
                ("slug.toml", &settings),
            ],
        );
        self.slug(&["build", app.to_str().unwrap()]).ok()
    }
}

/// What a client does until the traffic is over.
type Client = fn(&Arc<Shared>);

/// Clients of every kind, at work until `finish`.
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

/// What the clients know and tell.
struct Shared {
    address: SocketAddr,
    begun: Instant,
    is_over: AtomicBool,
    /// The release that answers alone by now: an answer of an earlier one comes too late.
    floor: AtomicU32,
    switches: Mutex<Vec<Switch>>,
    tally: Mutex<Tally>,
    answered: AtomicU64,
}

/// When the change of release was asked for, and when the command returned.
#[derive(Clone, Copy)]
struct Switch {
    begun: Instant,
    ended: Option<Instant>,
}

/// What became of it all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// How many of each kind were answered, whole and right.
    pub(crate) answered: std::collections::BTreeMap<&'static str, u64>,
    /// The longest that one took, from the instant at which it was due.
    pub(crate) longest: std::collections::BTreeMap<&'static str, Duration>,
    /// Websockets that were closed cleanly after their drain.
    pub(crate) drained_websockets: u64,
    /// All that failed: kind, when, how.
    pub(crate) failures: Vec<String>,
}

impl Traffic {
    /// Begins, at an address whose app is a `switchboard`.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            address,
            begun: Instant::now(),
            is_over: AtomicBool::new(false),
            floor: AtomicU32::new(0),
            switches: Mutex::default(),
            tally: Mutex::default(),
            answered: AtomicU64::new(0),
        });
        let kinds: [(usize, Client); 6] = [
            (1, requests::fresh),
            (4, requests::kept),
            (2, requests::posts),
            (2, requests::uploads),
            (2, requests::downloads),
            (3, websocket::echoes),
        ];
        let clients = kinds.into_iter().flat_map(|(count, client)| {
            let shared = &shared;
            (0..count).map(move |_| {
                let shared = Arc::clone(shared);
                thread::spawn(move || client(&shared))
            })
        });
        Self {
            clients: clients.collect(),
            shared,
        }
    }

    /// Changes the release by `change`, which gives the release that answers alone once it returns.
    pub(crate) fn switch(&self, change: impl FnOnce() -> u32) {
        let switches = || self.shared.switches.lock().unwrap();
        switches().push(Switch {
            begun: Instant::now(),
            ended: None,
        });
        let version = change();
        if let Some(switch) = switches().last_mut() {
            switch.ended = Some(Instant::now());
        }
        self.shared.floor.store(version, Ordering::SeqCst);
    }

    /// Waits until `more` requests have been answered from now on: the present state is under load for certain.
    #[track_caller]
    pub(crate) fn wait_for_more(&self, more: u64) {
        let goal = self.shared.answered.load(Ordering::Relaxed) + more;
        wait::until(Duration::from_mins(1), "answers under load", || {
            (self.shared.answered.load(Ordering::Relaxed) >= goal).then_some(())
        });
    }

    /// Ends it: what is under way is waited for.
    pub(crate) fn finish(self) -> Tally {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.join().unwrap();
        }
        self.shared.tally.lock().unwrap().clone()
    }
}

impl Tally {
    /// Nothing failed, and something of each kind was answered.
    #[track_caller]
    pub(crate) fn none_failed(&self) {
        assert!(
            self.failures.is_empty(),
            "{} failed: {:#?}\n{:?}\n{:?}",
            self.failures.len(),
            &self.failures[..self.failures.len().min(12)],
            self.answered,
            self.longest,
        );
        let kinds = [
            "fresh",
            "kept",
            "post",
            "upload",
            "download",
            "websocket echo",
        ];
        for kind in kinds {
            assert!(
                self.answered.get(kind).is_some_and(|count| *count > 0),
                "no {kind}: {:?}",
                self.answered
            );
        }
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst) || self.begun.elapsed() > TIME_MAX
    }

    /// The oldest release that may answer a request which begins now.
    fn floor(&self) -> u32 {
        self.floor.load(Ordering::SeqCst)
    }

    /// What became of one request that was due at `due`.
    fn settle(&self, kind: &'static str, due: Instant, outcome: Result<(), impl Display>) {
        let mut tally = self.tally.lock().unwrap();
        match outcome {
            Ok(()) => {
                *tally.answered.entry(kind).or_default() += 1;
                let longest = tally.longest.entry(kind).or_default();
                *longest = (*longest).max(due.elapsed());
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(why) => tally.failures.push(format!(
                "{kind} due at {:?}, over at {:?}: {why}",
                due - self.begun,
                self.begun.elapsed()
            )),
        }
    }

    /// May a websocket that was opened then end now? Only if its release was replaced a drain ago.
    fn may_be_drained(&self, opened: Instant) -> bool {
        let now = Instant::now();
        self.switches.lock().unwrap().iter().any(|switch| {
            let was_open_before = switch.ended.is_none_or(|ended| opened < ended);
            was_open_before && now >= switch.begun + DRAIN
        })
    }
}

/// Instants a fixed time apart. One that is late does not move those after it.
struct Pace {
    every: Duration,
    next: Instant,
}

impl Pace {
    fn new(every: Duration) -> Self {
        Self {
            every,
            next: Instant::now(),
        }
    }

    /// Waits for the next instant and gives it.
    fn due(&mut self) -> Instant {
        let due = self.next;
        self.next += self.every;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due
    }
}
