//! `slug ps`, `scale`, `restart`, `stop`: what is asked of a supervisor.

use std::collections::BTreeMap;

use serde_json::json;
use slug::archive;
use slug::ident::{AppName, ProcessType, ReleaseVersion, harmless};
use slug::run::control::{ControlError, Reply, Request, ask, socket_path};
use slug::run::formation::{self, HostState, INSTANCES_MAX, StateError};
use slug::run::{registry, stop_one_off};
use slug::store::{Ledger, Store};

use super::args::{Restart, Scale, Stop};
use super::report::{Failure, exit};
use super::settings::Settings;
use super::ui::table;

pub(crate) fn ps(settings: &Settings) -> Result<u8, Failure> {
    let (store, app) = store_and_app(settings)?;
    let one_offs = registry::list(&store, &app)?;
    let processes = match request(settings, &store, &app, &Request::Ps) {
        Ok(Reply::Processes { processes }) => processes,
        Ok(other) => return Err(misunderstood(&other)),
        // What runs without a supervisor is to be seen without one.
        Err(failure) if failure.is_not_up() && !one_offs.is_empty() => Vec::new(),
        Err(failure) => return Err(failure),
    };
    let answer = json!({ "schema": 1, "app": app, "processes": processes, "one_offs": one_offs.iter().map(one_off).collect::<Vec<_>>() });
    settings.ui.answer(&answer, |_| {
        let rows = processes.iter().map(|process| {
            vec![
                process.instance.to_string(),
                process.release.to_string(),
                process.state.clone(),
                process.pid.map(pid).unwrap_or_default(),
                format!("since {}", process.since),
                if process.crashes > 0 {
                    format!("{} crashes", process.crashes)
                } else {
                    String::new()
                },
                process
                    .next
                    .map(|next| format!("next start {next}"))
                    .unwrap_or_default(),
            ]
        });
        let one_offs = one_offs.iter().map(|entry| {
            vec![
                entry.instance.to_string(),
                entry.release.to_string(),
                state(entry).to_owned(),
                entry.pid.map(pid).unwrap_or_default(),
                format!("since {}", entry.since),
                harmless(&entry.command),
            ]
        });
        table(&rows.chain(one_offs).collect::<Vec<_>>())
    })?;
    Ok(0)
}

fn pid(pid: u32) -> String {
    format!("pid {pid}")
}

fn state(entry: &registry::Entry) -> &'static str {
    if entry.pid.is_some() {
        "up"
    } else {
        "starting"
    }
}

/// As `slug ps --json` shows it: as a process of the formation, and what a one-off has beside.
fn one_off(entry: &registry::Entry) -> serde_json::Value {
    let registry::Entry {
        instance,
        release,
        command,
        by,
        detached,
        runner: _,
        pid,
        since,
    } = entry;
    json!({
        "instance": instance, "release": release, "state": state(entry), "pid": pid, "since": since,
        "command": command, "by": by, "detached": detached,
    })
}

pub(crate) fn scale(settings: &Settings, typed: &Scale) -> Result<u8, Failure> {
    let (store, app) = store_and_app(settings)?;
    let counts: BTreeMap<_, _> = typed
        .changes
        .iter()
        .map(|change| (change.process_type.clone(), change.instances))
        .collect();
    let plan = planned_formation(settings, &store, &app, &counts)?;
    if !typed.dry_run && !counts.is_empty() {
        // The new counts hold from now on; a supervisor that is up is told at once.
        HostState::change(&store, &app, |state| state.scale.extend(counts.clone()))?;
        match request(settings, &store, &app, &Request::Scale { counts }) {
            Ok(_) => {}
            Err(failure) if failure.is_not_up() => settings
                .ui
                .say("no supervisor is up: it holds from the next start"),
            Err(failure) => return Err(failure),
        }
    }
    settings.ui.answer(
        &json!({ "schema": 1, "app": app, "dry_run": typed.dry_run, "formation": plan }),
        |_| {
            table(
                &plan
                    .iter()
                    .map(|(process_type, count)| vec![process_type.to_string(), count.to_string()])
                    .collect::<Vec<_>>(),
            )
        },
    )?;
    Ok(0)
}

