//! `launch.toml`: processes, labels, slices (rules 34-38), and what those of
//! several buildpacks come to. The two forms of a command are told apart by
//! the Buildpack API of the buildpack that wrote the file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use toml::Spanned;

use super::api::Api;
use super::bom;
use super::bom::{BomEntry, RawBomEntry};
use super::exec_env::ExecEnv;
use crate::ident::{BuildpackId, ProcessType};
use crate::layer::toml_file;
use crate::layer::toml_file::TomlError;
use crate::sys::fs::read_plain;

/// What a build says about how its app is started. Written in the form of Buildpack API 0.9 and later.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Launch {
    /// Go into the image's config.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// What can be started.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<Process>,
    /// Parts of the app that become layers of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<Slice>,
    /// What is in the app, in the legacy form.
    #[serde(skip)]
    pub bom: Vec<BomEntry>,
}

/// A label of the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// Patterns of paths of the app, as Go's `filepath.Match` reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// Relative to the app.
    #[serde(default)]
    pub paths: Vec<String>,
}

/// A process type and how it is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its name.
    #[serde(rename = "type")]
    pub process_type: ProcessType,
    /// The program and its fixed arguments.
    pub command: Vec<String>,
    /// Default arguments, replaced by a user's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Executed as it is, not by a shell.
    #[serde(skip)]
    pub direct: bool,
    /// What the app starts when nothing is named.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// Relative to the app, or absolute; the app if none.
    #[serde(rename = "working-dir", skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// The execution environments it is meant for; all if none (Buildpack API 0.12).
    #[serde(rename = "exec-env", skip_serializing_if = "Vec::is_empty")]
    pub exec_env: Vec<String>,
}

/// The file as it may be written.
#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    processes: Vec<Spanned<RawProcess>>,
    #[serde(default)]
    slices: Vec<Slice>,
    #[serde(default)]
    bom: Vec<RawBomEntry>,
}

#[derive(Deserialize)]
struct RawProcess {
    #[serde(rename = "type")]
    process_type: ProcessType,
    command: Spanned<Command>,
    #[serde(default)]
    args: Vec<String>,
    direct: Option<Spanned<bool>>,
    #[serde(default)]
    default: bool,
    #[serde(rename = "working-dir")]
    working_dir: Option<String>,
    #[serde(rename = "exec-env", default)]
    exec_env: Vec<String>,
}

/// A string before Buildpack API 0.9, a list since.
enum Command {
    Text(String),
    List(Vec<String>),
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CommandVisitor)
    }
}

/// By hand, because an untagged enum would not say what was wrong.
struct CommandVisitor;

impl<'de> Visitor<'de> for CommandVisitor {
    type Value = Command;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }

    fn visit_str<E>(self, text: &str) -> Result<Command, E> {
        Ok(Command::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Command, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Command::List(list))
    }
}

/// A launch file, and what its author should know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadLaunch {
    /// What it says.
    pub launch: Launch,
    /// What was ignored.
    pub warnings: Vec<String>,
}

impl Launch {
    /// Reads `launch.toml` as a buildpack of that API means it; an empty one if it is not there.
    pub fn read(path: &Path, api: Api) -> Result<ReadLaunch, TomlError> {
        let bytes = read_plain(path, toml_file::TOML_BYTES_MAX)?;
        bytes.map_or_else(
            || Ok(ReadLaunch::default()),
            |bytes| Self::parse(&bytes, path, api),
        )
    }

    /// Without the processes that are meant for other execution environments (rule 53): a slug is built for one.
    #[must_use]
    pub fn for_exec_env(mut self, exec_env: &ExecEnv) -> Self {
        self.processes
            .retain(|process| exec_env.is_among(&process.exec_env));
        self
    }

    fn parse(bytes: &[u8], path: &Path, api: Api) -> Result<ReadLaunch, TomlError> {
        let raw: Raw = toml_file::parse_bytes(bytes, path)?;
        let wrong = |at: usize, message: String| {
            toml_file::wrong(&String::from_utf8_lossy(bytes), path, at, message)
        };
        let mut read = ReadLaunch::default();
        for process in raw.processes {
            let at = process.span().start;
            let mut process = Process::parse(process.into_inner(), api)
                .map_err(|(at, message)| wrong(at, message))?;
            if process.default && read.launch.processes.iter().any(|other| other.default) {
                return Err(wrong(
                    at,
                    "more than one process is the default (`default = true`)".to_owned(),
                ));
            }
            if !api.has_working_dir() && process.working_dir.take().is_some() {
                let process_type = &process.process_type;
                read.warnings.push(format!("`working-dir` of the process `{process_type}` is ignored: it needs Buildpack API 0.8, and the buildpack states {api}"));
            }
            read.launch.processes.push(process);
        }
        read.launch.labels = raw.labels;
        read.launch.slices = raw.slices;
        read.launch.bom = bom::checked(raw.bom, bytes, path)?;
        Ok(read)
    }
}

