//! A program that answers on descriptor 3, beside its standard streams.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// The longest answer, in bytes.
pub const OUTPUT_BYTES_MAX: u64 = 1024 * 1024;

/// How the program ended, and what it wrote to descriptor 3.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote.
    pub output: Vec<u8>,
}

/// Runs `program` with exactly this environment and the caller's standard output and error.
/// Ends when nothing holds descriptor 3 any more, as a pipe does.
pub fn run(program: &Path, env: &BTreeMap<OsString, OsString>, cwd: &Path) -> io::Result<Ran> {
    let (reader, writer) = io::pipe()?;
    let descriptor = writer.as_raw_fd();
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(env)
        .current_dir(cwd)
        .stdin(Stdio::null());
    #[expect(
        unsafe_code,
        reason = "the standard library hands on no descriptor but the first three"
    )]
    // SAFETY: the closure runs between fork and exec and makes one or two system calls that are
    // async-signal-safe; `descriptor` is open there, because `writer` lives until after the spawn.
    unsafe {
        command.pre_exec(move || place_at_three(descriptor));
    }
    let mut child = command.spawn()?;
    drop(writer);
    let mut output = Vec::new();
    let read = File::from(std::os::fd::OwnedFd::from(reader))
        .take(OUTPUT_BYTES_MAX + 1)
        .read_to_end(&mut output);
    if read.is_err() || output.len() as u64 > OUTPUT_BYTES_MAX {
        let _ = child.kill();
        child.wait()?;
        read?;
        return Err(io::Error::other(format!(
            "more than {OUTPUT_BYTES_MAX} bytes on descriptor 3"
        )));
    }
    Ok(Ran {
        status: child.wait()?,
        output,
    })
}

/// Makes `descriptor` be 3, to stay open over the exec.
fn place_at_three(descriptor: i32) -> io::Result<()> {
    #[expect(
        unsafe_code,
        reason = "rustix's dup2 wants to own descriptor 3, which nobody here does"
    )]
    // SAFETY: both calls take descriptors by number and touch no memory. `dup2` leaves 3 without
    // FD_CLOEXEC; where the pipe is 3 already, `dup2` would change nothing, so the flag is cleared.
    let result = unsafe {
        if descriptor == 3 {
            libc::fcntl(3, libc::F_SETFD, 0)
        } else {
            libc::dup2(descriptor, 3)
        }
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
