//! `slug doctor`: what slug needs of this machine, each tried for real.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;
use slug::sys::cgroup::{self, Controller};
use slug::sys::sandbox::{self, Mount, Network, Program, Spec, Streams, Terminal};

use super::report::{Failure, exit};
use super::settings::Settings;
use super::ui::table;

/// Less free space than this in the store is worth a word, in bytes.
const FREE_BYTES_MIN: u64 = 1_000_000_000;

/// As root the probe runs as `nobody`; otherwise as the caller, whatever this says.
const PROBE_UID: u32 = 65534;

#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    state: State,
    found: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Good,
    Warning,
    Bad,
}

pub(crate) fn run(settings: &Settings) -> Result<u8, Failure> {
    let store = settings.open_store()?;
    let checks = [
        check("store", store_space(store.root())),
        check("sandbox", sandbox_works(store.host(), &[])),
        check("overlay", overlay_works(store.host())),
        check("limits", limits()),
        check(
            "git",
            tool(settings, &["git"], "needed to build from git work trees"),
        ),
        check(
            "registry client",
            tool(
                settings,
                &["pip", "pip3", "uv"],
                "needed where official downloads cannot be reached",
            ),
        ),
    ];
    settings
        .ui
        .answer(&json!({ "schema": 1, "checks": checks }), |_| {
            let rows = checks.iter().map(|check| {
                let state = match check.state {
                    State::Good => "good",
                    State::Warning => "warning",
                    State::Bad => "bad",
                };
                vec![check.what.to_owned(), state.to_owned(), check.found.clone()]
            });
            table(&rows.collect::<Vec<_>>())
        })?;
    let is_bad = checks.iter().any(|check| check.state == State::Bad);
    Ok(if is_bad { exit::FAILED } else { 0 })
}

fn check(what: &'static str, (state, found): (State, String)) -> Check {
    Check { what, state, found }
}

fn store_space(root: &Path) -> (State, String) {
    match rustix::fs::statvfs(root) {
        Ok(space) => {
            let free = space.f_bavail.saturating_mul(space.f_frsize);
            let state = if free < FREE_BYTES_MIN {
                State::Warning
            } else {
                State::Good
            };
            (
                state,
                format!("{}, {} free", root.display(), super::ui::human_bytes(free)),
            )
        }
        Err(error) => (State::Bad, format!("{}: {error}", root.display())),
    }
}

/// Runs `true` in a sandbox with these mounts.
fn sandbox_works(host: &Path, mounts: &[Mount]) -> (State, String) {
    match try_sandbox(mounts) {
        Ok(0) => (
            State::Good,
            "a process ran in namespaces of its own".to_owned(),
        ),
        Ok(code) => (
            State::Bad,
            format!("`true` ended with exit code {code} in {}", host.display()),
        ),
        Err(failure) => (State::Bad, failure.what_and_hints()),
    }
}

fn overlay_works(host: &Path) -> (State, String) {
    let made = tempfile::tempdir_in(host).and_then(|folder| {
        for name in ["lower", "upper", "work"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        Ok(folder)
    });
    let folder = match made {
        Ok(folder) => folder,
        Err(error) => return (State::Bad, format!("{}: {error}", host.display())),
    };
    let inside = |name: &str| -> PathBuf { folder.path().join(name) };
    let overlay = Mount::Overlay {
        lower: vec![inside("lower")],
        upper: Some((inside("upper"), inside("work"))),
        to: PathBuf::from("/layers"),
    };
    match sandbox_works(host, &[overlay]) {
        (State::Good, _) => (State::Good, "cached layers need no copy".to_owned()),
        (_, why) => (
            State::Warning,
            format!("cached layers are compared file by file: {why}"),
        ),
    }
}

fn try_sandbox(mounts: &[Mount]) -> Result<i32, Failure> {
    let spec = Spec {
        mounts: mounts.to_vec(),
        network: Network::Host,
        uid: PROBE_UID,
        program: Program {
            argv: vec![OsString::from("true")],
            env: BTreeMap::from([(OsString::from("PATH"), OsString::from("/usr/bin:/bin"))]),
            cwd: PathBuf::from("/"),
        },
        terminal: Terminal::default(),
        prepare: None,
        limits: sandbox::Limits::default(),
    };
    let null = || {
        File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map(Into::into)
    };
    let opened = null().and_then(|stdin| {
        Ok(Streams {
            stdin,
            stdout: null()?,
            stderr: null()?,
        })
    });
    let streams =
        opened.map_err(|error| Failure::failed(format!("/dev/null cannot be opened: {error}")))?;
    let mut child = sandbox::launch(&Settings::program()?, &spec, streams)?;
    child.started()?;
    Ok(child.wait()?.code())
}

/// Where `slug up` would be started from here: a unit of its own may have more.
fn limits() -> (State, String) {
    let lack = |why: String| {
        let advice = "run `slug up` as a unit with `Delegate=yes`";
        let what = "`memory`, `cpu` and `pids` of slug.toml are not enforced";
        (State::Warning, format!("{what}: {why} ({advice})"))
    };
    match cgroup::own().and_then(|root| Ok((cgroup::look(&root)?, root))) {
        Err(error) => lack(error.to_string()),
        Ok((controllers, root)) => {
            let missing = Controller::ALL
                .into_iter()
                .filter(|controller| !controllers.contains(controller));
            let missing: Vec<&str> = missing.map(Controller::name).collect();
            if missing.is_empty() {
                (State::Good, format!("{} is delegated", root.display()))
            } else {
                lack(format!("{} lacks {}", root.display(), missing.join(", ")))
            }
        }
    }
}

fn tool(settings: &Settings, names: &[&str], what_for: &str) -> (State, String) {
    let path = settings
        .env
        .get(std::ffi::OsStr::new("PATH"))
        .cloned()
        .unwrap_or_default();
    let found = std::env::split_paths(&path)
        .flat_map(|dir| names.iter().map(move |name| dir.join(name)))
        .find(|file| file.is_file());
    match found {
        Some(file) => (State::Good, file.display().to_string()),
        None => (
            State::Warning,
            format!("none of {} is on the PATH: {what_for}", names.join(", ")),
        ),
    }
}
