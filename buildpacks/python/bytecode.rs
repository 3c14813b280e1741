//! Bytecode that is the same bytes each time.
//!
//! The bytes of a `.pyc` depend on what its process compiled before
//! (python/cpython#129724): so the files of one distribution are compiled by a
//! process of their own, in the order of their names, with a fixed hash seed.
//! The mode is unchecked-hash: a slug's code cannot change, so a start stats
//! no source.

use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::Mutex;

use crate::buildpack::author::Failure;

/// Files that one process compiles, sorted.
pub(super) type Group = Vec<PathBuf>;

/// Compiles each group, as many at once as there are processors. A file that is no Python of this version stays without bytecode.
pub(super) fn compile(python: &Path, groups: Vec<Group>) -> Result<(), Failure> {
    let workers = std::thread::available_parallelism()
        .map_or(1, std::num::NonZeroUsize::get)
        .min(groups.len());
    let queue = Mutex::new(groups.into_iter());
    let next = || queue.lock().ok().and_then(|mut queue| queue.next());
    std::thread::scope(|scope| {
        let worker = || {
            while let Some(group) = next() {
                compile_group(python, group)?;
            }
            Ok(())
        };
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        running.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| Err(Failure("a compiler thread ended".to_owned())))
        })
    })
}

fn compile_group(python: &Path, mut group: Group) -> Result<(), Failure> {
    group.sort();
    let failed = |why: String| Failure(format!("could not compile to bytecode: {why}"));
    let mut list = Vec::new();
    for path in &group {
        list.extend_from_slice(path.as_os_str().as_encoded_bytes());
        list.push(b'\n');
    }
    let mut child = Command::new(python)
        // No site packages, no user folder: nothing but the standard library takes part.
        .args([
            "-S",
            "-s",
            "-m",
            "compileall",
            "-f",
            "-q",
            "-q",
            "--invalidation-mode",
            "unchecked-hash",
            "-i",
            "-",
        ])
        .env_clear()
        .env("PYTHONHASHSEED", "0")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("LANG", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("`{}`: {error}", python.display())))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A compiler that died early is told by its exit below.
        let _ = stdin.write_all(&list);
    }
    let output = child
        .wait_with_output()
        .map_err(|error| failed(error.to_string()))?;
    // 1: some file did not compile, which templates and tests for other versions do not. Anything else is a crash.
    match output.status.code() {
        Some(0 | 1) if output.stderr.is_empty() => Ok(()),
        _ => Err(failed(format!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        ))),
    }
}
