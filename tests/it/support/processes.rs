//! Which processes belong to a world, however they were started and whoever their parent is.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::wait;
use crate::support::world;

/// A process and its command line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) command: String,
}

/// The processes of a world: those that name its folder or its app in their environment or their mounts, all that
/// descend from them, and the inits that they descend from. Neither setsid nor a fork nor the death of a parent takes
/// a process out of this set.
pub(crate) fn of(world: &Path) -> Vec<Process> {
    let parents = parents();
    let folder = world.file_name().unwrap().to_str().unwrap();
    let app = format!("SLUG_APP={}\0", world::app_of(world));
    let mut own: BTreeSet<u32> = parents
        .keys()
        .copied()
        .filter(|&pid| {
            mentions(pid, "environ", folder)
                || mentions(pid, "environ", &app)
                || mentions(pid, "mountinfo", folder)
        })
        .collect();
    let inits = own
        .iter()
        .filter_map(|pid| parents.get(pid))
        .copied()
        .filter(|&parent| is_init(parent));
    own.extend(inits.collect::<Vec<_>>());
    loop {
        let of_own = |(pid, parent): (&u32, &u32)| {
            (own.contains(parent) && !own.contains(pid)).then_some(*pid)
        };
        let children: Vec<u32> = parents.iter().filter_map(of_own).collect();
        if children.is_empty() {
            break;
        }
        own.extend(children);
    }
    let processes = own.into_iter().map(|pid| Process {
        pid,
        command: command_line(pid),
    });
    processes
        .filter(|process| !process.command.is_empty())
        .collect()
}

/// Waits until no process of the world is left, nor any of these, which were of it before.
#[track_caller]
pub(crate) fn none_left(world: &Path, before: &[Process], limit: Duration) {
    wait::until(limit, "the end of every process", || {
        let gone = |process: &Process| command_line(process.pid) != process.command;
        (before.iter().all(gone) && of(world).is_empty()).then_some(())
    });
}

/// Every process and its parent.
fn parents() -> BTreeMap<u32, u32> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let parent = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("PPid:"))?
            .trim()
            .parse()
            .ok()
    };
    pids.filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

fn mentions(pid: u32, file: &str, wanted: &str) -> bool {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    bytes
        .windows(wanted.len())
        .any(|window| window == wanted.as_bytes())
}

/// The first process of a sandbox.
fn is_init(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "slug-init\n")
}

/// The arguments of a process, separated by spaces; empty if it has ended.
fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .replace('\0', " ")
        .trim_end()
        .to_owned()
}

/// Waits until none of these that had this command is left.
#[track_caller]
pub(crate) fn none_left_of(before: &[Process], command: &str, limit: Duration) {
    wait::until(limit, "the end of some processes", || {
        let mut meant = before.iter().filter(|process| process.command == command);
        let gone = |process: &Process| command_line(process.pid) != process.command;
        meant.all(gone).then_some(())
    });
}

/// The children of a process.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let of_pid = |(child, parent): (u32, u32)| (parent == pid).then_some(child);
    parents().into_iter().filter_map(of_pid).collect()
}
