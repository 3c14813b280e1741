//! A program at the machine's own paths, where no sandbox can be: nothing of
//! its caller's state is inherited, and nothing that it started survives it.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use crate::sys::sandbox::Program;
use crate::sys::syscall;

/// How many programs run. What has lost its parent cannot be told to be of one of them: it is swept with the last.
static RUNNING: Mutex<usize> = Mutex::new(0);

fn running() -> MutexGuard<'static, usize> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A program that runs, and what it writes.
#[derive(Debug)]
pub struct Here {
    child: Child,
    pid: Pid,
    exited: OwnedFd,
    /// Descriptor 1.
    pub stdout: Option<OwnedFd>,
    /// Descriptor 2.
    pub stderr: Option<OwnedFd>,
}

impl Here {
    /// Starts a program, as that user if one is named. From now on what loses its parent becomes a child of this
    /// process, which is to have no other children until each program was brought to its `end`.
    pub fn start(program: &Program, uid: Option<u32>) -> io::Result<Self> {
        let Program { argv, env, cwd } = program;
        let (name, arguments) = argv
            .split_first()
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let mut command = Command::new(name);
        command
            .args(arguments)
            .env_clear()
            .envs(env)
            .current_dir(cwd)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(uid) = uid {
            command.uid(uid).gid(uid);
        }
        #[expect(unsafe_code, reason = "std hands on held back and ignored signals")]
        // SAFETY: the closure runs between fork and exec and makes system calls alone, which are all
        // async-signal-safe; it allocates nothing and takes no lock.
        unsafe {
            command.pre_exec(stand_alone);
        }
        let mut running = running();
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let mut child = command.spawn()?;
        *running += 1;
        drop(running);
        let pid = Pid::from_child(&child);
        let exited = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        let stdout = child.stdout.take().map(OwnedFd::from);
        let stderr = child.stderr.take().map(OwnedFd::from);
        Ok(Self {
            child,
            pid,
            exited,
            stdout,
            stderr,
        })
    }

    /// Readable once the program has ended.
    pub fn exited_fd(&self) -> BorrowedFd<'_> {
        self.exited.as_fd()
    }

    /// Kills the program if it still runs, and all that it left running, also what made itself a session of its
    /// own. Its exit code; 128 + n for signal n.
    pub fn end(mut self) -> io::Result<i32> {
        let _ = rustix::process::kill_process_group(self.pid, Signal::KILL); // it may be gone
        let status = self.child.wait()?;
        let mut running = running();
        *running -= 1;
        if *running == 0 {
            end_descendants()?;
            rustix::process::set_child_subreaper(None)?;
        }
        drop(running);
        let by_signal = || status.signal().map_or(1, |signal| 128 + signal);
        Ok(status.code().unwrap_or_else(by_signal))
    }
}

/// What the shim of a sandbox does, as far as it can be done here. The program ends with this one, too.
fn stand_alone() -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    syscall::default_all_signals();
    syscall::hold_back(0).map(drop)
}

/// Kills all that descends from this process.
pub(in crate::sys) fn kill_descendants() -> io::Result<()> {
    for (pid, _) in descendants()? {
        let _ = rustix::process::kill_process(pid, Signal::KILL); // it may be gone, or another user's
    }
    Ok(())
}

/// Kills and reaps until nothing is left that can be killed: a killed process's own children come to this one.
fn end_descendants() -> io::Result<()> {
    loop {
        let mut reaped = false;
        for (pid, is_child) in descendants()? {
            let is_killed = rustix::process::kill_process(pid, Signal::KILL).is_ok();
            if is_killed && is_child {
                let wait = || rustix::process::waitpid(Some(pid), WaitOptions::empty());
                match rustix::io::retry_on_intr(wait) {
                    Ok(_) => reaped = true,
                    Err(Errno::CHILD) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if !reaped {
            return Ok(());
        }
    }
}

/// Every process that descends from this one, and whether it is its own child.
fn descendants() -> io::Result<Vec<(Pid, bool)>> {
    let own = rustix::process::getpid();
    let mut all: Vec<(Pid, Pid)> = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else {
            continue;
        };
        if let Some(parent) = parent_of(pid) {
            all.push((pid, parent));
        }
    }
    let mut found = vec![own];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(
            all.iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    let is_child = |pid: Pid| all.contains(&(pid, own));
    Ok(found
        .into_iter()
        .skip(1)
        .map(|pid| (pid, is_child(pid)))
        .collect())
}

/// The fourth field of `/proc/<pid>/stat`; the second is a name in parentheses that may hold anything.
fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    Pid::from_raw(after_name.split_whitespace().nth(1)?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_parent() {
        let own = rustix::process::getpid();
        assert_eq!(parent_of(own), rustix::process::getppid());
    }
}
