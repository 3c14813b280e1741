//! Which processes an app has, how many, and how each type is run. What a slug
//! says comes from its label `slug.process` (the `[process.*]` of slug.toml as
//! JSON); what an operator said with `slug scale` is remembered on this host.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use thiserror::Error;

use crate::archive::Slug;
use crate::archive::SlugProcess;
use crate::ident::AppName;
use crate::ident::ProcessType;
use crate::ident::ReleaseVersion;
use crate::store::Store;
use crate::sys::At as _;
use crate::sys::PathError;
use crate::sys::fs::read_if_present;
use crate::sys::fs::write_atomic;
use crate::sys::lock::Lock;

/// The label of a slug that holds how its processes run.
pub const PROCESS_LABEL: &str = "slug.process";
/// The most instances of one type on one host.
pub const INSTANCES_MAX: u32 = 500;
/// From start to the first passed check (Heroku: 60 s, then R10).
pub const READY_WITHIN: Duration = Duration::from_mins(1);
/// From stop signal to SIGKILL (Heroku: 30 s, then R12); peers' 5 s cuts Sidekiq and Puma short.
pub const GRACE: Duration = Duration::from_secs(30);
/// What is remembered about an app on this host is small.
const STATE_BYTES_MAX: u64 = 1024 * 1024;

/// How the processes of one type are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypePlan {
    /// How many, unless the operator scaled it.
    pub instances: u32,
    /// It gets `PORT`, and requests.
    pub is_routed: bool,
    /// When a routed process is ready.
    pub check: Check,
    /// How long it may take to become so.
    pub ready_within: Duration,
    /// From stop signal to SIGKILL; also how long requests in flight are waited for.
    pub grace: Duration,
    /// The number of the signal.
    pub stop_signal: i32,
    /// A new release's starts beside the old one's. If not: the old ends before the new starts.
    pub overlap: bool,
}

/// When a routed process is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Its port accepts a connection.
    Port,
    /// `GET` of this path is answered with a status from 200 to 399.
    Path(String),
}

/// The slug's label cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the slug's label `{PROCESS_LABEL}` is wrong: {0}")]
pub struct BadFormation(String);

/// `[process.TYPE]` of slug.toml. Keys that a later version adds are no error: a slug outlives its builder.
#[derive(Debug, Default, Deserialize)]
struct Settings {
    instances: Option<u32>,
    check: Option<CheckSettings>,
    ready_within: Option<String>,
    grace: Option<String>,
    stop_signal: Option<String>,
    overlap: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct CheckSettings {
    path: Option<String>,
}

/// The formation that a slug asks for: one instance of each of its types but `release`, unless it says otherwise.
/// (Heroku begins with `web=1` and nothing else, so that a forgotten worker is the commonest first question.)
pub fn types(slug: &Slug) -> Result<BTreeMap<ProcessType, TypePlan>, BadFormation> {
    let label = slug.labels.get(PROCESS_LABEL).map_or("{}", String::as_str);
    let settings: BTreeMap<ProcessType, Settings> =
        serde_json::from_str(label).map_err(|error| BadFormation(error.to_string()))?;
    let routed = routed_type(slug);
    let mut types = BTreeMap::new();
    for process in &slug.processes {
        let process_type = &process.process_type;
        if *process_type != ProcessType::release() {
            let plan = type_plan(settings.get(process_type), routed == Some(process_type));
            let plan =
                plan.map_err(|why| BadFormation(format!("[process.{process_type}] {why}")))?;
            types.insert(process_type.clone(), plan);
        }
    }
    Ok(types)
}

/// `web`, else the slug's default process: only that one is asked over HTTP.
pub fn routed_type(slug: &Slug) -> Option<&ProcessType> {
    let web = ProcessType::web();
    let has = |wanted: &dyn Fn(&SlugProcess) -> bool| {
        slug.processes.iter().find(|process| wanted(process))
    };
    let routed =
        has(&|process| process.process_type == web).or_else(|| has(&|process| process.default));
    routed
        .map(|process| &process.process_type)
        .filter(|process_type| **process_type != ProcessType::release())
}

fn type_plan(settings: Option<&Settings>, is_routed: bool) -> Result<TypePlan, String> {
    let defaults = Settings::default();
    let Settings {
        instances,
        check,
        ready_within,
        grace,
        stop_signal,
        overlap,
    } = settings.unwrap_or(&defaults);
    let instances = instances.unwrap_or(1);
    if instances > INSTANCES_MAX {
        return Err(format!(
            "instances = {instances} is more than {INSTANCES_MAX}"
        ));
    }
    let path = check.as_ref().and_then(|check| check.path.clone());
    let check = match path {
        None => Check::Port,
        Some(path) if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Check::Path(path)
        }
        Some(path) => return Err(format!("check = {{ path = {path:?} }} is no path of a URL")),
    };
    let duration = |text: &Option<String>, key: &str, default: Duration| match text {
        None => Ok(default),
        Some(text) => parse_duration(text)
            .ok_or_else(|| format!("{key} = {text:?} is no duration (such as \"90s\" or \"5m\")")),
    };
    Ok(TypePlan {
        instances,
        is_routed,
        check,
        ready_within: duration(ready_within, "ready_within", READY_WITHIN)?,
        grace: duration(grace, "grace", GRACE)?,
        stop_signal: stop_signal
            .as_deref()
            .map_or(Ok(libc::SIGTERM), parse_signal)?,
        overlap: overlap.unwrap_or(true),
    })
}

