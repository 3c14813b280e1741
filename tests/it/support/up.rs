//! `slug up`, for as long as a test needs it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;

use crate::support::address;
use crate::support::http;
use crate::support::http::Response;
use crate::support::transcript::Transcript;
use crate::support::wait;
use crate::support::world::World;

/// A running supervisor. Dropping it kills it; the kernel then kills what it supervised.
pub(crate) struct Up {
    child: Child,
    pub(crate) address: SocketAddr,
    /// stdout and stderr.
    pub(crate) said: Transcript,
}

impl World {
    /// Starts `slug up` with these arguments more, and waits until it answers.
    #[track_caller]
    pub(crate) fn up(&self, arguments: &[&str]) -> Up {
        let mut up = self.start_up(arguments);
        up.wait_until_serving();
        up
    }

    /// Starts `slug up` with these arguments more.
    #[track_caller]
    pub(crate) fn start_up(&self, arguments: &[&str]) -> Up {
        self.start_up_by(&[], arguments, &[])
    }

    /// The same, with these variables.
    #[track_caller]
    pub(crate) fn start_up_with(&self, arguments: &[&str], vars: &[(&str, OsString)]) -> Up {
        self.start_up_by(&[], arguments, vars)
    }

    /// The same, by another program, which is to execute the arguments that follow its own.
    #[track_caller]
    pub(crate) fn start_up_by(
        &self,
        wrapper: &[&str],
        arguments: &[&str],
        vars: &[(&str, OsString)],
    ) -> Up {
        let address = address::free();
        let mut words = wrapper.to_vec();
        words.extend(["slug", "up"]);
        let program = if wrapper.is_empty() {
            self.binary_folder().join("slug")
        } else {
            words[0].into()
        };
        let mut command = self.command_of(&program, &words[1..]);
        command
            .args(arguments)
            .envs(vars.iter().map(|(key, value)| (key, value)))
            .args(["--listen", &address.to_string()])
            .stdin(Stdio::null());
        Up::spawn(&mut command, address)
    }

    /// Starts `slug up` as a service manager does, with `socket` bound for it.
    #[track_caller]
    pub(crate) fn start_up_on(&self, socket: OwnedFd, arguments: &[&str]) -> Up {
        let own = self.command(&["up"]);
        let address = address::free();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "LISTEN_PID=$$ exec \"$@\" 3<&0 </dev/null", "sh"])
            .arg(own.get_program())
            .args(own.get_args())
            .args(arguments)
            .args(["--listen", &address.to_string()])
            .env_clear()
            .envs(
                own.get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            )
            .envs([("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "shop.socket")])
            .env_remove("LISTEN_PID")
            .current_dir(self.folder())
            .stdin(Stdio::from(socket));
        Up::spawn(&mut command, address)
    }
}

impl Up {
    fn spawn(command: &mut Command, address: SocketAddr) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Transcript::default();
        said.follow(child.stdout.take().unwrap());
        said.follow(child.stderr.take().unwrap());
        Self {
            child,
            address,
            said,
        }
    }
}

impl Up {
    /// Waits until a request is answered by the app.
    #[track_caller]
    pub(crate) fn wait_until_serving(&mut self) {
        wait::until(wait::LONG, "an answer", || {
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "it has ended\n{}",
                self.story()
            );
            http::get(self.address, "/")
                .ok()
                .filter(|answer| answer.status < 500)
        });
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        http::get(self.address, path)
            .unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", self.story()))
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &str) -> Response {
        http::post(self.address, path, body)
            .unwrap_or_else(|error| panic!("POST {path}: {error}\n{}", self.story()))
    }

    /// Waits until the answer to `path` holds `part`.
    #[track_caller]
    pub(crate) fn wait_for_answer(&self, path: &str, part: &str) {
        wait::until(wait::LONG, part, || {
            self.get(path).body.contains(part).then_some(())
        });
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        wait::exit_of(&mut self.child, limit)
            .unwrap_or_else(|| panic!("not ended after {limit:?}\n{}", self.story()))
    }

    /// Ctrl-C, and waits for its end.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::INT);
        self.wait(Duration::from_mins(1))
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// All that it has said.
    pub(crate) fn story(&self) -> String {
        format!("--- slug up\n{}\n---", self.said.text())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}
