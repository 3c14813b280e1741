//! `slug up DIR --watch`: the folder is built and released again when its source changes.
//!
//! A process of its own, of this same binary with the same arguments: a build
//! takes memory and time, which the supervisor is not to share. It ends with
//! the supervisor.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal};
use slug::build::{BuildRequest, Seen};
use slug::sys::watch::{Folders, WatchError};

use super::args::Up;
use super::build_request::request;
use super::report::{Failure, exit};
use super::settings::Settings;
use super::up::build_and_release;

/// The name by which `main` knows that it was started to watch.
pub(crate) const WATCH: &str = "slug-watch";
/// How long nothing more has to change before a build begins: editors write several files, git many.
const QUIET: Duration = Duration::from_millis(100);
/// It begins at most so long after the first change.
const AT_MOST: Duration = Duration::from_secs(2);
/// The exit codes above are of a build that was told to end: 128 and the number of the signal.
const INTERRUPTED_MIN: u8 = 128;
/// How many changed files are named.
const NAMED_MAX: usize = 3;

/// What watches, as the supervisor has it. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Watcher {
    child: Child,
    _alive: io::PipeWriter,
}

impl Watcher {
    /// Starts it; returns once it has seen the folder as it is, so that no change from now on is missed.
    pub(crate) fn start() -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::failed(format!("what watches could not be started: {error}"))
                .unchanged("nothing was built")
        };
        let (theirs, alive) = io::pipe().map_err(failed)?;
        let child = Command::new("/proc/self/exe")
            .arg0(WATCH)
            .args(std::env::args_os().skip(1))
            .stdin(theirs)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut watcher = Self {
            child,
            _alive: alive,
        };
        let mut ready = [0];
        let is_ready = watcher
            .child
            .stdout
            .take()
            .is_some_and(|mut stdout| stdout.read_exact(&mut ready).is_ok());
        if is_ready {
            return Ok(watcher);
        }
        let code = watcher.child.wait().map_err(failed)?.code();
        let code = code.and_then(|code| u8::try_from(code).ok());
        Err(Failure::new(code.unwrap_or(exit::FAILED), "it could not be watched").told_before())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Not reaped yet, so the number is its own. It ends its build, if there is one.
        let _ = rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// The life of the process that watches.
pub(crate) fn run(settings: &Settings, typed: &Up) -> Result<u8, Failure> {
    end_with_parent().map_err(|error| Failure::failed(format!("could not watch: {error}")))?;
    let Some(dir) = &typed.dir else {
        return Err(Failure::usage("there is no folder to watch"));
    };
    let dir = settings.source_dir(dir)?;
    let store = settings.open_store()?;
    let app = settings.app_of_dir(&dir)?;
    let request = request(settings, &dir, &app, &store, &typed.options)?;
    let mut folders = Folders::none()?;
    let mut seen = look(&request, &mut folders)?;
    settings.ui.say(&format!(
        "`{}` is watched for changes ({} folders)",
        dir.display(),
        folders.count()
    ));
    let _ = io::stdout()
        .write_all(b"\n")
        .and_then(|()| io::stdout().flush());
    loop {
        let changed = folders.wait(QUIET, AT_MOST);
        changed.map_err(|error| {
            Failure::failed(format!("changes are no longer watched: {error}"))
                .hint("stop `slug up`, and start it again")
        })?;
        let outcome = look(&request, &mut folders).and_then(|now| {
            let before = std::mem::replace(&mut seen, now);
            let changed = seen.changed(&before);
            if changed.is_empty() {
                return Ok(());
            }
            settings.ui.say(&format!("changed: {}", names(&changed)));
            build_and_release(settings, &store, &dir, typed).map(drop)
        });
        if let Err(failure) = outcome {
            if failure.code > INTERRUPTED_MIN {
                return Err(failure);
            }
            let _ = failure
                .unchanged("the release before goes on; the next change is tried again")
                .report(&settings.ui);
        }
    }
}

/// The kernel ends this process when the supervisor ends, however that does.
fn end_with_parent() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    // The supervisor may have ended before. Its end of the pipe is closed then. (It also is when the supervisor has
    // become another program, so it is looked at only now.)
    let stdin = rustix::stdio::stdin();
    let mut alive = [PollFd::from_borrowed_fd(stdin, PollFlags::IN)];
    let now = Timespec::default();
    if rustix::event::poll(&mut alive, Some(&now))? > 0 {
        return Err(io::Error::other("the supervisor has ended"));
    }
    let null = File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(())
}

/// Looks at the source, and watches each of its folders. A folder is watched before it is looked at for the last time.
fn look(request: &BuildRequest, folders: &mut Folders) -> Result<Seen, Failure> {
    loop {
        let seen = Seen::look(request)?;
        let mut is_new = false;
        for folder in seen.folders() {
            is_new |= folders.add(folder)?;
        }
        if !is_new {
            return Ok(seen);
        }
    }
}

fn names(changed: &[&Path]) -> String {
    let names: Vec<String> = changed
        .iter()
        .take(NAMED_MAX)
        .map(|path| path.display().to_string())
        .collect();
    match changed.len().saturating_sub(NAMED_MAX) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

impl From<WatchError> for Failure {
    fn from(error: WatchError) -> Self {
        let failure = Self::of(exit::FAILED, &error).unchanged("nothing more is built");
        match error {
            WatchError::Instances => failure.hint(
                "as root: `sysctl fs.inotify.max_user_instances=1024`, or end a program that watches files",
            ),
            WatchError::Folders { .. } => failure
                .hint("as root: `sysctl fs.inotify.max_user_watches=524288`")
                .hint("or leave folders that are no source out, in .gitignore or .slugignore"),
            WatchError::Io { .. } => failure,
        }
    }
}