/// `250ms`, `60s`, `5m`, `1h`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(unit_ms).map(Duration::from_millis)
}

/// The signals that servers stop by: with or without `SIG`.
fn parse_signal(text: &str) -> Result<i32, String> {
    match text.strip_prefix("SIG").unwrap_or(text) {
        "TERM" => Ok(libc::SIGTERM),
        "INT" => Ok(libc::SIGINT),
        "QUIT" => Ok(libc::SIGQUIT),
        "HUP" => Ok(libc::SIGHUP),
        "USR1" => Ok(libc::SIGUSR1),
        "USR2" => Ok(libc::SIGUSR2),
        "WINCH" => Ok(libc::SIGWINCH),
        _ => Err(format!(
            "stop_signal = {text:?} is none of TERM, INT, QUIT, HUP, USR1, USR2, WINCH"
        )),
    }
}

/// What this host remembers of an app between two supervisors: `<host>/run/<app>.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostState {
    /// What `slug scale` was told.
    pub scale: BTreeMap<ProcessType, u32>,
    /// The last release whose processes were all ready here: it is no news, and never rejected.
    pub proven: Option<ReleaseVersion>,
}

/// Why the state of an app could not be read or changed.
#[derive(Debug, Error)]
pub enum StateError {
    /// The file.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Its content.
    #[error("`{}` is not what slug wrote there: {why}", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        why: String,
    },
}

impl HostState {
    /// Reads it; the default if nothing is remembered.
    pub fn load(store: &Store, app: &AppName) -> Result<Self, StateError> {
        let path = state_path(store, app);
        match read_if_present(&path, STATE_BYTES_MAX)? {
            None => Ok(Self::default()),
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| StateError::Bad {
                path,
                why: error.to_string(),
            }),
        }
    }

    /// Changes it: one changer at a time, durable on return.
    pub fn change(
        store: &Store,
        app: &AppName,
        change: impl FnOnce(&mut Self),
    ) -> Result<Self, StateError> {
        let path = state_path(store, app);
        let folder = store.host().join("run");
        crate::sys::fs::create_dir_durable(&folder, 0o700)?;
        let _one_at_a_time = Lock::take(&folder.join(format!("{app}.state.lock")))?;
        let mut state = Self::load(store, app)?;
        change(&mut state);
        let bytes = serde_json::to_vec(&state).at("write", &path)?;
        write_atomic(&path, &bytes, 0o600)?;
        Ok(state)
    }
}

fn state_path(store: &Store, app: &AppName) -> PathBuf {
    store.host().join("run").join(format!("{app}.json"))
}

/// The folder of an app's log history.
pub fn logs_folder(store: &Store, app: &AppName) -> PathBuf {
    store.host().join(Path::new("logs")).join(app.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: &str) -> Result<TypePlan, String> {
        type_plan(Some(&serde_json::from_str(json).unwrap()), true)
    }

    #[test]
    fn what_is_not_said_has_the_defaults_of_the_interface() {
        let plan = settings("{}").unwrap();
        assert_eq!(
            (plan.instances, plan.overlap, plan.stop_signal),
            (1, true, libc::SIGTERM)
        );
        assert_eq!(
            (plan.check, plan.ready_within, plan.grace),
            (Check::Port, READY_WITHIN, GRACE)
        );
    }

    #[test]
    fn what_is_said_is_followed_and_what_cannot_be_is_named() {
        let plan = settings(r#"{"instances": 500, "check": {"path": "/up"}, "ready_within": "90s", "grace": "250ms", "stop_signal": "SIGQUIT", "overlap": false, "later": 1}"#).unwrap();
        assert_eq!(
            (plan.instances, plan.overlap, plan.stop_signal),
            (500, false, libc::SIGQUIT)
        );
        assert_eq!(
            (plan.ready_within, plan.grace),
            (Duration::from_secs(90), Duration::from_millis(250))
        );
        assert_eq!(plan.check, Check::Path("/up".to_owned()));
        for (bad, word) in [
            (r#"{"instances": 501}"#, "501"),
            (r#"{"check": {"path": "up"}}"#, "up"),
            (r#"{"check": {"path": "/a\r\nb"}}"#, "path"),
            (r#"{"grace": "1 day"}"#, "1 day"),
            (r#"{"grace": "99999999999999999999s"}"#, "grace"),
            (r#"{"stop_signal": "KILL"}"#, "KILL"),
        ] {
            assert!(settings(bad).unwrap_err().contains(word), "{bad}");
        }
    }

    #[test]
    fn the_state_of_a_host_survives_and_a_broken_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), folder.path()).unwrap();
        let app: AppName = "shop".parse().unwrap();
        assert_eq!(HostState::load(&store, &app).unwrap(), HostState::default());
        HostState::change(&store, &app, |state| {
            state.proven = ReleaseVersion::from_number(3);
        })
        .unwrap();
        HostState::change(&store, &app, |state| {
            state.scale.extend([(ProcessType::web(), 2)]);
        })
        .unwrap();
        let state = HostState::load(&store, &app).unwrap();
        assert_eq!(
            (state.proven, state.scale.get(&ProcessType::web())),
            (ReleaseVersion::from_number(3), Some(&2))
        );
        write_atomic(&state_path(&store, &app), b"{", 0o600).unwrap();
        assert!(matches!(
            HostState::load(&store, &app),
            Err(StateError::Bad { .. })
        ));
    }
}
