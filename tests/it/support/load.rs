//! Requests without pause, and what became of each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use crate::support::http;
use crate::support::wait;

/// Clients that ask one after the other until `finish`. They stop by themselves after five minutes.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Tally>>,
}

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// How often each body came with a 200.
    pub(crate) answers: BTreeMap<String, u64>,
    /// All the others: the first words of what came instead, and when.
    pub(crate) failures: Vec<String>,
}

impl Load {
    pub(crate) fn start(address: SocketAddr, path: &str, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let clients = (0..clients).map(|_| {
            let (stop, sent, path) = (stop.clone(), sent.clone(), path.to_owned());
            thread::spawn(move || ask(address, &path, &stop, &sent))
        });
        Self {
            clients: clients.collect(),
            stop,
            sent,
        }
    }

    /// Waits until `more` requests have been answered from now on: the present state is under load for certain.
    #[track_caller]
    pub(crate) fn wait_for_more(&self, more: u64) {
        let goal = self.sent.load(Ordering::Relaxed) + more;
        wait::until(Duration::from_mins(1), "answers under load", || {
            (self.sent.load(Ordering::Relaxed) >= goal).then_some(())
        });
    }

    pub(crate) fn finish(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for client in self.clients {
            let Tally { answers, failures } = client.join().unwrap();
            for (body, count) in answers {
                *all.answers.entry(body).or_default() += count;
            }
            all.failures.extend(failures);
        }
        all
    }
}

impl Tally {
    /// No request failed, and there were some.
    #[track_caller]
    pub(crate) fn none_failed(&self) -> &Self {
        assert!(
            self.failures.is_empty(),
            "{} failed: {:#?}",
            self.failures.len(),
            &self.failures[..self.failures.len().min(5)]
        );
        assert!(!self.answers.is_empty(), "nothing was asked");
        self
    }
}

fn ask(address: SocketAddr, path: &str, stop: &AtomicBool, sent: &AtomicU64) -> Tally {
    let begun = Instant::now();
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_mins(5) {
        match http::get(address, path) {
            Ok(answer) if answer.status == 200 => {
                *tally.answers.entry(answer.body).or_default() += 1;
            }
            Ok(answer) => tally.failures.push(format!(
                "{:?}: {} {}",
                begun.elapsed(),
                answer.head,
                answer.body
            )),
            Err(error) => tally
                .failures
                .push(format!("{:?}: {error}", begun.elapsed())),
        }
        sent.fetch_add(1, Ordering::Relaxed);
        // Two cores serve, supervise and ask at once: leave some to the first two.
        thread::sleep(Duration::from_millis(2));
    }
    tally
}
