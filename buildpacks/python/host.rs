//! The host's own interpreters: the last way to a version whose official
//! build cannot be had.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr as _;

use pep440_rs::Version;

/// The oldest that uv can install for.
const MINOR_MIN: u64 = 8;

/// An interpreter and the folder that it was installed into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPython {
    pub(super) version: Version,
    pub(super) prefix: PathBuf,
}

impl HostPython {
    /// `python3.12`.
    pub(super) fn program(&self) -> String {
        let release = self.version.release();
        format!("python{}.{}", release[0], release[1])
    }
}

/// What a distribution and an administrator (or a container image of Python) install into.
const USUAL: [&str; 2] = ["/usr/local", "/usr"];

/// Every interpreter below these prefixes and the usual ones, one for each version: the first prefix wins.
pub(super) fn interpreters(prefixes: &[PathBuf]) -> BTreeMap<Version, HostPython> {
    let mut found = BTreeMap::new();
    let usual = USUAL.map(PathBuf::from);
    for prefix in prefixes.iter().chain(&usual) {
        for program in programs(prefix) {
            if let Some(version) = version(prefix, &program) {
                let python = HostPython {
                    version: version.clone(),
                    prefix: prefix.clone(),
                };
                found.entry(version).or_insert(python);
            }
        }
    }
    found
}

/// `bin/python3.N`, and nothing of a longer name (`python3.12-config`); the standard library must be there too.
fn programs(prefix: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(prefix.join("bin"))
        .into_iter()
        .flatten()
        .flatten();
    let fits = |name: &str| {
        let minor = name
            .strip_prefix("python3.")
            .and_then(|minor| minor.parse::<u64>().ok());
        minor.is_some_and(|minor| minor >= MINOR_MIN)
            && prefix.join("lib").join(name).join("os.py").is_file()
    };
    let mut programs: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(fits))
        .map(|entry| entry.path())
        .collect();
    programs.sort();
    programs
}

/// What the program says; a prefix that was moved finds its own libraries only by the variable.
fn version(prefix: &Path, program: &Path) -> Option<Version> {
    let output = Command::new(program)
        .arg("-V")
        .env_clear()
        .env("LD_LIBRARY_PATH", prefix.join("lib"))
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = Version::from_str(text.trim().strip_prefix("Python ")?).ok()?;
    (version.release().len() == 3 && !version.any_prerelease()).then_some(version)
}
