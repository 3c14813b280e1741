//! What a built-in buildpack implements, and what it is given: the folders,
//! the environment and the exit codes of Buildpack API 0.10, as a stranger's
//! `bin/detect` and `bin/build` get them, and nothing more.
//!
//! What `slug` adds to the contract (artifacts, host programs, the words of
//! `slug plan`) goes through the build plan and `/platform`, so a stranger can
//! use it too, and a platform that knows none of it still runs a built-in.

mod artifacts;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;

use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use crate::sys::fetch::Artifact;
pub use crate::sys::fetch::Source;
pub use crate::sys::fs::At;

use crate::sys::PathError;
use crate::sys::fs::read_if_present;

/// The largest file of the contract or of an app that a built-in reads whole.
pub const TEXT_BYTES_MAX: u64 = 64 << 20;
/// `bin/detect` says that the app is not for this buildpack.
const EXIT_DETECT_FAIL: u8 = 100;

/// A buildpack that is part of `slug`.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// As in its descriptor.
    pub id: &'static str,
    /// Its `buildpack.toml`.
    pub descriptor: &'static str,
    /// Its `bin/detect`: reads the app, writes nothing.
    pub detect: fn(&DetectContext) -> Result<Detected, Failure>,
    /// Its `bin/build`.
    pub build: fn(&BuildContext) -> Result<(), Failure>,
}

impl BuiltIn {
    /// The name that it provides and requires in the build plan: the last part of its id.
    pub fn name(&self) -> &'static str {
        self.id.rsplit_once('/').map_or(self.id, |(_, name)| name)
    }
}

/// What the slug will run on (`CNB_TARGET_*`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildTarget {
    /// As Go names it: `amd64`, `arm64`.
    pub arch: String,
    /// `debian`; empty if the platform does not tell.
    pub distro_name: String,
    /// `12`; empty if the platform does not tell.
    pub distro_version: String,
}

/// What `bin/detect` is given.
#[derive(Debug)]
pub struct DetectContext {
    /// The app's folder.
    pub app: PathBuf,
    /// `/platform`.
    pub platform: PathBuf,
    /// What the slug will run on.
    pub target: BuildTarget,
    /// The environment, as the contract sets it.
    pub env: BTreeMap<OsString, OsString>,
}

/// What `bin/build` is given.
#[derive(Debug)]
pub struct BuildContext {
    /// The app's folder, writable.
    pub app: PathBuf,
    /// The buildpack's own layers.
    pub layers: PathBuf,
    /// `/platform`.
    pub platform: PathBuf,
    /// What the slug will run on.
    pub target: BuildTarget,
    /// The environment, as the contract sets it.
    pub env: BTreeMap<OsString, OsString>,
    /// What the buildpack's own `bin/detect` wrote.
    pub plan: PlanMetadata,
}

/// What `bin/detect` answers.
#[derive(Debug)]
pub enum Detected {
    /// Exit 100: not for this buildpack.
    No,
    /// Exit 0, with this as the metadata of the buildpack's one provided and required name.
    Yes(Box<PlanMetadata>),
}

/// The `metadata` of the require that a built-in writes into its build plan:
/// what the platform reads of it (`slug plan`, artifacts), and `resolved`, which is the buildpack's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanMetadata {
    /// What the user should know. The platform says it, so `bin/build` does not.
    pub warnings: Vec<String>,
    /// Why the build will end at once, in full; empty if it will not.
    pub problems: Vec<String>,
    /// What was decided, and where it says so.
    pub evidence: Vec<Evidence>,
    /// What the platform fetches before `bin/build`.
    pub artifacts: Vec<Artifact>,
    /// The buildpack's own notes for its `bin/build`.
    pub resolved: toml::Table,
}

/// A decision and its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What: `Python 3.12.14`.
    pub what: String,
    /// The app's file that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its line, from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

/// Why a built-in gives up: printed on stderr, exit code 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

impl From<PathError> for Failure {
    fn from(error: PathError) -> Self {
        Self(format!("{error}: {}", error.source))
    }
}

