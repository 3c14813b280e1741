//! Ending a one-off from outside: `slug stop run.1`.

use std::os::fd::AsFd as _;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::Signal;

use super::RunError;
use super::registry;
use super::registry::Entry;
use crate::ident::AppName;
use crate::ident::Instance;
use crate::store::Store;

/// Asks the one-off to end, and waits until it has: it has its grace, then it is killed. None if there is no such one.
pub fn stop_one_off(
    store: &Store,
    app: &AppName,
    instance: &Instance,
) -> Result<Option<()>, RunError> {
    let find = || -> Result<Option<Entry>, RunError> {
        let all = registry::list(store, app).map_err(super::LaunchError::from)?;
        Ok(all.into_iter().find(|entry| entry.instance == *instance))
    };
    let Some(entry) = find()? else {
        return Ok(None);
    };
    let failed = |error: Errno| RunError::Io("end the one-off", error.into());
    let pid = i32::try_from(entry.runner).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(Errno::SRCH).map_err(failed)?;
    let runner = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(runner) => runner,
        Err(Errno::SRCH) => return Ok(Some(())), // it has just ended
        Err(error) => return Err(failed(error)),
    };
    // Its entry is still locked, so the number was still its own when it was opened.
    if find()?.is_none() {
        return Ok(Some(()));
    }
    match rustix::process::pidfd_send_signal(&runner, Signal::TERM) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => return Err(failed(error)),
    }
    let mut watched = [PollFd::from_borrowed_fd(runner.as_fd(), PollFlags::IN)];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut watched, None)).map_err(failed)?;
    Ok(Some(()))
}
