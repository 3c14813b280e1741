//! Own upgrade, in the program that leaves: the next one is tried, waited for
//! until nothing is half done, and left everything.
//!
//! Nothing is half done when no release is being loaded or started, no client of
//! the control socket waits for an answer, and no process has ended that is not
//! told yet. All else is in the state, in a descriptor, or in the kernel.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rustix::time::ClockId;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use super::Message;
use super::Reactor;
use crate::ident::AppName;
use crate::ident::ReleaseVersion;
use crate::logs::Handed;
use crate::logs::HandedState;
use crate::logs::Pump;
use crate::run::control::Replies;
use crate::run::control::Reply;
use crate::run::one_off::chain;
use crate::run::process::Process;
use crate::run::process::ProcessState;
use crate::run::supervisor::ProcessId;
use crate::sys::clock::Timestamp;
use crate::sys::takeover::BadProgram;
use crate::sys::takeover::Bag;
use crate::sys::takeover::Package;
use crate::sys::takeover::Place;
use crate::sys::takeover::Program;
use crate::sys::takeover::Refusal;
use crate::sys::takeover::rehearse;

/// The version of this program.
pub(super) const OWN: &str = env!("CARGO_PKG_VERSION");

/// Why the supervisor goes on as the program that it is.
#[derive(Debug, Error)]
pub enum UpgradeError {
    /// The file is not executed in its place.
    #[error("`{}` is refused", path.display())]
    Program {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: BadProgram,
    },
    /// The program was tried, and cannot take over.
    #[error("`{}` was tried and cannot take over", path.display())]
    Rehearsal {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: Refusal,
    },
    /// Everything is being stopped.
    #[error("the supervisor is stopping")]
    Stopping,
    /// One is on its way.
    #[error("an upgrade is in progress")]
    InProgress,
    /// What is to be left could not be put together.
    #[error("what the next program needs could not be put together")]
    Pack(#[source] io::Error),
}

/// All that is left, as the file holds it.
#[derive(Serialize, Deserialize)]
pub(super) struct Left {
    pub(super) run: State,
    /// What the front says of itself; null in a rehearsal.
    pub(super) front: Value,
    /// None in a rehearsal.
    pub(super) pump: Option<PumpState>,
}

/// What the pump left, and where its pipes are.
#[derive(Serialize, Deserialize)]
pub(super) struct PumpState {
    state: HandedState,
    pipes: Vec<Place>,
}

impl PumpState {
    fn new(handed: Handed, bag: &mut Bag) -> Self {
        Self {
            state: handed.state,
            pipes: handed.pipes.into_iter().map(|pipe| bag.put(pipe)).collect(),
        }
    }

    pub(super) fn handed(self, bag: &mut Bag) -> io::Result<Handed> {
        let pipes: io::Result<Vec<OwnedFd>> =
            self.pipes.into_iter().map(|pipe| bag.take(pipe)).collect();
        Ok(Handed {
            state: self.state,
            pipes: pipes?,
        })
    }
}

/// What the reactor leaves.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    /// The version that wrote it, for people.
    pub(super) slug: String,
    pub(super) app: AppName,
    pub(super) host: String,
    /// What SIGUSR2 executes.
    pub(super) program: PathBuf,
    /// A `Supervisor`.
    pub(super) supervisor: Value,
    /// When the supervisor began, by the clock that never steps and that an exec does not touch.
    pub(super) began_ns: u64,
    pub(super) began_at: Timestamp,
    pub(super) proven: Option<ReleaseVersion>,
    /// The service manager was told so.
    pub(super) is_ready: bool,
    pub(super) unrecorded: Option<ReleaseVersion>,
    pub(super) random: u64,
    pub(super) said: String,
    pub(super) processes: Vec<(ProcessId, ProcessState)>,
    /// Of the claim.
    pub(super) lock: Place,
    pub(super) listener: Place,
    /// The connection of the client that waits for the upgrade.
    pub(super) client: Option<Place>,
}

