//! `slug logs`: what processes said, from history; with `--follow`, what they say next.

use std::io::{self, Write as _};
use std::ops::ControlFlow;

use serde_json::json;
use slug::logs::{Query, Record, follow, read};

use super::args::Logs;
use super::report::Failure;
use super::settings::Settings;

pub(crate) fn run(settings: &Settings, typed: &Logs) -> Result<u8, Failure> {
    let store = settings.open_store()?;
    let app = settings.app(&store)?;
    let folder = store.host().join("logs").join(app.as_str());
    let source = typed.which.as_ref().map(ToString::to_string);
    let query = Query {
        source,
        release: typed.release,
        last: Some(typed.lines),
    };
    let mut out = io::stdout().lock();
    // A reader that went away has had what it wanted.
    let mut print = |record: Record<'_>| match out.write_all(&line(&record, settings.ui.json)) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    };
    if typed.follow {
        follow(&folder, &query, &mut print)?;
    } else {
        read(&folder, &query, &mut |record| {
            let _ = print(record);
        })?;
    }
    Ok(0)
}

/// For people as `slug up` shows it; with `--json` one object a line.
fn line(record: &Record<'_>, as_json: bool) -> Vec<u8> {
    if as_json {
        let object = json!({
            "at": record.at,
            "release": record.release,
            "source": record.source,
            "stream": record.stream.name(),
            "cut": record.cut,
            "text": String::from_utf8_lossy(record.text),
        });
        return format!("{object}\n").into_bytes();
    }
    let mut line = format!("{} {} | ", record.at, record.source).into_bytes();
    line.extend_from_slice(record.text);
    line.push(b'\n');
    line
}
