//! Which processes belong to a world, however they were started and whoever their parent is.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use crate::support::wait;

/// A process and its command line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) command: String,
}

/// The processes of each world that were seen so far, by pid and the time at which they began.
static SEEN: Mutex<BTreeMap<PathBuf, BTreeSet<(u32, u64)>>> = Mutex::new(BTreeMap::new());

/// The processes of a world: those with its folder in their environment (`slug` itself) or among their mounts, all
/// that descend from those, and all that did when this was asked before, whoever their parent is now. What descends
/// from `slug` at no such moment is missed: ask once while it runs.
pub(crate) fn of(world: &Path) -> Vec<Process> {
    let name = world.file_name().unwrap().to_str().unwrap();
    let all: BTreeMap<u32, Stat> = pids().filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let mut seen = SEEN.lock().unwrap();
    let seen = seen.entry(world.to_owned()).or_default();
    let mut found: BTreeSet<u32> = all
        .iter()
        .filter(|(pid, stat)| seen.contains(&(**pid, stat.began)) || names(**pid, name))
        .map(|(pid, _)| *pid)
        .collect();
    loop {
        let is_child =
            |(pid, stat): &(&u32, &Stat)| !found.contains(pid) && found.contains(&stat.parent);
        let children: Vec<u32> = all.iter().filter(is_child).map(|(pid, _)| *pid).collect();
        if children.is_empty() {
            break;
        }
        found.extend(children);
    }
    seen.extend(found.iter().map(|pid| (*pid, all[pid].began)));
    let process = |pid| Process {
        pid,
        command: command_line(pid),
    };
    found.into_iter().map(process).collect()
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn names(pid: u32, name: &str) -> bool {
    ["environ", "mountinfo"].iter().any(|file| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        bytes
            .windows(name.len())
            .any(|window| window == name.as_bytes())
    })
}

struct Stat {
    parent: u32,
    began: u64,
}

/// None of a process that has ended, though nobody has waited for it yet.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything: the fields begin after the last one.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    (fields[0] != "Z").then(|| Stat {
        parent: fields[1].parse().unwrap(),
        began: fields[19].parse().unwrap(),
    })
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
