//! A program in the machine's own world, and all that it starts: no sandbox and
//! no namespace, and yet nothing of it outlives its caller.
//!
//! The caller starts this same binary once as a fork server (`argv[0]` is
//! `FORK_SERVER`): single-threaded, and free of all that the caller has open.
//! For each program it forks an init, a child of the caller. The init is a
//! subreaper: whatever the program starts, in a session of its own or forked
//! twice, comes to the init when its parent ends. It reaps, passes signals on,
//! tells how the program ended and when the last of its tree has. The socket to
//! the caller is its lifeline: when that closes, however the caller died, the
//! init ends the tree. Should the init itself be killed, the program goes with
//! it, and what is left comes to the caller (`end_strays`).
//!
//! What this cannot hold: processes of another user (`sudo`), which it may not
//! signal, and the tree of an init that is killed together with its caller.

mod caller;
mod fork_server;
mod init;
mod sweep;
mod wire;

pub use caller::ForkServer;
pub use caller::Tree;
pub use caller::end_strays;
pub use caller::reap_strays;
pub use fork_server::fork_server;
pub use wire::Order;
pub use wire::Report;
pub use wire::Whom;

/// The name by which `main` knows that it was started as the fork server.
pub const FORK_SERVER: &str = "slug-forkserver";

/// How long a tree has to end after its caller was lost, if its own grace is longer: nobody waits for it any more.
pub const LOST_GRACE: std::time::Duration = std::time::Duration::from_secs(5);
