//! Which Python: what the app's files ask for, and the one that is taken.
//! Pure: knows the files' texts and the versions that can be had, no machine.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use crate::ident::shown;
use crate::ident::shown_message;
use pep440_rs::Version;
use pep440_rs::VersionSpecifiers;

/// What one file asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) wanted: VersionSpecifiers,
    /// As the file writes it.
    pub(super) text: String,
    pub(super) file: &'static str,
    /// From one.
    pub(super) line: u64,
}

impl Request {
    /// `.python-version:1`.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }

    /// `.python-version:1 asks for Python 3.12`.
    fn words(&self) -> String {
        format!("{} asks for Python {}", self.place(), self.text)
    }

    /// The one version, if it names one with its patch.
    fn exact(&self) -> Option<Version> {
        let [specifier] = &self.wanted[..] else {
            return None;
        };
        (specifier.operator() == &pep440_rs::Operator::Equal).then(|| specifier.version().clone())
    }
}

/// Every request of the app's files, or what is wrong with each file.
pub(super) fn requests(files: &BTreeMap<&'static str, String>) -> (Vec<Request>, Vec<String>) {
    let text = |name: &str| files.get(name).map(String::as_str);
    let own = text(".python-version").and_then(|text| plain_file(".python-version", text));
    let runtime = text("runtime.txt").and_then(|text| plain_file("runtime.txt", text));
    let manifest = text("pyproject.toml").and_then(|text| requires_python("pyproject.toml", text));
    let lock = text("uv.lock").and_then(|text| requires_python("uv.lock", text));
    let (mut requests, mut problems) = (Vec::new(), Vec::new());
    for request in [own, runtime, manifest, lock].into_iter().flatten() {
        match request {
            Ok(request) => requests.push(request),
            Err(problem) => problems.push(problem),
        }
    }
    // asdf's and mise's file speaks for many languages: what a file of Python's own says goes before it.
    if requests.is_empty() && problems.is_empty() {
        match text(".tool-versions").and_then(tool_versions) {
            Some(Ok(request)) => requests.push(request),
            Some(Err(problem)) => problems.push(problem),
            None => {}
        }
    }
    (requests, problems)
}

/// The first line that is neither blank nor a comment.
fn plain_file(file: &'static str, text: &str) -> Option<Result<Request, String>> {
    let text = text.trim_start_matches('\u{feff}');
    let lines = (1..)
        .zip(text.lines())
        .map(|(line, text)| (line, text.split('#').next().unwrap_or_default().trim()));
    let mut lines = lines.filter(|(_, text)| !text.is_empty());
    let (line, text) = lines.next()?;
    Some(pin(file, line, text))
}

/// `python 3.12.1 3.11.2`: the first version is the one in use.
fn tool_versions(text: &str) -> Option<Result<Request, String>> {
    let lines = (1..).zip(text.lines());
    let mut found = lines.filter_map(|(line, text)| {
        let mut words = text.split('#').next()?.split_whitespace();
        (words.next()? == "python").then(|| Some((line, words.next()?)))?
    });
    let (line, text) = found.next()?;
    Some(pin(".tool-versions", line, text))
}

/// `3.12`, `3.12.1`, `python-3.12.1`, `cpython-3.12.1-linux-x86_64-gnu`, `cpython@3.12`, `>=3.11,<3.13`.
fn pin(file: &'static str, line: u64, text: &str) -> Result<Request, String> {
    let bad = || {
        format!(
            "{file}:{line}: `{}` is no version of CPython (expected `3.13`, `3.13.2`, or a range such as `>=3.11,<3.14`; \
             PyPy, free-threaded builds and `system` are not supported)",
            shown(text)
        )
    };
    let name = ["cpython-", "cpython@", "cpython", "python-", "python"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text);
    let number = if name.len() < text.len() {
        name.split('-').next().unwrap_or(name)
    } else {
        name
    };
    let parts: Vec<&str> = number.split('.').collect();
    let digits = parts
        .iter()
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    let wanted = match parts.len() {
        1 | 2 if digits => format!("=={number}.*"),
        3 if digits => format!("=={number}"),
        _ => number.to_owned(),
    };
    let wanted = VersionSpecifiers::from_str(&wanted).map_err(|_| bad())?;
    Ok(Request {
        wanted,
        text: number.to_owned(),
        file,
        line,
    })
}

