//! What a process that is PID 1 has to do for others: reap those that lost their
//! parent. Asked by pid, one at a time: a `wait` for any child would take the
//! ends of children that somebody else waits for.

use std::fs;

use rustix::process::Pid;
use rustix::process::WaitOptions;

/// Is this process the one that inherits orphans?
pub fn are_mine() -> bool {
    rustix::process::getpid().is_init()
}

/// The children that have ended and were not waited for.
pub fn dead() -> Vec<Pid> {
    // Orphans come to the first thread of a process.
    let own = rustix::process::getpid().as_raw_pid();
    let children = fs::read_to_string(format!("/proc/self/task/{own}/children"));
    let children = children.unwrap_or_default(); // a kernel without CONFIG_PROC_CHILDREN
    let pids = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    pids.filter_map(Pid::from_raw)
        .filter(|pid| is_dead(*pid))
        .collect()
}

/// Has it ended, and was not waited for?
pub fn is_dead(child: Pid) -> bool {
    let stat = fs::read(format!("/proc/{}/stat", child.as_raw_pid())).unwrap_or_default();
    let after_name = stat.rsplit(|byte| *byte == b')').next();
    after_name.is_some_and(|rest| rest.starts_with(b" Z"))
}

/// Lets a dead child go. Its exit code is nobody's.
pub fn reap(orphan: Pid) {
    let _ = rustix::process::waitpid(Some(orphan), WaitOptions::NOHANG); // its parent may have come after all
}
