//! A command on a terminal, as an operator has it.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::process::Pid;
use rustix::process::Signal;
use rustix::pty::OpenptFlags;
use rustix::termios::Termios;
use rustix::termios::Winsize;

use crate::support::transcript::Transcript;
use crate::support::wait;
use crate::support::world::World;

/// A running command that leads the session of a pseudo-terminal. Dropping it hangs up.
pub(crate) struct OnTerminal {
    child: Child,
    keyboard: File,
    terminal: OwnedFd,
    /// What the terminal shows.
    pub(crate) shown: Transcript,
}

/// Both sides of a pseudo-terminal.
fn pair() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let keyboard = rustix::pty::openpt(flags).unwrap();
    rustix::pty::grantpt(&keyboard).unwrap();
    rustix::pty::unlockpt(&keyboard).unwrap();
    let name = rustix::pty::ptsname(&keyboard, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let terminal = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
    (keyboard, terminal)
}

impl World {
    /// Starts `slug` with these arguments on a terminal of 40 rows and 132 columns.
    #[track_caller]
    pub(crate) fn on_terminal(&self, arguments: &[&str]) -> OnTerminal {
        self.partly_on_terminal(arguments, "")
    }

    /// As `on_terminal`, but with these redirections of a shell: `>file`, `</dev/null`.
    #[track_caller]
    pub(crate) fn partly_on_terminal(&self, arguments: &[&str], redirections: &str) -> OnTerminal {
        let (keyboard, terminal) = pair();
        set_size(&terminal, 40, 132);
        let slug = self.command(arguments);
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", "--wait", "sh", "-c"])
            .args([&format!("exec \"$@\" {redirections}"), "sh"])
            .arg(slug.get_program())
            .args(slug.get_args())
            .env_clear()
            .envs(
                slug.get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            )
            .env("TERM", "vt220")
            .current_dir(self.folder())
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal.try_clone().unwrap());
        let child = command.spawn().unwrap();
        let shown = Transcript::default();
        shown.follow(File::from(keyboard.try_clone().unwrap()));
        OnTerminal {
            child,
            keyboard: keyboard.into(),
            terminal,
            shown,
        }
    }
}

fn set_size(terminal: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(terminal, size).unwrap();
}

impl OnTerminal {
    /// Types these keys.
    pub(crate) fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the terminal shows this.
    #[track_caller]
    pub(crate) fn shows(&self, part: &str) {
        self.shown.wait_for(part, wait::LONG);
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        set_size(&self.terminal, rows, columns);
    }

    /// The settings of the terminal as they are now.
    pub(crate) fn settings(&self) -> Termios {
        rustix::termios::tcgetattr(&self.terminal).unwrap()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(&mut self) -> ExitStatus {
        wait::exit_of(&mut self.child, wait::LONG)
            .unwrap_or_else(|| panic!("not ended:\n{}", self.shown.text()))
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}
