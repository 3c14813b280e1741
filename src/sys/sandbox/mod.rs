//! A process in a mount namespace of its own (design: "One path for all code"),
//! for root and for an unprivileged user. Linux 5.12 or later.
//!
//! The caller starts this same binary as a shim (`argv[0]` is `SHIM`) and hands
//! it the `Spec` over a socket. The shim, single-threaded and free of all that
//! the caller has open, clones the init of fresh namespaces as a child of the
//! caller, tells its process id, and is gone. The init mounts, drops every
//! privilege, forks the program, reaps, and forwards signals. The other end of
//! the socket is its lifeline: when it closes, the init ends and the kernel
//! kills all in the sandbox, however the caller died.
//!
//! Knows no app, no release, no buildpack: a `Spec` says it all.

mod base;
mod child;
mod enter;
mod errand;
mod error;
mod guest;
mod handed;
mod identity;
mod init;
mod limits;
mod overlay;
mod program;
mod root;
mod scope;
mod shim;
mod spec;
mod terminal;
mod wire;

pub use child::Child;
pub use child::Exit;
pub use child::SHIM;
pub use child::Scope;
pub use child::launch;
pub(in crate::sys) use child::memory_file;
pub use child::spawn;
pub use enter::Found;
pub use enter::Guest;
pub use enter::Running;
pub use enter::enter;
pub use error::Facts;
pub use error::SandboxError;
pub use handed::ChildState;
pub(in crate::sys) use shim::alone;
pub use shim::shim;
pub use spec::Limits;
pub use spec::Mount;
pub use spec::Network;
pub use spec::Prepare;
pub use spec::Program;
pub use spec::Spec;
pub use spec::Streams;
pub use spec::Terminal;
