//! `exec.d`: programs of a layer that add to the environment right before a
//! process starts (rule 56). Runs inside the process's own sandbox.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::ident::ProcessType;
use crate::sys::output_fd;
use crate::sys::sandbox::Program;
use crate::sys::{At as _, PathError};

/// What the platform hands to `prepare`, as JSON.
#[derive(Debug, Default, Deserialize, serde::Serialize)]
pub struct Prepare {
    /// The programs, in the order in which they run.
    pub exec_d: Vec<PathBuf>,
    /// The app's folder, where they run, wherever the process itself does.
    pub app: PathBuf,
}

/// Runs each program in the app's folder with the environment so far; what it writes to descriptor 3,
/// a flat TOML table of strings, is set for the next one and for the process.
pub fn prepare(value: serde_json::Value, program: &mut Program) -> Result<(), String> {
    let Prepare { exec_d, app } =
        serde_json::from_value(value).map_err(|error| format!("exec.d: {error}"))?;
    apply(&exec_d, &app, program)
}

/// The same; `app` is the app's folder.
pub fn apply(programs: &[PathBuf], app: &Path, program: &mut Program) -> Result<(), String> {
    for path in programs {
        let set = run(path, app, program)?;
        program.env.extend(
            set.into_iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
    }
    Ok(())
}

fn run(path: &Path, app: &Path, program: &Program) -> Result<BTreeMap<String, String>, String> {
    let name = path.display();
    let ran = output_fd::run(path, &program.env, app)
        .map_err(|error| format!("exec.d: could not run `{name}`: {error}"))?;
    if !ran.status.success() {
        return Err(format!("exec.d: `{name}` failed ({})", ran.status));
    }
    let text = String::from_utf8(ran.output)
        .map_err(|_| format!("exec.d: the output of `{name}` is not UTF-8"))?;
    let set: BTreeMap<String, String> = toml::from_str(&text).map_err(|error| {
        format!(
            "exec.d: the output of `{name}` is no table of strings: {}",
            error.message()
        )
    })?;
    match set
        .iter()
        .find(|(key, value)| key.is_empty() || key.contains(['=', '\0']) || value.contains('\0'))
    {
        Some((key, _)) => Err(format!(
            "exec.d: `{name}` set a variable that cannot be: {key:?}"
        )),
        None => Ok(set),
    }
}

/// The programs in `<layer>/exec.d` and then `<layer>/exec.d/<type>`, each sorted by name, as paths below `at`
/// (where the layer lies inside); without a type, for a command of a user's, the first alone. Links are listed, since they lead somewhere only inside; folders are not.
pub fn programs(
    layer: &Path,
    at: &Path,
    process: Option<&ProcessType>,
) -> Result<Vec<PathBuf>, PathError> {
    files_for(layer, at, "exec.d", process)
}

/// The files in the folder `common` of a layer and then in its folder of the process type, each sorted by name, as paths below `at`.
pub(super) fn files_for(
    layer: &Path,
    at: &Path,
    common: &str,
    process: Option<&ProcessType>,
) -> Result<Vec<PathBuf>, PathError> {
    let common = PathBuf::from(common);
    let own = process.map(|process| common.join(process.as_str()));
    let mut found = Vec::new();
    for below in [Some(common), own].into_iter().flatten() {
        let names = files(&layer.join(&below))?;
        found.extend(names.into_iter().map(|name| at.join(&below).join(name)));
    }
    Ok(found)
}

/// The names of the files of a folder, sorted; none if it is not there.
fn files(folder: &Path) -> Result<Vec<OsString>, PathError> {
    // A link in place of the folder would be followed outside the sandbox.
    if !std::fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir()) {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).at("read", folder)? {
        let entry = entry.at("read", folder)?;
        if !entry.file_type().at("read", folder)?.is_dir() {
            names.push(entry.file_name());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scripts: &[&str]) -> Result<Program, String> {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (number, script) in scripts.iter().enumerate() {
            let text = folder.path().join("text");
            crate::sys::fs::write_atomic(&text, format!("#!/bin/sh\n{script}\n").as_bytes(), 0o755)
                .unwrap();
            // Written by another process: a test that forks just now would hold our descriptor, and
            // the kernel executes no file that somebody may still write to.
            let path = folder.path().join(number.to_string());
            let copied = std::process::Command::new("install")
                .arg(&text)
                .arg(&path)
                .status();
            copied.map_err(|error| error.to_string())?;
            paths.push(path);
        }
        let env = BTreeMap::from([
            ("A".into(), "old".into()),
            ("PATH".into(), "/usr/bin:/bin".into()),
        ]);
        let mut program = Program {
            argv: vec!["x".into()],
            env,
            cwd: "/".into(),
        };
        let value = serde_json::json!({ "exec_d": paths, "app": "/usr" });
        prepare(value, &mut program).map(|()| program)
    }

    #[test]
    fn rule_56_each_program_runs_in_the_apps_folder_and_sees_what_the_one_before_it_set() {
        let first = r#"printf 'A = "%s new"\nB = "%s"\n' "$A" "$PWD" >&3"#;
        let program = check(&[first, r#"printf 'C = "%s"\n' "$A" >&3"#]).unwrap();
        let value = |name: &str| {
            program.env[std::ffi::OsStr::new(name)]
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(
            (value("A"), value("B"), value("C")),
            ("old new".into(), "/usr".into(), "old new".into())
        );
    }

    #[test]
    fn rule_56_a_failure_or_bad_output_ends_the_start() {
        assert!(check(&["exit 3"]).unwrap_err().contains("exit status: 3"));
        assert!(
            check(&["echo 'A = 1' >&3"])
                .unwrap_err()
                .contains("no table of strings")
        );
        assert!(
            check(&["echo '[A]' >&3"])
                .unwrap_err()
                .contains("no table of strings")
        );
        assert!(
            check(&["printf '\\377' >&3"])
                .unwrap_err()
                .contains("not UTF-8")
        );
        assert!(
            check(&["printf '\"A=B\" = \"\"' >&3"])
                .unwrap_err()
                .contains("A=B")
        );
        assert!(check(&["true"]).is_ok());
    }

    #[test]
    fn rule_56_programs_are_sorted_and_those_of_the_type_come_last() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["exec.d/b", "exec.d/a", "exec.d/web/0", "exec.d/worker/0"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            crate::sys::fs::write_atomic(&path, b"", 0o755).unwrap();
        }
        let found = programs(folder.path(), Path::new("/l"), Some(&ProcessType::web())).unwrap();
        assert_eq!(
            found,
            ["/l/exec.d/a", "/l/exec.d/b", "/l/exec.d/web/0"].map(PathBuf::from)
        );
    }
}
