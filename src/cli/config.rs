//! `slug config`: names are listed, a value is printed by `get` alone; each
//! change is a release.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::{Value, json};
use slug::archive;
use slug::grammar::env_file;
use slug::grammar::remark;
use slug::ident::{AppName, EnvKey, ReleaseVersion};
use slug::release::{self, ConfigChange, Contract, ReleaseError};
use slug::store::{CONFIG_VAR_BYTES_MAX, ConfigVars, Ledger, Secret, Store};

use super::args::{Config, ConfigCommand, ReleaseOptions};
use super::diff::config_lines;
use super::release::change;
use super::report::Failure;
use super::settings::Settings;
use super::ui::{Ui, table};

/// The largest env file that is read, in bytes.
pub(crate) const ENV_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

pub(crate) fn run(settings: &Settings, typed: &Config) -> Result<u8, Failure> {
    let store = settings.open_store()?;
    let app = settings.app(&store)?;
    match &typed.command {
        None => list(settings, &store, &app),
        Some(ConfigCommand::Get { key }) => get(settings, &store, &app, key),
        Some(ConfigCommand::Set {
            assignments,
            options,
        }) => {
            let set = assignments_of(settings, assignments)?;
            apply(
                settings,
                &store,
                &app,
                options,
                &ConfigChange {
                    set,
                    unset: Vec::new(),
                },
            )
        }
        Some(ConfigCommand::Unset { keys, options }) => {
            let (vars, _) = current(settings, &store, &app)?;
            for key in keys.iter().filter(|key| vars.get(key).is_none()) {
                settings.ui.warn(&format!("{key} is not set for {app}"));
            }
            apply(
                settings,
                &store,
                &app,
                options,
                &ConfigChange {
                    set: Vec::new(),
                    unset: keys.clone(),
                },
            )
        }
        Some(ConfigCommand::Import { file, options }) => {
            let set = import(settings, file)?;
            apply(
                settings,
                &store,
                &app,
                options,
                &ConfigChange {
                    set,
                    unset: Vec::new(),
                },
            )
        }
        Some(ConfigCommand::Diff { from, to }) => diff(settings, &store, &app, *from, *to),
    }
}

fn apply(
    settings: &Settings,
    store: &Store,
    app: &AppName,
    options: &ReleaseOptions,
    wanted: &ConfigChange,
) -> Result<u8, Failure> {
    change(settings, store, app, options, &|request| {
        release::plan_config_change(request, wanted)
    })
}

/// All that is typed after `set`. Standard input ends once: a second `KEY=-` would be empty.
fn assignments_of(settings: &Settings, typed: &[String]) -> Result<Vec<(EnvKey, Secret)>, Failure> {
    let mut parsed: Vec<(EnvKey, &str)> = Vec::new();
    for text in typed {
        let (key, value) = assignment(text)?;
        let twice = if parsed.iter().any(|(earlier, _)| *earlier == key) {
            Some(format!("{key} is given twice"))
        } else if value == "-" && parsed.iter().any(|(_, earlier)| *earlier == "-") {
            Some("only one value can come from standard input".to_owned())
        } else {
            None
        };
        if let Some(twice) = twice {
            return Err(Failure::usage(twice)
                .unchanged(UNCHANGED)
                .hint("`KEY=@FILE` reads a file, `slug config import FILE` many values at once"));
        }
        parsed.push((key, value));
    }
    parsed
        .into_iter()
        .map(|(key, value)| {
            let value = value_of(settings, &key, value)?;
            Ok((key, Secret::new(value)))
        })
        .collect()
}

