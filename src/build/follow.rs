//! Follows a running program: its output as it comes, its end, its time limit.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::sys::cancel::Cancel;

/// How much of a program's last output is kept for its error, in bytes.
pub(super) const TAIL_BYTES_MAX: usize = 16 * 1024;

/// The last bytes of an output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    /// Takes more, and forgets what is too long ago.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * TAIL_BYTES_MAX {
            self.0.drain(..self.0.len() - TAIL_BYTES_MAX);
        }
    }

    /// What is kept: whole lines, if there is more than one.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        if self.0.len() > TAIL_BYTES_MAX {
            self.0.drain(..self.0.len() - TAIL_BYTES_MAX);
            if let Some(newline) = self.0.iter().position(|byte| *byte == b'\n') {
                self.0.drain(..=newline);
            }
        }
        self.0
    }
}

/// Two streams of a running program.
#[derive(Debug)]
pub(super) struct Output {
    /// What it writes to descriptor 1.
    pub(super) stdout: OwnedFd,
    /// What it writes to descriptor 2.
    pub(super) stderr: OwnedFd,
}

/// How following ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// The program ended; all that it wrote was handed on.
    Ended,
    /// It did not within its time, and still runs.
    TimedOut,
    /// The build is asked to end. The program may still run.
    Cancelled,
}

/// Hands on output (with whether it is standard error) until `exited` is readable and nothing is left to read.
pub(super) fn follow(
    output: Output,
    exited: BorrowedFd<'_>,
    limit: Option<Duration>,
    cancel: &Cancel,
    on_output: &mut dyn FnMut(bool, &[u8]),
) -> io::Result<Followed> {
    let deadline = limit.map(|limit| Instant::now() + limit);
    let mut streams = [(false, Some(output.stdout)), (true, Some(output.stderr))];
    for (_, stream) in &streams {
        if let Some(stream) = stream {
            rustix::io::ioctl_fionbio(stream, true)?;
        }
    }
    loop {
        let Some(has_exited) = wait(&streams, exited, cancel, deadline)? else {
            return Ok(Followed::TimedOut);
        };
        if cancel.signal().is_some() {
            return Ok(Followed::Cancelled);
        }
        for (is_stderr, stream) in &mut streams {
            drain(*is_stderr, stream, on_output)?;
        }
        if has_exited {
            return Ok(Followed::Ended);
        }
    }
}

/// Waits for anything to happen; tells whether the program has ended, or nothing once the time is up.
fn wait(
    streams: &[(bool, Option<OwnedFd>); 2],
    exited: BorrowedFd<'_>,
    cancel: &Cancel,
    deadline: Option<Instant>,
) -> io::Result<Option<bool>> {
    let mut watched = vec![PollFd::from_borrowed_fd(exited, PollFlags::IN)];
    let asked = cancel.asked_fd().into_iter();
    watched.extend(asked.map(|asked| PollFd::from_borrowed_fd(asked, PollFlags::IN)));
    let open = streams.iter().filter_map(|(_, stream)| stream.as_ref());
    watched.extend(open.map(|stream| PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN)));
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut watched, timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(Some(!watched[0].revents().is_empty())),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads what is there; at its end the stream is closed.
fn drain(
    is_stderr: bool,
    stream: &mut Option<OwnedFd>,
    on_output: &mut dyn FnMut(bool, &[u8]),
) -> io::Result<()> {
    let mut buffer = [0_u8; 16 * 1024];
    while let Some(open) = stream {
        match rustix::io::read(open, &mut buffer[..]) {
            Ok(0) => *stream = None,
            Ok(length) => on_output(is_stderr, &buffer[..length]),
            Err(Errno::AGAIN) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_tail_is_the_last_whole_lines() {
        let mut tail = Tail::default();
        tail.push(b"short\n");
        assert_eq!(tail.clone().into_bytes(), b"short\n");
        for number in 0..10_000 {
            tail.push(format!("line {number}\n").as_bytes());
        }
        let bytes = tail.into_bytes();
        assert!(
            bytes.len() <= TAIL_BYTES_MAX
                && bytes.starts_with(b"line ")
                && bytes.ends_with(b"line 9999\n")
        );
    }

    #[test]
    fn output_is_handed_on_until_the_end() {
        let ((stdout, mut out), (stderr, mut err), (exited, end)) = (
            io::pipe().unwrap(),
            io::pipe().unwrap(),
            io::pipe().unwrap(),
        );
        out.write_all(b"out").unwrap();
        err.write_all(b"err").unwrap();
        drop((out, end));
        let mut seen = Vec::new();
        let output = Output {
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        let mut see = |is_stderr, bytes: &[u8]| seen.push((is_stderr, bytes.to_vec()));
        let followed = follow(output, exited.as_fd(), None, &Cancel::default(), &mut see);
        assert_eq!(followed.unwrap(), Followed::Ended);
        assert_eq!(seen, [(false, b"out".to_vec()), (true, b"err".to_vec())]);
        drop(err);
    }

    #[test]
    fn a_program_that_does_not_end_times_out() {
        let ((stdout, _out), (stderr, _err), (exited, _end)) = (
            io::pipe().unwrap(),
            io::pipe().unwrap(),
            io::pipe().unwrap(),
        );
        let output = Output {
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        let followed = follow(
            output,
            exited.as_fd(),
            Some(Duration::from_millis(5)),
            &Cancel::default(),
            &mut |_, _| {},
        );
        assert_eq!(followed.unwrap(), Followed::TimedOut);
    }
}
