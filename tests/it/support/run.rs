//! One command, run to its end.

use std::ffi::OsStr;
use std::io::Read;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

use expect_test::Expect;
use serde_json::Value;

use crate::support::wait;
use crate::support::world;

/// A command that is being put together.
#[must_use = "nothing runs before `.run()`"]
pub(crate) struct Invocation {
    command: Command,
    stdin: Vec<u8>,
    once_started: Option<fn(&Child)>,
    world: PathBuf,
}

impl Invocation {
    pub(crate) fn new(command: Command, world: &Path) -> Self {
        Self {
            command,
            stdin: Vec::new(),
            once_started: None,
            world: world.to_owned(),
        }
    }

    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    pub(crate) fn without(mut self, key: &str) -> Self {
        self.command.env_remove(key);
        self
    }

    pub(crate) fn stdin(mut self, bytes: &[u8]) -> Self {
        bytes.clone_into(&mut self.stdin);
        self
    }

    /// Is done once the command has started, before it is given its input.
    pub(crate) fn once_started(mut self, what: fn(&Child)) -> Self {
        self.once_started = Some(what);
        self
    }

    /// Runs to the end. A command that does not end is killed, and what it had said is shown.
    #[track_caller]
    pub(crate) fn run(mut self) -> Run {
        let command = words(&self.command);
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self
            .command
            .spawn()
            .unwrap_or_else(|error| panic!("{command}: {error}"));
        if let Some(what) = self.once_started {
            what(&child);
        }
        let mut stdin = child.stdin.take().unwrap();
        let input = self.stdin;
        // Ends with the command, which may leave its input unread.
        thread::spawn(move || stdin.write_all(&input));
        let stdout = read_to_end(child.stdout.take().unwrap());
        let stderr = read_to_end(child.stderr.take().unwrap());
        let status = wait::exit_of(&mut child, wait::LONG).unwrap_or_else(|| {
            child.kill().unwrap();
            child.wait().unwrap()
        });
        let rest = |from: mpsc::Receiver<Vec<u8>>, name: &str| {
            from.recv_timeout(wait::LONG)
                .unwrap_or_else(|_| panic!("{command}: a process that it left holds its {name}"))
        };
        Run {
            stdout: rest(stdout, "stdout"),
            stderr: rest(stderr, "stderr"),
            command,
            status,
            world: self.world,
        }
    }
}

/// What was typed.
fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn read_to_end(mut from: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        let _ = sender.send(bytes); // nobody listens where the test has failed already
    });
    receiver
}

/// How a command ended and what it said.
#[derive(Debug)]
#[must_use = "a command whose outcome nobody looks at may have failed"]
pub(crate) struct Run {
    command: String,
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    world: PathBuf,
}

impl Run {
    /// Ended with 0; gives its stdout, without the final newline.
    #[track_caller]
    pub(crate) fn ok(&self) -> String {
        self.code(0).stdout().trim_end().to_owned()
    }

    #[track_caller]
    pub(crate) fn code(&self, code: i32) -> &Self {
        assert_eq!(self.exit(), code, "{}", self.story());
        self
    }

    /// As a shell tells it: 128 + n for signal n.
    pub(crate) fn exit(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap())
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn stdout_bytes(&self) -> &[u8] {
        &self.stdout
    }

    /// What was said: of events (spec/ci.md) what people would have read.
    pub(crate) fn stderr(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        let lines = text.split_inclusive('\n');
        lines
            .map(|line| event(line).map_or_else(|| line.to_owned(), |event| spoken(&event)))
            .collect()
    }

    /// The events that were told.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = String::from_utf8_lossy(&self.stderr);
        let events = text
            .lines()
            .map(|line| event(line).unwrap_or_else(|| panic!("`{line}` is no event")));
        events.collect()
    }

    #[track_caller]
    pub(crate) fn says(&self, part: &str) -> &Self {
        let both = format!("{}{}", self.stdout(), self.stderr());
        assert!(
            both.contains(part),
            "`{part}` is not said\n{}",
            self.story()
        );
        self
    }

    #[track_caller]
    pub(crate) fn says_not(&self, part: &str) -> &Self {
        let both = format!("{}{}", self.stdout(), self.stderr());
        assert!(!both.contains(part), "`{part}` is said\n{}", self.story());
        self
    }

    /// Compares stderr with the snapshot: the folder of the world is `[world]`, its app `shop`, digests are `sha256:[…]`.
    #[track_caller]
    pub(crate) fn stderr_is(&self, snapshot: &Expect) -> &Self {
        snapshot.assert_eq(&self.normalised(&self.stderr()));
        self
    }

    #[track_caller]
    pub(crate) fn stdout_is(&self, snapshot: &Expect) -> &Self {
        snapshot.assert_eq(&self.normalised(&self.stdout()));
        self
    }

    /// stdout as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.ok())
            .unwrap_or_else(|error| panic!("no JSON ({error})\n{}", self.story()))
    }

    fn normalised(&self, text: &str) -> String {
        let text = text.replace(self.world.to_str().unwrap(), "[world]");
        without_digests(&text.replace(&world::app_of(&self.world), "shop"))
    }

    /// All there is to know, for the message of a failed test.
    pub(crate) fn story(&self) -> String {
        let Self {
            command, status, ..
        } = self;
        format!(
            "{command}\n{status}\n--- stdout\n{}\n--- stderr\n{}\n---",
            self.stdout(),
            self.stderr()
        )
    }
}

fn event(line: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(line).ok()?;
    value["event"].is_string().then_some(value)
}

/// An event as text.
fn spoken(event: &Value) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
    match event["event"].as_str().unwrap_or_default() {
        "waiting" => format!(
            "another build of this app is running: waiting for it ({})\n",
            text("holder")
        ),
        "warning" => format!("warning: {}\n", text("text")),
        "detected" => text("output"),
        "output" => text("line") + "\n",
        "error" => {
            let hints = event["hints"].as_array().into_iter().flatten();
            let hints = hints.map(|hint| format!("hint: {}\n", hint.as_str().unwrap()));
            let hints = hints.collect::<Vec<_>>().concat();
            let (what, detail, unchanged) = (text("what"), text("detail"), text("unchanged"));
            format!("error: {what}\n{detail}\nunchanged: {unchanged}\n{hints}")
        }
        _ => event.to_string() + "\n",
    }
}

/// Each `sha256:` with its digits becomes `sha256:[…]`.
fn without_digests(text: &str) -> String {
    let mut parts = text.split("sha256:");
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        result += "sha256:[…]";
        result += part.trim_start_matches(|digit: char| digit.is_ascii_hexdigit());
    }
    result
}