/// `KEY=VALUE`, `KEY=@FILE`, `KEY=-`. No message of ours repeats what stands behind the `=`.
fn assignment(text: &str) -> Result<(EnvKey, &str), Failure> {
    let (key, value) = text.split_once('=').ok_or_else(|| {
        // A word without `=` may be a value that lost its key: it is not repeated.
        Failure::usage("a config var is set as KEY=VALUE, KEY=@FILE or KEY=- (standard input)")
            .unchanged(UNCHANGED)
    })?;
    let key = key.parse().map_err(|error: slug::ident::BadEnvKey| {
        Failure::usage(error.to_string()).unchanged(UNCHANGED)
    })?;
    Ok((key, value))
}

fn value_of(settings: &Settings, key: &EnvKey, typed: &str) -> Result<Vec<u8>, Failure> {
    match typed.strip_prefix('@') {
        Some("") => Err(Failure::usage(format!("{key}=@ names no file"))
            .unchanged(UNCHANGED)
            .hint(format!(
                "a value that begins with `@` comes from standard input: `{key}=-`"
            ))),
        Some(file) => {
            let path = settings.absolute(Path::new(file));
            read_value(open(&path)?, &format!("`{}`", path.display()))
        }
        None if typed == "-" => read_value(io::stdin().lock(), "standard input"),
        None => Ok(typed.as_bytes().to_vec()),
    }
}

const UNCHANGED: &str = "no config var was changed";

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| unreadable(&format!("`{}`", path.display()), &error))
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::failed(format!("could not read {name}: {error}"))
        .unchanged(UNCHANGED)
        .hint("name a file that can be read, or `-` for standard input")
}

/// One line end at the end is the editor's or the shell's, not the value's.
fn read_value(from: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    let limit = CONFIG_VAR_BYTES_MAX as u64 + 2;
    from.take(limit)
        .read_to_end(&mut value)
        .map_err(|error| unreadable(name, &error))?;
    if value.ends_with(b"\n") {
        value.pop();
        if value.ends_with(b"\r") {
            value.pop();
        }
    }
    Ok(value)
}

/// All that an env file sets; `-` is standard input.
pub(crate) fn import(settings: &Settings, file: &Path) -> Result<Vec<(EnvKey, Secret)>, Failure> {
    let secret = |var: env_file::Assignment| {
        let key = var.name.parse().map_err(|error: slug::ident::BadEnvKey| {
            Failure::failed(format!(
                "{}, line {}: {error}",
                name_of(settings, file),
                var.line
            ))
            .unchanged(UNCHANGED)
            .hint("give it another name, or leave it out")
        })?;
        Ok((key, Secret::new(var.value)))
    };
    let vars = read_env_file(settings, file, UNCHANGED)?;
    vars.into_iter().map(secret).collect()
}

/// A file as messages name it.
fn name_of(settings: &Settings, file: &Path) -> String {
    if file == Path::new("-") {
        "standard input".to_owned()
    } else {
        format!("`{}`", settings.absolute(file).display())
    }
}

/// What an env file sets; `-` is standard input. `unchanged` is what it means that it cannot be read.
pub(crate) fn read_env_file(
    settings: &Settings,
    file: &Path,
    unchanged: &'static str,
) -> Result<Vec<env_file::Assignment>, Failure> {
    let mut bytes = Vec::new();
    let is_stdin = file == Path::new("-");
    let path = settings.absolute(file);
    let from: Box<dyn Read> = if is_stdin {
        Box::new(io::stdin().lock())
    } else {
        Box::new(open(&path).map_err(|failure| failure.unchanged(unchanged))?)
    };
    let name = name_of(settings, file);
    from.take(ENV_FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&name, &error))?;
    if bytes.len() as u64 > ENV_FILE_BYTES_MAX {
        return Err(
            Failure::usage(format!("{name} is larger than {ENV_FILE_BYTES_MAX} bytes"))
                .unchanged(unchanged),
        );
    }
    let parsed = env_file::parse(&bytes).map_err(|problems| {
        Failure::failed(format!("{name} is not an env file"))
            .detail(remark::list(&file.display().to_string(), &problems))
            .unchanged(unchanged)
            .hint("one NAME=value a line; quote a value that holds ` #` or line ends; `slug check` checks the file")
    })?;
    for remark in &parsed.duplicates {
        settings
            .ui
            .warn(&remark.of_file(&file.display().to_string()));
    }
    Ok(parsed.vars)
}

