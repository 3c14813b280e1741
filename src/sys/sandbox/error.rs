//! Why a process could not be started in its sandbox, with the facts from which
//! `cli` tells the fix.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use thiserror::Error;

/// Why a process could not be started in its sandbox.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The kernel or an administrator refuses namespaces, or the mounts in them, to this user.
    #[error("this machine refuses the namespaces that a sandbox is made of ({call}: {source})")]
    Refused {
        /// The system call, such as `clone` or `mount(proc)`.
        call: String,
        /// What the kernel said.
        source: io::Error,
        /// What on this machine may be the reason.
        facts: Facts,
    },
    /// An overlay could not be mounted: this kernel, or the file system of the upper folder, has none to give.
    #[error("could not mount the overlay at `{}`: {source}", to.display())]
    Overlay {
        /// Inside.
        to: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A step of the set-up failed.
    #[error("could not set up the sandbox: {step}: {source}")]
    Setup {
        /// What was being done, with the path.
        step: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// `argv[0]` is on no folder of `PATH`, or a path that leads nowhere.
    #[error("`{program}` was not found")]
    NotFound {
        /// What was looked for.
        program: String,
    },
    /// The `#!` line or the ELF header of `argv[0]` names an interpreter that is not there.
    #[error("`{program}` needs `{interpreter}`, which was not found")]
    NoInterpreter {
        /// What was to be executed.
        program: String,
        /// What its first line names, or `the dynamic loader that it names`.
        interpreter: String,
    },
    /// `argv[0]` is there and cannot be executed.
    #[error("`{program}` cannot be executed: {source}")]
    NotExecutable {
        /// What was to be executed.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The `Prepare` of the shim failed.
    #[error("{0}")]
    Prepare(String),
}

/// A step that failed.
pub(super) fn setup(step: &str, source: io::Error) -> SandboxError {
    SandboxError::Setup {
        step: step.to_owned(),
        source,
    }
}

/// A call that makes or fills a namespace and failed: a refusal, if the error says so.
/// The facts are those of the caller's machine, which adds them.
pub(super) fn refused(call: &str, source: io::Error) -> SandboxError {
    use rustix::io::Errno;
    // ENOSPC and EUSERS: a limit on namespaces. ENOSYS: a kernel or a filter without the call.
    const REFUSALS: [Errno; 6] = [
        Errno::PERM,
        Errno::ACCESS,
        Errno::NOSPC,
        Errno::USERS,
        Errno::NOSYS,
        Errno::INVAL,
    ];
    let refusal = Errno::from_io_error(&source).is_some_and(|errno| REFUSALS.contains(&errno));
    if refusal {
        SandboxError::Refused {
            call: call.to_owned(),
            source,
            facts: Facts::default(),
        }
    } else {
        setup(call, source)
    }
}

/// What on this machine may be the reason that namespaces are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that are independent of one another"
)]
pub struct Facts {
    /// The caller is root, so no user namespace was asked for.
    pub root: bool,
    /// `kernel.apparmor_restrict_unprivileged_userns` is 1 (Ubuntu 23.10 and later): the fix is an `AppArmor` profile for the binary.
    pub apparmor: bool,
    /// `kernel.unprivileged_userns_clone` is 0 (Debian before 11, Arch's hardened kernel).
    pub userns_clone_off: bool,
    /// `user.max_user_namespaces` is 0.
    pub userns_max_zero: bool,
    /// `/.dockerenv` or `/run/.containerenv` is there: the machine is a container.
    pub container: bool,
    /// Something is mounted over parts of `/proc`, so that the kernel gives no new one to a user namespace.
    pub proc_masked: bool,
}

impl Facts {
    /// Looks at the machine.
    pub fn read() -> Self {
        let sysctl = |path: &str, value: &str| {
            fs::read_to_string(path).is_ok_and(|text| text.trim() == value)
        };
        Self {
            root: rustix::process::geteuid().is_root(),
            apparmor: sysctl(
                "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
                "1",
            ),
            userns_clone_off: sysctl("/proc/sys/kernel/unprivileged_userns_clone", "0"),
            userns_max_zero: sysctl("/proc/sys/user/max_user_namespaces", "0"),
            container: Path::new("/.dockerenv").exists()
                || Path::new("/run/.containerenv").exists(),
            proc_masked: fs::read_to_string("/proc/self/mountinfo")
                .is_ok_and(|mounts| masks_proc(&mounts)),
        }
    }
}

/// Whether a mount point of this `mountinfo` lies below `/proc`.
/// `binfmt_misc` is no mask: its place is a folder that is empty for ever.
fn masks_proc(mountinfo: &str) -> bool {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .into_iter()
        .any(|point| point.starts_with("/proc/") && point != "/proc/sys/fs/binfmt_misc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_over_a_part_of_proc_masks_it() {
        let plain = "22 27 0:21 / /proc rw - proc proc rw\n23 22 0:30 / /proc/sys/fs/binfmt_misc rw - binfmt_misc none rw\n";
        assert!(!masks_proc(plain));
        assert!(masks_proc(&format!(
            "{plain}24 22 0:5 /null /proc/kcore rw - devtmpfs udev rw\n"
        )));
    }
}
