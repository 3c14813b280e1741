//! A helper: this same program in another process, at the other end of a channel,
//! with nothing of its maker's but what is sent to it. The channel is its
//! lifeline: it ends when the channel does.

use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use landlock::Access as _;
use landlock::CompatLevel;
use landlock::Compatible as _;
use landlock::Ruleset;
use landlock::RulesetAttr as _;
use rustix::process::DumpableBehavior;
use rustix::process::Gid;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::Signal;
use rustix::process::Uid;
use rustix::process::WaitId;
use rustix::process::WaitIdOptions;
use rustix::thread::CapabilitySet;
use rustix::thread::CapabilitySets;
use serde::Deserialize;
use serde::Serialize;

use crate::sys::sandbox::Exit;
use crate::sys::syscall;
use crate::sys::syscall::Descriptors;
use crate::sys::takeover::Bag;
use crate::sys::takeover::Place;

/// Its only argument. It does nothing for the helper; a program that has none of this name refuses it instead of
/// starting over from `main`.
const ARGUMENT: &str = "--helper";
/// Who the helper of root is: `nobody`, by the number that every Linux has for it.
const NOBODY: u32 = 65_534;

/// A started helper; it is not ended by being dropped.
#[derive(Debug)]
pub(crate) struct Helper {
    pid: Pid,
    process: OwnedFd,
}

/// What is known of a helper; its descriptor is in a bag.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct HelperState {
    pid: i32,
    process: Place,
}

impl Helper {
    /// Starts `program` as the helper `name`: its standard input is `channel`, its output and errors go to `output`.
    pub(crate) fn spawn(
        program: &Path,
        name: &str,
        channel: OwnedFd,
        output: OwnedFd,
    ) -> io::Result<Self> {
        let errors = output.try_clone()?;
        // No `pre_exec`: so std uses vfork, and nothing runs between fork and exec. See `settle`.
        let mut command = Command::new(program);
        command.arg0(name).arg(ARGUMENT).env_clear();
        command
            .current_dir("/")
            .stdin(Stdio::from(channel))
            .stdout(Stdio::from(output))
            .stderr(Stdio::from(errors));
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { pid, process })
    }

    /// For people, never to signal it.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_pid().cast_unsigned()
    }

    /// What another program of this process needs to hold it.
    pub(crate) fn state(&self, bag: &mut Bag) -> io::Result<HelperState> {
        Ok(HelperState {
            pid: self.pid.as_raw_pid(),
            process: bag.put_copy(self.process.as_fd())?,
        })
    }

    /// Holds one that another program of this process started.
    pub(crate) fn adopt(state: HelperState, bag: &mut Bag) -> io::Result<Self> {
        let pid = Pid::from_raw(state.pid);
        Ok(Self {
            pid: pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?,
            process: bag.take(state.process)?,
        })
    }

    /// Ends it at once.
    pub(crate) fn kill(&self) {
        // It can only fail where it has ended already.
        let _ = rustix::process::pidfd_send_signal(&self.process, Signal::KILL);
    }

    /// Waits for its end; how it ended is unknown to a caller that ignores SIGCHLD.
    pub(crate) fn wait(&self) -> Option<Exit> {
        let ended = rustix::io::retry_on_intr(|| {
            let process = WaitId::PidFd(self.process.as_fd());
            rustix::process::waitid(process, WaitIdOptions::EXITED)
        });
        let status = ended.ok().flatten()?;
        let signal = status.terminating_signal().map(Exit::Signal);
        signal.or(status.exit_status().map(Exit::Code))
    }
}

/// The first steps of a helper, before any thread: gives its end of the channel.
///
/// It leaves its maker's session, so that no key of the terminal reaches it, and ignores what asks a process to end
/// (SIGTERM too, which a service manager sends to all): its maker tells it when. It has no descriptor but the
/// standard ones, may open no file where the kernel has Landlock, gains no privilege by an exec, leaves no core and
/// cannot be looked into. That of root becomes `nobody`, where there is one, and has no capability.
pub(crate) fn settle() -> io::Result<OwnedFd> {
    syscall::close_from(3, Descriptors::Close)?;
    let channel = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    syscall::default_all_signals();
    for signal in [libc::SIGPIPE, libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        syscall::ignore_signal(signal);
    }
    syscall::hold_back(0)?;
    rustix::process::setsid()?;
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, none)?;
    let mut descriptors = rustix::process::getrlimit(Resource::Nofile);
    descriptors.current = descriptors.maximum;
    rustix::process::setrlimit(Resource::Nofile, descriptors)?;
    give_up_privileges()?;
    // After the change of uid, which may set it anew.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(channel)
}

fn give_up_privileges() -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        let changed = rustix::thread::set_thread_groups(&[])
            .and_then(|()| rustix::thread::set_thread_res_gid(gid, gid, gid))
            .and_then(|()| rustix::thread::set_thread_res_uid(uid, uid, uid));
        match changed {
            // The root of a container may have no other id: it keeps its own, without capabilities.
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    let none = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    rustix::thread::set_capabilities(None, none)?;
    rustix::thread::set_no_new_privs(true)?;
    open_no_file().map_err(io::Error::other)
}

/// From now on, where the kernel has Landlock; what is open stays so.
fn open_no_file() -> Result<(), landlock::RulesetError> {
    let access = landlock::AccessFs::from_all(landlock::ABI::V5);
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    ruleset
        .handle_access(access)?
        .create()?
        .restrict_self()
        .map(drop)
}
