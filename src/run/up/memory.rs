//! Writes down what this host remembers, on a thread of its own: waiting for a
//! disk is no part of a switch.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::thread::JoinHandle;

use crate::ident::AppName;
use crate::ident::ReleaseVersion;
use crate::logs::Labels;
use crate::logs::Pump;
use crate::run::formation::HostState;
use crate::run::one_off::chain;
use crate::store::Store;

/// The thread. When this is dropped, all that it was told is written.
pub(super) struct Memory {
    told: Option<mpsc::Sender<ReleaseVersion>>,
    thread: Option<JoinHandle<()>>,
}

impl Memory {
    /// Starts it; `pump` is told of what could not be written.
    pub(super) fn start(store: Store, app: AppName, pump: Pump) -> io::Result<Self> {
        let (told, heard) = mpsc::channel();
        let write = move || {
            for version in heard {
                remember(&store, &app, version, &pump);
            }
        };
        let name = "slug-memory".to_owned();
        let thread = thread::Builder::new().name(name).spawn(write)?;
        Ok(Self {
            told: Some(told),
            thread: Some(thread),
        })
    }

    /// This release was up on this host, and stayed so until its gate closed.
    pub(super) fn proven(&self, version: ReleaseVersion) {
        if let Some(told) = &self.told {
            let _ = told.send(version); // the thread ends after this does
        }
    }
}

fn remember(store: &Store, app: &AppName, version: ReleaseVersion, pump: &Pump) {
    let changed = HostState::change(store, app, |state| state.proven = Some(version));
    if let Err(error) = changed {
        let release = Some(version);
        let source = "slug".to_owned();
        let why = chain(&error);
        let line = format!("that {version} is up could not be remembered: {why}");
        pump.say(Labels { source, release }, &line);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        drop(self.told.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it has nothing to tell
        }
    }
}
