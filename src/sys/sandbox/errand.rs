//! Short commands that the init runs beside the program, in the same namespaces
//! and with the same rights: how a process is asked whether it is well.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::BorrowedFd;

use crate::sys::channel;
use crate::sys::sandbox::Exit;
use crate::sys::sandbox::Program;
use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::error::setup;
use crate::sys::sandbox::limits;
use crate::sys::sandbox::program::execute;
use crate::sys::sandbox::wire::Report;
use crate::sys::syscall;
use crate::sys::syscall::Descriptors;

/// Which shell runs an errand, and what an errand of which nothing can be run ends with.
const SHELL: &str = "/bin/sh";
const NOT_FOUND: i32 = 127;

/// The errands of a sandbox.
pub(super) struct Errands {
    /// The environment and the folder are the program's, as it was started.
    program: Program,
    nofile: Option<u64>,
    /// By pid.
    running: BTreeMap<u32, u32>,
}

impl Errands {
    pub(super) fn new(program: Program, nofile: Option<u64>) -> Self {
        Self {
            program,
            nofile,
            running: BTreeMap::new(),
        }
    }

    /// Runs a line by the shell, its input and output being nothing. Its end is reported.
    pub(super) fn begin(&mut self, caller: BorrowedFd<'_>, id: u32, line: String) {
        // SAFETY: the init was cloned from the shim, which has a single thread, and started none.
        #[expect(unsafe_code, reason = "a fork; see above")]
        let forked = unsafe { syscall::clone(libc::SIGCHLD) };
        match forked {
            Ok(Some(pid)) => drop(self.running.insert(pid, id)),
            Ok(None) => {
                let _ = self.run(line); // nobody hears why; the code says that it was not run
                syscall::exit_now(NOT_FOUND)
            }
            Err(_) => tell(caller, id, Exit::Code(NOT_FOUND)),
        }
    }

    fn run(&self, line: String) -> Result<(), SandboxError> {
        let failed = |error: std::io::Error| setup("run a check", error);
        rustix::process::setsid().map_err(|error| failed(error.into()))?;
        syscall::default_all_signals();
        syscall::hold_back(0).map_err(failed)?;
        limits::set(self.nofile)?;
        rustix::process::chdir(&self.program.cwd).map_err(|error| failed(error.into()))?;
        syscall::close_from(3, Descriptors::CloseOnExec).map_err(failed)?;
        let argv = [SHELL.into(), "-c".into(), OsString::from(line)];
        Err(execute(&Program {
            argv: argv.into(),
            ..self.program.clone()
        }))
    }

    /// Kills what an errand is still running.
    pub(super) fn end(&self, id: u32) {
        let running = self.running.iter().find(|(_, running)| **running == id);
        if let Some(pid) = running.and_then(|(pid, _)| i32::try_from(*pid).ok()) {
            // Its group, which it leads; until it has called setsid it is alone.
            let _ = syscall::kill(-pid, libc::SIGKILL);
            let _ = syscall::kill(pid, libc::SIGKILL);
        }
    }

    /// A child of the init was reaped: if it was an errand, its end is reported.
    pub(super) fn reaped(&mut self, caller: BorrowedFd<'_>, pid: i32, exit: Option<Exit>) {
        let errand = u32::try_from(pid)
            .ok()
            .and_then(|pid| self.running.remove(&pid));
        if let (Some(id), Some(exit)) = (errand, exit) {
            tell(caller, id, exit);
        }
    }
}

fn tell(caller: BorrowedFd<'_>, id: u32, exit: Exit) {
    let report = Report::Errand { id, exit };
    // A caller that does not read its reports has stopped to ask.
    let _ = channel::send(caller, &report.encode());
}
