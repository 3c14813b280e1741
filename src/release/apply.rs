//! Does what a plan says, and nothing else.

use super::eligibility::check_blobs;
use super::plan::ConfigSource;
use super::{ReleaseError, ReleasePlan, Request};
use crate::ident::ReleaseVersion;
use crate::store::{
    AppLock, ConfigVars, Draft, Event, Ledger, Release, ReleaseRecord, Store, StoreError,
};
use crate::sys::clock::Timestamp;

/// How a release command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOutcome {
    /// The exit code, 128 + n for signal n; none if it could not be started.
    pub exit: Option<i32>,
    /// The end of its output, or why it could not be started.
    pub tail: String,
}

impl ReleasePlan {
    /// Makes the release. `run_release_command` is called if the plan has a release command, after
    /// `pending` and before `succeeded` is recorded; if it fails, so does the release, and the one
    /// before stays current. A kill at any point leaves the release before as the current one, or
    /// the new release.
    pub fn apply(
        &self,
        request: &Request<'_>,
        lock: &AppLock,
        run_release_command: &mut dyn FnMut(&ReleaseRecord) -> CommandOutcome,
    ) -> Result<Release, ReleaseError> {
        self.check_lock(lock)?;
        let _held = request.store.hold()?;
        let ledger = Ledger::open(request.store, &self.app);
        self.check_still_next(&ledger)?;
        if let Some(slug) = &self.slug {
            check_blobs(request.store, slug)?;
        }
        fail_interrupted(request.store, lock, (request.clock)())?;
        let draft = self.draft(request)?;
        if self.release_command.is_none() {
            let record = ledger.append_succeeded(&draft)?;
            return Ok(ledger.get(record.version)?);
        }
        let record = ledger.append(&draft)?;
        let outcome = run_release_command(&record);
        self.judge(request, &ledger, record.version, outcome)?;
        ledger.record(record.version, (request.clock)(), &Event::Succeeded)?;
        Ok(ledger.get(record.version)?)
    }

    fn check_lock(&self, lock: &AppLock) -> Result<(), ReleaseError> {
        if *lock.app() == self.app {
            return Ok(());
        }
        Err(ReleaseError::WrongLock {
            held: lock.app().clone(),
            app: self.app.clone(),
        })
    }

    /// A plan made before the lock was taken may be out of date.
    fn check_still_next(&self, ledger: &Ledger) -> Result<(), ReleaseError> {
        let next = ledger.next_version()?;
        if next == self.version {
            return Ok(());
        }
        Err(ReleaseError::Overtaken {
            app: self.app.clone(),
            planned: self.version,
            next,
        })
    }

    fn draft(&self, request: &Request<'_>) -> Result<Draft, StoreError> {
        let config = match &self.source {
            ConfigSource::Sealed(config) => *config,
            ConfigSource::New(vars) => request.store.seal(&self.app, vars)?,
        };
        Ok(Draft {
            slug: self.slug,
            config,
            by: request.by.to_owned(),
            at: (request.clock)(),
            reason: self.reason.clone(),
            message: request.message.map(str::to_owned),
        })
    }

    fn judge(
        &self,
        request: &Request<'_>,
        ledger: &Ledger,
        version: ReleaseVersion,
        outcome: CommandOutcome,
    ) -> Result<(), ReleaseError> {
        let CommandOutcome { exit, tail } = outcome;
        if exit == Some(0) {
            return Ok(());
        }
        let config = ledger.get(version)?.record.config;
        let tail = without_values(tail, &request.store.unseal(&self.app, &config)?);
        let event = Event::Failed {
            step: "release-command".to_owned(),
            exit,
            tail: tail.clone(),
        };
        ledger.record(version, (request.clock)(), &event)?;
        Err(ReleaseError::CommandFailed {
            app: self.app.clone(),
            version,
            exit,
            tail,
        })
    }
}

/// Values shorter than this, in bytes, are words that any output may hold: `on`, `5432`.
const VALUE_BYTES_MIN: usize = 6;

/// The ledger is no place for config values: where a command has printed one, its name stands instead. The longest
/// go first, because one value may be a part of another.
fn without_values(tail: String, vars: &ConfigVars) -> String {
    let texts = vars
        .iter()
        .filter_map(|(key, value)| Some((key, std::str::from_utf8(value.expose()).ok()?)));
    let mut texts: Vec<_> = texts
        .filter(|(_, value)| value.len() >= VALUE_BYTES_MIN)
        .collect();
    texts.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
    texts.into_iter().fold(tail, |tail, (key, value)| {
        tail.replace(value, &format!("[{key}]"))
    })
}

/// Records the releases that are pending although nobody holds the lock but the caller: whoever
/// made them died, and they will never run. Gives their numbers.
pub fn fail_interrupted(
    store: &Store,
    lock: &AppLock,
    now: Timestamp,
) -> Result<Vec<ReleaseVersion>, StoreError> {
    let ledger = Ledger::open(store, lock.app());
    let interrupted = ledger.pending()?;
    for version in &interrupted {
        let event = Event::Failed {
            step: "interrupted".to_owned(),
            exit: None,
            tail: String::new(),
        };
        ledger.record(*version, now, &event)?;
    }
    Ok(interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Secret;

    #[test]
    fn a_value_that_a_command_has_printed_is_not_kept() {
        let mut vars = ConfigVars::new();
        for (key, value) in [
            ("URL", "db://u:secret@h"),
            ("PASSWORD", "secret"),
            ("ON", "on"),
        ] {
            let key = key.parse().unwrap();
            vars.set(key, Secret::new(value.as_bytes().to_vec()))
                .unwrap();
        }
        let tail = "connecting to db://u:secret@h on h: no `secret`".to_owned();
        assert_eq!(
            without_values(tail, &vars),
            "connecting to [URL] on h: no `[PASSWORD]`"
        );
    }
}
