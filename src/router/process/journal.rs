//! The pipe on which access lines leave a router's process. Nobody waits for it:
//! when its reader is behind, lines are counted instead of written.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::io::Errno;

/// How much the kernel is asked to hold for the reader, in bytes: what every user may ask for.
const PIPE_BYTES: usize = 1024 * 1024;

/// The writing end, shared by all threads; only whole lines get into it.
pub(super) struct AccessPipe {
    end: OwnedFd,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is left of a line whose beginning was written.
    rest: Vec<u8>,
    /// Lines that were not written since the last that was.
    lost: u64,
}

impl AccessPipe {
    pub(super) fn new(end: OwnedFd) -> rustix::io::Result<Self> {
        rustix::io::ioctl_fionbio(&end, true)?;
        // A smaller pipe is full earlier, no more.
        let _ = rustix::pipe::fcntl_setpipe_size(&end, PIPE_BYTES);
        Ok(Self {
            end,
            state: Mutex::default(),
        })
    }

    /// Writes lines, each with its newline, as far as there is room; counts those for which there is none.
    pub(super) fn write(&self, lines: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.write_rest(&mut state) {
            state.lost += count(lines);
            return;
        }
        if state.lost > 0 {
            state.rest = lost_line(state.lost);
            state.lost = 0;
            if !self.write_rest(&mut state) {
                state.lost += count(lines);
                return;
            }
        }
        let written = self.write_some(lines);
        // A line that is cut is written to its end later; those after it are lost.
        let is_cut = written > 0 && lines[written - 1] != b'\n';
        let whole = if is_cut {
            let end = lines[written..].iter().position(|byte| *byte == b'\n');
            end.map_or(lines.len(), |end| written + end + 1)
        } else {
            written
        };
        state.rest = lines[written..whole].to_vec();
        state.lost += count(&lines[whole..]);
    }

    /// Writes what is left, waiting for the reader, for at most `patience`.
    pub(super) fn finish(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.write_rest(&mut state) {
                if state.lost == 0 {
                    return;
                }
                state.rest = lost_line(state.lost);
                state.lost = 0;
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(left) = Timespec::try_from(left) else {
                return;
            };
            let mut watched = [PollFd::new(&self.end, PollFlags::OUT)];
            if !matches!(rustix::event::poll(&mut watched, Some(&left)), Ok(1)) {
                return;
            }
        }
    }

    /// Whether nothing is left.
    fn write_rest(&self, state: &mut State) -> bool {
        let written = self.write_some(&state.rest);
        state.rest.drain(..written);
        state.rest.is_empty()
    }

    /// How much of it was taken. A pipe without a reader takes all: nobody wants it.
    fn write_some(&self, mut bytes: &[u8]) -> usize {
        let all = bytes.len();
        while !bytes.is_empty() {
            match rustix::io::write(self.end.as_fd(), bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return all - bytes.len(),
                Err(_) => return all,
            }
        }
        all
    }
}

fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

fn lost_line(lost: u64) -> Vec<u8> {
    let mut line = Vec::new();
    // Writing to memory does not fail.
    let _ = writeln!(
        line,
        "{lost} access lines were not written: the logs are behind"
    );
    line
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_full_pipe_holds_whole_lines_alone_and_what_is_lost_is_counted() {
        let (reading, writing) = rustix::pipe::pipe().unwrap();
        let pipe = AccessPipe::new(writing).unwrap();
        let line = [b"x".repeat(999).as_slice(), b"\n"].concat();
        let lines = line.repeat(100);
        for _ in 0..30 {
            pipe.write(&lines);
        }
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            std::fs::File::from(reading)
                .read_to_string(&mut text)
                .unwrap();
            text
        });
        pipe.finish(Duration::from_secs(20));
        drop(pipe);
        let text = reader.join().unwrap();
        let (whole, other): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.len() == 999);
        let lost: usize = other
            .iter()
            .map(|line| line.split(' ').next().unwrap().parse::<usize>().unwrap())
            .sum();
        assert!(
            lost > 0 && whole.len() + lost == 3000,
            "{} {other:?}",
            whole.len()
        );
    }
}
