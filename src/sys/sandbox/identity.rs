//! Who the process is, and what it may no longer do.

use std::fs::OpenOptions;
use std::io;
use std::io::Write as _;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::error::refused;
use crate::sys::sandbox::error::setup;

/// Who the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Through a user namespace in which the caller's ids stand for themselves: the caller is not root.
    pub(super) namespace: bool,
}

impl Identity {
    /// Root's processes take `uid`; all others stay who they are.
    pub(super) fn of_caller(uid: u32) -> Result<Self, SandboxError> {
        let caller = rustix::process::geteuid();
        if !caller.is_root() {
            let gid = rustix::process::getegid().as_raw();
            return Ok(Self {
                uid: caller.as_raw(),
                gid,
                namespace: true,
            });
        }
        if [0, u32::MAX].contains(&uid) {
            // Without any capability root still owns the host's files; the largest number is none.
            let source = io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{uid} is not a uid for a sandbox"),
            );
            return Err(setup("choose a uid", source));
        }
        Ok(Self {
            uid,
            gid: uid,
            namespace: false,
        })
    }

    /// Makes the caller's ids stand for themselves in the fresh user namespace.
    pub(super) fn map(&self) -> Result<(), SandboxError> {
        let Self {
            uid,
            gid,
            namespace,
        } = self;
        if !namespace {
            return Ok(());
        }
        // A process that maps its own group must first give up the right to leave groups.
        write_to("/proc/self/setgroups", "deny")?;
        write_to("/proc/self/uid_map", &format!("{uid} {uid} 1"))?;
        write_to("/proc/self/gid_map", &format!("{gid} {gid} 1"))
    }

    /// Gives pipes to the process, so that it can open `/dev/stdout` anew (moby#31243).
    pub(super) fn own_pipe(&self, stream: BorrowedFd<'_>) -> Result<(), SandboxError> {
        let step = "hand the standard streams over";
        let mode = rustix::fs::fstat(stream)
            .map_err(|error| setup(step, error.into()))?
            .st_mode;
        if self.namespace || FileType::from_raw_mode(mode) != FileType::Fifo {
            return Ok(());
        }
        rustix::fs::fchown(
            stream,
            Some(Uid::from_raw(self.uid)),
            Some(Gid::from_raw(self.gid)),
        )
        .map_err(|error| setup(step, error.into()))
    }

    /// Takes the uid on and lets go of every capability, for good.
    pub(super) fn take_on(&self) -> Result<(), SandboxError> {
        let failed =
            |error: rustix::io::Errno| setup(&format!("become uid {}", self.uid), error.into());
        for capability in bounding_set().map_err(failed)? {
            rustix::thread::remove_capability_from_bounding_set(capability).map_err(failed)?;
        }
        if !self.namespace {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            // The root of a container may have few ids to give.
            let refused = |call| move |error: rustix::io::Errno| refused(call, error.into());
            rustix::thread::set_thread_groups(&[]).map_err(refused("setgroups"))?;
            rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(refused("setresgid"))?;
            rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(refused("setresuid"))?;
        }
        rustix::thread::clear_ambient_capability_set().map_err(failed)?;
        let none = CapabilitySet::empty();
        let none = CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        };
        rustix::thread::set_capabilities(None, none).map_err(failed)?;
        rustix::thread::set_no_new_privs(true).map_err(failed)
    }
}

/// Each capability that this kernel has and the bounding set still holds.
fn bounding_set() -> rustix::io::Result<Vec<CapabilitySet>> {
    let mut held = Vec::new();
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::capability_is_in_bounding_set(capability) {
            Ok(true) => held.push(capability),
            Ok(false) => {}
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(held)
}

fn write_to(path: &str, text: &str) -> Result<(), SandboxError> {
    let written = OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| refused(&format!("write({path})"), error))
}
