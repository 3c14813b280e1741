//! A buildpack in a git repository, by the `git` program: a commit never
//! changes and is kept; a branch or a tag is asked for at each build, and offline
//! it is what it was last.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::kept::Kept;
use super::resolve::bad;
use crate::archive::unpack_foreign;
use crate::build::{BuildError, BuildRequest, Event, machine};
use crate::ident::Digest;
use crate::sys::At as _;
use crate::sys::fetch::FetchError;
use crate::sys::fs::{create_dir_durable, random_hex, remove_tree, write_unsynced};

/// What git gets of the operator's environment: where it finds settings and keys.
const OPERATORS: [&str; 7] = [
    "PATH",
    "HOME",
    "XDG_CONFIG_HOME",
    "USER",
    "SSH_AUTH_SOCK",
    "GIT_SSH_COMMAND",
    "GIT_SSL_CAINFO",
];
/// A server that sends less than this for so long is given up.
const BYTES_PER_S_MIN: &str = "1";
const SILENCE_S_MAX: &str = "30";

/// Gets commits for one build.
pub(super) struct Checkout<'a> {
    pub(super) request: &'a BuildRequest,
    pub(super) kept: &'a Kept,
    /// This build's own folder.
    pub(super) scratch: &'a Path,
}

/// What git said when it failed, or why it could not be run.
type Said<T> = Result<T, String>;

impl Checkout<'_> {
    /// The folder with the files of the commit that `revision` is, and the commit; the inner error if it cannot be had.
    pub(super) fn get(
        &self,
        url: &str,
        revision: Option<&str>,
        name: &str,
        progress: &mut dyn FnMut(Event<'_>),
    ) -> Result<Result<(PathBuf, String), FetchError>, BuildError> {
        if let Some(commit) = revision.filter(|revision| is_commit(revision))
            && let Some(folder) = self.kept.get(&kept_as(commit))?
        {
            return Ok(Ok((folder, commit.to_owned())));
        }
        let place = name.split('#').next().unwrap_or(name);
        // git may repeat the URL with its password.
        let missing = |why: String| FetchError {
            name: "the buildpack".to_owned(),
            version: name.to_owned(),
            tried: vec![(place.to_owned(), why.replace(url, place))],
            instead: None,
        };
        let known_as = Digest::of(format!("{url}#{}", revision.unwrap_or("HEAD")).as_bytes()).hex();
        if self.request.offline {
            if let Some(commit) = self.kept.resolved(&known_as)?
                && let Some(folder) = self.kept.get(&kept_as(&commit))?
            {
                return Ok(Ok((folder, commit)));
            }
            return Ok(Err(missing("not asked: offline".to_owned())));
        }
        progress(Event::Fetching {
            artifact: name,
            place,
        });
        let repository = self.scratch.join(format!("git-{}", random_hex()));
        let commit = match self.fetch(&repository, url, revision)? {
            Ok(commit) => commit,
            Err(why) => return Ok(Err(missing(why))),
        };
        let folder = self.kept.get_or_make(&kept_as(&commit), |to| {
            let tar = repository.join("commit.tar");
            let args = ["archive", "--format=tar", "-o"].map(OsStr::new);
            let archived = self.git(
                &repository,
                &[args.as_slice(), &[tar.as_os_str(), OsStr::new(&commit)]].concat(),
            );
            archived.map_err(|said| BuildError::NotABuildpack {
                reference: name.to_owned(),
                why: said,
            })?;
            unpack_foreign(&tar, to).map_err(|error| bad(name, error))
        })?;
        self.kept.remember(&known_as, &commit)?;
        remove_tree(&repository)?;
        Ok(Ok((folder, commit)))
    }

    /// Fetches the commit alone into a new repository; its name.
    fn fetch(
        &self,
        repository: &Path,
        url: &str,
        revision: Option<&str>,
    ) -> Result<Said<String>, BuildError> {
        fs::create_dir(repository).at("create the folder", repository)?;
        let said = self.text(repository, &["init", "-q", "--bare", "--template=", "."]);
        if let Err(why) = said {
            return Ok(Err(why));
        }
        // As a checkout has it: what a forge leaves out of its archives is part of the buildpack.
        create_dir_durable(&repository.join("info"), 0o755)?;
        write_unsynced(
            &repository.join("info/attributes"),
            b"* -export-ignore -export-subst\n",
            0o644,
        )?;
        let wanted = revision.unwrap_or("HEAD");
        let shallow = ["fetch", "-q", "--depth=1", "--no-tags", "--", url, wanted];
        let fetched = match self.text(repository, &shallow) {
            Ok(_) => self.text(repository, &["rev-parse", "FETCH_HEAD^{commit}"]),
            // Servers need not give a commit by its name: then all branches and tags are asked for.
            Err(why) if is_part_of_commit(wanted) => self
                .everything(repository, url)
                .and_then(|_| {
                    self.text(repository, &["rev-parse", &format!("{wanted}^{{commit}}")])
                })
                .map_err(|_| why),
            Err(why) => Err(why),
        };
        Ok(fetched.and_then(|commit| {
            let commit = commit.trim().to_owned();
            if is_commit(&commit) {
                Ok(commit)
            } else {
                Err(format!("git names no commit: {commit:?}"))
            }
        }))
    }

    fn everything(&self, repository: &Path, url: &str) -> Said<String> {
        let (heads, tags) = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*");
        self.text(repository, &["fetch", "-q", "--", url, heads, tags])
    }

    fn text(&self, repository: &Path, args: &[&str]) -> Said<String> {
        let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
        self.git(repository, &args)
    }

    /// Nothing is asked of anybody at a terminal, no program of the repository is run.
    fn git(&self, repository: &Path, args: &[&OsStr]) -> Said<String> {
        let operator = &self.request.operator_env;
        let mut command = Command::new("git");
        command
            .env_clear()
            .env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes");
        for name in OPERATORS {
            if let Some(value) = operator.get(OsStr::new(name)) {
                command.env(name, value);
            }
        }
        let machine = machine::settings(operator, self.request.home.as_deref());
        for (name, value) in &machine.env {
            use std::os::unix::ffi::OsStrExt as _;
            command.env(name, OsStr::from_bytes(value));
        }
        command
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh")
            .env("GIT_HTTP_LOW_SPEED_LIMIT", BYTES_PER_S_MIN)
            .env("GIT_HTTP_LOW_SPEED_TIME", SILENCE_S_MAX)
            .env("GIT_DIR", repository)
            .current_dir(repository)
            .args(args)
            .stdin(Stdio::null());
        let output = command
            .output()
            .map_err(|error| format!("`git` could not be run: {error}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<&str> = said
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        Err(said.join("; "))
    }
}

/// The name of the folder with the files of a commit: a digest, as all have.
fn kept_as(commit: &str) -> String {
    Digest::of(format!("git {commit}").as_bytes()).hex()
}

/// The whole name of a commit: what it is never changes.
fn is_commit(text: &str) -> bool {
    [40, 64].contains(&text.len()) && is_lower_hex(text)
}

fn is_part_of_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && is_lower_hex(text)
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