/// How many processes of each type there would be.
fn planned_formation(
    settings: &Settings,
    store: &Store,
    app: &AppName,
    changes: &BTreeMap<ProcessType, u32>,
) -> Result<BTreeMap<ProcessType, u32>, Failure> {
    let release = Ledger::open(store, app).current(&settings.host)?;
    let Some(slug) = release.and_then(|release| release.record.slug) else {
        return Err(
            Failure::failed(format!("{app} has no current release with a slug"))
                .hint(format!("make one: `slug release --app {app} SLUG`")),
        );
    };
    let types = formation::types(&archive::read_image(store, &slug)?).map_err(|error| {
        Failure::of(exit::REFUSED, &error).hint("correct [process] in slug.toml, and build again")
    })?;
    let mut counts: BTreeMap<_, _> = types
        .into_iter()
        .map(|(process_type, plan)| (process_type, plan.instances))
        .collect();
    for (process_type, count) in HostState::load(store, app)?.scale.iter().chain(changes) {
        match counts.get_mut(process_type) {
            Some(planned) if *count <= INSTANCES_MAX => *planned = *count,
            Some(_) => {
                return Err(Failure::usage(format!(
                    "{process_type}={count} is more than the {INSTANCES_MAX} a host may run"
                )));
            }
            None if changes.contains_key(process_type) => {
                let known: Vec<&str> = counts.keys().map(ProcessType::as_str).collect();
                return Err(
                    Failure::usage(format!("{app} has no process type `{process_type}`"))
                        .hint(format!("it has {}", known.join(", "))),
                );
            }
            // Scaled for an earlier slug that had this type.
            None => {}
        }
    }
    Ok(counts)
}

pub(crate) fn restart(settings: &Settings, typed: &Restart) -> Result<u8, Failure> {
    let (store, app) = store_and_app(settings)?;
    let which = typed.which.as_ref().map(ToString::to_string);
    request(settings, &store, &app, &Request::Restart { which }).map(|_| 0)
}

pub(crate) fn stop(settings: &Settings, typed: &Stop) -> Result<u8, Failure> {
    let (store, app) = store_and_app(settings)?;
    let Some(instance) = &typed.which else {
        return request(settings, &store, &app, &Request::Stop).map(|_| 0);
    };
    if instance.process_type != ProcessType::run() {
        let process_type = &instance.process_type;
        return Err(Failure::usage(format!(
            "only a one-off is stopped by its name, and {instance} is none"
        ))
        .unchanged("nothing was stopped")
        .hint(format!(
            "`slug restart {instance}` starts it anew; `slug scale {process_type}=N` runs fewer"
        )));
    }
    match stop_one_off(&store, &app, instance)? {
        Some(()) => Ok(0),
        None => Err(
            Failure::failed(format!("{app} has no one-off `{instance}` on this host"))
                .unchanged("nothing was stopped")
                .hint("`slug ps` lists those that run"),
        ),
    }
}

/// Waits until a supervisor that is up runs this release. Says nothing if none is up.
pub(crate) fn follow(
    settings: &Settings,
    store: &Store,
    app: &AppName,
    version: ReleaseVersion,
) -> Result<(), Failure> {
    let answer = match request(settings, store, app, &Request::Follow { version }) {
        Err(failure) if failure.is_not_up() => return Ok(()),
        answer => answer?,
    };
    match answer {
        Reply::Switched { version } => {
            settings.ui.say(&format!("{version} is up"));
            Ok(())
        }
        Reply::Superseded { by } => {
            settings.ui.say(&format!("{by} took its place"));
            Ok(())
        }
        Reply::Rejected { version, why, tail } => Err(Failure::failed(format!(
            "{version} did not become ready: {why}"
        ))
        .detail(tail)
        .unchanged("the release before it is still serving on this host")
        .hint(
            "`slug logs` has all that it said; a corrected slug or config makes the next release",
        )),
        other => Err(misunderstood(&other)),
    }
}

pub(super) fn store_and_app(settings: &Settings) -> Result<(Store, AppName), Failure> {
    let store = settings.open_store()?;
    let app = settings.app(&store)?;
    Ok((store, app))
}

pub(super) fn request(
    settings: &Settings,
    store: &Store,
    app: &AppName,
    request: &Request,
) -> Result<Reply, Failure> {
    let mut heard = |reply: &Reply| {
        if let Reply::Progress { text } = reply {
            settings.ui.say(text);
        }
    };
    match ask(&socket_path(store, app), app, request, &mut heard)? {
        Reply::Refused { why } => {
            Err(Failure::refused(why).unchanged("the processes run on as before"))
        }
        reply => Ok(reply),
    }
}

pub(super) fn misunderstood(reply: &Reply) -> Failure {
    Failure::failed(format!(
        "the supervisor gave an answer to another question: {reply:?}"
    ))
    .hint("the supervisor may be another version of slug: restart it with this one")
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Path(error) => Self::from(error),
            StateError::Bad { .. } => Self::of(exit::REFUSED, &error)
                .hint("remove the file: the formation of slug.toml then holds again"),
        }
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let failure = Self::of(exit::FAILED, &error);
        match error {
            ControlError::NotUp(app) => failure
                .not_up()
                .hint(format!("start one: `slug up --app {app}`")),
            ControlError::Broken { .. } => {
                failure.hint("only the user whose supervisor it is may talk to it, and root")
            }
            ControlError::Answer(_) => failure
                .hint("the supervisor may be another version of slug: restart it with this one"),
        }
    }
}
