//! What a sandboxed process sees and is.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// All that a sandboxed process sees and is.
///
/// Never printed by the program: `Program::env` holds secrets.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What lies over the base (the host's `/usr`, `/bin`, `/lib*`, `/sbin`, a part of `/etc`, `/dev`, `/proc`, a fresh `/tmp` and `/dev/shm`), in this order.
    pub mounts: Vec<Mount>,
    /// The host's network, or none but loopback.
    pub network: Network,
    /// The uid and gid of the process where the caller is root, and then not 0; an unprivileged caller's process keeps the caller's.
    pub uid: u32,
    /// What is executed.
    pub program: Program,
    /// Which of its streams are a pseudo-terminal of the sandbox's own. The caller has its other side from `Child::take_terminal`.
    pub terminal: Terminal,
    /// Work done inside, right before the exec: handed to the `Prepare` of `shim`.
    pub prepare: Option<serde_json::Value>,
    /// What it may use.
    pub limits: Limits,
}

/// What a sandboxed process may use, over what every one may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Open descriptors of each process; a host's own hard limit can be raised by root alone.
    pub nofile: Option<u64>,
    /// A folder of cgroup v2, on the host, that all processes of the sandbox are in.
    pub cgroup: Option<PathBuf>,
}

/// One thing mounted over the base: `nosuid`, `nodev`. `to` is absolute, inside; missing
/// folders are made (in a writable bind: on the host).
#[derive(Clone, Debug, PartialEq, Eq)]
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
        /// Topmost first, lowest last; may be empty.
        lower: Vec<PathBuf>,
        /// Where writes go, and the scratch folder of the overlay on the same file system.
        upper: Option<(PathBuf, PathBuf)>,
        /// Inside.
        to: PathBuf,
    },
    /// An empty, private, writable folder in memory, of the process's uid, gone with the process.
    Scratch {
        /// Inside.
        to: PathBuf,
    },
    /// A read-only folder in memory with these files, all of them the process's uid's alone, gone with the process.
    Private {
        /// Inside.
        to: PathBuf,
        /// Their names and bytes.
        files: BTreeMap<OsString, Vec<u8>>,
    },
    /// A small read-only file with these bytes.
    File {
        /// Inside.
        to: PathBuf,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

impl Mount {
    /// Where it is seen inside.
    pub fn to(&self) -> &std::path::Path {
        match self {
            Self::Bind { to, .. }
            | Self::Overlay { to, .. }
            | Self::Scratch { to }
            | Self::Private { to, .. }
            | Self::File { to, .. } => to,
        }
    }
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// `argv[0]` is looked up on the `PATH` of `env` from `cwd`, and passed on unresolved.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: BTreeMap<OsString, OsString>,
    /// The working folder, inside.
    pub cwd: PathBuf,
}

/// Which of the first three descriptors are the sandbox's pseudo-terminal instead of what the caller gives; with any of
/// them it is the controlling terminal. It has the settings and the size of the first of these that is a terminal itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Descriptor 0.
    pub stdin: bool,
    /// Descriptor 1.
    pub stdout: bool,
    /// Descriptor 2.
    pub stderr: bool,
}

impl Terminal {
    /// Whether there is one.
    pub fn is_any(self) -> bool {
        self.stdin || self.stdout || self.stderr
    }
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

/// Work done inside the sandbox, right before the exec: gets `Spec::prepare`, may change the
/// program. Its error is shown to the user as it is.
pub type Prepare = fn(serde_json::Value, &mut Program) -> Result<(), String>;
