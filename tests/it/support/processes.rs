//! Which processes belong to a world, however they were started and whoever their parent is.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::wait;

/// A process and its command line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) command: String,
}

/// The processes that see the folder of a world: those with it in their environment (`slug` itself), and those in
/// a sandbox, whose mounts are folders of its store. A process cannot leave its mounts behind by forking or setsid.
pub(crate) fn of(world: &Path) -> Vec<Process> {
    let name = world.file_name().unwrap().to_str().unwrap();
    let all = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let belongs = |pid: &u32| {
        ["environ", "mountinfo"].iter().any(|file| {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            bytes
                .windows(name.len())
                .any(|window| window == name.as_bytes())
        })
    };
    all.filter(belongs)
        .map(|pid| Process {
            pid,
            command: command_line(pid),
        })
        .collect()
}

/// Waits until no process of the world is left.
#[track_caller]
pub(crate) fn none_left(world: &Path, limit: Duration) {
    let mut left = Vec::new();
    wait::until(limit, "the end of every process", || {
        left = of(world);
        left.is_empty().then_some(())
    });
}

/// The arguments of a process, separated by spaces; empty if it has ended.
pub(crate) fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .replace('\0', " ")
        .trim_end()
        .to_owned()
}