impl Process {
    /// Rule 35. The error's place is an offset in the file.
    fn parse(raw: RawProcess, api: Api) -> Result<Self, (usize, String)> {
        let RawProcess {
            process_type,
            command,
            args,
            direct,
            default,
            working_dir,
            exec_env,
        } = raw;
        let at = command.span().start;
        let (command, direct) = match (command.into_inner(), direct) {
            (_, Some(direct)) if api.has_command_lists() => {
                let message = format!(
                    "`direct` is no key of Buildpack API {api}: every process is direct since 0.9"
                );
                return Err((direct.span().start, message));
            }
            (Command::List(command), _) if api.has_command_lists() => (command, true),
            (Command::Text(command), direct) if !api.has_command_lists() => {
                (vec![command], direct.is_some_and(Spanned::into_inner))
            }
            (Command::Text(_), _) => {
                return Err((
                    at,
                    format!("`command` must be a list of strings in Buildpack API {api}"),
                ));
            }
            (Command::List(_), _) => {
                return Err((
                    at,
                    format!("`command` must be a string in Buildpack API {api}"),
                ));
            }
        };
        if command.first().is_none_or(String::is_empty) {
            return Err((at, format!("the process `{process_type}` has no command")));
        }
        Ok(Self {
            process_type,
            command,
            args,
            direct,
            default,
            working_dir,
            exec_env,
        })
    }
}

/// What the launch files of a group come to, later buildpacks winning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launched {
    /// The process types, sorted, and who contributed each.
    pub processes: BTreeMap<ProcessType, (BuildpackId, Process)>,
    /// What starts when nothing is named.
    pub default: Option<ProcessType>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Parts of the app, earlier ones taking first.
    pub slices: Vec<Slice>,
}

impl Launched {
    /// Adds what the next buildpack of the group says (rules 37 and 38); returns what the user should know.
    pub fn add(&mut self, buildpack: &BuildpackId, launch: Launch) -> Vec<String> {
        let mut warnings = Vec::new();
        for process in launch.processes {
            let process_type = process.process_type.clone();
            if process.default {
                self.default = Some(process_type.clone());
            } else if self.default.as_ref() == Some(&process_type) {
                warnings.push(format!("`{buildpack}` replaces the default process `{process_type}` by one that is not the default: there is no default now"));
                self.default = None;
            }
            self.processes
                .insert(process_type, (buildpack.clone(), process));
        }
        self.labels.extend(
            launch
                .labels
                .into_iter()
                .map(|Label { key, value }| (key, value)),
        );
        self.slices.extend(launch.slices);
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, api: &str) -> Result<ReadLaunch, TomlError> {
        Launch::parse(
            text.as_bytes(),
            Path::new("launch.toml"),
            api.parse().unwrap(),
        )
    }

    fn process(text: &str, api: &str) -> Process {
        parse(&format!("[[processes]]\ntype = \"web\"\n{text}"), api)
            .unwrap()
            .launch
            .processes
            .remove(0)
    }

    fn check_refused(text: &str, api: &str, message: &str) {
        let error = parse(&format!("[[processes]]\ntype = \"web\"\n{text}"), api).unwrap_err();
        assert_eq!(error.to_string(), format!("`launch.toml`, {message}"));
    }

