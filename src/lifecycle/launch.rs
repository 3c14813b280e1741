//! `launcher`: starts a process of an image, or a user's command in its
//! environment (rules 51-59). On the path of every start: it reads what it
//! needs, and becomes the process.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::Call;
use super::console::Console;
use super::failed::{ARGUMENTS, FAILED, Failed, LAUNCH, not_there, unreadable};
use super::metadata::{MetadataProcess, MetadataToml};
use super::platform_api::PlatformApi;
use crate::buildpack::command::{UserArguments, words};
use crate::buildpack::{Api, ExecEnv, exec_d, shell};
use crate::ident::ProcessType;
use crate::layer::env::apply_at_launch;
use crate::layer::{Env, LayerEnv, toml_file};
use crate::sys::At as _;
use crate::sys::sandbox::Program;
use crate::sys::{PathError, exec};

/// What a process is not told (rule 54).
const HIDDEN: [&str; 5] = [
    "CNB_LAYERS_DIR",
    "CNB_APP_DIR",
    "CNB_PROCESS_TYPE",
    "CNB_PLATFORM_API",
    "CNB_DEPRECATION_MODE",
];
/// What no process finds on its `PATH` (rule 54).
const NOT_ON_PATH: [&[u8]; 2] = [b"/cnb/process", b"/cnb/lifecycle"];

/// What is to be started.
struct Chosen {
    /// None for a user's command.
    process_type: Option<ProcessType>,
    words: Vec<OsString>,
    direct: bool,
    working_dir: Option<String>,
}

/// What it is started with.
struct Launcher<'a> {
    argv0: &'a OsStr,
    call: &'a Call,
    app: PathBuf,
    layers: PathBuf,
    api: PlatformApi,
    metadata: MetadataToml,
}

/// Is `argv0` the name of a process type of the image that we are in?
pub fn is_process_type(argv0: &OsStr, env: &Env) -> bool {
    let layers = folder(env, "CNB_LAYERS_DIR", "/layers");
    let metadata = toml_file::read_following(&MetadataToml::path(&layers));
    metadata.is_ok_and(|metadata: Option<MetadataToml>| {
        metadata.is_some_and(|metadata| is_a_type(&metadata, argv0))
    })
}

fn is_a_type(metadata: &MetadataToml, argv0: &OsStr) -> bool {
    let name = Path::new(argv0).file_name().unwrap_or_default();
    let mut processes = metadata.processes.iter();
    processes.any(|process| OsStr::new(&process.process_type) == name)
}

/// Becomes the process that `argv0` or the arguments say. Returns only if it could not: lifecycle's exit code.
pub fn launch(argv0: &OsStr, call: &Call, out: &mut dyn Write) -> u8 {
    let mut console = Console::new(out);
    let failed = Launcher::read(argv0, call, &mut console).and_then(|launcher| {
        let never = launcher.launch(&mut console)?;
        match never {}
    });
    console.answer(failed)
}

fn folder(env: &Env, variable: &str, default: &str) -> PathBuf {
    let folder = env
        .get(OsStr::new(variable))
        .filter(|folder| !folder.is_empty());
    folder.map_or_else(|| default.into(), PathBuf::from)
}

fn wrong<'a>(why: impl Into<Box<dyn Error + 'a>>) -> Failed {
    Failed::new(LAUNCH, "launch", why)
}

impl<'a> Launcher<'a> {
    fn read(argv0: &'a OsStr, call: &'a Call, console: &mut Console<'_>) -> Result<Self, Failed> {
        let api = PlatformApi::of(&call.env)?;
        let layers = call
            .cwd
            .join(folder(&call.env, "CNB_LAYERS_DIR", "/layers"));
        let path = MetadataToml::path(&layers);
        let unread = |why: String| Failed::new(FAILED, "read metadata", why);
        let metadata: MetadataToml = toml_file::read_following(&path)
            .map_err(|error| unread(unreadable(&error)))?
            .ok_or_else(|| unread(not_there(&path)))?;
        for member in &metadata.buildpacks {
            let parsed = member.api.parse::<Api>();
            parsed.map_err(|error| Failed::buildpack_api(member.id.as_str(), &error))?;
        }
        if let Some(wanted) = call.env.get(OsStr::new("CNB_PROCESS_TYPE")) {
            let wanted = wanted.to_string_lossy();
            let given = call.env.get(OsStr::new("CNB_PLATFORM_API"));
            let given = given.map(|text| text.to_string_lossy()).unwrap_or_default();
            console.warn(&format!(
                "CNB_PROCESS_TYPE is not supported in Platform API {given}"
            ));
            console.warn(&format!(
                "Run with ENTRYPOINT '{wanted}' to invoke the '{wanted}' process type"
            ));
        }
        Ok(Self {
            argv0,
            call,
            app: call
                .cwd
                .join(folder(&call.env, "CNB_APP_DIR", "/workspace")),
            layers,
            api,
            metadata,
        })
    }

