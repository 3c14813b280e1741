//! What the history of an app says of its one-offs: that they began, and how
//! they ended.

use super::attend::Ended;
use super::registry::Entry;
use crate::ident::AppName;
use crate::logs::History;
use crate::logs::Record;
use crate::logs::Stream;
use crate::run::formation;
use crate::store::Store;
use crate::sys::clock::Timestamp;
use crate::sys::sandbox::Exit;

/// A line of `slug`'s about this one-off. A disk that is full under the logs keeps no migration from running: the ledger
/// has its end all the same.
pub(super) fn note(store: &Store, app: &AppName, entry: &Entry, text: &str) {
    let at = Timestamp::now();
    let mut line = Vec::new();
    let record = Record {
        at: &at.to_string(),
        release: Some(entry.release),
        source: &entry.instance.to_string(),
        stream: Stream::Slug,
        cut: false,
        text: text.as_bytes(),
    };
    record.write(&mut line);
    let history = History::open(&formation::logs_folder(store, app));
    let _ = history.and_then(|mut history| history.append(&line, 1, at));
}

/// That it began.
pub(super) fn started(entry: &Entry) -> String {
    let how = if entry.detached { ", detached" } else { "" };
    format!(
        "{} was started by {}: {}{how}",
        entry.instance, entry.by, entry.command
    )
}

/// How it ended.
pub(super) fn ended(entry: &Entry, ended: Ended) -> String {
    let Ended {
        exit,
        timed_out,
        killed,
    } = ended;
    let how = match exit {
        Exit::Code(code) => format!("exited with code {code}"),
        Exit::Signal(signal) => format!("was ended by signal {signal}"),
    };
    let why = match (timed_out, killed) {
        (true, true) => ": its time limit was over, and then its grace",
        (true, false) => ": its time limit was over",
        (false, true) => ": it was asked to end, and killed",
        (false, false) => "",
    };
    format!("{} {how}{why}", entry.instance)
}