/// `requires-python` of `[project]`, or of a lock file's top.
fn requires_python(file: &'static str, text: &str) -> Option<Result<Request, String>> {
    let table: toml::Table = toml::from_str(text).ok()?; // what is wrong with the file is said once, by `manager`
    let scope = if file == "uv.lock" {
        &table
    } else {
        table.get("project")?.as_table()?
    };
    let value = scope.get("requires-python")?.as_str()?;
    let is_key = |line: &str| line.trim_start().starts_with("requires-python");
    let line = (1..)
        .zip(text.lines())
        .find(|(_, line)| is_key(line))
        .map_or(1, |(line, _)| line);
    let wanted = VersionSpecifiers::from_str(value).map_err(|error| {
        format!(
            "{file}:{line}: `{}` is no version range: {}",
            shown(value),
            shown_message(&error.to_string())
        )
    });
    Some(wanted.map(|wanted| Request {
        wanted,
        text: value.to_owned(),
        file,
        line,
    }))
}

/// The version that is taken, newest first in `known`; `known` holds what can be had, from anywhere.
/// `on_host` are those of them that lie on this machine. Errors: two files that no version pleases; nothing known that is asked for.
pub(super) fn choose(
    requests: &[Request],
    known: &[Version],
    on_host: &[Version],
) -> Result<Vec<Version>, Vec<String>> {
    let conflicts = conflicts(requests, known);
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let fits = |version: &&Version| {
        requests
            .iter()
            .all(|request| request.wanted.contains(version))
    };
    let mut fitting: Vec<Version> = known.iter().filter(fits).cloned().collect();
    fitting.sort_by(|one, other| other.cmp(one));
    fitting.dedup();
    if fitting.is_empty() {
        Err(vec![not_to_be_had(requests, known, on_host)])
    } else {
        Ok(fitting)
    }
}

