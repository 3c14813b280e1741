//! Where requests may go: one table for all threads, replaced at one instant,
//! and how many requests are in flight at each target.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use hyper::body::Bytes;
use serde::Deserialize;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::sync::watch;

/// Where requests may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// What is called when a target has no request in flight.
pub type Then = Box<dyn FnOnce() + Send>;

/// A target and the requests that it is answering.
pub(super) struct Lane {
    pub(super) target: Target,
    in_flight: AtomicUsize,
    /// It is in the table no more. Set before anybody looks whether it is idle: see `Table::enter`.
    is_retired: AtomicBool,
    waiting: Mutex<Vec<Then>>,
    /// What is in flight here is to end now.
    is_cut: AtomicBool,
    cutting: Notify,
}

/// The table at one instant.
#[derive(Clone)]
pub(super) struct Routes {
    pub(super) lanes: Vec<Arc<Lane>>,
    /// If there is none: one is expected.
    pub(super) hold: bool,
    /// There is maintenance: what every request is answered.
    pub(super) page: Option<Bytes>,
}

/// The table, as it changes.
pub(super) struct Table {
    routes: watch::Sender<Arc<Routes>>,
    /// Also those that are retired and not idle yet.
    lanes: Mutex<HashMap<u64, Arc<Lane>>>,
    next: AtomicUsize,
}

/// A request in flight; ends when dropped.
pub(super) struct InFlight(Arc<Lane>);

impl Table {
    /// Empty; a first target is expected.
    pub(super) fn new() -> Self {
        let routes = Routes {
            lanes: Vec::new(),
            hold: true,
            page: None,
        };
        Self {
            routes: watch::Sender::new(Arc::new(routes)),
            lanes: Mutex::default(),
            next: AtomicUsize::new(0),
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<Routes>> {
        self.routes.subscribe()
    }

    pub(super) fn replace(&self, targets: &[Target], hold: bool) {
        let mut all = lock(&self.lanes);
        let lanes: Vec<Arc<Lane>> = targets
            .iter()
            .map(|target| lane(&mut all, target))
            .collect();
        let page = self.routes.borrow().page.clone();
        let before = self.routes.send_replace(Arc::new(Routes {
            lanes: lanes.clone(),
            hold,
            page,
        }));
        for lane in before
            .lanes
            .iter()
            .filter(|old| !lanes.iter().any(|new| Arc::ptr_eq(old, new)))
        {
            lane.is_retired.store(true, Ordering::SeqCst);
        }
        // Targets that ended unasked: nobody will ask when they are idle, and an unknown one counts as idle.
        all.retain(|_, lane| !lane.is_retired() || lane.in_flight.load(Ordering::SeqCst) > 0);
    }

    /// With a page: it is the answer to every request, until it is none again.
    pub(super) fn maintain(&self, page: Option<Bytes>) {
        let _one_change_at_a_time = lock(&self.lanes);
        let mut routes = Routes::clone(&self.routes.borrow());
        routes.page = page;
        self.routes.send_replace(Arc::new(routes));
    }

    pub(super) fn when_idle(&self, id: u64, then: Then) {
        let lane = lock(&self.lanes).get(&id).cloned();
        match lane {
            None => then(),
            Some(lane) => {
                lane.is_retired.store(true, Ordering::SeqCst);
                lock(&lane.waiting).push(then);
                lane.tell_if_idle();
            }
        }
    }

    /// Ends what is still in flight at a target that is no longer in the table.
    pub(super) fn cut(&self, id: u64) {
        let lane = lock(&self.lanes).get(&id).cloned();
        if let Some(lane) = lane.filter(|lane| lane.is_retired.load(Ordering::SeqCst)) {
            lane.is_cut.store(true, Ordering::SeqCst);
            lane.cutting.notify_waiters();
        }
    }

    /// The least loaded target that `is_fit`; none if the table changed meanwhile, or has none.
    pub(super) fn enter(
        &self,
        routes: &Routes,
        is_fit: impl Fn(&Target) -> bool,
    ) -> Option<InFlight> {
        let count = routes.lanes.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        // In turn where the load is the same.
        let in_turn = (0..count).map(|at| &routes.lanes[(first.wrapping_add(at)) % count]);
        let lane = in_turn
            .filter(|lane| is_fit(&lane.target))
            .min_by_key(|lane| lane.in_flight.load(Ordering::Relaxed))?;
        lane.in_flight.fetch_add(1, Ordering::SeqCst);
        let entered = InFlight(Arc::clone(lane));
        // Whoever retires a lane sets the mark and then reads the count; we raise the count and then read the mark.
        // So either we see the mark and leave, or the count that is read has us in it.
        (!lane.is_retired.load(Ordering::SeqCst)).then_some(entered)
    }
}

fn lane(all: &mut HashMap<u64, Arc<Lane>>, target: &Target) -> Arc<Lane> {
    let new = || {
        Arc::new(Lane {
            target: target.clone(),
            in_flight: AtomicUsize::new(0),
            is_retired: AtomicBool::new(false),
            waiting: Mutex::default(),
            is_cut: AtomicBool::new(false),
            cutting: Notify::new(),
        })
    };
    Arc::clone(all.entry(target.id).or_insert_with(new))
}

impl Lane {
    fn tell_if_idle(&self) {
        if self.in_flight.load(Ordering::SeqCst) == 0 {
            let waiting = std::mem::take(&mut *lock(&self.waiting));
            for then in waiting {
                then();
            }
        }
    }

    /// Until what is in flight here is to end.
    pub(super) async fn cut(&self) {
        let cutting = self.cutting.notified(); // hears every cut from here on
        if !self.is_cut.load(Ordering::SeqCst) {
            cutting.await;
        }
    }

    /// May its connections be kept?
    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }
}

impl InFlight {
    pub(super) fn lane(&self) -> &Arc<Lane> {
        &self.0
    }

