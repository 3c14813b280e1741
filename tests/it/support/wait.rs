//! Waiting with a deadline.

use std::os::fd::AsFd as _;
use std::process::Child;
use std::process::ExitStatus;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::process::Pid;
use rustix::process::PidfdFlags;

/// Far more than anything takes on a loaded machine: a test that reaches it hangs.
pub(crate) const LONG: Duration = Duration::from_mins(5);

/// Waits for what no event tells of (a port, a process of another's): asks until `ready` gives something.
#[track_caller]
pub(crate) fn until<T>(limit: Duration, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "waited {limit:?} in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for the end of a child; `None` if it outlives `limit`.
pub(crate) fn exit_of(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    // Not yet waited for, so the number is still this child's.
    let exited = rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let mut watched = [PollFd::from_borrowed_fd(exited.as_fd(), PollFlags::IN)];
    let limit = Timespec::try_from(limit).unwrap();
    let ready =
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut watched, Some(&limit))).unwrap();
    (ready > 0).then(|| child.wait().unwrap())
}
