//! What stands in front of the routed processes, as far as `run` knows it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::ident::Instance;
use crate::ident::ReleaseVersion;
use crate::sys::takeover::Bag;

/// A process that requests may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Never used twice in the life of a supervisor.
    pub id: u64,
    /// For the access line.
    pub instance: Instance,
    /// For the access line.
    pub release: ReleaseVersion,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The public side: the router in production, a recorder in tests.
pub trait Front: Send + Sync {
    /// Replaces the whole route table at one instant. With none to go to, requests are held (bounded) if
    /// `hold`, because one is expected soon; otherwise they are refused.
    fn route(&self, targets: &[Target], hold: bool);

    /// Calls `then` once no request is in flight at this target, which is no longer in the table.
    fn when_idle(&self, target: u64, then: Box<dyn FnOnce() + Send>);

    /// With a page: every request is answered by it and a 503. Without: they go to targets again.
    fn maintenance(&self, page: Option<String>);

    /// Ends what is in flight at this target, which is no longer in the table: its time is over. Websockets are told
    /// so by a close frame; nothing is reset.
    fn cut(&self, target: u64);

    /// Takes no new connection; those that are open end after their request.
    fn close(&self);

    /// After `close`: waits until that has happened, for at most `patience`.
    fn join(&self, patience: Duration);

    /// What another program of this process needs to go on with it: descriptors go into the bag, all else is in the
    /// answer. From then on this one starts nothing and hears nothing; requests go on. On an error it is as before.
    fn hand_over(&self, bag: &mut Bag) -> io::Result<Value>;

    /// In the program that took over: puts one of this program in the place of the one that was handed over, which
    /// ends what it has begun. If that fails, says so, and the one that was handed over goes on.
    fn renew(&self);
}
