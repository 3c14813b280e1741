//! How the processes of a type run: `[process.TYPE]` of slug.toml. A slug carries
//! it, as JSON, in its label `slug.process`; so what is read here is what a build
//! checks and what a host follows. All keys stand in this file.
//!
//! Keys that a later version adds are no error here: a slug outlives its builder.

use serde::Deserialize;
use serde::Serialize;

mod text;

pub use text::Bytes;
pub use text::CommandLine;
pub use text::Cpus;
pub use text::StopSignal;
pub use text::TimeSpan;
pub use text::UrlPath;

/// The label of a slug that holds how its processes run.
pub const PROCESS_LABEL: &str = "slug.process";
/// The most instances of one type on one host.
pub const INSTANCES_MAX: u32 = 500;

/// What is said of the processes of one type; what is left out is the runner's to decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSettings {
    /// How many, unless the operator scales it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<Instances>,
    /// When one is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckSettings>,
    /// Whether one still lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness: Option<LivenessSettings>,
    /// How long it may take to become ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_within: Option<TimeSpan>,
    /// From stop signal to SIGKILL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<TimeSpan>,
    /// How long requests and websockets may go on after a switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<TimeSpan>,
    /// What asks it to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<StopSignal>,
    /// Whom that reaches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_scope: Option<StopScope>,
    /// A new one starts beside the old one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<bool>,
    /// The most memory of an instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// The most processor time of an instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpus>,
    /// The most processes and threads of an instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<Count>,
    /// The most open descriptors of each process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nofile: Option<Count>,
    /// Its output goes to a terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
}

impl ProcessSettings {
    /// The keys of `[process.TYPE]`.
    pub const KEYS: &[&str] = &[
        "instances",
        "check",
        "liveness",
        "ready_within",
        "grace",
        "drain",
        "stop_signal",
        "stop_scope",
        "overlap",
        "memory",
        "cpu",
        "pids",
        "nofile",
        "tty",
    ];
}

/// When a process is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "CheckKeys", into = "CheckKeys")]
pub enum CheckSettings {
    /// Its port accepts a connection.
    Port,
    /// `GET` of this path is answered with this status; if none is named, with one from 200 to 399.
    Path(UrlPath, Option<Status>),
    /// This command ends with 0.
    Command(CommandLine),
}

impl CheckSettings {
    /// The keys of `check`.
    pub const KEYS: &[&str] = &["port", "path", "status", "command"];
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct CheckKeys {
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<UrlPath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<CommandLine>,
}

impl TryFrom<CheckKeys> for CheckSettings {
    type Error = &'static str;

    fn try_from(keys: CheckKeys) -> Result<Self, Self::Error> {
        let CheckKeys {
            port,
            path,
            status,
            command,
        } = keys;
        match (port, path, status, command) {
            (Some(true), None, None, None) => Ok(Self::Port),
            (None, Some(path), status, None) => Ok(Self::Path(path, status)),
            (None, None, None, Some(command)) => Ok(Self::Command(command)),
            (None, None, Some(_), _) => Err("a `status` is the answer to a `path`"),
            _ => Err("a check is one of `port = true`, `path` and `command`"),
        }
    }
}

impl From<CheckSettings> for CheckKeys {
    fn from(check: CheckSettings) -> Self {
        let mut keys = Self::default();
        match check {
            CheckSettings::Port => keys.port = Some(true),
            CheckSettings::Path(path, status) => (keys.path, keys.status) = (Some(path), status),
            CheckSettings::Command(command) => keys.command = Some(command),
        }
        keys
    }
}

/// Whether a process still lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "LivenessKeys", into = "LivenessKeys")]
pub struct LivenessSettings {
    /// What it is asked.
    pub question: Question,
    /// How often.
    pub every: Option<TimeSpan>,
    /// After so many failures in a row it is restarted.
    pub failures: Option<Count>,
}

/// What a process is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// `GET` of this path, to be answered with a status from 200 to 399.
    Path(UrlPath),
    /// This command, to end with 0.
    Command(CommandLine),
}

impl LivenessSettings {
    /// The keys of `liveness`.
    pub const KEYS: &[&str] = &["path", "command", "every", "failures"];
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct LivenessKeys {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<UrlPath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<CommandLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    every: Option<TimeSpan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<Count>,
}

impl TryFrom<LivenessKeys> for LivenessSettings {
    type Error = &'static str;

