//! `slug start`: the processes of a folder as it lies there, for who writes the app.

pub(crate) mod args;

use std::io;
use std::path::{Path, PathBuf};

use slug::grammar::{procfile, remark};
use slug::ident::{EnvKey, ProcessType};
use slug::logs::Pump;
use slug::run::start::{self, BadStart, ExitOn, StartError, StartOptions, Wish};
use slug::sys::fs::read_if_present;
use slug::sys::signal::{self, Signals};
use slug::sys::tree::ForkServer;

use super::config::read_env_file;
use super::report::{Failure, exit};
use super::settings::Settings;
use args::Start;

/// The longest Procfile, in bytes.
const PROCFILE_BYTES_MAX: u64 = 1024 * 1024;
/// Every type, in `--exit-on`.
const ANY: &str = "any";
/// Every type that is not listed, in `--formation`.
const ALL: &str = "all";
/// What was done when a file or a wish could not be followed.
const NOTHING: &str = "nothing was started";
/// What begins a Procfile, by a file that shows what kind of app it is.
const FIRST_LINES: [(&str, &str); 4] = [
    ("manage.py", "web: python manage.py runserver 0.0.0.0:$PORT"),
    ("app.py", "web: flask run --host 0.0.0.0 --port $PORT"),
    ("package.json", "web: npm start"),
    ("config.ru", "web: bundle exec rackup --port $PORT"),
];

pub(crate) fn run(settings: &Settings, typed: &Start) -> Result<u8, Failure> {
    let failed = |error: io::Error| Failure::failed(format!("slug could not be set up: {error}"));
    // Before any thread is started, and each: the threads inherit what is caught, and the fork server is ready sooner.
    signal::heed(libc::SIGTERM);
    let signals = Signals::catch(&start::SIGNALS).map_err(failed)?;
    let server = ForkServer::start(Path::new("/proc/self/exe")).map_err(failed)?;
    let place = Place::find(settings, typed)?;
    let (env, port) = environment(settings, typed, &place.dir)?;
    let (process_settings, warnings) = slug::build::processes_of_slug_toml(&place.dir)?;
    for warning in place.warnings.iter().chain(&warnings) {
        settings.ui.warn(warning);
    }
    let counts = typed.formation.iter();
    let (all, counts): (Vec<_>, Vec<_>) = counts
        .map(|change| (change.process_type.clone(), change.instances))
        .partition(|(process_type, _)| process_type.as_str() == ALL);
    let types = start::plan(&Wish {
        entries: place.entries,
        settings: process_settings,
        only: place.only,
        all: all.last().map(|(_, count)| *count),
        counts,
        port,
    })?;
    let exit_on = exit_on(&typed.exit_on, &types)?;
    // What other logs call the app need not be a name that a store could hold.
    let app = settings.app_of_dir(&place.dir);
    let app = app.map_or_else(|_| "slug".to_owned(), |app| app.to_string());
    let sinks = typed.logs.sinks(settings, &app)?;
    let pump = Pump::start(sinks).map_err(|error| Failure::of(exit::FAILED, &error))?;
    let code = start::start(StartOptions {
        types,
        env,
        cwd: place.dir,
        exit_on,
        server,
        signals,
        pump,
    })?;
    Ok(u8::try_from(code).unwrap_or(exit::FAILED))
}

/// What is run, and where.
struct Place {
    dir: PathBuf,
    entries: Vec<(ProcessType, String)>,
    /// Named on the command line.
    only: Vec<ProcessType>,
    warnings: Vec<String>,
}

impl Place {
    /// The first word may be a folder: it is one if it has a `/`, or if there is such a folder and no such type here.
    fn find(settings: &Settings, typed: &Start) -> Result<Self, Failure> {
        let mut words = typed.what.iter().map(String::as_str);
        let Some(first) = typed.what.first() else {
            return Self::read(settings, typed, None, &[]);
        };
        let is_path = first.contains('/') || [".", ".."].contains(&first.as_str());
        if !is_path {
            let words: Vec<&str> = words.clone().collect();
            let here = Self::read(settings, typed, None, &words);
            let is_folder = settings.absolute(Path::new(first)).is_dir();
            let has_it = here
                .as_ref()
                .is_ok_and(|place| place.entries.iter().any(|entry| entry.0.as_str() == *first));
            if has_it || !is_folder {
                return here;
            }
        }
        words.next();
        let rest: Vec<&str> = words.collect();
        Self::read(settings, typed, Some(Path::new(first)), &rest)
    }

