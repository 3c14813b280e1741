//! Words every failure: what happened, what was left unchanged, what to do,
//! and the exit code (`spec/exit-codes.md`).

use std::fmt::Write as _;
use std::process::ExitCode;

use slug::archive::ArchiveError;
use slug::ident::harmless;
use slug::logs::HistoryError;
use slug::store::StoreError;
use slug::sys::PathError;
use slug::sys::clock::Timestamp;
use slug::sys::sandbox::{Facts, SandboxError};

use super::ci_marks::Marks;
use super::ui::Ui;

/// The exit codes of `slug`; part of the interface.
pub(crate) mod exit {
    /// It failed, as the message says.
    pub(crate) const FAILED: u8 = 1;
    /// Wrong usage.
    pub(crate) const USAGE: u8 = 2;
    /// Refused: base mismatch, ineligible rollback, required config var missing, digest mismatch, lock held.
    pub(crate) const REFUSED: u8 = 3;
    /// No buildpack fits.
    pub(crate) const NO_BUILDPACK: u8 = 20;
    /// A buildpack's detect failed.
    pub(crate) const DETECT_FAILED: u8 = 21;
    /// A buildpack's build failed.
    pub(crate) const BUILD_FAILED: u8 = 51;
    /// A needed artifact cannot be reached.
    pub(crate) const UNREACHABLE: u8 = 69;
    /// Interrupted by SIGINT.
    pub(crate) const INTERRUPTED: u8 = 130;
    /// Interrupted by SIGTERM.
    pub(crate) const TERMINATED: u8 = 143;
    /// `slug run`: slug itself failed.
    pub(crate) const RUN_FAILED: u8 = 125;
    /// `slug run`: not executable.
    pub(crate) const NOT_EXECUTABLE: u8 = 126;
    /// `slug run`: not found.
    pub(crate) const NOT_FOUND: u8 = 127;
}

/// A failure, worded.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    what: String,
    /// A program's last lines, or a list.
    detail: Option<String>,
    unchanged: Option<&'static str>,
    hints: Vec<String>,
    /// No supervisor is up: for some commands no failure.
    not_up: bool,
    /// How it is told.
    told: Told,
}

/// How a failure is told.
#[derive(Debug, Default)]
enum Told {
    /// As text.
    #[default]
    Text,
    /// It was told already.
    Before,
    /// As text, and to the CI system that reads it.
    Ci(Box<Marks>),
}

