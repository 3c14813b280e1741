//! The caller's side of a running sandbox.

use std::os::fd::BorrowedFd;
use std::path::Path;

use crate::sys::sandbox::Program;
use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::Spec;
use crate::sys::sandbox::Streams;

/// The name by which `main` knows that it was started as the shim.
pub const SHIM: &str = "slug-shim";

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

/// Starts the program of `spec` with this very program as the shim; returns when it was
/// executed, or why it was not.
///
/// Blocks for a few milliseconds and for as long as `Spec::prepare` works: a reactor uses
/// `launch` and `Child::started`.
pub fn spawn(spec: &Spec, streams: Streams) -> Result<Child, SandboxError> {
    let child = launch(Path::new("/proc/self/exe"), spec, streams)?;
    child.started()?;
    Ok(child)
}

/// Begins the sandbox of `spec` with the program `shim`, whose `main` calls `shim()` when its
/// `argv[0]` is `SHIM`. Tests name the built `slug`; all else uses `spawn`.
pub fn launch(shim: &Path, spec: &Spec, streams: Streams) -> Result<Child, SandboxError> {
    let _ = (shim, spec, streams);
    todo!()
}

impl Child {
    /// The init of the sandbox, as the host numbers it; for people, never to signal it.
    pub fn pid(&self) -> u32 {
        todo!()
    }

    /// Waits until the program was executed, or says why it was not. At once if that is known;
    /// `report_fd` tells when it will be.
    pub fn started(&self) -> Result<(), SandboxError> {
        todo!()
    }

    /// Readable when `started` will not block: to be watched with `poll`.
    pub fn report_fd(&self) -> BorrowedFd<'_> {
        todo!()
    }

    /// Readable when the sandbox is empty: to be watched with `poll`.
    pub fn exited_fd(&self) -> BorrowedFd<'_> {
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
