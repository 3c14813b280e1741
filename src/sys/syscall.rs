//! The system calls that `rustix` has no safe form of, one small function each.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr;

/// A set of signals as the kernel has it: bit n - 1 for signal n.
pub(in crate::sys) type SignalSet = u64;

/// Every signal.
pub(in crate::sys) const ALL_SIGNALS: SignalSet = u64::MAX;

/// The set of one signal.
pub(in crate::sys) const fn only(signal: i32) -> SignalSet {
    1 << (signal - 1)
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// As `fork`, with the `CLONE_*` of `flags`: the pid of the child, or `None` in the child.
///
/// # Safety
/// The process has a single thread. Otherwise the child may find locks that nobody will open.
#[expect(unsafe_code, reason = "rustix has no clone")]
pub(in crate::sys) unsafe fn clone(flags: libc::c_int) -> io::Result<Option<u32>> {
    const NONE: usize = 0;
    // SAFETY: without CLONE_VM the child has its own copy of the memory, and a null stack lets
    // it go on on its copy of this one. No flag asks the kernel to write through a pointer.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::c_long::from(flags),
            NONE,
            NONE,
            NONE,
            NONE,
        )
    })?;
    Ok(u32::try_from(pid).ok().filter(|pid| *pid != 0))
}

/// Replaces the process. Returns only why it could not.
#[expect(
    unsafe_code,
    reason = "std's exec gives a text file without `#!` to a shell; this does not"
)]
pub(in crate::sys) fn execve(path: &CStr, argv: &[&CStr], env: &[&CStr]) -> io::Error {
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: path and all strings end with NUL and outlive the call; both arrays end with null.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// As `execve`, of the file behind a descriptor.
#[expect(unsafe_code, reason = "rustix has no execveat")]
pub(in crate::sys) fn execveat(
    program: BorrowedFd<'_>,
    argv: &[&CStr],
    env: &[&CStr],
) -> io::Error {
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: all strings end with NUL and outlive the call; both arrays end with null; the path is empty, so the
    // descriptor alone says which file.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

/// An array of C strings as C has it.
fn pointers(strings: &[&CStr]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// Ends the process at once: nothing is flushed, no handler runs.
#[expect(
    unsafe_code,
    reason = "std's exit runs handlers, which belong to the process this one was cloned from"
)]
pub(in crate::sys) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no precondition.
    unsafe { libc::_exit(code) }
}

/// What becomes of the descriptors from `first` on.
#[derive(Clone, Copy, Debug)]
pub(in crate::sys) enum Descriptors {
    Close,
    CloseOnExec,
}

/// Closes the descriptors from `first` on, now or at the next exec.
#[expect(unsafe_code, reason = "rustix has no close_range")]
pub(in crate::sys) fn close_from(first: u32, what: Descriptors) -> io::Result<()> {
    let flags = match what {
        Descriptors::Close => 0,
        Descriptors::CloseOnExec => libc::CLOSE_RANGE_CLOEXEC,
    };
    // SAFETY: no memory is involved. `Close` is called where no owner of such a descriptor
    // lives yet: first thing in the shim.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) }).map(drop)
}

/// The `struct mount_attr` of the kernel.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// Sets `MOUNT_ATTR_*` on a mount, and on all below it if `recursive`. Linux 5.12.
#[expect(unsafe_code, reason = "rustix has no mount_setattr")]
pub(in crate::sys) fn mount_setattr(
    mount: BorrowedFd<'_>,
    set: u64,
    recursive: bool,
) -> io::Result<()> {
    let attributes = MountAttr {
        set,
        clear: 0,
        propagation: 0,
        userns: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a literal, and the kernel reads `size_of` bytes of a struct that
    // lives through the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// Sets which signals this thread holds back; gives the set that it held back before.
#[expect(unsafe_code, reason = "rustix has no sigprocmask")]
pub(in crate::sys) fn hold_back(signals: SignalSet) -> io::Result<SignalSet> {
    let mut before: SignalSet = 0;
    // SAFETY: both sets are of the eight bytes that are named, and live through the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const signals,
            &raw mut before,
            size_of::<SignalSet>(),
        )
    })?;
    Ok(before)
}

