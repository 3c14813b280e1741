//! cgroup v2, where a subtree of it is this process's to divide (a systemd unit
//! with `Delegate=yes`, a container, root in a cgroup of its own). Each limited
//! process gets a leaf. A cgroup with controllers for its children may hold no
//! process itself, so this process moves into a leaf of its own first.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use thiserror::Error;

/// Where this process itself goes.
const OWN_LEAF: &str = "slug-supervisor";
/// In which time the share of a processor is counted, in microseconds: the kernel's own default.
const CPU_PERIOD_US: u64 = 100_000;
/// The kernel refuses a smaller share, in microseconds.
const CPU_QUOTA_US_MIN: u64 = 1_000;

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// Bytes.
    Memory,
    /// Processor time.
    Cpu,
    /// Processes and threads.
    Pids,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    /// As the kernel calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }
}

/// Why nothing can be limited here.
#[derive(Debug, Error)]
pub enum CgroupError {
    /// No cgroup v2 is mounted.
    #[error("this host has no cgroup v2")]
    None,
    /// This process is in the root of all cgroups.
    #[error("this process is in no cgroup of its own")]
    Root,
    /// The subtree belongs to somebody else.
    #[error("the cgroup `{}` is not delegated to this process", path.display())]
    NotDelegated {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Somebody else's processes are in it.
    #[error("other processes are in the cgroup `{}` too", .0.display())]
    Shared(PathBuf),
    /// A leaf could not be made, or not be limited.
    #[error("the cgroup `{}` could not be made", path.display())]
    Leaf {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What the processes of a leaf may use together; `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// In bytes; none of it in swap.
    pub memory: Option<u64>,
    /// In thousandths of a processor.
    pub cpu_milli: Option<u32>,
    /// Processes and threads, beside the init of the sandbox.
    pub pids: Option<u32>,
}

/// A subtree that is divided by this process; clones share it.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
    controllers: BTreeSet<Controller>,
    /// Leaves whose last process was not quite gone when they were given up.
    left: Arc<Mutex<Vec<PathBuf>>>,
}

/// The cgroup of this process, as a folder; above the leaf that an earlier program of this process went into.
pub fn own() -> Result<PathBuf, CgroupError> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let folder = folder_of(&own, &mounts).ok_or(CgroupError::None)?;
    if folder.ends_with(OWN_LEAF) {
        return folder.parent().map(Path::to_owned).ok_or(CgroupError::None);
    }
    Ok(folder)
}

/// `0::/a/b` of /proc/self/cgroup, under the first cgroup2 mount of mountinfo that shows it.
fn folder_of(own: &str, mounts: &str) -> Option<PathBuf> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut fields = place.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        let is_cgroup2 = kind.starts_with("cgroup2 ");
        let inside = Path::new(own)
            .strip_prefix(root)
            .ok()
            .filter(|_| is_cgroup2)?;
        Some(Path::new(at).join(inside))
    })
}

/// Which controllers could be had in this subtree, without taking it.
pub fn look(root: &Path) -> Result<BTreeSet<Controller>, CgroupError> {
    // The root of all has no `cgroup.events`, and is nobody's to divide.
    if !root.join("cgroup.events").exists() {
        return Err(CgroupError::Root);
    }
    for file in ["cgroup.procs", "cgroup.subtree_control"] {
        let path = root.join(file);
        rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).map_err(|error| {
            CgroupError::NotDelegated {
                path: root.to_owned(),
                source: error.into(),
            }
        })?;
    }
    let here = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    let names: BTreeSet<&str> = here.split_whitespace().collect();
    let has = |controller: &Controller| names.contains(controller.name());
    Ok(Controller::ALL.into_iter().filter(has).collect())
}

impl Tree {
    /// Takes the subtree: moves this process into a leaf, and has the controllers that there are limit the others.
    /// To be called before this process has started any other.
    pub fn take(root: &Path) -> Result<Self, CgroupError> {
        let wanted = look(root)?;
        let refused = |source| CgroupError::NotDelegated {
            path: root.to_owned(),
            source,
        };
        let leaf = root.join(OWN_LEAF);
        if let Err(error) = fs::create_dir(&leaf)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(refused(error));
        }
        put(&leaf.join("cgroup.procs"), "0").map_err(refused)?;
        let enabled = wanted.iter().try_for_each(|controller| {
            put(
                &root.join("cgroup.subtree_control"),
                &format!("+{}", controller.name()),
            )
        });
        if let Err(error) = enabled {
            // As it was.
            let _ = put(&root.join("cgroup.procs"), "0");
            let _ = fs::remove_dir(&leaf);
            return Err(match error.kind() {
                io::ErrorKind::ResourceBusy => CgroupError::Shared(root.to_owned()),
                _ => refused(error),
            });
        }
        // What a supervisor that was killed left empty behind.
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(entry.path()); // not if anything is in it
        }
        Ok(Self {
            root: root.to_owned(),
            controllers: wanted,
            left: Arc::default(),
        })
    }

    /// Can this be limited?
    pub fn has(&self, controller: Controller) -> bool {
        self.controllers.contains(&controller)
    }

    /// The subtree.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes a leaf of this name, limited as far as there are controllers for it.
    pub fn leaf(&self, name: &str, limits: &Limits) -> Result<Leaf, CgroupError> {
        self.tidy();
        let folder = self.root.join(name);
        let failed = |source| CgroupError::Leaf {
            path: folder.clone(),
            source,
        };
        fs::create_dir(&folder).map_err(failed)?;
        let leaf = Leaf {
            folder: folder.clone(),
            left: Arc::clone(&self.left),
        };
        for (controller, file, text) in written(limits) {
            if self.has(controller) {
                put(&folder.join(file), &text).map_err(failed)?;
            }
        }
        Ok(leaf)
    }

    /// Removes the leaves that could not be removed at once.
    fn tidy(&self) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|folder| fs::remove_dir(folder).is_err_and(|error| is_there(&error)));
    }
}

fn is_there(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::NotFound
}

/// What is written into which file.
fn written(limits: &Limits) -> Vec<(Controller, &'static str, String)> {
    let Limits {
        memory,
        cpu_milli,
        pids,
    } = limits;
    let mut written = Vec::new();
    if let Some(bytes) = memory {
        written.push((Controller::Memory, "memory.max", bytes.to_string()));
        written.push((Controller::Memory, "memory.swap.max", "0".to_owned()));
    }
    if let Some(milli) = cpu_milli {
        let quota = (u64::from(*milli) * CPU_PERIOD_US / 1000).max(CPU_QUOTA_US_MIN);
        written.push((
            Controller::Cpu,
            "cpu.max",
            format!("{quota} {CPU_PERIOD_US}"),
        ));
    }
    if let Some(pids) = pids {
        let with_init = u64::from(*pids) + 1;
        written.push((Controller::Pids, "pids.max", with_init.to_string()));
    }
    written
}

/// A file of a cgroup takes its whole text in one write. Without swap there is no `memory.swap.max`.
fn put(file: &Path, text: &str) -> io::Result<()> {
    use io::Write as _;
    match fs::File::options().write(true).open(file) {
        Err(error) if !is_there(&error) && file.ends_with("memory.swap.max") => Ok(()),
        opened => opened?.write_all(text.as_bytes()),
    }
}

/// A cgroup of one sandbox. Dropped, it is removed, and all that is in it killed.
#[derive(Debug)]
pub struct Leaf {
    folder: PathBuf,
    left: Arc<Mutex<Vec<PathBuf>>>,
}

impl Leaf {
    /// A leaf that an earlier program of this process left by `let_go`.
    pub fn adopt(folder: PathBuf) -> Self {
        Self {
            folder,
            left: Arc::default(),
        }
    }

    /// Ends this hold and nothing else.
    pub fn let_go(self) {
        std::mem::forget(self);
    }

    /// Its folder, for `sandbox::Limits`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Kills all that is in it. Linux 5.14; before, the end of the sandbox's init does the same.
    pub fn kill(&self) {
        let _ = put(&self.folder.join("cgroup.kill"), "1");
    }

    /// The file that changes when memory runs out; it can be watched.
    pub fn memory_events(&self) -> PathBuf {
        self.folder.join("memory.events")
    }

    /// How many of its processes were killed because memory ran out.
    pub fn out_of_memory_kills(&self) -> u64 {
        let events = fs::read_to_string(self.memory_events()).unwrap_or_default();
        let mut counts = events
            .lines()
            .filter_map(|line| line.strip_prefix("oom_kill "));
        counts
            .next()
            .and_then(|count| count.parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        if fs::remove_dir(&self.folder).is_err_and(|error| is_there(&error)) {
            self.kill();
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.push(self.folder.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_process_is_found_in_v2_and_in_the_v2_part_of_a_hybrid() {
        let hybrid = "4:memory:/x\n0::/user.slice/a b\n";
        let mounts = "31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n42 23 0:28 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        let expected = PathBuf::from("/sys/fs/cgroup/unified/user.slice/a b");
        assert_eq!(folder_of(hybrid, mounts), Some(expected));
        let inside = "42 23 0:28 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert_eq!(
            folder_of("0::/docker/1/app\n", inside),
            Some(PathBuf::from("/sys/fs/cgroup/app"))
        );
        assert_eq!(folder_of("0::/other\n", inside), None);
        assert_eq!(folder_of("1:name=systemd:/\n", mounts), None);
    }

    #[test]
    fn limits_are_written_as_the_kernel_reads_them() {
        let limits = Limits {
            memory: Some(512 << 20),
            cpu_milli: Some(1500),
            pids: Some(64),
        };
        let written = written(&limits);
        let lines: Vec<(&str, &str)> = written
            .iter()
            .map(|(_, file, text)| (*file, text.as_str()))
            .collect();
        let expected = [
            ("memory.max", "536870912"),
            ("memory.swap.max", "0"),
            ("cpu.max", "150000 100000"),
            ("pids.max", "65"),
        ];
        assert_eq!(lines, expected);
        assert!(super::written(&Limits::default()).is_empty());
    }
}
