//! The host's own interpreters: the last way to a version whose official
//! build cannot be had.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
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
    let usual = USUAL.map(PathBuf::from);
    // All at once: there may be a dozen, and each takes some milliseconds to start.
    let mut asked = Vec::new();
    for prefix in prefixes.iter().chain(&usual) {
        for program in programs(prefix) {
            asked.extend(ask(prefix, &program).map(|child| (prefix, child)));
        }
    }
    let mut found = BTreeMap::new();
    for (prefix, child) in asked {
        if let Some(version) = answer(child) {
            let python = HostPython {
                version: version.clone(),
                prefix: prefix.clone(),
            };
            found.entry(version).or_insert(python);
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

/// Asks the program what it is; a prefix that was moved finds its own libraries only by the variable.
fn ask(prefix: &Path, program: &Path) -> Option<Child> {
    let mut command = Command::new(program);
    command
        .arg("-V")
        .env_clear()
        .env("LD_LIBRARY_PATH", prefix.join("lib"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command.spawn().ok()
}

fn answer(child: Child) -> Option<Version> {
    let output = child.wait_with_output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = Version::from_str(text.trim().strip_prefix("Python ")?).ok()?;
    (version.release().len() == 3 && !version.any_prerelease()).then_some(version)
}
