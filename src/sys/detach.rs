//! Going on without whoever started this process: no terminal, no stream, no
//! signal that it ignored.

use std::io;

use rustix::fs::Mode;
use rustix::fs::OFlags;

use crate::sys::syscall;

/// Begins a session of its own, with every signal as the kernel has it. The process leads no group yet, as any that was
/// just started.
pub fn begin() -> io::Result<()> {
    rustix::process::setsid()?;
    syscall::default_all_signals();
    syscall::hold_back(0)?;
    // As in every program of Rust: a write that nobody reads is an error, not an end.
    syscall::ignore_signal(libc::SIGPIPE);
    Ok(())
}

/// Puts `/dev/null` in the place of the standard streams: those who read them see their end.
pub fn let_go_of_streams() -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
