//! Own upgrade, in the program that takes over: first all that can fail is
//! done, while there is a way back; then what was left is taken out.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use thiserror::Error;

use super::Claim;
use super::Reactor;
use super::handover::Left;
use super::handover::OWN;
use super::handover::PumpState;
use super::handover::State;
use super::handover::monotonic_ns;
use crate::ident::AppName;
use crate::ident::ReleaseVersion;
use crate::logs::Adopted;
use crate::logs::Labels;
use crate::logs::Pump;
use crate::logs::PumpError;
use crate::logs::Sink;
use crate::run::control;
use crate::run::control::Reply;
use crate::run::launch::LaunchError;
use crate::run::launch::Loaded;
use crate::run::process::Process;
use crate::run::supervisor::ProcessId;
use crate::run::supervisor::Supervisor;
use crate::store::Ledger;
use crate::store::Store;
use crate::store::StoreError;
use crate::sys::lock::Lock;
use crate::sys::takeover::Bag;
use crate::sys::takeover::Package;
use crate::sys::takeover::let_signals_in;

/// Why a program cannot take over what it found.
#[derive(Debug, Error)]
pub enum ResumeError {
    /// It was written by a version whose state this one does not read.
    #[error("the state is not understood: {0}")]
    Garbled(#[from] serde_json::Error),
    /// The ledger.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A release that runs could not be read.
    #[error("{version} could not be read")]
    Release {
        /// Which.
        version: ReleaseVersion,
        /// Why.
        source: LaunchError,
    },
}

/// What was left, read and found good. Nothing has been taken yet.
pub struct Found {
    left: Left,
    supervisor: Supervisor,
    loaded: HashMap<ReleaseVersion, Loaded>,
}

impl Found {
    /// Reads it, and the releases that it is about.
    pub fn read(package: &Package, store: &Store) -> Result<Self, ResumeError> {
        let left: Left = serde::Deserialize::deserialize(package.state())?;
        let supervisor: Supervisor = serde::Deserialize::deserialize(&left.run.supervisor)?;
        let ledger = Ledger::open(store, &left.run.app);
        let mut loaded = HashMap::new();
        for version in supervisor.versions() {
            let record = ledger.get(version)?.record;
            let read = Loaded::load(store, &record, &mut |_| {});
            let read = read.map_err(|source| ResumeError::Release { version, source })?;
            loaded.insert(version, read);
        }
        Ok(Self {
            left,
            supervisor,
            loaded,
        })
    }

    /// Whose processes they are.
    pub fn app(&self) -> &AppName {
        &self.left.run.app
    }

    /// What the ledger calls this host.
    pub fn host(&self) -> &str {
        &self.left.run.host
    }

    /// What SIGUSR2 executes next.
    pub fn program(&self) -> &Path {
        &self.left.run.program
    }

    /// Takes it. From here on there is no way back.
    pub fn take(self, package: Package) -> Resumed {
        let refused = package.refused().map(str::to_owned);
        let (_, bag, held_back) = package.open();
        let Left { run, front, pump } = self.left;
        Resumed {
            run,
            supervisor: self.supervisor,
            front,
            pump,
            loaded: self.loaded,
            voices: None,
            bag,
            held_back,
            refused,
        }
    }
}

/// What was left, in the hands of the program that took over.
pub struct Resumed {
    pub(super) run: State,
    pub(super) supervisor: Supervisor,
    front: Value,
    pump: Option<PumpState>,
    pub(super) loaded: HashMap<ReleaseVersion, Loaded>,
    voices: Option<Adopted>,
    bag: Bag,
    held_back: Option<u64>,
    refused: Option<String>,
}

impl Resumed {
    /// What the front said of itself, and the bag with its descriptors.
    pub fn front(&mut self) -> (Value, &mut Bag) {
        (self.front.take(), &mut self.bag)
    }