    fn try_from(keys: LivenessKeys) -> Result<Self, Self::Error> {
        let question = match (keys.path, keys.command) {
            (Some(path), None) => Question::Path(path),
            (None, Some(command)) => Question::Command(command),
            _ => return Err("a liveness check is one of `path` and `command`"),
        };
        let (every, failures) = (keys.every, keys.failures);
        if every.as_ref().is_some_and(|every| every.value().is_zero()) {
            return Err("`every` is zero");
        }
        Ok(Self {
            question,
            every,
            failures,
        })
    }
}

impl From<LivenessSettings> for LivenessKeys {
    fn from(settings: LivenessSettings) -> Self {
        let (every, failures) = (settings.every, settings.failures);
        let (path, command) = match settings.question {
            Question::Path(path) => (Some(path), None),
            Question::Command(command) => (None, Some(command)),
        };
        Self {
            path,
            command,
            every,
            failures,
        }
    }
}

/// Whom a stop signal reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StopScope {
    /// The process that was executed.
    #[default]
    Leader,
    /// Every process of the instance.
    Group,
}

/// A number of instances, at most `INSTANCES_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Instances(u32);

impl TryFrom<u32> for Instances {
    type Error = String;

    fn try_from(count: u32) -> Result<Self, String> {
        if count > INSTANCES_MAX {
            return Err(format!("{count} instances are more than {INSTANCES_MAX}"));
        }
        Ok(Self(count))
    }
}

impl From<Instances> for u32 {
    fn from(instances: Instances) -> Self {
        instances.0
    }
}

/// A number that is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Count(u32);

impl TryFrom<u32> for Count {
    type Error = &'static str;

    fn try_from(count: u32) -> Result<Self, Self::Error> {
        if count == 0 {
            return Err("zero is too few");
        }
        Ok(Self(count))
    }
}

impl From<Count> for u32 {
    fn from(count: Count) -> Self {
        count.0
    }
}

/// The status of an HTTP answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Status(u16);

impl TryFrom<u16> for Status {
    type Error = String;

    fn try_from(status: u16) -> Result<Self, String> {
        if (200..600).contains(&status) {
            return Ok(Self(status));
        }
        Err(format!(
            "{status} is no status of an answer (expected 200 to 599)"
        ))
    }
}

impl From<Status> for u16 {
    fn from(status: Status) -> Self {
        status.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each key once, as a slug carries it.
    const ALL: &str = r#"{"instances":2,"check":{"path":"/up","status":204},"liveness":{"command":"true","every":"5s","failures":2},"ready_within":"90s","grace":"250ms","drain":"1m","stop_signal":"SIGQUIT","stop_scope":"group","overlap":false,"memory":"512M","cpu":"1.5","pids":64,"nofile":1024,"tty":true}"#;

    #[test]
    fn every_key_is_read_and_written_as_it_was() {
        let read: ProcessSettings = serde_json::from_str(ALL).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), ALL);
        let value: serde_json::Value = serde_json::from_str(ALL).unwrap();
        let mut keys: Vec<&str> = ProcessSettings::KEYS.to_vec();
        keys.sort_unstable();
        assert_eq!(value.as_object().unwrap().keys().collect::<Vec<_>>(), keys);
    }

    #[test]
    fn keys_of_a_later_version_are_no_error() {
        let read: ProcessSettings = serde_json::from_str(r#"{"later":1,"tty":true}"#).unwrap();
        assert_eq!(read.tty, Some(true));
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        for (bad, words) in [
            (r#"{"instances":501}"#, "501"),
            (r#"{"check":{"path":"up"}}"#, "path of a URL"),
            (r#"{"check":{"path":"/a\r\nb"}}"#, "path of a URL"),
            (r#"{"check":{"status":200}}"#, "answer to a `path`"),
            (r#"{"check":{"path":"/","command":"true"}}"#, "one of"),
            (r#"{"check":{"port":false}}"#, "one of"),
            (r#"{"check":{}}"#, "one of"),
            (r#"{"check":{"path":"/","status":99}}"#, "99"),
            (r#"{"check":{"command":" "}}"#, "command"),
            (r#"{"liveness":{}}"#, "one of"),
            (r#"{"liveness":{"path":"/","failures":0}}"#, "zero"),
            (r#"{"liveness":{"path":"/","every":"0s"}}"#, "zero"),
            (r#"{"grace":"1 day"}"#, "1 day"),
            (r#"{"grace":"99999999999999999999s"}"#, "time"),
            (r#"{"stop_signal":"KILL"}"#, "KILL"),
            (r#"{"stop_scope":"all"}"#, "all"),
            (r#"{"memory":"12"}"#, "12"),
            (r#"{"memory":"1K"}"#, "1K"),
            (r#"{"cpu":"0"}"#, "0"),
            (r#"{"cpu":"1.2345"}"#, "1.2345"),
            (r#"{"pids":0}"#, "zero"),
            (r#"{"nofile":0}"#, "zero"),
        ] {
            let error = serde_json::from_str::<ProcessSettings>(bad).unwrap_err();
            assert!(error.to_string().contains(words), "{bad}: {error}");
        }
    }
}