    fn launch(&self, console: &mut Console<'_>) -> Result<std::convert::Infallible, Failed> {
        let chosen = self.choose()?;
        let layers = self.layers().map_err(wrong)?;
        std::env::set_current_dir(&self.app)
            .at("enter the folder", &self.app)
            .map_err(|error| wrong(format!("change to app directory: {error}")))?;
        let mut program = Program {
            argv: Vec::new(),
            env: self.env(),
            cwd: self.app.clone(),
        };
        let process_type = chosen.process_type.as_ref();
        let read = layers
            .iter()
            .map(|layers| layers.iter().map(|(_, env)| env));
        apply_at_launch(
            read.map(Iterator::collect::<Vec<_>>),
            process_type,
            &mut program.env,
        );
        console.flush();
        for (layer, _) in layers.iter().flatten() {
            let programs = exec_d::programs(layer, layer, process_type).map_err(wrong)?;
            exec_d::apply(&programs, &self.app, &mut program).map_err(wrong)?;
        }
        let error = if chosen.direct {
            self.start(&chosen, &program)?
        } else {
            self.start_in_bash(&chosen, &program, &layers)?
        };
        Err(wrong(error))
    }

    /// Rules 51 and 53.
    fn choose(&self) -> Result<Chosen, Failed> {
        if is_a_type(&self.metadata, self.argv0) {
            return self.process();
        }
        let determine = |why: &str| wrong(format!("determine start command: {why}"));
        match self.call.arguments.as_slice() {
            [] => Err(determine(
                "when there is no default process a command is required",
            )),
            [dashes, command @ ..] if dashes == "--" && !command.is_empty() => {
                Ok(Chosen::of_user(command, true))
            }
            command => Ok(Chosen::of_user(command, false)),
        }
    }

    /// The first process of the type that is for this execution environment, with a user's arguments (rule 52).
    fn process(&self) -> Result<Chosen, Failed> {
        let name = Path::new(self.argv0).file_name().unwrap_or_default();
        let determine = |why: String| wrong(format!("determine start command: {why}"));
        let exec_env = self.exec_env()?;
        let is_it = |process: &&MetadataProcess| {
            OsStr::new(&process.process_type) == name
                && (!self.api.has_exec_env() || process.is_for(&exec_env))
        };
        let found = self.metadata.processes.iter().find(is_it).ok_or_else(|| {
            let name = name.to_string_lossy();
            determine(format!(
                "process type {name} was not found (CNB_EXEC_ENV is {exec_env})"
            ))
        })?;
        let how = self.user_arguments(found).map_err(determine)?;
        let command = found.command.as_slice();
        let process_type = found.process_type.parse().map_err(wrong)?;
        Ok(Chosen {
            process_type: Some(process_type),
            words: words(command, &found.args, &self.call.arguments, how),
            direct: found.direct,
            working_dir: found.working_dir.clone(),
        })
    }

    fn exec_env(&self) -> Result<ExecEnv, Failed> {
        let name = self.call.env.get(OsStr::new("CNB_EXEC_ENV"));
        let name = name.filter(|name| !name.is_empty());
        name.map_or_else(
            || Ok(ExecEnv::default()),
            |name| {
                let parsed = name.to_string_lossy().parse();
                parsed.map_err(|error| Failed::new(ARGUMENTS, "read CNB_EXEC_ENV", error))
            },
        )
    }

    fn user_arguments(&self, process: &MetadataProcess) -> Result<UserArguments, String> {
        if !self.api.has_overridable_arguments() {
            return Ok(UserArguments::Append);
        }
        // Only a buildpack of 0.9 or later writes a command of several words.
        if process.command.as_slice().len() > 1 || self.call.arguments.is_empty() {
            return Ok(UserArguments::Replace);
        }
        let mut buildpacks = self.metadata.buildpacks.iter();
        let by = buildpacks.find(|member| member.id.as_str() == process.buildpack);
        let api = by.and_then(|member| member.api.parse::<Api>().ok());
        match api {
            Some(api) if api.has_command_lists() => Ok(UserArguments::Replace),
            Some(_) => Ok(UserArguments::Append),
            None => Err(format!(
                "failed to find buildpack for process {} with buildpack ID {}",
                process.process_type, process.buildpack
            )),
        }
    }

