//! `slug releases`, `slug releases show`.

use serde_json::{Value, json};
use slug::store::{Ledger, Outcome, Ran, Reason, Release};

use super::args::{Releases, ReleasesCommand};
use super::report::Failure;
use super::settings::Settings;
use super::ui::{Text, table};

pub(crate) fn run(settings: &Settings, typed: &Releases) -> Result<u8, Failure> {
    let store = settings.open_store()?;
    let app = settings.app(&store)?;
    let ledger = Ledger::open(&store, &app);
    let current = ledger
        .current(&settings.host)?
        .map(|release| release.record.version);
    let is_current = |release: &Release| Some(release.record.version) == current;
    match &typed.command {
        None => {
            let mut releases = ledger.releases()?;
            releases.reverse();
            if releases.is_empty() {
                settings.ui.say(&format!("{app} has no release yet"));
            }
            let objects: Vec<Value> = releases
                .iter()
                .map(|release| object(release, is_current(release)))
                .collect();
            settings.ui.answer(
                &json!({ "schema": 1, "app": app, "releases": objects }),
                |_| {
                    table(
                        &releases
                            .iter()
                            .map(|release| row(release, is_current(release)))
                            .collect::<Vec<_>>(),
                    )
                },
            )?;
        }
        Some(ReleasesCommand::Show { version }) => {
            let release = ledger.get(*version)?;
            let (current, ran) = (is_current(&release), ledger.ran(*version)?);
            let mut object = object(&release, current);
            object["ran"] = json!(&ran);
            settings
                .ui
                .answer(&json!({ "schema": 1, "release": object }), |_| {
                    show(&release, current, &ran)
                })?;
        }
    }
    Ok(0)
}

fn row(release: &Release, current: bool) -> Vec<String> {
    let record = &release.record;
    vec![
        record.version.to_string(),
        if current {
            "current".to_owned()
        } else {
            state(release).to_owned()
        },
        record
            .slug
            .map_or_else(|| "no slug".to_owned(), |slug| slug.short()),
        record.at.to_string(),
        record.by.escape_debug().to_string(),
        reason(&record.reason),
        in_short(record.message.as_deref().unwrap_or_default()),
    ]
}

/// How much of a message the table shows, in characters; `slug releases show` has the whole.
const MESSAGE_SHOWN_MAX: usize = 60;

fn in_short(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let shown: String = first.chars().take(MESSAGE_SHOWN_MAX).collect();
    let more = if shown.len() < message.trim_end().len() {
        "…"
    } else {
        ""
    };
    format!("{}{more}", shown.escape_debug())
}

fn show(release: &Release, current: bool, ran: &[Ran]) -> String {
    let record = &release.record;
    let mut rows = vec![
        ("release", format!("{} of {}", record.version, record.app)),
        (
            "state",
            if current {
                "current".to_owned()
            } else {
                state(release).to_owned()
            },
        ),
        (
            "slug",
            record
                .slug
                .map_or_else(|| "none".to_owned(), |slug| slug.to_string()),
        ),
        ("config", record.config.to_string()),
        ("by", record.by.escape_debug().to_string()),
        ("at", record.at.to_string()),
        ("reason", reason(&record.reason)),
    ];
    rows.extend(
        record
            .message
            .iter()
            .map(|message| ("message", message.escape_debug().to_string())),
    );
    rows.extend(
        record
            .previous
            .iter()
            .map(|previous| ("previous", previous.to_string())),
    );
    for (host, why) in &release.rejected {
        rows.push((
            "rejected",
            format!("by {}: {}", host.escape_debug(), why.escape_debug()),
        ));
    }
    for ran in ran {
        rows.push((
            "ran",
            format!(
                "{} by {} on {} at {}: exit {}",
                ran.process.escape_debug(),
                ran.by.escape_debug(),
                ran.host.escape_debug(),
                ran.started,
                ran.exit
            ),
        ));
    }
    let mut text = Text::default();
    text.table(
        rows.into_iter()
            .map(|(key, value)| vec![key.to_owned(), value]),
    );
    if let Outcome::Failed {
        step, exit, tail, ..
    } = &release.outcome
    {
        let exit = exit
            .map(|exit| format!(", exit {exit}"))
            .unwrap_or_default();
        text.line(format!("failed    {step}{exit}"));
        text.lines(tail.lines().map(|line| format!("  {line}")));
    }
    text.into_string()
}

fn state(release: &Release) -> &'static str {
    match &release.outcome {
        Outcome::Pending => "pending",
        Outcome::Failed { .. } => "failed",
        Outcome::Succeeded { .. } if !release.rejected.is_empty() => "rejected",
        Outcome::Succeeded { .. } => "succeeded",
    }
}

/// Why a release was made, in one line.
pub(crate) fn reason(reason: &Reason) -> String {
    match reason {
        Reason::Deploy => "deploy".to_owned(),
        Reason::Rollback { to } => format!("rollback to {to}"),
        Reason::Config { set, unset } => {
            let signed = |sign: char, key: &slug::ident::EnvKey| format!("{sign}{key}");
            let set = set.iter().map(|key| signed('+', key));
            let keys: Vec<String> = set
                .chain(unset.iter().map(|key| signed('-', key)))
                .collect();
            format!("config {}", keys.join(" "))
        }
    }
}

fn object(release: &Release, current: bool) -> Value {
    let failed = match &release.outcome {
        Outcome::Failed {
            at,
            step,
            exit,
            tail,
        } => json!({ "at": at, "step": step, "exit": exit, "tail": tail }),
        Outcome::Pending | Outcome::Succeeded { .. } => Value::Null,
    };
    let rejected: Vec<Value> = release
        .rejected
        .iter()
        .map(|(host, why)| json!({ "host": host, "why": why }))
        .collect();
    json!({
        "record": release.record,
        "state": state(release),
        "current": current,
        "failed": failed,
        "rejected": rejected,
    })
}
