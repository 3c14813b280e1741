//! Signals as something to be read, next to everything else that is waited for.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd as _;
use std::os::fd::OwnedFd;

/// These signals are read here instead of being acted on, until this is dropped.
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
    before: libc::sigset_t,
}

impl Signals {
    /// Catches signals on this thread and on those that it starts from now on: to be called before any is.
    /// A sandboxed child begins with none caught.
    pub fn catch(signals: &[i32]) -> io::Result<Self> {
        let set = set_of(signals);
        let before = change_mask(libc::SIG_BLOCK, &set)?;
        #[expect(unsafe_code, reason = "rustix has no signalfd")]
        // SAFETY: `set` is initialized and only read; -1 asks for a new descriptor.
        let fd =
            unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            let error = io::Error::last_os_error();
            let _ = change_mask(libc::SIG_SETMASK, &before);
            return Err(error);
        }
        #[expect(unsafe_code, reason = "the kernel hands out a plain number")]
        // SAFETY: `fd` is open, fresh, and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, before })
    }

    /// The next signal that came; none if none is waiting.
    pub fn take(&self) -> Option<i32> {
        take(self.fd.as_fd())
    }
}

/// Gives a signal that this process was started to ignore its default disposition: one that is to be caught must not
/// be ignored.
pub fn heed(signal: i32) {
    super::syscall::default_signal(signal);
}

/// The next signal that came to a copy of the descriptor of `Signals`.
pub(in crate::sys) fn take(fd: BorrowedFd<'_>) -> Option<i32> {
    let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
    let count = rustix::io::read(fd, &mut info).ok()?;
    // `ssi_signo` is the first field, a u32 (signalfd(2)).
    let number = info.first_chunk().filter(|_| count == info.len())?;
    i32::try_from(u32::from_ne_bytes(*number)).ok()
}

/// Was this process started to ignore the signal, as `nohup` does with SIGHUP?
pub fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    #[expect(unsafe_code, reason = "rustix has no sigaction")]
    // SAFETY: no new action is given; the old one is written whole when the call succeeds, and read only then.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = change_mask(libc::SIG_SETMASK, &self.before);
    }
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    #[expect(unsafe_code, reason = "a set of signals is made by libc alone")]
    // SAFETY: sigemptyset initializes the whole set, sigaddset changes an initialized one.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}

fn change_mask(how: i32, set: &libc::sigset_t) -> io::Result<libc::sigset_t> {
    let mut before = MaybeUninit::uninit();
    #[expect(unsafe_code, reason = "rustix has no signal masks")]
    // SAFETY: `set` is initialized and only read; `before` is written whole when the call succeeds.
    let (failed, before) = unsafe {
        let failed = libc::pthread_sigmask(how, set, before.as_mut_ptr());
        (failed, before)
    };
    if failed != 0 {
        return Err(io::Error::from_raw_os_error(failed));
    }
    #[expect(unsafe_code, reason = "see above")]
    // SAFETY: the call succeeded, so it wrote `before`.
    Ok(unsafe { before.assume_init() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caught_signal_is_read_once_and_none_is_left() {
        let signals = Signals::catch(&[libc::SIGUSR2]).unwrap();
        assert_eq!(signals.take(), None);
        let tid = rustix::thread::gettid();
        let pid = rustix::process::getpid();
        #[expect(
            unsafe_code,
            reason = "to this thread alone: others of the test binary do not catch it"
        )]
        // SAFETY: tgkill has no memory to get wrong.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_tgkill,
                pid.as_raw_nonzero().get(),
                tid.as_raw_nonzero().get(),
                libc::SIGUSR2,
            )
        };
        assert_eq!(sent, 0);
        assert_eq!(
            (signals.take(), signals.take()),
            (Some(libc::SIGUSR2), None)
        );
    }
}