impl Failure {
    pub(crate) fn new(code: u8, what: impl Into<String>) -> Self {
        Self {
            code,
            what: what.into(),
            detail: None,
            unchanged: None,
            hints: Vec::new(),
            not_up: false,
            told: Told::Text,
        }
    }

    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::new(exit::FAILED, what)
    }

    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(exit::USAGE, what)
    }

    pub(crate) fn refused(what: impl Into<String>) -> Self {
        Self::new(exit::REFUSED, what)
    }

    /// The error and its causes, in one line.
    pub(crate) fn of(code: u8, error: &dyn std::error::Error) -> Self {
        Self::new(code, chain(error))
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn unchanged(mut self, unchanged: &'static str) -> Self {
        self.unchanged = Some(unchanged);
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Of `slug run` and `slug exec`, before the process began: its own codes are not used for that.
    pub(crate) fn before_the_process(self) -> Self {
        match self.code {
            exit::NOT_FOUND | exit::NOT_EXECUTABLE => self,
            _ => self.code(exit::RUN_FAILED),
        }
    }

    pub(crate) fn not_up(mut self) -> Self {
        self.not_up = true;
        self
    }

    /// The CI system that reads it is told, too.
    pub(crate) fn told_to(mut self, marks: Marks) -> Self {
        self.told = Told::Ci(Box::new(marks));
        self
    }

    /// It was told: only its exit code is left to say.
    pub(crate) fn told_before(mut self) -> Self {
        self.told = Told::Before;
        self
    }

    /// With all its texts changed.
    pub(crate) fn each(mut self, change: impl Fn(&str) -> String) -> Self {
        self.what = change(&self.what);
        self.detail = self.detail.as_deref().map(&change);
        self.hints = self.hints.iter().map(|hint| change(hint)).collect();
        self
    }

    /// As an object for programs.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "exit": self.code,
            "what": self.what,
            "detail": self.detail,
            "unchanged": self.unchanged,
            "hints": self.hints,
        })
    }

    pub(crate) fn is_not_up(&self) -> bool {
        self.not_up
    }

    /// In one line, for a table.
    pub(crate) fn what_and_hints(&self) -> String {
        std::iter::once(&self.what)
            .chain(&self.hints)
            .cloned()
            .collect::<Vec<_>>()
            .join("; ")
    }

    /// Prints it and says the exit code.
    pub(crate) fn report(mut self, ui: &Ui) -> ExitCode {
        match std::mem::take(&mut self.told) {
            Told::Before => {}
            Told::Text => Ui::stderr(&self.text(ui)),
            Told::Ci(mut marks) => {
                Ui::stderr(&self.text(ui));
                let error = marks.error(&self.what).unwrap_or_default();
                let end = marks.end(Timestamp::now());
                let marks = error + &end;
                if !marks.is_empty() {
                    Ui::stderr(marks.trim_end_matches('\n'));
                }
            }
        }
        ExitCode::from(self.code)
    }

    /// What happened, without advice: for a program that reads it, and a log.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// As it is printed.
    pub(crate) fn text(&self, ui: &Ui) -> String {
        let mut text = format!("{} {}", ui.paint("error:", "1;31"), harmless(&self.what));
        for line in self
            .detail
            .iter()
            .flat_map(|detail| detail.trim_end().lines())
        {
            let _ = write!(text, "\n  {line}");
        }
        if let Some(unchanged) = self.unchanged {
            let _ = write!(text, "\n{} {unchanged}", ui.paint("unchanged:", "1"));
        }
        for hint in &self.hints {
            let _ = write!(text, "\n{} {}", ui.paint("hint:", "1;36"), harmless(hint));
        }
        text
    }
}

/// The error, and after a colon each cause that adds something.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            let _ = write!(text, ": {more}");
        }
        cause = error.source();
    }
    text
}

/// For a config var that no process could be given.
pub(crate) const CONFIG_HINT: &str = "give text of 128 KiB at most: what is larger, or binary, belongs into a backing service or a file of the app";

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let failure = Self::of(exit::FAILED, &error);
        match error {
            StoreError::Path(error) => Self::from(error),
            StoreError::BadJson { .. }
            | StoreError::RecordMissing { .. }
            | StoreError::RecordChanged { .. }
            | StoreError::ConfigChanged { .. } | StoreError::BadUid { .. } => {
                failure.code(exit::REFUSED).hint("`slug verify` names everything in the store that is not as it was written")
            }
            StoreError::UnknownSchema { reader, .. } => {
                failure.code(exit::REFUSED).hint(format!("use slug {reader} or newer with this store"))
            }
            StoreError::NoRelease { newest, .. } => failure.hint(match newest {
                Some(newest) => format!("the newest is {newest}; `slug releases` lists all"),
                None => "there is none yet: `slug release SLUG` makes the first".to_owned(),
            }),
            StoreError::LastVersion { .. } => failure,
            StoreError::EventExists { .. } => {
                failure.unchanged("what was recorded first stays").hint("`slug releases` shows what became of it")
            }
            StoreError::RecordTooLarge { .. } => failure.hint("say less in `--message`"),
            StoreError::LockHeld { .. } => failure
                .code(exit::REFUSED)
                .unchanged("no release was made")
                .hint("try again when it is done; the lock ends with the process that holds it"),
            StoreError::ConfigMissing { .. } => failure
                .code(exit::REFUSED)
                .hint("bring the store's `config` folder back from a backup, or set the config vars again"),
            StoreError::ConfigNotForThisHost { recipient, .. } => failure
                .code(exit::REFUSED)
                .hint(format!("on a host that can read it, add `{recipient}` to the store's recipients, and set a config var")),
            StoreError::BadConfigVar(_) => failure.code(exit::USAGE).unchanged("no release was made").hint(CONFIG_HINT),
            StoreError::BadRecipient { .. } => failure.hint("correct the line, or remove it"),
            StoreError::BadIdentity { .. } => {
                failure.hint("bring the file back from a backup; without a host's identity its config cannot be read")
            }
            StoreError::Seal { .. } => failure.unchanged("no release was made"),
            StoreError::NoUidLeft { .. } => failure.hint("remove the `uids` files of apps that this host no longer runs"),
        }
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        let failure = Self::of(exit::FAILED, &error);
        match error {
            ArchiveError::Path(error) => Self::from(error),
            ArchiveError::Store(error) => Self::from(error),
            ArchiveError::Unpackable { .. } | ArchiveError::Overlap { .. } => {
                failure.unchanged("no slug was made").hint("leave it out with .slugignore, or change it")
            }
            ArchiveError::Refused { .. } | ArchiveError::Image { .. } | ArchiveError::Size { .. } | ArchiveError::Damaged { .. } => {
                failure
                    .code(exit::REFUSED)
                    .unchanged("nothing of it was kept")
                    .hint("bring the slug again from where it was built: the file was damaged, or is not a slug")
            }
            ArchiveError::MissingBlob { .. } => failure
                .code(exit::REFUSED)
                .hint("bring the slug again: `slug release app.slug`, or build it: the same source has the same digest"),
            ArchiveError::ReservedLabel { .. } => failure.hint("labels that begin with `slug.` are slug's own"),
            ArchiveError::NoSlug { .. } => {
                failure.hint("`slug build` prints the digest of what it made; a slug from elsewhere is brought as a file")
            }
            ArchiveError::AmbiguousSlug { candidates, .. } => {
                let names: Vec<String> = candidates.iter().map(ToString::to_string).collect();
                failure.code(exit::USAGE).detail(names.join("\n")).hint("type more digits")
            }
        }
    }
}

