//! The sandbox, from inside and from outside. Run by root, each test runs once
//! more as an unprivileged user, who gets a user namespace.

mod files;
mod process;
mod refused;
mod terminal;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use slug::sys::sandbox::{
    self, Child, Exit, Mount, Network, Program, SandboxError, Scope, Spec, Streams, Terminal,
};

/// What root's processes are in these tests.
const UID: u32 = 1_900_000_123;

/// The user that root's tests run a second time as.
const NOBODY: u32 = 65_534;

/// Runs the body, and as root the test once more as an unprivileged user.
fn as_anyone(test: &str, body: fn()) {
    body();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut again = Command::new("/proc/self/exe");
    again
        .args([test, "--nocapture"])
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/");
    let output = again.output().unwrap();
    let words = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && words.contains("1 passed"),
        "as an unprivileged user:\n{words}"
    );
}

fn slug() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_slug"))
}

/// A folder that the sandboxed process may write to.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    give(folder.path());
    folder
}

fn give(path: &Path) {
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(path, Some(UID), Some(UID)).unwrap();
    }
}

fn spec(argv: &[&str]) -> Spec {
    let env = [
        ("HOME", "/home/slug"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ];
    Spec {
        mounts: vec![Mount::Scratch {
            to: "/home/slug".into(),
        }],
        network: Network::Host,
        uid: UID,
        program: Program {
            argv: argv.iter().map(Into::into).collect(),
            env: env.map(|(key, value)| (key.into(), value.into())).into(),
            cwd: "/".into(),
        },
        terminal: Terminal::default(),
        prepare: None,
        limits: slug::sys::sandbox::Limits::default(),
    }
}

fn bind(from: &Path, to: &str, read_only: bool) -> Mount {
    Mount::Bind {
        from: from.to_owned(),
        to: to.into(),
        read_only,
    }
}

/// A running process and what it says on standard output and error together.
struct Running {
    child: Child,
    output: fs::File,
}

fn start(spec: &Spec) -> Result<Running, SandboxError> {
    let (output, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let stdin: OwnedFd = fs::File::open("/dev/null").unwrap().into();
    let stderr = writer.try_clone().unwrap();
    let mut child = sandbox::launch(
        slug(),
        spec,
        Streams {
            stdin,
            stdout: writer,
            stderr,
        },
    )?;
    child.started()?;
    Ok(Running {
        child,
        output: output.into(),
    })
}

impl Running {
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.output.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    fn end(mut self) -> (String, Exit) {
        let mut words = String::new();
        self.output.read_to_string(&mut words).unwrap();
        (words, self.child.wait().unwrap())
    }
}

fn run(spec: &Spec) -> (String, Exit) {
    start(spec).unwrap().end()
}

/// What a shell script says, which must succeed.
fn sh(mounts: Vec<Mount>, script: &str) -> String {
    let mut spec = spec(&["sh", "-c", script]);
    spec.mounts.extend(mounts);
    let (words, exit) = run(&spec);
    assert_eq!(exit, Exit::Code(0), "{words}");
    words
}