    fn read(
        settings: &Settings,
        typed: &Start,
        dir: Option<&Path>,
        only: &[&str],
    ) -> Result<Self, Failure> {
        let named = typed.procfile.as_deref();
        let dir = match (dir, named.and_then(Path::parent)) {
            (Some(dir), _) => dir,
            (None, Some(parent)) => parent,
            (None, None) => Path::new(""),
        };
        let dir = settings.source_dir(dir)?;
        let path = named.map_or_else(|| dir.join("Procfile"), |named| settings.absolute(named));
        let bytes = read_if_present(&path, PROCFILE_BYTES_MAX)?;
        let bytes = bytes.ok_or_else(|| no_procfile(&path, &dir))?;
        let parsed = procfile::parse(&String::from_utf8_lossy(&bytes));
        let name = path.file_name().unwrap_or_default().display().to_string();
        if !parsed.problems.is_empty() {
            return Err(
                Failure::failed(format!("`{}` cannot be read", path.display()))
                    .detail(remark::list(&name, &parsed.problems))
                    .unchanged(NOTHING)
                    .hint("correct these lines; `slug check` reads the file as this does"),
            );
        }
        let bad = |error: slug::ident::BadName| {
            Failure::usage(error.to_string())
                .unchanged(NOTHING)
                .hint(format!("the types are in `{}`", path.display()))
        };
        let entries = parsed.entries.into_iter();
        let entries = entries.map(|entry| Ok((entry.name.parse()?, entry.command)));
        let only = only.iter().map(|word| word.parse());
        Ok(Self {
            entries: entries.collect::<Result<_, _>>().map_err(bad)?,
            only: only.collect::<Result<_, _>>().map_err(bad)?,
            warnings: parsed
                .warnings
                .iter()
                .map(|warning| warning.of_file(&name))
                .collect(),
            dir,
        })
    }
}

fn no_procfile(path: &Path, dir: &Path) -> Failure {
    let failure = Failure::failed(format!("there is no `{}`", path.display())).unchanged(NOTHING);
    let fits = FIRST_LINES.iter().find(|(file, _)| dir.join(file).exists());
    match fits {
        Some((file, line)) => failure.hint(format!(
            "write one: as there is `{file}`, perhaps `{line}`"
        )),
        None => failure.hint("write one: a line for each process, such as `web: COMMAND`, which finds its port in $PORT"),
    }
}

type Environment = std::collections::BTreeMap<std::ffi::OsString, std::ffi::OsString>;

/// The shell's environment, and over it the env files; and the first port.
fn environment(
    settings: &Settings,
    typed: &Start,
    dir: &Path,
) -> Result<(Environment, u16), Failure> {
    use std::os::unix::ffi::OsStringExt as _;
    let mut env = settings.env.clone();
    let own = dir.join(".env");
    let files: Vec<PathBuf> = match typed.env.as_slice() {
        [] if own.is_file() => vec![own],
        [] => Vec::new(),
        named => named.iter().map(|file| settings.absolute(file)).collect(),
    };
    for file in files {
        for var in read_env_file(settings, &file, NOTHING)? {
            // PORT is what ports are counted from; slug's other own names are refused, as `slug config import` does.
            if var.name != "PORT" {
                var.name.parse::<EnvKey>().map_err(|error| {
                    Failure::failed(format!("`{}`, line {}: {error}", file.display(), var.line))
                        .unchanged(NOTHING)
                        .hint("give it another name, or leave it out")
                })?;
            }
            env.insert(var.name.into(), std::ffi::OsString::from_vec(var.value));
        }
    }
    let port = match (typed.port, env.get(std::ffi::OsStr::new("PORT"))) {
        (Some(port), _) => port,
        (None, None) => start::PORT,
        (None, Some(text)) => {
            let parsed = text.to_str().and_then(|text| text.parse().ok());
            parsed.filter(|port| *port > 0).ok_or_else(|| {
                Failure::usage("PORT, of the env file or of your shell, is no port")
                    .unchanged(NOTHING)
                    .hint("it is a number from 1 to 65535; `--port` wins over it")
            })?
        }
    };
    Ok((env, port))
}

fn exit_on(names: &[String], types: &[start::StartType]) -> Result<ExitOn, Failure> {
    if names.iter().any(|name| name == ANY) {
        return Ok(ExitOn::Any);
    }
    let mut wanted = Vec::new();
    for name in names {
        let of = types.iter().find(|of| of.process_type.as_str() == name);
        let of = of.ok_or_else(|| {
            let has: Vec<&str> = types.iter().map(|of| of.process_type.as_str()).collect();
            Failure::usage(format!("`--exit-on {name}`: no such type is started"))
                .unchanged(NOTHING)
                .hint(format!(
                    "there is {}; `any` is each of them",
                    has.join(", ")
                ))
        })?;
        wanted.push(of.process_type.clone());
    }
    Ok(if wanted.is_empty() {
        ExitOn::Nobody
    } else {
        ExitOn::Types(wanted)
    })
}

impl From<BadStart> for Failure {
    fn from(error: BadStart) -> Self {
        let failure = Self::of(exit::USAGE, &error).unchanged(NOTHING);
        match error {
            BadStart::NoType { has, .. } => {
                let names: Vec<&str> = has.iter().map(ProcessType::as_str).collect();
                failure.hint(format!("it has {}", names.join(", ")))
            }
            BadStart::Release => {
                failure.hint("to run it once by hand, copy its command into the shell")
            }
            BadStart::NotMeant(process_type) => failure.hint(format!(
                "name `{process_type}` too, or leave its number out"
            )),
            BadStart::TooMany { .. } => {
                failure.hint("the ports of one more would be those of the next type")
            }
            BadStart::Ports(_) => failure.hint("begin lower: `--port 5000`"),
            BadStart::Nothing => {
                failure.hint("the Procfile has no process but `release`, or each has the number 0")
            }
            BadStart::Formation(_) => failure.hint("correct [process] in slug.toml"),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::of(exit::FAILED, &error).hint("every process that was running has been ended")
    }
}