    /// The layers of each buildpack, by their names, and what they do to the environment.
    fn layers(&self) -> Result<Vec<Vec<(PathBuf, LayerEnv)>>, PathError> {
        let mut all = Vec::new();
        for member in &self.metadata.buildpacks {
            let mut layers = Vec::new();
            for layer in folders(&self.layers.join(member.id.folder()))? {
                let env = LayerEnv::read(&layer, &layer)?;
                layers.push((layer, env));
            }
            all.push(layers);
        }
        Ok(all)
    }

    /// Rule 54.
    fn env(&self) -> Env {
        let is_hidden = |name: &OsStr| HIDDEN.iter().any(|hidden| OsStr::new(hidden) == name);
        let shown = self.call.env.iter().filter(|(name, _)| !is_hidden(name));
        let mut env: Env = shown
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if let Some(path) = env.get_mut(OsStr::new("PATH")) {
            let parts = path.as_bytes().split(|byte| *byte == b':');
            let kept: Vec<&[u8]> = parts.filter(|part| !NOT_ON_PATH.contains(part)).collect();
            *path = OsString::from_vec(kept.join(&b':'));
        }
        env
    }

    /// Rule 59: looked for on the new `PATH` from the app's folder, started in its own. Gives why it could not be.
    fn start(&self, chosen: &Chosen, program: &Program) -> Result<String, Failed> {
        let Some(name) = chosen.words.first().filter(|name| !name.is_empty()) else {
            let of = chosen.process_type.as_ref().map_or("", ProcessType::as_str);
            return Err(wrong(format!(
                "no command provided for process type \"{of}\""
            )));
        };
        let Some(found) = self.look_up(name, program.env.get(OsStr::new("PATH"))) else {
            let name = name.to_string_lossy();
            return Err(wrong(format!(
                "path lookup: \"{name}\": executable file not found in $PATH"
            )));
        };
        let folder = self.working_dir(chosen);
        std::env::set_current_dir(&folder)
            .at("enter the folder", &folder)
            .map_err(|error| wrong(format!("change directory: {error}")))?;
        let error = exec::replace(&found, &chosen.words, &program.env);
        Ok(format!("direct exec: {}: {error}", found.display()))
    }

    /// A name with a slash is a path below the app's folder; any other is looked for in each folder of `PATH`.
    fn look_up(&self, name: &OsStr, path: Option<&OsString>) -> Option<PathBuf> {
        let is_program = |path: &PathBuf| {
            path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
        };
        if name.as_bytes().contains(&b'/') {
            return Some(self.app.join(name)).filter(is_program);
        }
        let folders = path?.as_bytes().split(|byte| *byte == b':');
        let mut found = folders.map(|folder| self.app.join(OsStr::from_bytes(folder)).join(name));
        found.find(is_program)
    }

    /// Rules 57 and 58. Gives why it could not be started.
    fn start_in_bash(
        &self,
        chosen: &Chosen,
        program: &Program,
        layers: &[Vec<(PathBuf, LayerEnv)>],
    ) -> Result<String, Failed> {
        let mut profiles = Vec::new();
        for (layer, _) in layers.iter().flatten() {
            let found = shell::profiles(layer, layer, chosen.process_type.as_ref());
            profiles.extend(found.map_err(wrong)?);
        }
        let folder = self.working_dir(chosen);
        let mut argv = shell::in_bash(self.argv0, &profiles, &folder, &chosen.words);
        let bash = std::mem::replace(&mut argv[0], "bash".into());
        let error = exec::replace(Path::new(&bash), &argv, &program.env);
        Ok(format!("bash exec: {error}"))
    }

    fn working_dir(&self, chosen: &Chosen) -> PathBuf {
        // `join` with an absolute path is that path.
        let own = chosen
            .working_dir
            .as_deref()
            .filter(|folder| !folder.is_empty());
        own.map_or_else(|| self.app.clone(), |folder| self.app.join(folder))
    }
}

impl Chosen {
    fn of_user(command: &[OsString], direct: bool) -> Self {
        Self {
            process_type: None,
            words: command.to_vec(),
            direct,
            working_dir: None,
        }
    }
}

/// The folders in a folder, by their names; none if it is not there.
fn folders(folder: &Path) -> Result<Vec<PathBuf>, PathError> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).at("read", folder)? {
        let entry = entry.at("read", folder)?;
        if entry.file_type().at("look at", &entry.path())?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
