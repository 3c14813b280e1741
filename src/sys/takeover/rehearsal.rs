//! The next program, tried before anything depends on it: it is started as a
//! child with the state as it is now, must read it, do all that can be done
//! without touching anything, and answer. It gets no descriptor but the state's,
//! so that one that hangs holds on to nothing.

use std::ffi::OsString;
use std::io;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::fd::AsRawFd as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use super::Envelope;
use super::Program;
use super::SCHEMA;
use super::TAKEOVER;
use super::bag;
use crate::sys::notify;

/// How long the next program may take to answer: it reads a few releases. A hundred times what it takes.
const REHEARSAL_MAX: Duration = Duration::from_secs(10);
/// How much of what it says is kept, in bytes.
const SAID_BYTES_MAX: usize = 4096;

/// Why the next program is not executed in this one's place.
#[derive(Debug, Error)]
pub enum Refusal {
    /// It could not be started, or not be watched.
    #[error("it could not be started")]
    Start(#[from] io::Error),
    /// No answer.
    #[error("it did not answer within {} s", REHEARSAL_MAX.as_secs())]
    Silent,
    /// It refused, or crashed.
    #[error("{how}{}", tail(said))]
    Ended {
        /// `exit status: 1`.
        how: String,
        /// What it said.
        said: String,
    },
    /// It ended well without the answer: it is another program.
    #[error("it does not know how to take over: it is no slug, or one of before this was possible")]
    NoAnswer,
}

fn tail(said: &str) -> String {
    if said.is_empty() {
        String::new()
    } else {
        format!(": {said}")
    }
}

/// What a program answers that can take over.
#[derive(Serialize, Deserialize)]
struct Answer {
    schema: u32,
    slug: String,
}

/// The line by which this program says on its standard output that it can take over.
pub fn answer() -> String {
    let answer = Answer {
        schema: SCHEMA,
        slug: env!("CARGO_PKG_VERSION").to_owned(),
    };
    serde_json::json!(answer).to_string()
}

/// Has the program, given these arguments, try the state; gives its version. Blocks for as long as that takes, at most `REHEARSAL_MAX`.
pub fn rehearse(
    program: &Program,
    arguments: &[OsString],
    state: &Value,
) -> Result<String, Refusal> {
    let envelope = Envelope {
        schema: SCHEMA,
        is_rehearsal: true,
        refused: None,
        held_back: 0,
        descriptors: Vec::new(),
        state: state.clone(),
    };
    let mut child = start(program, arguments, &envelope.seal()?)?;
    let ended = watch(&mut child);
    if ended.is_err() {
        let _ = child.kill(); // it has ended otherwise
        let _ = child.wait();
    }
    let (status, out, err) = ended?;
    if !status.success() {
        let how = match status.signal() {
            Some(signal) => format!("it was ended by signal {signal}"),
            None => format!("it ended with {status}"),
        };
        let said = String::from_utf8_lossy(&err).trim().to_owned();
        return Err(Refusal::Ended { how, said });
    }
    match serde_json::from_slice::<Answer>(&out) {
        Ok(Answer {
            schema: SCHEMA,
            slug,
        }) => Ok(slug),
        _ => Err(Refusal::NoAnswer),
    }
}

fn start(program: &Program, arguments: &[OsString], file: &OwnedFd) -> io::Result<Child> {
    let number = file.as_raw_fd();
    let path = format!("/proc/self/fd/{}", program.as_fd().as_raw_fd());
    let mut command = Command::new(path);
    command
        .arg0(TAKEOVER)
        .arg(OsString::from(number.to_string()))
        .args(arguments);
    for variable in notify::VARIABLES {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    #[expect(
        unsafe_code,
        reason = "the child alone inherits the state's descriptor"
    )]
    // SAFETY: between fork and exec, one fcntl on a number, which `file` keeps open: no lock, no memory.
    unsafe {
        command.pre_exec(move || bag::let_next_have(number))
    };
    command.spawn()
}

type Ended = (ExitStatus, Vec<u8>, Vec<u8>);

/// Reads what it says until it has ended.
fn watch(child: &mut Child) -> Result<Ended, Refusal> {
    let deadline = Instant::now() + REHEARSAL_MAX;
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    let mut streams = [
        std::fs::File::from(OwnedFd::from(child.stdout.take().ok_or_else(gone)?)),
        std::fs::File::from(OwnedFd::from(child.stderr.take().ok_or_else(gone)?)),
    ];
    let ended = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty());
    let ended = ended.map_err(io::Error::from)?;
    let mut said = [Vec::new(), Vec::new()];
    for stream in &streams {
        rustix::io::ioctl_fionbio(stream, true).map_err(io::Error::from)?;
    }
    // What it said is read when it has ended: a pipe holds more than the few lines of an answer, and whoever
    // writes more than it holds waits until the time is over.
    let count = rustix::io::retry_on_intr(|| {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left).map_err(|_| rustix::io::Errno::INVAL)?;
        let mut watched = [PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN)];
        rustix::event::poll(&mut watched, Some(&limit))
    });
    if count.map_err(io::Error::from)? == 0 {
        return Err(Refusal::Silent);
    }
    for (stream, said) in streams.iter_mut().zip(&mut said) {
        let mut bytes = vec![0; SAID_BYTES_MAX];
        let count = stream.read(&mut bytes).unwrap_or_default(); // nothing was said
        bytes.truncate(count);
        *said = bytes;
    }
    let [out, err] = said;
    Ok((child.wait()?, out, err))
}
