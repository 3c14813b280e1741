//! Programs that tests need and a machine may lack.

use std::env;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::thread;

/// Are all of these programs there? Where one is not, the test is skipped and `tests/run` says so at its end; with
/// `CI=true` it fails.
pub(crate) fn have(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs
        .iter()
        .filter(|program| find(program).is_none())
        .copied()
        .collect();
    missing.is_empty()
        || skip(&format!(
            "{} is not installed (tests/run installs it)",
            missing.join(", ")
        ))
}

/// Is this test run by root? What only root can do is skipped otherwise.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Notes why this test cannot run here. Always false.
pub(crate) fn skip(why: &str) -> bool {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    assert!(
        env::var_os("CI").is_none_or(|ci| ci != "true"),
        "{test} cannot run: {why}"
    );
    if let Some(list) = env::var_os("SLUG_TEST_SKIPPED") {
        let mut list = OpenOptions::new().append(true).open(list).unwrap();
        writeln!(list, "{test}: {why}").unwrap();
    }
    false
}

/// The program on the `PATH`, or where Debian hides a server's.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    if let Ok(versions) = Path::new("/usr/lib/postgresql").read_dir() {
        folders.extend(versions.filter_map(|version| Some(version.ok()?.path().join("bin"))));
    }
    folders
        .into_iter()
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// uv, to make the lock file of an app: from its package, into the target folder, once.
pub(crate) fn uv() -> &'static Path {
    static UV: OnceLock<PathBuf> = OnceLock::new();
    UV.get_or_init(|| {
        let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("uv-0.13.9");
        let uv = venv.join("bin/uv");
        if !uv.exists() {
            done(
                Command::new("/usr/bin/python3")
                    .args(["-m", "venv"])
                    .arg(&venv),
            );
            let pip = [
                "-m",
                "pip",
                "--quiet",
                "--disable-pip-version-check",
                "install",
                "uv==0.13.9",
            ];
            done(Command::new(venv.join("bin/python")).args(pip));
        }
        uv
    })
}

/// Runs a helper program; fails with what it said.
#[track_caller]
pub(crate) fn done(command: &mut Command) -> Vec<u8> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    output.stdout
}