    #[test]
    fn rule_35_a_command_is_a_list_and_direct_since_0_9() {
        let new = process("command = [\"a\", \"b\"]\nargs = [\"c\"]\n", "0.9");
        assert!(new.direct);
        assert_eq!(
            (new.command, new.args),
            (vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()])
        );
        check_refused(
            "command = \"a\"\n",
            "0.10",
            "line 3, column 11: `command` must be a list of strings in Buildpack API 0.10",
        );
        check_refused(
            "command = [\"a\"]\ndirect = true\n",
            "0.9",
            "line 4, column 10: `direct` is no key of Buildpack API 0.9: every process is direct since 0.9",
        );
        check_refused(
            "command = []\n",
            "0.12",
            "line 3, column 11: the process `web` has no command",
        );
    }

    #[test]
    fn rule_35_a_command_is_a_string_and_by_default_a_shells_before_0_9() {
        let old = process("command = \"a b\"\n", "0.8");
        assert_eq!((old.command, old.direct), (vec!["a b".to_owned()], false));
        assert!(process("command = \"a\"\ndirect = true\n", "0.7").direct);
        check_refused(
            "command = [\"a\"]\n",
            "0.8",
            "line 3, column 11: `command` must be a string in Buildpack API 0.8",
        );
    }

    #[test]
    fn rule_36_a_working_directory_needs_0_8_and_one_process_is_the_default() {
        let old = parse(
            "[[processes]]\ntype = \"a\"\ncommand = \"a\"\nworking-dir = \"x\"\n",
            "0.7",
        )
        .unwrap();
        assert_eq!(
            (
                old.launch.processes[0].working_dir.as_deref(),
                old.warnings.len()
            ),
            (None, 1)
        );
        assert_eq!(
            process("command = [\"a\"]\nworking-dir = \"x\"\n", "0.9")
                .working_dir
                .as_deref(),
            Some("x")
        );
        let two = "command = [\"a\"]\ndefault = true\n[[processes]]\ntype = \"web\"\ncommand = [\"a\"]\ndefault = true\n";
        let error = parse(&format!("[[processes]]\ntype = \"web\"\n{two}"), "0.10").unwrap_err();
        assert!(error.to_string().contains("line 5"), "{error}");
    }

    #[test]
    fn rule_37_a_later_buildpack_replaces_a_type_and_may_clear_the_default() {
        let one = parse(
            "[[processes]]\ntype = \"web\"\ncommand = [\"a\"]\ndefault = true\n",
            "0.10",
        )
        .unwrap()
        .launch;
        let two = parse("[[processes]]\ntype = \"web\"\ncommand = [\"b\"]\n", "0.10")
            .unwrap()
            .launch;
        let (first, second) = ("a/one".parse().unwrap(), "a/two".parse().unwrap());
        let mut launched = Launched::default();
        assert!(launched.add(&first, one.clone()).is_empty());
        assert_eq!(launched.default, Some(ProcessType::web()));
        assert_eq!(launched.add(&second, two.clone()).len(), 1);
        assert_eq!(launched.default, None);
        let (by, process) = &launched.processes[&ProcessType::web()];
        assert_eq!((by, process.command[0].as_str()), (&second, "b"));
        assert!(launched.add(&first, one).is_empty());
        assert_eq!(launched.default, Some(ProcessType::web()));
    }

    #[test]
    fn rule_53_a_process_for_another_execution_environment_is_none_of_this_slug() {
        let process = |kind: &str, command: &str, environments: &str| {
            format!(
                "[[processes]]\ntype = \"{kind}\"\ncommand = [\"{command}\"]\nexec-env = [{environments}]\n"
            )
        };
        // lifecycle's `launch/process_test.go:273`; the same type may be there for each environment.
        let text = [
            process("web", "web-server", ""),
            process("prod-only", "prod-command", "\"production\""),
            process("test-only", "test-command", "\"test\""),
            process("multi-env", "multi-command", "\"production\", \"test\""),
            process("wildcard", "wildcard-command", "\"*\""),
            process("duplicate", "prod-version", "\"production\""),
            process("duplicate", "test-version", "\"test\""),
        ];
        let read = parse(&text.concat(), "0.12").unwrap().launch;
        let commands = |exec_env: &str| -> Vec<String> {
            let launch = read.clone().for_exec_env(&exec_env.parse().unwrap());
            let processes = launch.processes.into_iter();
            processes
                .map(|process| process.command[0].clone())
                .collect()
        };
        let test = [
            "web-server",
            "test-command",
            "multi-command",
            "wildcard-command",
            "test-version",
        ];
        assert_eq!(commands("test"), test);
        let production = [
            "web-server",
            "prod-command",
            "multi-command",
            "wildcard-command",
            "prod-version",
        ];
        assert_eq!(commands(ExecEnv::PRODUCTION), production);
        assert_eq!(commands("other"), ["web-server", "wildcard-command"]);
    }

    #[test]
    fn rule_38_the_last_label_of_a_key_wins() {
        let label = |value| {
            parse(
                &format!("[[labels]]\nkey = \"k\"\nvalue = \"{value}\"\n"),
                "0.10",
            )
            .unwrap()
            .launch
        };
        let mut launched = Launched::default();
        launched.add(&"a".parse().unwrap(), label("1"));
        launched.add(&"b".parse().unwrap(), label("2"));
        assert_eq!(launched.labels["k"], "2");
    }

    #[test]
    fn what_we_write_is_what_we_read() {
        let text = "[[processes]]\ntype = \"web\"\ncommand = [\"a\"]\ndefault = true\nworking-dir = \"x\"\n";
        let read = parse(text, "0.10").unwrap().launch;
        assert_eq!(
            parse(&toml::to_string(&read).unwrap(), "0.10")
                .unwrap()
                .launch,
            read
        );
    }
}
