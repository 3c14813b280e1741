//! `slug logs`: what processes said, from history; with `--follow`, what they say next.

use std::io::{self, Write as _};
use std::ops::ControlFlow;

use clap::Args;
use slug::ident::ReleaseVersion;
use slug::logs::{Query, Record, follow, read};
use slug::sys::clock::Timestamp;

use super::args::Which;
use super::point_in_time::PointInTime;
use super::report::Failure;
use super::settings::Settings;

/// How many lines are shown if neither a number nor a time is asked for.
const LINES: usize = 100;

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Of this process type or instance only
    #[arg(value_name = "TYPE|TYPE.N")]
    pub(crate) which: Option<Which>,
    /// Of this release only
    #[arg(long, value_name = "vN")]
    pub(crate) release: Option<ReleaseVersion>,
    /// Go on with what comes
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// From then on: 10m ago, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "AGO|TIME")]
    pub(crate) since: Option<PointInTime>,
    /// Until then
    #[arg(long, value_name = "AGO|TIME", conflicts_with = "follow")]
    pub(crate) until: Option<PointInTime>,
    /// Lines with this text in them
    #[arg(long, value_name = "TEXT")]
    pub(crate) grep: Option<String>,
    /// How many lines of the past (100; with --since or --until all)
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) lines: Option<usize>,
}

pub(crate) fn run(settings: &Settings, typed: &Logs) -> Result<u8, Failure> {
    let store = settings.open_store()?;
    let app = settings.app(&store)?;
    let folder = store.host().join("logs").join(app.as_str());
    let query = query(typed, Timestamp::now());
    let mut out = io::BufWriter::new(io::stdout().lock());
    let (is_json, is_following) = (settings.ui.json, typed.follow);
    let mut buffer = Vec::new();
    // A reader that went away has had what it wanted.
    let mut print = |record: Record<'_>| {
        buffer.clear();
        write_line(&record, is_json, &mut buffer);
        let mut written = out.write_all(&buffer);
        if is_following {
            written = written.and_then(|()| out.flush());
        }
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    };
    if is_following {
        follow(&folder, &query, &mut print)?;
    } else {
        read(&folder, &query, &mut print)?;
    }
    let _ = out.flush(); // as above
    Ok(0)
}

fn query(typed: &Logs, now: Timestamp) -> Query {
    // A time before all times leaves nothing out.
    let seen = |point: Option<PointInTime>| point.and_then(|point| point.seen_from(now));
    let is_timed = typed.since.is_some() || typed.until.is_some();
    Query {
        source: typed.which.as_ref().map(ToString::to_string),
        release: typed.release,
        since: seen(typed.since),
        until: seen(typed.until),
        text: typed.grep.clone(),
        last: typed.lines.or((!is_timed).then_some(LINES)),
    }
}

/// For people as `slug up` shows it, with its date; with `--json` one object a line.
fn write_line(record: &Record<'_>, is_json: bool, out: &mut Vec<u8>) {
    if is_json {
        return record.write_json(out);
    }
    out.extend_from_slice(format!("{} {} | ", record.at, record.source).as_bytes());
    out.extend_from_slice(record.text);
    out.extend_from_slice(if record.cut {
        " …\n".as_bytes()
    } else {
        b"\n"
    });
}
