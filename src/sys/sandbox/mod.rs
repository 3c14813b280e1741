//! A process in a mount namespace of its own (design: "One path for all code"),
//! for root and for an unprivileged user.
//!
//! `spawn` starts this same binary as a shim (`argv[0]` is `SHIM`), hands it the
//! `Spec` over a descriptor, and gets back the init of a fresh PID namespace.
//! The shim does every mount, drops every privilege and resets all that a child
//! would inherit; the init reaps, forwards signals, and ends when its lifeline
//! closes, so no process outlives the caller, however the caller dies.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The name by which `main` knows that it was started as the shim.
pub const SHIM: &str = "slug-shim";

/// All that a sandboxed process sees and is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// What lies over the base (the host's `/usr`, `/bin`, `/lib*`, `/sbin`, a part of `/etc`, `/dev`, `/proc`, a fresh `/tmp`), in this order.
    pub mounts: Vec<Mount>,
    /// The host's network, or none but loopback.
    pub network: Network,
    /// The uid and gid of the process where the caller is root; an unprivileged caller's process keeps the caller's.
    pub uid: u32,
    /// What is executed.
    pub program: Program,
    /// Standard input is a terminal: it becomes the controlling one, with the process in its foreground.
    pub terminal: bool,
    /// Work done inside, right before the exec: handed to the `Prepare` of `shim`.
    pub prepare: Option<serde_json::Value>,
}

/// One thing mounted over the base. `to` is absolute, inside; missing folders are made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Mount {
    /// A file or folder of the host, with what is mounted below it.
    Bind {
        /// On the host.
        from: PathBuf,
        /// Inside.
        to: PathBuf,
        /// `EROFS` for every write, also for root.
        read_only: bool,
    },
    /// Folders over one another. Without `upper` it is read-only.
    Overlay {
        /// Lowest last.
        lower: Vec<PathBuf>,
        /// Where writes go, and the scratch folder of the overlay on the same file system.
        upper: Option<(PathBuf, PathBuf)>,
        /// Inside.
        to: PathBuf,
    },
    /// An empty, private, writable folder in memory, gone with the process.
    Scratch {
        /// Inside.
        to: PathBuf,
    },
    /// A small read-only file with these bytes.
    File {
        /// Inside.
        to: PathBuf,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

/// The network of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// As on the host.
    Host,
    /// Loopback alone.
    None,
}

/// What is executed, with an environment that is set, never inherited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// `argv[0]` is looked up on the `PATH` of `env` from `cwd`, and passed on unresolved.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: BTreeMap<OsString, OsString>,
    /// The working folder, inside.
    pub cwd: PathBuf,
}

/// The three descriptors that a process begins with.
#[derive(Debug)]
pub struct Streams {
    /// Descriptor 0.
    pub stdin: OwnedFd,
    /// Descriptor 1.
    pub stdout: OwnedFd,
    /// Descriptor 2.
    pub stderr: OwnedFd,
}

/// Why a process could not be started in its sandbox.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The kernel or an administrator refuses namespaces to this user.
    #[error("this machine refuses the namespaces that a sandbox is made of ({call}: {source})")]
    Refused {
        /// The system call.
        call: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A step of the set-up failed.
    #[error("could not set up the sandbox: {step}: {source}")]
    Setup {
        /// What was being done, with the path.
        step: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// `argv[0]` is on no folder of `PATH`, or a path that leads nowhere.
    #[error("`{program}` was not found")]
    NotFound {
        /// What was looked for.
        program: String,
    },
    /// `argv[0]` is there and cannot be executed.
    #[error("`{program}` cannot be executed: {source}")]
    NotExecutable {
        /// What was to be executed.
        program: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The `Prepare` of the shim failed.
    #[error("{0}")]
    Prepare(String),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It called exit.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

impl Exit {
    /// As a shell tells it: 128 + n for signal n.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// Whom a signal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The process that was executed.
    Leader,
    /// Every process in the sandbox.
    All,
}

/// A started process. Dropping it closes the lifeline: all in the sandbox are killed.
#[derive(Debug)]
pub struct Child {
    _todo: (),
}

/// Starts the program of `spec`; returns when it was executed, or why it was not.
pub fn spawn(spec: &Spec, streams: Streams) -> Result<Child, SandboxError> {
    let _ = (spec, streams);
    todo!()
}

impl Child {
    /// The init of the sandbox, as the host numbers it; for people, never to signal it.
    pub fn pid(&self) -> u32 {
        todo!()
    }

    /// Readable when the sandbox is empty: to be watched with `poll`.
    pub fn exited_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        todo!()
    }

    /// Sends a signal; a process that has ended is no error.
    pub fn signal(&self, signal: i32, scope: Scope) {
        let _ = (signal, scope);
        todo!()
    }

    /// Kills everything in the sandbox.
    pub fn kill(&self) {
        todo!()
    }

    /// Waits until the sandbox is empty; says how the executed process ended.
    pub fn wait(&mut self) -> Result<Exit, SandboxError> {
        todo!()
    }

    /// As `wait`, if it has ended.
    pub fn try_wait(&mut self) -> Result<Option<Exit>, SandboxError> {
        todo!()
    }
}

/// Work done inside the sandbox, right before the exec: gets `Spec::prepare`, may change the program.
pub type Prepare = fn(serde_json::Value, &mut Program) -> Result<(), String>;

/// The life of the shim: `main` calls it, before any thread, when `argv[0]` is `SHIM`. Returns the exit code if it fails early.
pub fn shim(prepare: Prepare) -> std::process::ExitCode {
    let _ = prepare;
    todo!()
}