/// The types of a layer (Buildpack API 0.10, `[types]` of `<layer>.toml`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerTypes {
    /// Later buildpacks see it.
    pub build: bool,
    /// Part of the slug.
    pub launch: bool,
    /// There again at the next build.
    pub cache: bool,
}

/// A process type in `launch.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuthoredProcess {
    /// `web`.
    #[serde(rename = "type")]
    pub process_type: String,
    /// The program and the arguments that a user cannot replace.
    pub command: Vec<String>,
    /// What `slug run` starts if nothing is named.
    pub default: bool,
}

/// A label of the slug.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuthoredLabel {
    /// `slug.runtime.python`.
    pub key: String,
    /// For people.
    pub value: String,
}

/// `launch.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuthoredLaunch {
    /// What the slug says of itself.
    pub labels: Vec<AuthoredLabel>,
    /// Its process types.
    pub processes: Vec<AuthoredProcess>,
}

/// One folder of `/layers/<buildpack>`, and the file beside it.
#[derive(Clone, Debug)]
pub struct AuthoredLayer {
    /// The folder.
    pub dir: PathBuf,
    descriptor: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct LayerFile<M> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    types: Option<LayerTypes>,
    metadata: M,
}

impl AuthoredLayer {
    /// What the last good build noted of this layer; none if the layer or its note is gone or of another form.
    pub fn cached<M: DeserializeOwned>(&self) -> Option<M> {
        if !self.dir.is_dir() {
            return None;
        }
        let text = fs::read_to_string(&self.descriptor).ok()?;
        toml::from_str::<LayerFile<M>>(&text)
            .ok()
            .map(|file| file.metadata)
    }

    /// Empties the folder, making it if it is not there.
    pub fn renew(&self) -> Result<(), PathError> {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).at("empty", &self.dir);
            }
            _ => {}
        }
        fs::create_dir_all(&self.dir).at("create the folder", &self.dir)
    }

    /// Writes the types and what the next build shall know.
    pub fn describe<M: Serialize>(&self, types: LayerTypes, metadata: M) -> Result<(), Failure> {
        write_toml(
            &self.descriptor,
            &LayerFile {
                types: Some(types),
                metadata,
            },
        )
    }

    /// Writes one file of the layer's environment: `env.launch`, `LANG.default`, `C.UTF-8`.
    pub fn set_env(&self, folder: &str, file: &str, value: &str) -> Result<(), PathError> {
        let folder = self.dir.join(folder);
        fs::create_dir_all(&folder).at("create the folder", &folder)?;
        write(&folder.join(file), value.as_bytes())
    }
}

impl DetectContext {
    /// The text of a file of the app; `None` if there is none. Bytes that are not UTF-8 become `�`.
    pub fn read(&self, name: &str) -> Result<Option<String>, Failure> {
        Ok(read_text(&self.app.join(name))?)
    }

    /// The prefixes of the host's own interpreters that the platform shows: `/platform/host/0`,
    /// `/platform/host/1`, … in the order of their numbers.
    pub fn host_prefixes(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.platform.join("host"))
            .into_iter()
            .flatten()
            .flatten();
        let mut numbered: Vec<(u32, PathBuf)> = entries
            .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
            .collect();
        numbered.sort();
        numbered.into_iter().map(|(_, path)| path).collect()
    }
}

impl BuildContext {
    /// A line of the build's log.
    pub fn say(&self, line: &str) {
        say(line);
    }

    /// One of the buildpack's layers.
    pub fn layer(&self, name: &str) -> AuthoredLayer {
        AuthoredLayer {
            dir: self.layers.join(name),
            descriptor: self.layers.join(format!("{name}.toml")),
        }
    }