/// An upgrade that is under way.
pub(super) struct Upgrade {
    path: PathBuf,
    /// Once it was tried.
    program: Option<Program>,
    client: Option<Client>,
}

/// Who asked for it over the control socket.
pub(super) struct Client {
    pub(super) replies: Replies,
    pub(super) connection: OwnedFd,
}

/// What the reactor leaves, and the program that is to have it.
pub(super) struct Leaf {
    run: State,
    front: Value,
    bag: Bag,
    processes: Vec<Process>,
    program: Program,
    arguments: Vec<OsString>,
}

/// Everything, packed for the program that is to be executed.
#[derive(Debug)]
pub struct Leaving {
    /// What it finds.
    pub package: Package,
    /// It.
    pub program: Program,
    /// What it is given after its name, as this one was.
    pub arguments: Vec<OsString>,
}

impl Leaf {
    /// Adds the pump, and lets go of the processes. Every task of the reactor has ended.
    pub(super) fn pack(self, pump: &Pump, patience: Duration) -> Result<Leaving, io::Error> {
        let Self {
            run,
            front,
            mut bag,
            processes,
            program,
            arguments,
        } = self;
        let pump = pump
            .hand_over(patience)
            .map(|handed| PumpState::new(handed, &mut bag));
        let state = serde_json::to_value(Left { run, front, pump })?;
        processes.into_iter().for_each(Process::let_go);
        Ok(Leaving {
            package: Package::new(state, bag),
            program,
            arguments,
        })
    }
}

impl Reactor {
    /// Somebody wants the program at `path` in this one's place: a client, or SIGUSR2.
    pub(super) fn begin_upgrade(&mut self, path: &Path, client: Option<Client>) {
        let tried = if self.is_stopping {
            Err(UpgradeError::Stopping)
        } else if self.upgrade.is_some() {
            Err(UpgradeError::InProgress)
        } else {
            self.try_program(path)
        };
        match tried {
            Ok(()) => {
                self.upgrade = Some(Upgrade {
                    path: path.to_owned(),
                    program: None,
                    client,
                });
            }
            Err(error) => self.refuse_upgrade(client, &error),
        }
    }

    /// On a thread of its own: everything goes on meanwhile.
    fn try_program(&self, path: &Path) -> Result<(), UpgradeError> {
        let opened = Program::open(path);
        let program = opened.map_err(|source| UpgradeError::Program {
            path: path.to_owned(),
            source,
        })?;
        // Descriptors are no part of a rehearsal: these copies are closed again right here.
        let mut bag = Bag::default();
        let run = self
            .state(path, None, &mut bag)
            .map_err(UpgradeError::Pack)?;
        let left = Left {
            run,
            front: Value::Null,
            pump: None,
        };
        let pack = |error: io::Error| UpgradeError::Pack(error);
        let state = serde_json::to_value(left).map_err(|error| pack(error.into()))?;
        self.say(
            None,
            &format!("an upgrade to `{}` is tried", path.display()),
        );
        let (inbox, arguments) = (self.inbox.clone(), self.options.arguments.clone());
        let try_it = move || {
            let tried = rehearse(&program, &arguments, &state).map(|version| (program, version));
            let _ = inbox.send(Message::Tried(Box::new(tried)));
        };
        let thread = thread::Builder::new().name("slug-rehearsal".to_owned());
        thread.spawn(try_it).map(drop).map_err(pack)
    }

    /// The program was tried.
    pub(super) fn on_tried(&mut self, tried: Result<(Program, String), Refusal>) {
        let Some(upgrade) = &mut self.upgrade else {
            return; // a stop came between
        };
        match tried {
            Ok((program, version)) => {
                upgrade.program = Some(program);
                let text =
                    format!("slug {version} was tried, and takes over when nothing is half done");
                if let Some(client) = &upgrade.client {
                    let _ = client.replies.send(Reply::Progress { text });
                }
            }
            Err(source) => {
                let path = upgrade.path.clone();
                self.end_upgrade(&UpgradeError::Rehearsal { path, source });
            }
        }
    }