/// The current config vars on this host, and the release that has them.
fn current(
    settings: &Settings,
    store: &Store,
    app: &AppName,
) -> Result<(ConfigVars, Option<slug::store::Release>), Failure> {
    let release = Ledger::open(store, app).current(&settings.host)?;
    let vars = match &release {
        Some(release) => store.unseal(app, &release.record.config)?,
        None => ConfigVars::new(),
    };
    Ok((vars, release))
}

fn list(settings: &Settings, store: &Store, app: &AppName) -> Result<u8, Failure> {
    let (vars, release) = current(settings, store, app)?;
    let contract = match release.as_ref().and_then(|release| release.record.slug) {
        Some(slug) => Contract::of(&slug, &archive::read_image(store, &slug)?)?,
        None => Contract::default(),
    };
    let needs: BTreeMap<_, _> = contract.iter().collect();
    let keys: std::collections::BTreeSet<&EnvKey> =
        vars.keys().chain(needs.keys().copied()).collect();
    let row = |key: &&EnvKey| {
        let (need, is_set) = (needs.get(*key), vars.get(key).is_some());
        let description = need
            .and_then(|need| need.description.clone())
            .unwrap_or_default();
        let state = match (is_set, need.is_some_and(|need| need.required)) {
            (true, _) => "set",
            (false, true) => "missing, required",
            (false, false) => "unset",
        };
        (key.to_string(), state, description)
    };
    let rows: Vec<(String, &str, String)> = keys.iter().map(row).collect();
    let objects: Vec<Value> = rows
        .iter()
        .map(|(key, state, description)| json!({ "key": key, "state": state, "description": description }))
        .collect();
    settings.ui.answer(
        &json!({ "schema": 1, "app": app, "config": objects }),
        |_| {
            let cells = rows.iter().map(|(key, state, text)| {
                vec![
                    key.clone(),
                    (*state).to_owned(),
                    text.escape_debug().to_string(),
                ]
            });
            table(&cells.collect::<Vec<_>>())
        },
    )?;
    Ok(0)
}

fn get(settings: &Settings, store: &Store, app: &AppName, key: &EnvKey) -> Result<u8, Failure> {
    let (vars, _) = current(settings, store, app)?;
    let Some(value) = vars.get(key) else {
        return Err(Failure::failed(format!("{key} is not set for {app}"))
            .hint("`slug config` lists what is"));
    };
    if settings.ui.json {
        let text = std::str::from_utf8(value.expose()).map_err(|_| {
            Failure::failed(format!(
                "the value of {key} is not UTF-8, so JSON cannot hold it"
            ))
            .hint("ask without `--json`")
        })?;
        settings
            .ui
            .answer(&json!({ "schema": 1, "key": key, "value": text }), |_| {
                String::new()
            })?;
    } else {
        Ui::result(&[value.expose(), b"\n"].concat())?;
    }
    Ok(0)
}

fn diff(
    settings: &Settings,
    store: &Store,
    app: &AppName,
    from: ReleaseVersion,
    to: ReleaseVersion,
) -> Result<u8, Failure> {
    let ledger = Ledger::open(store, app);
    let vars_of = |version| -> Result<ConfigVars, Failure> {
        Ok(store.unseal(
            app,
            &ledger
                .get(version)
                .map_err(ReleaseError::from)?
                .record
                .config,
        )?)
    };
    let changes = release::Changes::of_config(&vars_of(from)?, &vars_of(to)?);
    let object = json!({ "schema": 1, "app": app, "from": from, "to": to, "config": changes });
    settings
        .ui
        .answer(&object, |_| config_lines(&changes).join("\n"))?;
    Ok(0)
}