    /// The file of the artifact that the platform has fetched, or where it fetches none, this buildpack; and the
    /// source that it is of.
    pub fn artifact<'a>(&self, artifact: &'a Artifact) -> Option<(PathBuf, &'a Source)> {
        let folders = [
            self.platform.join("artifacts"),
            self.layers.join(artifacts::LAYER),
        ];
        let files = artifact.sources.iter().flat_map(|source| {
            let name = source.sha256.hex();
            folders
                .iter()
                .map(move |folder| (folder.join(&name), source))
        });
        files.into_iter().find(|(path, _)| path.is_file())
    }

    /// A variable of the environment, if it is set and UTF-8.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env
            .get(OsStr::new(name))
            .and_then(|value| value.to_str())
    }

    /// Writes `launch.toml`.
    pub fn launch(&self, launch: &AuthoredLaunch) -> Result<(), Failure> {
        write_toml(&self.layers.join("launch.toml"), launch)
    }

    /// Runs a program with the environment of `command` alone, its output indented in the log.
    pub fn run(&self, doing: &str, command: &mut Command) -> Result<(), Failure> {
        self.run_with_input(doing, command, b"")
    }

    /// As `run`, with these bytes on the program's stdin.
    pub fn run_with_input(
        &self,
        doing: &str,
        command: &mut Command,
        input: &[u8],
    ) -> Result<(), Failure> {
        let ended = run_showing(doing, command, input)?;
        if ended.success() {
            Ok(())
        } else {
            Err(Failure(format!(
                "{doing} failed ({ended}); its output is above"
            )))
        }
    }

    /// Runs a program quietly: how it ended, its stdout and its stderr.
    pub fn output(
        &self,
        doing: &str,
        command: &mut Command,
    ) -> Result<std::process::Output, Failure> {
        command
            .stdin(Stdio::null())
            .output()
            .map_err(|error| not_started(doing, command, &error))
    }
}

fn run_showing(
    doing: &str,
    command: &mut Command,
    input: &[u8],
) -> Result<std::process::ExitStatus, Failure> {
    let pipes =
        std::io::pipe().and_then(|(reader, writer)| Ok((reader, writer.try_clone()?, writer)));
    let (reader, stdout, stderr) = pipes.map_err(|error| not_started(doing, command, &error))?;
    let spawned = command
        .stdin(Stdio::piped())
        .stdout(stdout)
        .stderr(stderr)
        .spawn();
    let mut child = spawned.map_err(|error| not_started(doing, command, &error))?;
    // The command still holds the writing ends: the reader below would never see the end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let stdin = child.stdin.take();
    std::thread::scope(|scope| {
        // A program that reads none of it ends early, and its exit tells.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        show(BufReader::new(reader));
    });
    child
        .wait()
        .map_err(|error| not_started(doing, command, &error))
}

/// Indents the lines into the log, as they come.
fn show(lines: impl BufRead) {
    for line in lines.split(b'\n').map_while(Result::ok) {
        say(&format!("    {}", String::from_utf8_lossy(&line)));
    }
}

fn not_started(doing: &str, command: &Command, error: &std::io::Error) -> Failure {
    Failure(format!(
        "{doing}: could not run `{}`: {error}",
        command.get_program().display()
    ))
}

/// Writes a file of a layer or of the app. Not atomic: a failed build's layers are thrown away whole.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), PathError> {
    fs::File::create(path)
        .and_then(|mut file| file.write_all(bytes))
        .at("write", path)
}

/// The text of a file; `None` if there is none. Bytes that are not UTF-8 become `�`.
pub fn read_text(path: &Path) -> Result<Option<String>, PathError> {
    let bytes = read_if_present(path, TEXT_BYTES_MAX)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn write_toml<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let text = toml::to_string(value)
        .map_err(|error| Failure(format!("could not write `{}`: {error}", path.display())))?;
    Ok(write(path, text.as_bytes())?)
}

