//! Bytecode that is the same bytes each time.
//!
//! The bytes of a `.pyc` depend on what its process compiled before
//! (python/cpython#129724): so a few files of one distribution at a time are
//! compiled by a process of their own, in the order of their names, with a
//! fixed hash seed. These processes are forked from one that has the compiler
//! loaded: a start of Python for each costs more than the compiling.
//! The mode is unchecked-hash: a slug's code cannot change, so a start stats
//! no source.

use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use crate::buildpack::author::Failure;

/// Files of one distribution.
pub(super) type Group = Vec<PathBuf>;

/// How many files one process compiles: few enough that all processors have work to the end.
const FILES_A_PROCESS: usize = 32;
const SCRIPT: &str = include_str!("bytecode.py");

/// Compiles each group, as many processes at once as there are processors. A file that is no Python of this version stays without bytecode.
pub(super) fn compile(python: &Path, groups: Vec<Group>) -> Result<(), Failure> {
    let list = list(groups);
    if list.is_empty() {
        return Ok(());
    }
    let failed = |why: String| Failure(format!("could not compile to bytecode: {why}"));
    let mut child = Command::new(python)
        // No site packages, no user folder: nothing but the standard library takes part. What a compiler only warns of is the author's business.
        .args(["-S", "-s", "-W", "ignore", "-c", SCRIPT])
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
    if output.status.success() {
        Ok(())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(failed(format!("{}: {}", output.status, said.trim_end())))
    }
}

/// What the script reads.
fn list(groups: Vec<Group>) -> Vec<u8> {
    let mut list = Vec::new();
    for mut group in groups {
        group.sort();
        for files in group.chunks(FILES_A_PROCESS) {
            let paths: Vec<&[u8]> = files
                .iter()
                .map(|path| path.as_os_str().as_bytes())
                .collect();
            list.extend(paths.join(&0));
            list.extend(b"\0\0");
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_gets_few_files_of_one_group_in_the_order_of_their_names() {
        let group = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Group>();
        assert_eq!(
            list(vec![
                group(&["b.py", "a\n.py"]),
                group(&[]),
                group(&["c.py"])
            ]),
            b"a\n.py\0b.py\0\0c.py\0\0"
        );
        let many: Group = (0..=FILES_A_PROCESS)
            .map(|n| format!("{n:03}").into())
            .collect();
        let list = list(vec![many]);
        assert_eq!(list.windows(2).filter(|bytes| bytes == b"\0\0").count(), 2);
    }

    #[test]
    fn the_same_file_is_the_same_bytecode_whatever_else_is_compiled() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            crate::buildpack::author::write(&path, text.as_bytes()).unwrap();
            path
        };
        let named = put(
            "named\nso.py",
            "import os\ndef f(x):\n    return {'a', 'b', x}, 'name'\n",
        );
        let warned = put("warned.py", "pattern = '\\d'\n");
        let broken = put("broken.py", "print 1\n");
        let others: Vec<Group> = (0..40)
            .map(|n| vec![put(&format!("m{n}.py"), "name = 'a'\n")])
            .collect();
        let python = Path::new("/usr/bin/python3");
        let compiled = |groups: Vec<Group>| {
            let cache = folder.path().join("__pycache__");
            if cache.is_dir() {
                std::fs::remove_dir_all(&cache).unwrap();
            }
            compile(python, groups).unwrap();
            let mut files: Vec<PathBuf> = std::fs::read_dir(&cache)
                .unwrap()
                .flatten()
                .map(|entry| entry.path())
                .collect();
            files.sort();
            files
        };
        let bytes = |files: &[PathBuf]| {
            let file = files
                .iter()
                .find(|path| path.to_string_lossy().contains("named\nso"))
                .unwrap();
            std::fs::read(file).unwrap()
        };
        let alone = compiled(vec![vec![named.clone(), warned.clone(), broken]]);
        assert_eq!(alone.len(), 2, "{alone:?}");
        let alone = bytes(&alone);
        assert_eq!(alone[4] & 0b11, 0b01, "unchecked hash");
        let mut groups = others;
        groups.push(vec![named, warned]);
        assert_eq!(bytes(&compiled(groups)), alone);
    }
}