    /// There is none any more, if there was one.
    pub(super) fn end_upgrade(&mut self, why: &UpgradeError) {
        if let Some(upgrade) = self.upgrade.take() {
            self.door.set_open(true);
            self.refuse_upgrade(upgrade.client, why);
        }
    }

    fn refuse_upgrade(&self, client: Option<Client>, error: &UpgradeError) {
        let why = chain(error);
        self.say(
            None,
            &format!("the upgrade is refused: {why}; slug {OWN} goes on"),
        );
        if let Some(client) = client {
            let _ = client.replies.send(Reply::Refused { why });
        }
    }

    /// Closes the control socket's door while the only thing that is left to do is to leave; says whether it is time.
    pub(super) fn is_time_to_leave(&mut self) -> bool {
        let is_ready = self
            .upgrade
            .as_ref()
            .is_some_and(|upgrade| upgrade.program.is_some());
        let is_settled = self.loading.is_none()
            && self.supervisor.incoming().is_none()
            && self.followers.is_empty()
            && self.stoppers.is_empty()
            && !self.is_stopping;
        self.door.set_open(!(is_ready && is_settled));
        is_ready
            && is_settled
            && self.door.is_empty()
            && !self.processes.values().any(Process::is_ending)
    }

    /// Leaves. On an error nothing has changed.
    pub(super) fn leave(&mut self) -> Result<Leaf, UpgradeError> {
        let upgrade = self.upgrade.as_ref().ok_or(UpgradeError::Stopping)?;
        let connection = upgrade.client.as_ref().map(|client| &client.connection);
        let mut bag = Bag::with_way_back().map_err(UpgradeError::Pack)?;
        let run = self.state(&upgrade.path, connection, &mut bag);
        let run = run.map_err(UpgradeError::Pack)?;
        let front = self.options.front.hand_over(&mut bag);
        let front = front.map_err(UpgradeError::Pack)?;
        let program = self.upgrade.take().and_then(|upgrade| upgrade.program);
        let program = program.ok_or(UpgradeError::Stopping)?;
        self.manager.leave();
        Ok(Leaf {
            run,
            front,
            bag,
            processes: self.processes.drain().map(|(_, process)| process).collect(),
            program,
            arguments: self.options.arguments.clone(),
        })
    }

    /// All that the next program needs of the reactor, copies of the descriptors in the bag.
    fn state(&self, program: &Path, client: Option<&OwnedFd>, bag: &mut Bag) -> io::Result<State> {
        let processes: io::Result<Vec<_>> = self
            .processes
            .iter()
            .map(|(id, process)| Ok((*id, process.state(bag)?)))
            .collect();
        let client = client.map(|client| bag.put_copy(client.as_fd()));
        let elapsed_ns = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Ok(State {
            slug: OWN.to_owned(),
            app: self.options.app.clone(),
            host: self.options.host.clone(),
            program: program.to_owned(),
            supervisor: serde_json::to_value(&self.supervisor)?,
            began_ns: monotonic_ns().saturating_sub(elapsed_ns),
            began_at: self.began_at,
            proven: self.proven,
            is_ready: self.manager.is_ready(),
            unrecorded: self.unrecorded,
            random: self.random,
            said: self.said.borrow().clone(),
            processes: processes?,
            lock: bag.put_copy(self.options.claim.lock.as_fd())?,
            listener: bag.put_copy(self.door.as_fd())?,
            client: client.transpose()?,
        })
    }
}

/// The clock of `Instant`, in nanoseconds.
pub(super) fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    let (seconds, rest) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds * 1_000_000_000 + rest
}

#[cfg(test)]
mod tests;
