//! `slug release`, `slug rollback`, and what every change of the ledger shares:
//! plan, say, apply, follow.

use serde::Serialize;
use slug::archive::{self, Host};
use slug::ident::{AppName, ReleaseVersion};
use slug::release::{self, CommandOutcome, Planned, ReleaseError, ReleasePlan, Request};
use slug::store::{ReleaseRecord, Store};

use super::args::{Release, ReleaseOptions, Rollback};
use super::effects::describe;
use super::report::{CONFIG_HINT, Failure, exit};
use super::settings::Settings;
use super::{control, slug_name};

pub(crate) fn deploy(settings: &Settings, typed: &Release) -> Result<u8, Failure> {
    let store = settings.open_store()?;
    let slug = slug_name::resolve(settings, &store, &typed.slug)?;
    let app = settings.app(&store)?;
    change(settings, &store, &app, &typed.options, &|request| {
        release::plan_deploy(request, &slug)
    })
}

pub(crate) fn rollback(settings: &Settings, typed: &Rollback) -> Result<u8, Failure> {
    let store = settings.open_store()?;
    let app = settings.app(&store)?;
    change(settings, &store, &app, &typed.options, &|request| {
        release::plan_rollback(request, typed.to)
    })
}

/// For `slug up DIR`: releases that the supervisor is to find when it starts.
pub(crate) fn prepare(
    settings: &Settings,
    store: &Store,
    app: &AppName,
    plan: &dyn Fn(&Request<'_>) -> Result<Planned, ReleaseError>,
) -> Result<(), Failure> {
    match make(settings, store, app, None, plan)? {
        Made::Release(plan) => settings
            .ui
            .say(&format!("released {} of {app}", plan.version)),
        Made::Unchanged(unchanged) => settings.ui.detail(&no_change(&unchanged)),
    }
    Ok(())
}

/// Plans a release; with `--dry-run` prints the plan, otherwise applies it and waits for the switch.
pub(crate) fn change(
    settings: &Settings,
    store: &Store,
    app: &AppName,
    options: &ReleaseOptions,
    plan: &dyn Fn(&Request<'_>) -> Result<Planned, ReleaseError>,
) -> Result<u8, Failure> {
    let message = options.message.as_deref();
    if options.dry_run {
        let planned = with_request(settings, store, app, message, |request| Ok(plan(request)?))?;
        return match planned {
            Planned::Unchanged(unchanged) => settings
                .ui
                .answer(&Answer::unchanged(&unchanged, true), |_| {
                    no_change(&unchanged)
                }),
            Planned::Release(plan) => settings
                .ui
                .answer(&Answer::of(&plan, true), |_| describe(&plan)),
        }
        .map(|()| 0);
    }
    match make(settings, store, app, message, plan)? {
        Made::Unchanged(unchanged) => {
            settings.ui.say(&no_change(&unchanged));
            settings
                .ui
                .answer(&Answer::unchanged(&unchanged, false), |answer| {
                    answer
                        .version
                        .map(|version| version.to_string())
                        .unwrap_or_default()
                })?;
        }
        Made::Release(plan) => {
            let version = plan.version;
            settings
                .ui
                .answer(&Answer::of(&plan, false), |_| version.to_string())?;
            if !options.no_wait {
                control::follow(settings, store, app, version)?;
            }
        }
    }
    Ok(0)
}

/// What `--json` prints of a command that makes a release: the same keys, whatever became of it.
#[derive(Serialize)]
struct Answer<'a> {
    schema: u32,
    app: &'a AppName,
    dry_run: bool,
    /// The release that was made, or would be; the current one, if there was nothing to change.
    version: Option<ReleaseVersion>,
    /// Was a release made?
    made: bool,
    plan: Option<&'a ReleasePlan>,
}

impl<'a> Answer<'a> {
    fn of(plan: &'a ReleasePlan, dry_run: bool) -> Self {
        Self {
            schema: 1,
            app: &plan.app,
            dry_run,
            version: Some(plan.version),
            made: !dry_run,
            plan: Some(plan),
        }
    }

    fn unchanged(unchanged: &'a release::Unchanged, dry_run: bool) -> Self {
        Self {
            schema: 1,
            app: &unchanged.app,
            dry_run,
            version: unchanged.current,
            made: false,
            plan: None,
        }
    }
}

enum Made {
    Unchanged(release::Unchanged),
    Release(Box<ReleasePlan>),
}

/// Plans under the app's lock, so that what is applied is what was planned.
fn make(
    settings: &Settings,
    store: &Store,
    app: &AppName,
    message: Option<&str>,
    plan: &dyn Fn(&Request<'_>) -> Result<Planned, ReleaseError>,
) -> Result<Made, Failure> {
    let mut waiting = |holder: &str| {
        settings
            .ui
            .say(&format!("{app} is locked by {holder}: waiting"));
    };
    let lock = store.lock_app(app, &settings.by, &mut waiting)?;
    with_request(settings, store, app, message, |request| {
        let plan = match plan(request)? {
            Planned::Unchanged(unchanged) => return Ok(Made::Unchanged(unchanged)),
            Planned::Release(plan) => plan,
        };
        settings.ui.detail(&describe(&plan));
        unpack(settings, store, &plan)?;
        plan.apply(request, &lock, &mut |record| {
            release_command(settings, store, record)
        })?;
        Ok(Made::Release(plan))
    })
}

fn with_request<T>(
    settings: &Settings,
    store: &Store,
    app: &AppName,
    message: Option<&str>,
    then: impl FnOnce(&Request<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let base = Host::read()?;
    then(&Request {
        store,
        app,
        host: &settings.host,
        base: &base,
        by: &settings.by,
        message,
        clock: &Settings::now,
    })
}

/// Before anything is recorded: a slug that is damaged, or does not fit on the disk, makes no release.
fn unpack(settings: &Settings, store: &Store, plan: &ReleasePlan) -> Result<(), Failure> {
    let Some(slug) = &plan.slug else {
        return Ok(());
    };
    for (_, layer) in &archive::read_image(store, slug)?.layers {
        archive::unpack(store, layer, &mut |_| ()).map_err(|error| {
            let failure = Failure::from(error).unchanged("no release was made");
            settings.ui.detail(&format!(
                "the layer {} could not be unpacked",
                layer.diff_id
            ));
            failure
        })?;
    }
    Ok(())
}

fn release_command(settings: &Settings, store: &Store, record: &ReleaseRecord) -> CommandOutcome {
    settings.ui.say(&format!(
        "running the release command of {}",
        record.version
    ));
    let mut output = |bytes: &[u8]| settings.ui.talk_bytes(bytes);
    slug::run::release_command(store, record, &mut output, &mut |_| ())
}

fn no_change(unchanged: &release::Unchanged) -> String {
    match unchanged.current {
        Some(current) => {
            format!("nothing to release: {current} has this slug and this config already")
        }
        None => "nothing to release: there is no release yet, and nothing was asked for".to_owned(),
    }
}

const NO_RELEASE: &str = "no release was made";

impl From<ReleaseError> for Failure {
    fn from(error: ReleaseError) -> Self {
        let refused = Self::of(exit::REFUSED, &error).unchanged(NO_RELEASE);
        match error {
            ReleaseError::Store(error) => Self::from(error),
            ReleaseError::Archive(error) => Self::from(error),
            ReleaseError::SlugIncomplete { .. } => {
                refused.hint("bring it whole: `slug release app.slug`, or build it: the same source has the same digest")
            }
            ReleaseError::Base { .. } => {
                refused.hint("install what is missing on this host, or build the slug on a host like this one")
            }
            ReleaseError::MissingConfig { app, missing } => missing.iter().fold(refused, |failure, var| {
                let value = if var.secret { "-` and the value on standard input" } else { "…`" };
                failure.hint(format!("`slug config set --app {app} {}={value}", var.key))
            }),
            ReleaseError::BadContract { .. } => refused.hint("correct [env] in slug.toml, and build again"),
            ReleaseError::SetAndUnset { .. } => refused.code(exit::USAGE),
            ReleaseError::BadConfigVar(_) => refused.code(exit::USAGE).hint(CONFIG_HINT),
            ReleaseError::Ineligible { .. } => refused.hint("`slug releases` shows what became of each release"),
            ReleaseError::NothingToRollBackTo { refused: looked_at, .. } => {
                let lines: Vec<String> = looked_at.iter().map(|(version, why)| format!("{version}: {why}")).collect();
                refused.detail(lines.join("\n")).hint("`slug releases` shows what became of each release")
            }
            ReleaseError::Overtaken { .. } => refused.hint("look at `slug releases`, and ask again"),
            ReleaseError::WrongLock { .. } => refused,
            ReleaseError::CommandFailed { version, exit, tail, .. } => refused
                .code(match exit {
                    // Ctrl-C, or TERM to us, was passed on to it: we end as it did.
                    Some(130) => exit::INTERRUPTED,
                    Some(143) => exit::TERMINATED,
                    _ => exit::FAILED,
                })
                .detail(tail)
                .unchanged("the release before it is current; no process was touched")
                .hint(format!("`slug releases show {version}` has its output; a corrected slug or config makes the next release")),
            ReleaseError::UnknownNeeds(_) => refused
                .unchanged("nothing was deleted")
                .hint("`slug verify` says what is wrong; bring the slug back with `slug release app.slug`, then collect again"),
        }
    }
}
