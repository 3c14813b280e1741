//! Ctrl-C and its kin as a request: the work ends in its own way, and by force
//! if that takes too long.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::sys::here;
use crate::sys::signal::{Signals, is_ignored, take};
use crate::sys::syscall::exit_now;

/// What asks a program to end: the terminal that went away, Ctrl-C, a CI system that cancels a job.
const ASKING: [i32; 3] = [libc::SIGHUP, libc::SIGINT, libc::SIGTERM];

/// Whether work is asked to end. Clones are asked together; the default is never asked.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    /// Readable while a signal is there that the watching thread has not taken yet.
    arrived: OwnedFd,
    /// Readable from then on.
    asked: OwnedFd,
    /// The signal; zero before.
    signal: AtomicI32,
}

impl Cancel {
    /// The signal that asked; none so far. Certain once the signal was sent: what dies of the same Ctrl-C
    /// is never taken for a failure of its own.
    pub fn signal(&self) -> Option<i32> {
        let shared = self.0.as_ref()?;
        if shared.signal.load(Ordering::Acquire) == 0 {
            if !is_readable(&[&shared.arrived], Some(Duration::ZERO)) {
                return None;
            }
            is_readable(&[&shared.asked], None);
        }
        Some(shared.signal.load(Ordering::Acquire))
    }

    /// Waits until the descriptor is readable, or the work is asked to end: then by which signal.
    pub fn wait_with(&self, other: BorrowedFd<'_>) -> io::Result<Option<i32>> {
        let mut watched = vec![PollFd::from_borrowed_fd(other, PollFlags::IN)];
        let asked = self.asked_fd().into_iter();
        watched.extend(asked.map(|asked| PollFd::from_borrowed_fd(asked, PollFlags::IN)));
        rustix::io::retry_on_intr(|| poll(&mut watched, None))?;
        Ok(self.signal())
    }

    /// Readable once it was asked, for ever: to be watched with `poll`. None if it never will be.
    pub fn asked_fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(|shared| shared.asked.as_fd())
    }
}

/// Turns the signals that ask for an end into a `Cancel`, until this is dropped.
#[derive(Debug)]
pub struct Watch {
    cancel: Cancel,
    done: Arc<OwnedFd>,
    thread: Option<thread::JoinHandle<()>>,
    _signals: Signals,
}

impl Watch {
    /// Watches from now on; to be called before another thread is started. From the first signal on the work has
    /// `grace` to end; then, or at the second signal, this process ends with 128 + the first signal,
    /// and all that descends from it. A signal that the process was started to ignore (`nohup`) stays ignored.
    pub fn start(grace: Duration) -> io::Result<Self> {
        let asking: Vec<i32> = ASKING
            .into_iter()
            .filter(|signal| !is_ignored(*signal))
            .collect();
        let signals = Signals::catch(&asking)?;
        let event = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let shared = Arc::new(Shared {
            arrived: signals.as_fd().try_clone_to_owned()?,
            asked: event()?,
            signal: AtomicI32::new(0),
        });
        let done = Arc::new(event()?);
        let (for_thread, until) = (Arc::clone(&shared), Arc::clone(&done));
        let thread = thread::Builder::new()
            .name("slug-cancel".to_owned())
            .spawn(move || attend(&for_thread, &until, grace))?;
        Ok(Self {
            cancel: Cancel(Some(shared)),
            done,
            thread: Some(thread),
            _signals: signals,
        })
    }

    /// To be asked by the work.
    pub fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        raise(&self.done);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it does not panic
        }
    }
}

fn attend(shared: &Shared, done: &OwnedFd, grace: Duration) {
    let signal = loop {
        is_readable(&[&shared.arrived, done], None);
        if is_readable(&[done], Some(Duration::ZERO)) {
            return;
        }
        if let Some(signal) = take(shared.arrived.as_fd()) {
            break signal;
        }
    };
    shared.signal.store(signal, Ordering::Release);
    raise(&shared.asked);
    is_readable(&[&shared.arrived, done], Some(grace));
    if !is_readable(&[done], Some(Duration::ZERO)) {
        // What cannot be listed dies with its sandbox, or is another build's to find.
        let _ = here::kill_descendants();
        exit_now(128 + signal);
    }
}

fn raise(event: &OwnedFd) {
    // It can only fail where it was raised 2^64 - 2 times before.
    let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
}

/// Waits until one of them is readable, or the time is up: whether one is.
fn is_readable(fds: &[&OwnedFd], limit: Option<Duration>) -> bool {
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    let mut watched: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::new(*fd, PollFlags::IN))
        .collect();
    rustix::io::retry_on_intr(|| poll(&mut watched, limit.as_ref())).is_ok_and(|count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_watches_is_never_asked() {
        let cancel = Cancel::default();
        assert_eq!(cancel.signal(), None);
        assert!(cancel.asked_fd().is_none());
    }
}
