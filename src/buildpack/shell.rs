//! Processes of a Buildpack API below 0.9 run through bash, after the scripts of
//! their layers and of the app (rules 57 and 58; lifecycle's `launch/bash.go`).

use std::ffi::OsStr;
use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;

use super::exec_d::files_for;
use crate::ident::ProcessType;
use crate::sys::PathError;

/// One bash, which calls itself `caller`, sources every profile, goes to the working folder, and becomes a second
/// one with the command: a script if it is one token, else tokens, each expanded by itself.
pub fn in_bash(
    caller: &OsStr,
    profiles: &[PathBuf],
    working_dir: &Path,
    tokens: &[OsString],
) -> Vec<OsString> {
    let (command, words) = match tokens {
        [script] => (script.clone(), &[][..]),
        tokens => {
            let expanded = (0..tokens.len()).map(|at| format!(r#""$(eval echo \"${{{at}}}\")""#));
            let command = expanded.collect::<Vec<String>>().join(" ");
            (command.into(), tokens)
        }
    };
    let mut argv = after(profiles, working_dir, "exec /bin/bash -c \"$@\"");
    argv.extend([caller.to_owned(), command]);
    argv.extend(words.iter().cloned());
    argv
}

/// The same with a command that is executed as it is: nothing of it is expanded.
pub fn as_it_is(profiles: &[PathBuf], working_dir: &Path, argv: &[OsString]) -> Vec<OsString> {
    let mut words = after(profiles, working_dir, "exec \"$@\"");
    words.push("bash".into());
    words.extend(argv.iter().cloned());
    words
}

/// A bash that sources every profile, goes to the working folder, and does what the last line says.
fn after(profiles: &[PathBuf], working_dir: &Path, last: &str) -> Vec<OsString> {
    let mut lines: Vec<String> = profiles
        .iter()
        .map(|profile| format!("source {}", quoted(profile)))
        .collect();
    // Only the sandbox knows whether the app has one: its slices lie over one another there.
    lines.push("if [ -f ./.profile ]; then source ./.profile; fi".to_owned());
    lines.push(format!("cd {}", quoted(working_dir)));
    lines.push(last.to_owned());
    ["/bin/bash", "-c", &lines.join("\n")]
        .map(OsString::from)
        .into()
}

/// The scripts in `<layer>/profile.d` and then `<layer>/profile.d/<type>`, each sorted by name, as paths below `at`
/// (where the layer lies inside).
pub fn profiles(
    layer: &Path,
    at: &Path,
    process: Option<&ProcessType>,
) -> Result<Vec<PathBuf>, PathError> {
    files_for(layer, at, "profile.d", process)
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
        let argv = in_bash(OsStr::new("caller"), &[script], Path::new("/"), &tokens);
        let ran = Command::new(&argv[0])
            .args(&argv[1..])
            .current_dir(folder.path())
            .output()
            .unwrap();
        String::from_utf8(ran.stdout).unwrap()
    }

    #[test]
    fn a_command_after_the_profiles_is_executed_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("profile");
        crate::sys::fs::write_atomic(&script, b"export A=1", 0o644).unwrap();
        let command = ["sh", "-c", "echo \"$A $1\" && pwd", "sh", "$HOME  *"];
        let argv = as_it_is(&[script], Path::new("/"), &command.map(OsString::from));
        let ran = Command::new(&argv[0])
            .args(&argv[1..])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(ran.stdout).unwrap(), "1 $HOME  *\n/\n");
    }

    #[test]
    fn rule_58_a_profile_sees_who_calls() {
        assert_eq!(check("printf '%s\\n' \"$0\"", &["true"]), "caller\n");
    }

    #[test]
    fn rule_58_a_script_sees_what_the_profiles_exported_and_keeps_its_quotes() {
        assert_eq!(check("export A=1", &["echo \"$A  b\" && pwd"]), "1  b\n/\n");
    }

    #[test]
    fn rule_58_a_script_is_bashs_own() {
        assert_eq!(check("true", &["echo $0 $#"]), "/bin/bash 0\n");
    }

    #[test]
    fn rule_58_tokens_are_expanded_one_by_one() {
        assert_eq!(
            check("export A='x  y'", &["printf", "<%s>", "$A", "b c"]),
            "<x y><b c>".replace("x y", "x  y")
        );
        // lifecycle's `launch/bash_test.go:132`: of ten and more, too.
        let words = "one two three four five six seven eight nine ten";
        let tokens: Vec<&str> = ["echo"].into_iter().chain(words.split(' ')).collect();
        assert_eq!(check("true", &tokens), format!("{words}\n"));
    }
}