fn say(line: &str) {
    // A reader that went away is not the build's failure.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Runs the built-in of which `argv0` is the `bin/detect` or `bin/build`: the folder above `bin` has its `buildpack.toml`.
/// The environment and the working folder (the app) are the process's own.
pub fn main(argv0: &OsStr, args: &[OsString], built_ins: &[BuiltIn]) -> ExitCode {
    match dispatch(Path::new(argv0), args, built_ins) {
        Ok(code) => code,
        Err(Failure(why)) => {
            let _ = writeln!(std::io::stderr(), "{why}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(argv0: &Path, args: &[OsString], built_ins: &[BuiltIn]) -> Result<ExitCode, Failure> {
    let built_in = which(argv0, built_ins)?;
    // Modes are part of a layer's bytes: nobody's umask decides them.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    #[expect(
        clippy::disallowed_methods,
        reason = "a buildpack's program is a process of its own: its environment is its input"
    )]
    let env: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    let app = working_folder()?;
    let target = target(&env);
    let phase = argv0
        .file_name()
        .and_then(OsStr::to_str)
        .unwrap_or_default();
    match (phase, args) {
        ("detect", [platform, plan]) => {
            let context = DetectContext {
                app,
                platform: platform.into(),
                target,
                env,
            };
            detect(&built_in, &context, Path::new(plan))
        }
        ("build", [layers, platform, plan]) => {
            let plan = read_plan(&built_in, Path::new(plan))?;
            let context = BuildContext {
                app,
                layers: layers.into(),
                platform: platform.into(),
                target,
                env,
                plan,
            };
            build(&built_in, &context)
        }
        _ => Err(Failure(format!(
            "usage: {id}: bin/detect <platform> <plan>, or bin/build <layers> <platform> <plan>",
            id = built_in.id
        ))),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the contract: the app is the working folder of bin/detect and bin/build"
)]
fn working_folder() -> Result<PathBuf, Failure> {
    std::env::current_dir()
        .map_err(|error| Failure(format!("the app's folder cannot be entered: {error}")))
}

fn which(argv0: &Path, built_ins: &[BuiltIn]) -> Result<BuiltIn, Failure> {
    #[derive(Deserialize)]
    struct Descriptor {
        buildpack: Named,
    }
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let folder = argv0
        .parent()
        .and_then(Path::parent)
        .unwrap_or(Path::new("."));
    let path = folder.join("buildpack.toml");
    let text = fs::read_to_string(&path).at("read", &path)?;
    let descriptor: Descriptor =
        toml::from_str(&text).map_err(|error| Failure(format!("`{}`: {error}", path.display())))?;
    let id = descriptor.buildpack.id;
    let found = built_ins.iter().find(|built_in| built_in.id == id).copied();
    found.ok_or_else(|| {
        Failure(format!(
            "`{}`: `{id}` is not a built-in buildpack",
            path.display()
        ))
    })
}

fn target(env: &BTreeMap<OsString, OsString>) -> BuildTarget {
    let text = |name: &str| {
        env.get(OsStr::new(name))
            .map(|value| value.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    BuildTarget {
        arch: text("CNB_TARGET_ARCH"),
        distro_name: text("CNB_TARGET_DISTRO_NAME"),
        distro_version: text("CNB_TARGET_DISTRO_VERSION"),
    }
}

fn detect(built_in: &BuiltIn, context: &DetectContext, plan: &Path) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Plan<'a> {
        provides: [Provide; 1],
        requires: [Require<'a>; 1],
    }
    #[derive(Serialize)]
    struct Provide {
        name: &'static str,
    }
    #[derive(Serialize)]
    struct Require<'a> {
        name: &'static str,
        metadata: &'a PlanMetadata,
    }
    let name = built_in.name();
    match (built_in.detect)(context)? {
        Detected::No => Ok(ExitCode::from(EXIT_DETECT_FAIL)),
        Detected::Yes(metadata) => {
            // `slug` says them itself; any other platform shows what detect says.
            for warning in &metadata.warnings {
                say(&format!("warning: {warning}"));
            }
            let requires = [Require {
                name,
                metadata: &metadata,
            }];
            write_toml(
                plan,
                &Plan {
                    provides: [Provide { name }],
                    requires,
                },
            )?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What the buildpack itself required; a require of another buildpack has no `resolved`.
fn read_plan(built_in: &BuiltIn, path: &Path) -> Result<PlanMetadata, Failure> {
    #[derive(Deserialize)]
    struct BuildpackPlan {
        #[serde(default)]
        entries: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        name: String,
        #[serde(default)]
        metadata: toml::Table,
    }
    let bad = |why: String| Failure(format!("`{}`: {why}", path.display()));
    let text = fs::read_to_string(path).at("read", path)?;
    let plan: BuildpackPlan = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
    let own =
        |entry: &&Entry| entry.name == built_in.name() && entry.metadata.contains_key("resolved");
    let entry = plan
        .entries
        .iter()
        .find(own)
        .ok_or_else(|| bad(format!("no entry of {}'s own detect", built_in.id)))?;
    entry
        .metadata
        .clone()
        .try_into()
        .map_err(|error| bad(error.to_string()))
}

fn build(built_in: &BuiltIn, context: &BuildContext) -> Result<ExitCode, Failure> {
    for evidence in &context.plan.evidence {
        say(&format!("{evidence}"));
    }
    if !context.plan.problems.is_empty() {
        return Err(Failure(context.plan.problems.join("\n\n")));
    }
    artifacts::provide(context)?;
    (built_in.build)(context).map(|()| ExitCode::SUCCESS)
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{} ({file}:{line})", self.what),
            (Some(file), None) => write!(f, "{} ({file})", self.what),
            (None, _) => f.write_str(&self.what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in() -> BuiltIn {
        #[expect(clippy::unnecessary_wraps, reason = "the signature of a built-in")]
        fn detect(context: &DetectContext) -> Result<Detected, Failure> {
            let resolved = toml::Table::from_iter([(
                "app".to_owned(),
                context.app.display().to_string().into(),
            )]);
            Ok(Detected::Yes(Box::new(PlanMetadata {
                resolved,
                ..PlanMetadata::default()
            })))
        }
        #[expect(clippy::unnecessary_wraps, reason = "the signature of a built-in")]
        fn build(_: &BuildContext) -> Result<(), Failure> {
            Ok(())
        }
        BuiltIn {
            id: "slug/sample",
            descriptor: "",
            detect,
            build,
        }
    }

    #[test]
    fn what_detect_writes_is_what_build_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.toml");
        let context = DetectContext {
            app: "/workspace".into(),
            platform: "/platform".into(),
            target: BuildTarget::default(),
            env: BTreeMap::new(),
        };
        detect(&built_in(), &context, &path).unwrap();
        let entries = fs::read_to_string(&path)
            .unwrap()
            .replace("[[requires]]", "[[entries]]");
        write(&path, entries.replace("requires.", "entries.").as_bytes()).unwrap();
        let plan = read_plan(&built_in(), &path).unwrap();
        assert_eq!(plan.resolved["app"].as_str(), Some("/workspace"));
    }

    #[test]
    fn a_program_reads_its_input_and_its_failure_is_an_error() {
        let context = BuildContext {
            app: "/".into(),
            layers: "/".into(),
            platform: "/".into(),
            target: BuildTarget::default(),
            env: BTreeMap::new(),
            plan: PlanMetadata::default(),
        };
        let run = |script: &str, input: &[u8]| {
            context
                .run_with_input(
                    "the check",
                    Command::new("/bin/sh").args(["-c", script]),
                    input,
                )
                .map_err(|error| error.0)
        };
        assert_eq!(run("test \"$(cat)\" = hello", b"hello"), Ok(()));
        // Nobody reads more than a pipe holds: it must not wait.
        assert_eq!(
            run("exit 3", &vec![0; 1 << 20]).unwrap_err(),
            "the check failed (exit status: 3); its output is above"
        );
    }

    #[test]
    fn a_layer_whose_note_is_of_another_form_is_not_cached() {
        let folder = tempfile::tempdir().unwrap();
        let layer = AuthoredLayer {
            dir: folder.path().join("a"),
            descriptor: folder.path().join("a.toml"),
        };
        let note = BTreeMap::from([("version", "1")]);
        layer
            .describe(
                LayerTypes {
                    cache: true,
                    ..LayerTypes::default()
                },
                &note,
            )
            .unwrap();
        assert_eq!(
            layer.cached::<BTreeMap<String, String>>(),
            None,
            "there is no folder"
        );
        layer.renew().unwrap();
        assert_eq!(
            layer.cached::<BTreeMap<String, String>>().unwrap()["version"],
            "1"
        );
        assert_eq!(layer.cached::<BTreeMap<String, u32>>(), None);
    }
}