/// `3.11.2, 3.12.1`.
pub(super) fn listed(versions: &[Version]) -> String {
    if versions.is_empty() {
        return "none".to_owned();
    }
    let texts: Vec<String> = versions.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// Pairs of requests that no version pleases, of those that can be had or that are named outright.
fn conflicts(requests: &[Request], known: &[Version]) -> Vec<String> {
    let named = requests.iter().filter_map(Request::exact);
    let versions: Vec<Version> = known.iter().cloned().chain(named).collect();
    let pleased = |request: &Request| {
        versions
            .iter()
            .any(|version| request.wanted.contains(version))
    };
    let mut conflicts = Vec::new();
    for (at, one) in requests.iter().enumerate() {
        for other in &requests[at + 1..] {
            let both =
                |version: &Version| one.wanted.contains(version) && other.wanted.contains(version);
            if pleased(one) && pleased(other) && !versions.iter().any(both) {
                conflicts.push(format!(
                    "{}, but {}: change one of the two",
                    one.words(),
                    other.words()
                ));
            }
        }
    }
    conflicts
}

fn not_to_be_had(requests: &[Request], known: &[Version], on_host: &[Version]) -> String {
    let asked: Vec<String> = requests.iter().map(Request::words).collect();
    let mut newest: BTreeMap<u64, &Version> = BTreeMap::new();
    for version in known {
        let minor = version.release().get(1).copied().unwrap_or_default();
        newest
            .entry(minor)
            .and_modify(|known| *known = Ord::max(version, *known))
            .or_insert(version);
    }
    let newest: Vec<String> = newest.values().map(ToString::to_string).collect();
    format!(
        "{}, which cannot be had: there is no official build of it in the inventory, and this host has none. \
         Ask there for one that can be had. The newest of each minor version: {}. On this host: {}",
        asked.join(" and "),
        newest.join(", "),
        listed(on_host)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&'static str, &str)], expect: Result<&str, &str>) {
        let known = [
            "3.14.7", "3.13.15", "3.13.0", "3.12.14", "3.12.1", "3.11.7", "3.10.13",
        ];
        let known: Vec<Version> = known.iter().map(|text| text.parse().unwrap()).collect();
        let files: BTreeMap<_, _> = files
            .iter()
            .map(|(name, text)| (*name, (*text).to_owned()))
            .collect();
        let (requests, problems) = requests(&files);
        let chosen = if problems.is_empty() {
            choose(&requests, &known, &known[4..5])
        } else {
            Err(problems)
        };
        match (chosen, expect) {
            (Ok(versions), Ok(version)) => {
                assert_eq!(versions[0].to_string(), version, "{files:?}");
            }
            (Err(problems), Err(part)) => {
                assert!(problems.concat().contains(part), "{files:?}: {problems:?}");
            }
            (chosen, _) => panic!("{files:?}: {chosen:?}"),
        }
    }

    #[test]
    fn the_newest_that_every_file_allows_is_taken() {
        check(&[], Ok("3.14.7"));
        check(&[(".python-version", "# ours\n\n3.12\n")], Ok("3.12.14"));
        check(&[(".python-version", "3.12.1\r\n")], Ok("3.12.1"));
        check(&[(".python-version", "3.13  # why")], Ok("3.13.15"));
        check(
            &[(".python-version", "cpython-3.12.1-linux-x86_64-gnu")],
            Ok("3.12.1"),
        );
        check(&[(".python-version", ">=3.11,<3.13")], Ok("3.12.14"));
        check(&[("runtime.txt", "python-3.11.7\n")], Ok("3.11.7"));
        check(
            &[(
                "pyproject.toml",
                "[project]\nrequires-python = \">=3.10,<3.12\"",
            )],
            Ok("3.11.7"),
        );
        check(
            &[("uv.lock", "version = 1\nrequires-python = \"==3.13.*\"")],
            Ok("3.13.15"),
        );
        check(
            &[(".tool-versions", "nodejs 20\npython 3.10.13 3.11.7 # x")],
            Ok("3.10.13"),
        );
        check(
            &[
                (".python-version", "3.12"),
                (".tool-versions", "python 3.10.13"),
            ],
            Ok("3.12.14"),
        );
        check(
            &[
                (".python-version", "3.12"),
                ("runtime.txt", "python-3.12.1"),
            ],
            Ok("3.12.1"),
        );
    }

    #[test]
    fn two_files_that_no_version_pleases_are_both_named() {
        let own = (".python-version", "\n3.11");
        let expect =
            ".python-version:2 asks for Python 3.11, but pyproject.toml:3 asks for Python >=3.12";
        check(
            &[
                own,
                (
                    "pyproject.toml",
                    "[project]\nname = \"a\"\nrequires-python = \">=3.12\"",
                ),
            ],
            Err(expect),
        );
        check(
            &[own, ("runtime.txt", "python-3.12.1")],
            Err("but runtime.txt:1 asks for Python 3.12.1"),
        );
        check(
            &[
                (".python-version", "3.12.99"),
                ("uv.lock", "requires-python = \">=3.13\""),
            ],
            Err("but uv.lock:1"),
        );
    }

    #[test]
    fn what_cannot_be_had_is_never_a_near_match() {
        check(
            &[(".python-version", "3.12.99")],
            Err(".python-version:1 asks for Python 3.12.99, which cannot be had"),
        );
        check(
            &[(".python-version", "3.9")],
            Err("3.10.13, 3.11.7, 3.12.14, 3.13.15, 3.14.7. On this host: 3.12.1"),
        );
        for bad in ["pypy3.10-7.3", "3.13t", "system", "three", "3.1.2.3", "3."] {
            check(&[(".python-version", bad)], Err(".python-version:1: `"));
        }
        check(
            &[("pyproject.toml", "[project]\nrequires-python = \"3,12\"")],
            Err("pyproject.toml:2"),
        );
    }
}
