//! The ledger says what should run: followed here.

use std::rc::Rc;
use std::thread;

use super::Message;
use super::Reactor;
use super::ReleaseError;
use super::UpError;
use crate::ident::ReleaseVersion;
use crate::run::control::Reply;
use crate::run::formation;
use crate::run::launch::LaunchError;
use crate::run::launch::Loaded;
use crate::run::one_off::chain;
use crate::run::supervisor::Event;
use crate::run::supervisor::Plan;
use crate::run::supervisor::jittered;
use crate::store;
use crate::store::ReleaseRecord;
use crate::sys::clock::Timestamp;

/// A release that could not be loaded, though it may be later.
pub(super) struct PutOff {
    version: ReleaseVersion,
    tries: u32,
    is_waiting: bool,
}

impl PutOff {
    fn waits_with(&self, version: ReleaseVersion) -> bool {
        self.is_waiting && self.version == version
    }
}

impl Reactor {
    /// Looks into the ledger, and begins to load what is current there and not here.
    pub(super) fn look(&mut self) -> Result<(), UpError> {
        if self.is_stopping {
            return Ok(());
        }
        let Some(release) = self.current_in_ledger()? else {
            return Ok(());
        };
        let version = release.record.version;
        let newest = self.supervisor.incoming().or(self.supervisor.current());
        let is_put_off = self
            .put_off
            .as_ref()
            .is_some_and(|off| off.waits_with(version));
        if newest != Some(version)
            && self.loading.is_none()
            && self.unrecorded != Some(version)
            && !is_put_off
        {
            self.load(release.record);
        }
        Ok(())
    }

    /// None, and a word about it, if there is none; or if it cannot be told while something runs, which goes on.
    fn current_in_ledger(&self) -> Result<Option<store::Release>, UpError> {
        let is_idle = self
            .supervisor
            .current()
            .or(self.supervisor.incoming())
            .is_none();
        match self.ledger.current(&self.options.host) {
            Ok(Some(current)) => {
                self.said.borrow_mut().clear();
                Ok(Some(current))
            }
            Ok(None) => {
                self.say_once("there is no release yet: waiting for the first");
                Ok(None)
            }
            Err(error) if is_idle => Err(error.into()),
            Err(error) => {
                self.say_once(&format!("the ledger could not be read: {}", chain(&error)));
                Ok(None)
            }
        }
    }

    /// On a thread of its own: unpacking takes seconds.
    fn load(&mut self, record: ReleaseRecord) {
        let version = record.version;
        self.loading = Some(version);
        let (store, inbox) = (self.options.store.clone(), self.inbox.clone());
        let load = move || {
            let loaded = Loaded::load(&store, &record, &mut |_| {});
            let fitting = loaded.and_then(|loaded| loaded.check_base().map(|()| loaded));
            let _ = inbox.send(Message::Loaded(version, Box::new(fitting)));
        };
        if let Err(error) = thread::Builder::new()
            .name("slug-load".to_owned())
            .spawn(load)
        {
            let failed = Err(LaunchError::Pipe(error));
            let _ = self.inbox.send(Message::Loaded(version, Box::new(failed)));
        }
    }

    pub(super) fn on_loaded(
        &mut self,
        version: ReleaseVersion,
        loaded: Result<Loaded, LaunchError>,
    ) -> Result<(), UpError> {
        self.loading = None;
        let current = self.current_in_ledger()?;
        let is_current = current.is_some_and(|current| current.record.version == version);
        // Otherwise a newer one came while this was unpacked: `look` begins that.
        if is_current && !self.is_stopping {
            let planned = loaded.map_err(ReleaseError::from).and_then(|loaded| {
                let types = formation::types(loaded.slug())?;
                Ok((loaded, types))
            });
            match planned {
                Ok((loaded, types)) => {
                    self.put_off = None;
                    let has_fallback = self.has_fallback(version);
                    self.loaded.insert(version, Rc::new(loaded));
                    for lack in self.options.enforcer.lacks(&types) {
                        self.say(Some(version), &lack);
                    }
                    self.say(Some(version), &format!("starting {version}"));
                    self.step([Event::Released(Plan {
                        version,
                        types,
                        has_fallback,
                    })]);
                }
                Err(error) if self.supervisor.current().is_some() || self.has_fallback(version) => {
                    match &error {
                        ReleaseError::Launch(launch) if launch.may_pass() => {
                            self.put_off(version, &chain(&error));
                        }
                        _ => self.reject(version, &chain(&error), ""),
                    }
                }
                Err(source) => return Err(UpError::Release { version, source }),
            }
        }
        self.look()
    }

    /// It cannot be loaded now, for a reason that may pass: it is tried again after a pause. What runs goes on.
    fn put_off(&mut self, version: ReleaseVersion, why: &str) {
        let before = self.put_off.take().filter(|off| off.version == version);
        let tries = before.map_or(0, |off| off.tries) + 1;
        let pause = jittered(tries, &mut self.random);
        let is_waiting = true;
        self.put_off = Some(PutOff {
            version,
            tries,
            is_waiting,
        });
        let seconds = pause.as_secs_f64();
        let why = format!("{version} cannot be loaded: {why}; it is tried again in {seconds:.1} s");
        self.say(Some(version), &why);
        self.settle_followers(version, &Reply::Refused { why });
        let inbox = self.inbox.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(pause).await;
            let _ = inbox.send(Message::TryAgain);
        });
    }

    /// The pause is over.
    pub(super) fn on_try_again(&mut self) -> Result<(), UpError> {
        if let Some(off) = &mut self.put_off {
            off.is_waiting = false;
        }
        self.look()
    }

    /// This host will not run it. What runs, or ran before, goes on.
    pub(super) fn reject(&mut self, version: ReleaseVersion, why: &str, tail: &str) {
        let current = self.supervisor.current();
        let goes_on = current.map_or_else(
            || "the release before is started".to_owned(),
            |current| format!("{current} goes on"),
        );
        self.say(
            Some(version),
            &format!("{version} is rejected: {why}; {goes_on}"),
        );
        let whole = if tail.is_empty() {
            why.to_owned()
        } else {
            format!("{why}\n{tail}")
        };
        let event = store::Event::Rejected {
            host: self.options.host.clone(),
            why: whole,
        };
        if let Err(error) = self.ledger.record(version, Timestamp::now(), &event) {
            self.say(
                Some(version),
                &format!("the rejection could not be recorded: {}", chain(&error)),
            );
            // The ledger goes on calling it current: this supervisor does not try it again.
            self.unrecorded = Some(version);
        }
        let (why, tail) = (why.to_owned(), tail.to_owned());
        self.settle_followers(version, &Reply::Rejected { version, why, tail });
    }

    /// An older release was up on this host, and this one never was: it may be rejected.
    fn has_fallback(&self, version: ReleaseVersion) -> bool {
        let is_eligible = |release: store::Release| {
            release.succeeded() && !release.rejected_by(&self.options.host)
        };
        self.proven.is_some_and(|proven| {
            proven < version && self.ledger.get(proven).is_ok_and(is_eligible)
        })
    }

    fn say_once(&self, line: &str) {
        if *self.said.borrow() != line {
            line.clone_into(&mut self.said.borrow_mut());
            self.say(None, line);
        }
    }
}
