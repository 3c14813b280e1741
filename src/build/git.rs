//! What git says about a work tree: which files belong to it, and of which
//! commit they are.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::BuildError;
use super::report::Commit;
use crate::layer::Env;

/// What a git work tree holds.
#[derive(Debug)]
pub(super) struct WorkTree {
    /// Tracked files, and untracked ones that are not ignored, relative to the folder. A folder is a
    /// repository of its own. Tracked files that were deleted are among them.
    pub(super) files: Vec<PathBuf>,
    /// None before the first commit.
    pub(super) commit: Option<Commit>,
}

/// Is the folder, or one above it, the top of a git work tree?
pub(super) fn is_work_tree(folder: &Path) -> bool {
    folder
        .ancestors()
        .any(|above| above.join(".git").symlink_metadata().is_ok())
}

/// Asks git twice, at the same time.
pub(super) fn read(folder: &Path, operator_env: &Env) -> Result<WorkTree, BuildError> {
    let status_args = [
        "status",
        "--porcelain=v2",
        "--branch",
        "-z",
        "--untracked-files=normal",
        "--",
        ".",
    ];
    let status = start(folder, operator_env, &status_args)?;
    let list = start(
        folder,
        operator_env,
        &[
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ],
    )?;
    let (list, status) = (finish(list, folder)?, finish(status, folder)?);
    let names = list
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    Ok(WorkTree {
        files: names
            .map(|name| PathBuf::from(OsStr::from_bytes(name)))
            .collect(),
        commit: commit_of(&status),
    })
}

fn commit_of(status: &[u8]) -> Option<Commit> {
    let entries: Vec<&[u8]> = status
        .split(|byte| *byte == 0)
        .filter(|entry| !entry.is_empty())
        .collect();
    let oid = entries
        .iter()
        .find_map(|entry| entry.strip_prefix(b"# branch.oid "))?;
    let oid = std::str::from_utf8(oid)
        .ok()
        .filter(|oid| oid.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    Some(Commit {
        id: oid.to_owned(),
        dirty: entries.iter().any(|entry| !entry.starts_with(b"# ")),
    })
}

/// Of the operator's environment git gets what it needs to find its own settings, and no `GIT_*`: a hook sets those.
/// Where root builds another user's folder, git runs as that user: it refuses the folders of others, and
/// the folder's own settings may name programs.
fn start(folder: &Path, operator_env: &Env, args: &[&str]) -> Result<Child, BuildError> {
    let no_git = |source| BuildError::NoGit {
        path: folder.to_owned(),
        source,
    };
    let owner = folder.metadata().map_err(no_git)?;
    let as_owner = rustix::process::geteuid().is_root() && owner.uid() != 0;
    let mut command = Command::new("git");
    command
        .env_clear()
        .env("LC_ALL", "C")
        .env("GIT_OPTIONAL_LOCKS", "0");
    let names: &[&str] = if as_owner {
        &["PATH"]
    } else {
        &["PATH", "HOME", "XDG_CONFIG_HOME"]
    };
    for name in names {
        if let Some(value) = operator_env.get(OsStr::new(name)) {
            command.env(name, value);
        }
    }
    if as_owner {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let mut all: Vec<OsString> = vec![
        "-C".into(),
        folder.into(),
        "-c".into(),
        "core.quotepath=off".into(),
    ];
    all.extend(args.iter().map(OsString::from));
    command
        .args(all)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().map_err(no_git)
}

fn finish(child: Child, folder: &Path) -> Result<Vec<u8>, BuildError> {
    let ended = |source: io::Error| BuildError::NoGit {
        path: folder.to_owned(),
        source,
    };
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().map_err(ended)?;
    if status.success() {
        return Ok(stdout);
    }
    let said = String::from_utf8_lossy(&stderr).trim().to_owned();
    Err(BuildError::Git {
        path: folder.to_owned(),
        said,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_commit_and_whether_anything_differs() {
        let at = |dirty| Commit {
            id: "0123abcd".to_owned(),
            dirty,
        };
        let clean = b"# branch.oid 0123abcd\0# branch.head main\0";
        assert_eq!(commit_of(clean), Some(at(false)));
        let dirty = b"# branch.oid 0123abcd\0? new\0";
        assert_eq!(commit_of(dirty), Some(at(true)));
        assert_eq!(commit_of(b"# branch.oid (initial)\0? new\0"), None);
    }
}
