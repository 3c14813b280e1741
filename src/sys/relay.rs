//! The operator's terminal while it shows the terminal of a sandbox: raw, so
//! that every key is the sandbox's, and as it was before at every end.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::AsRawFd as _;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::termios;
use rustix::termios::OptionalActions;
use rustix::termios::Termios;

use crate::sys::syscall;

/// How much is read at once, in bytes; what was typed waits in no more than that for a program that does not read it.
const BYTES_MAX: usize = 16 * 1024;

/// How long the last words may take to be shown: a terminal that is stuck shows none.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The settings of the operator's terminal. Dropped, it has them again.
#[derive(Debug)]
struct Settings {
    terminal: OwnedFd,
    before: Termios,
}

impl Settings {
    /// Those that `terminal` has now.
    fn of(terminal: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self {
            before: termios::tcgetattr(terminal)?,
            terminal: terminal.try_clone_to_owned()?,
        })
    }

    /// Passes every key on as it is. A process in the background is stopped here (SIGTTOU), as any that wants the terminal.
    fn make_raw(&self) -> io::Result<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        Ok(termios::tcsetattr(
            &self.terminal,
            OptionalActions::Drain,
            &raw,
        )?)
    }

    /// As it was.
    fn give_back(&self) {
        let foreground = termios::tcgetpgrp(&self.terminal);
        if foreground.is_ok_and(|foreground| foreground != rustix::process::getpgrp()) {
            return; // it is somebody else's by now, such as the shell's
        }
        // In the background SIGTTOU would stop this process for it.
        let Ok(before) = syscall::hold_back(syscall::ALL_SIGNALS) else {
            return;
        };
        // A terminal that hung up has no settings: nothing is lost.
        let _ = termios::tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
        let _ = syscall::hold_back(before);
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Carries what is typed to a pseudo-terminal, and what that shows to the operator's. Dropped, the operator's is as before.
#[derive(Debug)]
pub struct Relay {
    settings: Settings,
    /// `None` once it hung up.
    keyboard: Option<OwnedFd>,
    screen: OwnedFd,
    /// The side of a pseudo-terminal that has no name; `None` once nobody has the other open.
    master: Option<OwnedFd>,
    typed: VecDeque<u8>,
    shown: VecDeque<u8>,
}

impl Relay {
    /// Begins: the terminal of `keyboard` is raw from now on.
    pub fn start(
        master: OwnedFd,
        keyboard: BorrowedFd<'_>,
        screen: BorrowedFd<'_>,
    ) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&master, true)?;
        let relay = Self {
            settings: Settings::of(keyboard)?,
            keyboard: Some(own(keyboard)?),
            screen: own(screen)?,
            master: Some(master),
            typed: VecDeque::new(),
            shown: VecDeque::new(),
        };
        relay.settings.make_raw()?;
        relay.resize();
        Ok(relay)
    }

    /// Gives the pseudo-terminal the size of the operator's, which tells its foreground so (SIGWINCH).
    pub fn resize(&self) {
        let size = termios::tcgetwinsize(&self.screen);
        if let (Ok(size), Some(master)) = (size, &self.master) {
            let _ = termios::tcsetwinsize(master, size); // it has ended
        }
    }

    /// Gives the operator's terminal back for a while, as before a stop.
    pub fn pause(&self) {
        self.settings.give_back();
    }

    /// Takes it again.
    pub fn resume(&self) -> io::Result<()> {
        self.settings.make_raw()?;
        self.resize();
        Ok(())
    }

    /// Waits until one of the `others` is readable, or the time is up, and carries what there is to carry meanwhile.
    /// Says which of the others are readable; none if it only carried.
    pub fn wait(
        &mut self,
        others: &[BorrowedFd<'_>],
        patience: Option<Duration>,
    ) -> io::Result<Vec<bool>> {
        let (happened, ready) = self.poll(others, patience)?;
        let [keyboard, master, screen] = happened;
        if keyboard.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            self.read_keyboard();
        }
        if master.contains(PollFlags::OUT) {
            self.type_on();
        }
        if master.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            self.read_master();
        }
        if !screen.is_empty() || !self.shown.is_empty() {
            self.show();
        }
        Ok(ready)
    }

    fn poll(
        &self,
        others: &[BorrowedFd<'_>],
        patience: Option<Duration>,
    ) -> io::Result<([PollFlags; 3], Vec<bool>)> {
        let keyboard = self
            .keyboard
            .as_ref()
            .filter(|_| self.typed.len() < BYTES_MAX);
        let mut of_master = PollFlags::empty();
        of_master.set(PollFlags::IN, self.shown.is_empty());
        of_master.set(PollFlags::OUT, !self.typed.is_empty());
        let master = self.master.as_ref().filter(|_| !of_master.is_empty());
        let screen = Some(&self.screen).filter(|_| !self.shown.is_empty());
        let own = [
            (keyboard, PollFlags::IN),
            (master, of_master),
            (screen, PollFlags::OUT),
        ];
        let mut watched: Vec<PollFd<'_>> = others
            .iter()
            .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
            .collect();
        watched.extend(own.iter().filter_map(|(fd, flags)| {
            Some(PollFd::from_borrowed_fd(fd.as_ref()?.as_fd(), *flags))
        }));
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        match rustix::event::poll(&mut watched, patience.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut happened = watched.iter().map(PollFd::revents);
        let ready = happened
            .by_ref()
            .take(others.len())
            .map(|flags| !flags.is_empty())
            .collect();
        let happened = own.map(|(fd, _)| {
            fd.and_then(|_| happened.next())
                .unwrap_or(PollFlags::empty())
        });
        Ok((happened, ready))
    }

    fn read_keyboard(&mut self) {
        let Some(keyboard) = &self.keyboard else {
            return;
        };
        let mut bytes = [0; 1024];
        match rustix::io::read(keyboard, &mut bytes) {
            Ok(count) if count > 0 => self.typed.extend(&bytes[..count]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // It hung up; SIGHUP tells whom it concerns.
            Ok(_) | Err(_) => self.keyboard = None,
        }
    }

    fn type_on(&mut self) {
        let Some(master) = &self.master else { return };
        match rustix::io::write(master, self.typed.as_slices().0) {
            Ok(count) => drop(self.typed.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.typed.clear(),
        }
    }

    fn read_master(&mut self) {
        let Some(master) = &self.master else { return };
        let mut bytes = [0; BYTES_MAX];
        match rustix::io::read(master, &mut bytes) {
            Ok(count) if count > 0 => self.shown.extend(&bytes[..count]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // EIO: the other side is closed for good, the sandbox keeps it open for its life.
            Ok(_) | Err(_) => self.master = None,
        }
    }

    fn show(&mut self) {
        match rustix::io::write(&self.screen, self.shown.as_slices().0) {
            Ok(count) => drop(self.shown.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.shown.clear(), // it hung up
        }
    }

    /// Shows what the sandbox left, and gives the terminal back.
    pub fn finish(mut self) {
        let deadline = std::time::Instant::now() + LAST_WORDS;
        self.keyboard = None;
        self.typed.clear();
        loop {
            if self.shown.is_empty() {
                self.read_master(); // the kernel has all that was written before the end ready at once
                if self.shown.is_empty() {
                    return;
                }
            }
            self.show();
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() || (!self.shown.is_empty() && self.poll(&[], Some(left)).is_err()) {
                return;
            }
        }
    }
}

/// The same terminal opened anew, so that it can be asked without waiting while its other holders wait; where that is
/// refused (a terminal of another user's, after `su`), the caller's own.
fn own(terminal: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", terminal.as_raw_fd()));
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).or_else(|_| terminal.try_clone_to_owned())
}
