//! Processes of a Buildpack API below 0.9 run through bash, after the scripts of
//! their layers and of the app (rules 57 and 58; lifecycle's `launch/bash.go`).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use crate::sys::At as _;
use crate::sys::PathError;

/// One bash sources every profile, goes to the working folder, and becomes a second one with the command:
/// a script if it is one token, else tokens, each expanded by itself.
pub(super) fn in_bash(
    profiles: &[PathBuf],
    working_dir: &Path,
    tokens: &[OsString],
) -> Vec<OsString> {
    let mut lines: Vec<String> = profiles
        .iter()
        .map(|profile| format!("source {}", quoted(profile)))
        .collect();
    // Only the sandbox knows whether the app has one: its slices lie over one another there.
    lines.push("if [ -f ./.profile ]; then source ./.profile; fi".to_owned());
    lines.push(format!("cd {}", quoted(working_dir)));
    lines.push("exec /bin/bash -c \"$@\"".to_owned());
    let command = match tokens {
        [script] => script.clone(),
        tokens => {
            let expanded = (0..tokens.len()).map(|at| format!(r#""$(eval echo \"${{{at}}}\")""#));
            expanded.collect::<Vec<String>>().join(" ").into()
        }
    };
    let outer = ["/bin/bash", "-c", &lines.join("\n"), "bash"].map(OsString::from);
    outer
        .into_iter()
        .chain([command])
        .chain(tokens.iter().cloned())
        .collect()
}

/// The names of the files of a folder, sorted; none if it is not there, or is a link, which would be followed on the host.
pub(super) fn scripts_in(folder: &Path) -> Result<Vec<OsString>, PathError> {
    if !fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir()) {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).at("list", folder)?;
    let names = entries.filter(|entry| !entry.as_ref().is_ok_and(|entry| entry.path().is_dir()));
    let mut names: Vec<OsString> = names
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<_>>()
        .at("list", folder)?;
    names.sort();
    Ok(names)
}

/// As one word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn check(profile: &str, tokens: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("it's a profile");
        crate::sys::fs::write_atomic(&script, profile.as_bytes(), 0o644).unwrap();
        let tokens: Vec<OsString> = tokens.iter().map(OsString::from).collect();
        let argv = in_bash(&[script], Path::new("/"), &tokens);
        let ran = Command::new(&argv[0])
            .args(&argv[1..])
            .current_dir(folder.path())
            .output()
            .unwrap();
        String::from_utf8(ran.stdout).unwrap()
    }

    #[test]
    fn a_script_sees_what_the_profiles_exported_and_keeps_its_quotes() {
        assert_eq!(check("export A=1", &["echo \"$A  b\" && pwd"]), "1  b\n/\n");
    }

    #[test]
    fn tokens_are_expanded_one_by_one() {
        assert_eq!(
            check("export A='x  y'", &["printf", "<%s>", "$A", "b c"]),
            "<x y><b c>".replace("x y", "x  y")
        );
    }
}