/// Gives every signal its default disposition, also the two that the C library keeps to itself.
pub(in crate::sys) fn default_all_signals() {
    let signals = (1..=64).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal));
    signals.for_each(default_signal);
}

/// Gives a signal its default disposition.
#[expect(
    unsafe_code,
    reason = "rustix has no sigaction, and libc's leaves out two signals"
)]
pub(in crate::sys) fn default_signal(signal: i32) {
    const LARGEST_SIGACTION_BYTES: usize = 64;
    let default = [0_u8; LARGEST_SIGACTION_BYTES]; // SIG_DFL, no flags, nothing held back
    // SAFETY: the kernel reads one `struct sigaction`, which is smaller than the array; zero
    // is SIG_DFL, so no handler's address is made up.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            default.as_ptr(),
            ptr::null::<u8>(),
            size_of::<SignalSet>(),
        )
    };
}

/// Ignores a signal, as Rust's runtime does with SIGPIPE.
#[expect(unsafe_code, reason = "rustix has no sigaction")]
pub(in crate::sys) fn ignore_signal(signal: i32) {
    // SAFETY: SIG_IGN is no handler: no code of this program runs by it.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// A descriptor that is readable while one of these signals, held back, is pending.
#[expect(unsafe_code, reason = "rustix has no signalfd")]
pub(in crate::sys) fn signalfd(signals: SignalSet) -> io::Result<OwnedFd> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the set is of the eight bytes that are named, and lives through the call.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_signalfd4,
            -1,
            &raw const signals,
            size_of::<SignalSet>(),
            flags,
        )
    })?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The pid that means every process which the caller may signal: for the init of a PID namespace
/// all in it but itself.
pub(in crate::sys) const ALL_OTHERS: i32 = -1;

/// Sends a signal.
#[expect(
    unsafe_code,
    reason = "rustix refuses the pid -1, and the real-time signals"
)]
pub(in crate::sys) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill touches no memory.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// A child that has ended and was not reaped, which it still is not afterwards; none if there is none.
#[expect(
    unsafe_code,
    reason = "rustix's waitid does not say which child it was"
)]
pub(in crate::sys) fn peek_ended() -> io::Result<Option<i32>> {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the kernel writes one `siginfo_t`, and nothing where no child has ended: all zero is one, too.
    let info = unsafe {
        check(libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags).into())?;
        info.assume_init()
    };
    // SAFETY: what waitid fills in is the part of the union that holds a child's id; zero if it filled in nothing.
    let pid = unsafe { info.si_pid() };
    Ok((pid != 0).then_some(pid))
}

/// Brings up the loopback interface of a fresh network namespace.
#[expect(unsafe_code, reason = "rustix has no SIOCSIFFLAGS")]
pub(in crate::sys) fn loopback_up(socket: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    struct InterfaceFlags {
        name: [u8; libc::IFNAMSIZ],
        flags: libc::c_short,
        rest_of_the_union: [u8; 22],
    }
    let mut request = InterfaceFlags {
        name: [0; libc::IFNAMSIZ],
        flags: 0,
        rest_of_the_union: [0; 22],
    };
    request.name[..2].copy_from_slice(b"lo");
    request.flags = libc::c_short::try_from(libc::IFF_UP).map_err(io::Error::other)?;
    // SAFETY: the request has the layout and the size (40 bytes) of `struct ifreq`, of which the
    // kernel reads the name and the flags.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into())
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_of_a_signal_has_its_bit() {
        assert_eq!(only(libc::SIGHUP), 1);
        assert_eq!(only(libc::SIGCHLD), 1 << 16);
    }
}
