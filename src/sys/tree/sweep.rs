//! Who descends from this process, and signals to them.

use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::Signal;

/// How often the list of processes is read in one pass: what forks faster than that is met in the next.
const READS_MAX: usize = 100;

/// A process, as `/proc` showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: Pid,
    parent: Pid,
    /// It has ended, but for its status (or for threads that outlive its first one).
    pub(super) is_zombie: bool,
}

/// What became of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Yes,
    Gone,
    /// It is another user's.
    Refused,
}

/// All that descend from this process, without those of `except` and what descends from them.
pub(super) fn descendants(except: &[Pid]) -> io::Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        all.extend(pid.and_then(Pid::from_raw).and_then(look_at));
    }
    Ok(below(rustix::process::getpid(), &all, except))
}

fn below(root: Pid, all: &[Process], except: &[Pid]) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut next = 0;
    let mut parent = root;
    loop {
        let children = all
            .iter()
            .filter(|process| process.parent == parent && !except.contains(&process.pid));
        found.extend(children);
        let Some(process) = found.get(next) else {
            return found;
        };
        parent = process.pid;
        next += 1;
    }
}

/// The third and the fourth field of `/proc/<pid>/stat`; the second is a name in parentheses that may hold anything.
fn look_at(pid: Pid) -> Option<Process> {
    let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&stat[end_of_name + 1..])
        .ok()?
        .split_whitespace();
    let is_zombie = fields.next()? == "Z";
    let parent = Pid::from_raw(fields.next()?.parse().ok()?)?;
    Some(Process {
        pid,
        parent,
        is_zombie,
    })
}

/// Sends a signal to a process that was found, and to no other that may have got its number since.
pub(super) fn send(process: Process, signal: Signal) -> Sent {
    let Ok(handle) = rustix::process::pidfd_open(process.pid, PidfdFlags::empty()) else {
        return Sent::Gone;
    };
    // Looked at again behind the handle. One whose parent has ended meanwhile is met in the next reading.
    if look_at(process.pid).is_none_or(|now| now.parent != process.parent) {
        return Sent::Gone;
    }
    match rustix::process::pidfd_send_signal(&handle, signal) {
        Ok(()) => Sent::Yes,
        Err(Errno::PERM) => Sent::Refused,
        Err(_) => Sent::Gone,
    }
}

/// What a pass of killing met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pass {
    /// How many were killed that had not ended.
    pub(super) killed: u32,
    /// How many could not be.
    pub(super) refused: u32,
}

/// Kills all that descend from this process, those that appear meanwhile too.
pub(super) fn kill_all(except: &[Pid]) -> io::Result<Pass> {
    let mut met: Vec<Process> = Vec::new();
    let mut pass = Pass::default();
    for _ in 0..READS_MAX {
        let mut found = descendants(except)?;
        found.retain(|process| !met.contains(process));
        if found.is_empty() {
            break;
        }
        for process in found {
            match send(process, Signal::KILL) {
                Sent::Yes if !process.is_zombie => pass.killed += 1,
                Sent::Refused => pass.refused += 1,
                Sent::Yes | Sent::Gone => {}
            }
            met.push(process);
        }
    }
    Ok(pass)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_parent() {
        let own = look_at(rustix::process::getpid()).unwrap();
        assert_eq!(Some(own.parent), rustix::process::getppid());
        assert!(!own.is_zombie);
    }

    #[test]
    fn what_is_below_is_found_over_generations_and_what_is_excepted_is_not() {
        let pid = |number| Pid::from_raw(number).unwrap();
        let process = |number, parent| Process {
            pid: pid(number),
            parent: pid(parent),
            is_zombie: false,
        };
        let all = [
            process(9, 2),
            process(2, 1),
            process(3, 1),
            process(4, 3),
            process(5, 7),
            process(7, 8),
        ];
        let found = |except: &[Pid]| {
            let mut found: Vec<i32> = below(pid(1), &all, except)
                .iter()
                .map(|process| process.pid.as_raw_nonzero().get())
                .collect();
            found.sort_unstable();
            found
        };
        assert_eq!(found(&[]), [2, 3, 4, 9]);
        assert_eq!(found(&[pid(3)]), [2, 9]);
    }
}