impl From<SandboxError> for Failure {
    fn from(error: SandboxError) -> Self {
        let failure = Self::of(exit::FAILED, &error);
        match error {
            SandboxError::Refused { facts, .. } => refusal_hints(facts).into_iter().fold(failure, Self::hint),
            SandboxError::Overlay { .. } => failure.hint("the store must lie on a file system that can hold an overlay's upper folder: ext4, xfs, btrfs, tmpfs"),
            SandboxError::Setup { .. } => failure.hint("`slug doctor` checks what slug needs of this machine"),
            SandboxError::NotFound { .. } | SandboxError::NoInterpreter { .. } => {
                failure.code(exit::NOT_FOUND).hint("only the slug, the host's /usr and /bin are visible inside; PATH is the release's")
            }
            SandboxError::NotExecutable { .. } => failure.code(exit::NOT_EXECUTABLE).hint("make it executable in the source: `chmod +x`"),
            SandboxError::Prepare(_) => failure,
        }
    }
}

/// What to do about namespaces that are refused, by what the machine shows.
fn refusal_hints(facts: Facts) -> Vec<String> {
    let mut hints = Vec::new();
    if facts.apparmor {
        hints.push("this is Ubuntu's AppArmor rule: as root, give the binary a profile with `userns,` (https://ubuntu.com/blog/ubuntu-23-10-restricted-unprivileged-user-namespaces), or run slug as root".to_owned());
    }
    if facts.userns_clone_off {
        hints.push(
            "as root: `sysctl kernel.unprivileged_userns_clone=1`, or run slug as root".to_owned(),
        );
    }
    if facts.userns_max_zero {
        hints.push(
            "as root: `sysctl user.max_user_namespaces=15000`, or run slug as root".to_owned(),
        );
    }
    if facts.container || facts.proc_masked {
        hints.push("inside a container: start it with the right to make namespaces (`--privileged`, or `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`)".to_owned());
    }
    if hints.is_empty() {
        hints.push("`slug doctor` checks what slug needs of this machine".to_owned());
    }
    hints
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        Self::of(exit::FAILED, &error)
    }
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Self {
        use std::io::ErrorKind;
        let failure = Self::of(exit::FAILED, &error);
        match error.source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => failure
                .unchanged("what was there before is as it was")
                .hint("make room, or run `slug gc`, and try again"),
            ErrorKind::ReadOnlyFilesystem => {
                failure.hint("the store must be writable; another can be named with `--store DIR`")
            }
            ErrorKind::PermissionDenied => failure
                .hint("run it as the user it belongs to, or name another store with `--store DIR`"),
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                failure.hint("something that is no folder is in the way")
            }
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests;
