//! `slug start`, for as long as a test needs it.

use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;

use crate::support::transcript::Transcript;
use crate::support::wait;
use crate::support::world::World;

/// A running `slug start`. Dropping it kills it; the inits then end what it ran.
pub(crate) struct Started {
    child: Child,
    /// stdout and stderr.
    pub(crate) said: Transcript,
}

impl World {
    /// Runs `slug start` with these arguments.
    #[track_caller]
    pub(crate) fn start(&self, arguments: &[&str]) -> Started {
        let mut command = self.command(&["start"]);
        command.args(arguments);
        Started::spawn(command)
    }

    /// An app of this Procfile, in the folder `app`.
    pub(crate) fn procfile(&self, text: &str) -> String {
        let app = self.app("app", &[("Procfile", text)]);
        app.to_str().unwrap().to_owned()
    }
}

impl Started {
    /// Runs a command that comes to be `slug start`.
    #[track_caller]
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Transcript::default();
        said.follow(child.stdout.take().unwrap());
        said.follow(child.stderr.take().unwrap());
        Self { child, said }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        wait::exit_of(&mut self.child, limit)
            .unwrap_or_else(|| panic!("not ended after {limit:?}\n{}", self.said.text()))
    }

    /// SIGTERM, and waits for its end: its exit code.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.wait(wait::LONG).code()
    }

    /// The lines that this process has said so far, without their prefix.
    pub(crate) fn lines_of(&self, instance: &str) -> Vec<String> {
        lines_of(&self.said.text(), instance)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

/// The lines that this process has said, without their prefix.
pub(crate) fn lines_of(text: &str, instance: &str) -> Vec<String> {
    let of = format!(" {instance} | ");
    text.lines()
        .filter_map(|line| Some(line.split_once(&of)?.1.to_owned()))
        .collect()
}
