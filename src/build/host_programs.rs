//! Programs of the host outside `/usr` that a buildpack may fall back to:
//! what version managers put into the operator's home.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::layer::Env;

/// Where version managers keep their versions, below the home: each has folders with a `bin`.
const VERSION_FOLDERS: [&str; 2] = [".pyenv/versions", ".local/share/uv/python"];

/// The prefixes (what `bin` lies in) of the programs whose names match one of the patterns, by the
/// name of their folder, and then by their path: the same machine always gives the same order.
pub(super) fn prefixes(
    patterns: &[String],
    operator_env: &Env,
    home: Option<&Path>,
) -> Vec<PathBuf> {
    if patterns.is_empty() {
        return Vec::new();
    }
    let bins = bin_folders(operator_env, home);
    let mut found: BTreeSet<(Option<std::ffi::OsString>, PathBuf)> = BTreeSet::new();
    for program in bins.iter().flat_map(|bin| programs_in(bin, patterns)) {
        if let Some(prefix) = prefix_of(&program) {
            found.insert((prefix.file_name().map(OsStr::to_owned), prefix));
        }
    }
    found.into_iter().map(|(_, prefix)| prefix).collect()
}

fn bin_folders(operator_env: &Env, home: Option<&Path>) -> Vec<PathBuf> {
    let path = operator_env
        .get(OsStr::new("PATH"))
        .map(|path| std::env::split_paths(path).collect());
    let mut bins: Vec<PathBuf> = path.unwrap_or_default();
    for folder in home
        .into_iter()
        .flat_map(|home| VERSION_FOLDERS.map(|below| home.join(below)))
    {
        let versions = fs::read_dir(folder).into_iter().flatten().flatten();
        bins.extend(versions.map(|version| version.path().join("bin")));
    }
    bins.retain(|bin| bin.is_absolute());
    bins
}

fn programs_in(bin: &Path, patterns: &[String]) -> Vec<PathBuf> {
    let entries = fs::read_dir(bin).into_iter().flatten().flatten();
    let wanted = entries.filter(|entry| {
        let name = entry.file_name();
        patterns
            .iter()
            .any(|pattern| matches(pattern, &name.to_string_lossy()))
    });
    wanted.map(|entry| entry.path()).collect()
}

/// Where the program really is, if it is a program of the machine's and not a script that finds one. What is in `/usr` is seen anyway.
fn prefix_of(program: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(program).ok()?;
    let mut magic = [0; 4];
    File::open(&real)
        .and_then(|mut file| file.read_exact(&mut magic))
        .ok()?;
    let prefix = real.parent().filter(|bin| bin.ends_with("bin"))?.parent()?;
    let is_seen = prefix.starts_with("/usr") || prefix == Path::new("/");
    (magic == *b"\x7fELF" && !is_seen).then(|| prefix.to_owned())
}

/// `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            name.char_indices()
                .map(|(at, _)| at)
                .chain([name.len()])
                .any(|at| matches(rest, &name[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, expected) in [
            ("python3.*", "python3.12", true),
            ("python3.*", "python3", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("*", "", true),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn prefixes_are_those_of_real_programs_in_the_order_of_their_folders() {
        let home = tempfile::tempdir().unwrap();
        let program = |below: &str, text: &[u8]| {
            let path = home.path().join(below);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            crate::sys::fs::write_atomic(&path, text, 0o755).unwrap();
        };
        program(".pyenv/versions/3.12.1/bin/python3.12", b"\x7fELF");
        program(
            ".local/share/uv/python/cpython-3.11/bin/python3.11",
            b"\x7fELF",
        );
        program("shims/bin/python3.10", b"#!/bin/sh\n");
        let path = std::env::join_paths([home.path().join("shims/bin"), PathBuf::from("/usr/bin")])
            .unwrap();
        let found = prefixes(
            &["python3.*".to_owned()],
            &Env::from([("PATH".into(), path)]),
            Some(home.path()),
        );
        let names: Vec<_> = found
            .iter()
            .map(|prefix| prefix.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["3.12.1", "cpython-3.11"]);
        assert!(prefixes(&[], &Env::new(), Some(home.path())).is_empty());
    }
}