    /// The pump goes on, with these sinks.
    pub fn pump(&mut self, sinks: Vec<Box<dyn Sink>>) -> Result<Pump, PumpError> {
        let adopted = match self.pump.take() {
            Some(pump) => Pump::adopt(pump.handed(&mut self.bag)?, sinks)?,
            // That of the program before had died, and its pipes with it.
            None => Adopted {
                pump: Pump::start(sinks)?,
                voices: BTreeMap::new(),
            },
        };
        let pump = adopted.pump.clone();
        self.voices = Some(adopted);
        Ok(pump)
    }

    /// The right to supervise the app, which was never let go.
    pub fn claim(&mut self) -> io::Result<Claim> {
        let lock = Lock::adopt(self.bag.take(self.run.lock)?);
        Ok(Claim { lock })
    }

    pub(super) fn listener(&mut self) -> io::Result<OwnedFd> {
        self.bag.take(self.run.listener)
    }

    /// The processes, each with the voice that it had.
    pub(super) fn processes(&mut self) -> io::Result<HashMap<ProcessId, Process>> {
        let left = mem::take(&mut self.run.processes);
        let Some(adopted) = &self.voices else {
            return Err(io::Error::other("the pump was not taken over"));
        };
        let bag = &mut self.bag;
        let voice = |number: u64, labels: &Labels| adopted.voice(number, labels);
        let processes = left
            .into_iter()
            .map(|(id, state)| Ok((id, Process::adopt(state, voice, bag)?)));
        processes.collect()
    }

    /// When the supervisor began, as this program counts.
    pub(super) fn began(&self) -> Instant {
        let elapsed = Duration::from_nanos(monotonic_ns().saturating_sub(self.run.began_ns));
        let now = Instant::now();
        now.checked_sub(elapsed).unwrap_or(now)
    }

    /// Everything goes on: signals are let in, and whoever asked is told. Says what there is to say of it.
    pub(super) fn finish(mut self) -> io::Result<(Supervisor, String)> {
        let_signals_in(self.held_back)?;
        let from = self.run.slug.clone();
        let (reply, line) = match self.refused.take() {
            None => {
                let line = format!("slug {OWN} has taken over from slug {from}");
                let to = OWN.to_owned();
                (Reply::Upgraded { from, to }, line)
            }
            Some(why) => {
                let line = format!("the upgrade is undone: {why}; slug {OWN} goes on");
                (Reply::Refused { why }, line)
            }
        };
        if let Some(client) = self.run.client {
            // It may have gone away: then nobody is told.
            let _ = self
                .bag
                .take(client)
                .and_then(|connection| control::answer(connection, &reply));
        }
        Ok((self.supervisor, line))
    }
}

impl Reactor {
    /// Goes on where the program before left off.
    pub(super) fn resume(&mut self, mut resumed: Resumed) -> io::Result<()> {
        let processes = resumed.processes()?;
        self.began = resumed.began();
        self.began_at = resumed.run.began_at;
        self.proven = resumed.run.proven;
        self.manager.resume(resumed.run.is_ready);
        self.unrecorded = resumed.run.unrecorded;
        self.random = resumed.run.random;
        *self.said.borrow_mut() = mem::take(&mut resumed.run.said);
        let loaded = mem::take(&mut resumed.loaded).into_iter();
        self.loaded = loaded
            .map(|(version, loaded)| (version, Rc::new(loaded)))
            .collect();
        let is_new = resumed.refused.is_none();
        let (supervisor, line) = resumed.finish()?;
        self.supervisor = supervisor;
        let seen = self.supervisor.seen();
        let in_state = |state: &'static str| {
            let of_state = seen.iter().filter(move |seen| seen.state == state);
            of_state
                .filter_map(|seen| seen.id)
                .collect::<Vec<ProcessId>>()
        };
        let starting = in_state("starting");
        for (id, process) in processes {
            self.watch(id, process, !starting.contains(&id));
        }
        let (targets, hold) = self.supervisor.routed();
        self.route(targets, hold);
        if is_new {
            self.options.front.renew();
        }
        for id in in_state("draining") {
            self.watch_idle(id);
        }
        self.say(None, &line);
        Ok(())
    }
}