    pub(super) fn target(&self) -> &Target {
        &self.0.target
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let before = self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
        if before == 1 && self.0.is_retired.load(Ordering::SeqCst) {
            self.0.tell_if_idle();
        }
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.target.fmt(f)
    }
}

/// A poisoned lock means a panic between two whole changes: the state is sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    fn target(id: u64) -> Target {
        let address = ([127, 0, 0, 1], 1).into();
        Target {
            id,
            instance: format!("web.{id}"),
            release: "v1".to_owned(),
            address,
        }
    }

    fn enter(table: &Table) -> Option<InFlight> {
        let routes = table.watch().borrow().clone();
        table.enter(&routes, |_| true)
    }

    #[test]
    fn the_least_loaded_is_taken_and_a_retired_one_never() {
        let table = Table::new();
        assert!(enter(&table).is_none());
        table.replace(&[target(1), target(2)], false);
        let stale = table.watch().borrow().clone();
        let both = [enter(&table).unwrap(), enter(&table).unwrap()];
        assert_ne!(both[0].target(), both[1].target());
        table.replace(&[target(2)], false);
        assert!(table.enter(&stale, |target| target.id == 1).is_none());
        assert_eq!(enter(&table).unwrap().target().id, 2);
    }

    #[test]
    fn idle_is_told_once_the_last_request_has_ended() {
        let table = Table::new();
        table.replace(&[target(1)], false);
        let request = enter(&table).unwrap();
        table.replace(&[], true);
        let (tell, told) = mpsc::channel();
        table.when_idle(1, Box::new(move || tell.send(()).unwrap()));
        assert!(told.try_recv().is_err());
        drop(request);
        assert!(told.try_recv().is_ok());
        let (tell, told) = mpsc::channel();
        table.when_idle(1, Box::new(move || tell.send(()).unwrap()));
        assert!(told.try_recv().is_ok(), "an unknown target is idle");
    }

    #[test]
    fn under_load_no_request_is_at_a_target_that_was_told_to_be_idle() {
        let table = Arc::new(Table::new());
        let gone = Arc::new(AtomicUsize::new(0));
        table.replace(&[target(1)], true);
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let (table, gone, stop) =
                    (Arc::clone(&table), Arc::clone(&gone), Arc::clone(&stop));
                thread::spawn(move || {
                    while !stop.load(Ordering::SeqCst) {
                        if let Some(request) = enter(&table) {
                            let last_gone = gone.load(Ordering::SeqCst) as u64;
                            assert!(
                                request.target().id > last_gone
                                    || request.lane().is_retired.load(Ordering::SeqCst)
                            );
                        }
                    }
                })
            })
            .collect();
        for id in 2..2000 {
            table.replace(&[target(id)], true);
            let (tell, told) = mpsc::channel();
            table.when_idle(id - 1, Box::new(move || tell.send(()).unwrap()));
            told.recv().unwrap();
            gone.store(usize::try_from(id - 1).unwrap(), Ordering::SeqCst);
        }
        stop.store(true, Ordering::SeqCst);
        for worker in workers {
            worker.join().unwrap();
        }
    }
}
