//! The only room that touches the machine: files, mounts, processes, the
//! clock, the network. `unsafe` is expected here alone, each place with its
//! proof. Knows no buildpack, no slug, no release.

pub mod attributes;
pub mod cancel;
pub mod cgroup;
pub(crate) mod channel;
pub mod clock;
pub mod copy;
pub mod detach;
pub mod exec;
pub mod fetch;
pub mod fs;
pub(crate) mod helper;
pub mod here;
pub mod inherited;
pub mod lock;
pub mod notify;
pub mod orphans;
pub mod output_fd;
pub mod readable;
pub mod relay;
pub mod sandbox;
pub mod signal;
mod syscall;
pub mod takeover;
pub mod tree;
pub mod umask;
pub mod watch;

pub use fs::{At, PathError};
