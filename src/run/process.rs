//! A started process, and what is told about it.

mod handed;

use std::cell::Cell;
use std::cell::RefCell;
use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

pub(super) use handed::ProcessState;
use tokio::sync::oneshot;

use super::formation::StopScope;
use super::formation::TypePlan;
use super::launch::Command;
use super::launch::LaunchError;
use super::launch::Loaded;
use super::limits;
use super::one_off::chain;
use super::one_off::nothing;
use super::pipe::pipe;
use super::pipe::terminal;
use super::port::Port;
use super::probe::Asked;
use super::supervisor::Ending;
use super::watch::FileWatch;
use crate::ident::Instance;
use crate::ident::ReleaseVersion;
use crate::logs::Labels;
use crate::logs::Pump;
use crate::logs::Voice;
use crate::sys::cgroup::Leaf;
use crate::sys::cgroup::Tree;
use crate::sys::readable::Readable;
use crate::sys::sandbox;
use crate::sys::sandbox::Child;
use crate::sys::sandbox::Exit;
use crate::sys::sandbox::Scope;
use crate::sys::sandbox::Streams;

/// How long the end of a process waits for its last lines to be read: a stuck terminal must not hold up stop.
const LAST_LINES: Duration = Duration::from_millis(300);

/// A started process; kills all in its sandbox when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) instance: Instance,
    pub(super) version: ReleaseVersion,
    pub(super) plan: TypePlan,
    pub(super) voice: Voice,
    port: Option<Rc<Port>>,
    child: Rc<RefCell<Child>>,
    /// It was waited for, which can be done once, and its end is being told.
    is_ending: Rc<Cell<bool>>,
    /// Its cgroup, if it is limited. After `child`: it can be removed when that has ended.
    leaf: Option<Rc<Leaf>>,
    /// How often it was told that the kernel killed one of its processes for memory.
    memory_kills: Rc<Cell<u64>>,
}

impl Process {
    /// Starts it; that it was executed is known later: `attend`.
    pub(super) fn start(
        loaded: &Loaded,
        instance: &Instance,
        plan: &TypePlan,
        pump: &Pump,
        tree: Option<&Tree>,
        random: u64,
    ) -> Result<Self, LaunchError> {
        let port = if plan.is_routed {
            Some(Port::claim(random).map_err(LaunchError::Port)?)
        } else {
            None
        };
        let command = Command::Type(Some(instance.process_type.clone()), Vec::new());
        let mut spec = loaded.spec(&command, instance, port.as_ref().map(Port::number))?;
        spec.limits.nofile = plan.limits.nofile.map(u64::from);
        let leaf = match (tree, limits::of_leaf(&plan.limits)) {
            (Some(tree), Some(limits)) => {
                Some(tree.leaf(&format!("{instance}-{random:x}"), &limits)?)
            }
            _ => None,
        };
        spec.limits.cgroup = leaf.as_ref().map(|leaf| leaf.folder().to_owned());
        let (out, to_out, err, to_err) = outputs(spec.uid, plan.tty).map_err(LaunchError::Pipe)?;
        let streams = Streams {
            stdin: nothing()?,
            stdout: to_out,
            stderr: to_err,
        };
        let child = sandbox::launch(Path::new("/proc/self/exe"), &spec, streams)?;
        let labels = Labels {
            source: instance.to_string(),
            release: Some(loaded.version()),
        };
        Ok(Self {
            instance: instance.clone(),
            version: loaded.version(),
            plan: plan.clone(),
            voice: pump.listen(labels, out, err),
            port: port.map(Rc::new),
            child: Rc::new(RefCell::new(child)),
            is_ending: Rc::default(),
            leaf: leaf.map(Rc::new),
            memory_kills: Rc::default(),
        })
    }

    /// The init of its sandbox, as the host numbers it; none once that was reaped, for then another may have the number.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.borrow().live_pid()
    }

    /// Where it listens once it is ready; none if it is not routed.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.port
            .as_ref()
            .map(|port| (Ipv4Addr::LOCALHOST, port.number()).into())
    }

    /// Asks it to end, by the signal of its type.
    pub(super) fn signal(&self) {
        let scope = match self.plan.stop_scope {
            StopScope::Leader => Scope::Leader,
            StopScope::Group => Scope::All,
        };
        self.child.borrow().signal(self.plan.stop_signal, scope);
    }

    /// Ends all in its sandbox.
    pub(super) fn kill(&self) {
        if let Some(leaf) = &self.leaf {
            leaf.kill();
        }
        self.child.borrow().kill();
    }

    /// Waits until its check passes, which may be never.
    pub(super) async fn ready(&self) {
        self.asked().until_ready(&self.plan.check).await;
    }

    /// Waits until it does not live any more, which may be never; says why.
    pub(super) async fn dead(&self) -> String {
        let Some(liveness) = &self.plan.liveness else {
            return std::future::pending().await;
        };
        let why = self.asked().until_dead(liveness).await;
        format!("{} {why}", self.instance)
    }

    fn asked(&self) -> Asked {
        Asked {
            address: self.address(),
            child: Rc::clone(&self.child),
        }
    }

    /// Waits until it has ended and its last lines were read; says how it ended.
    pub(super) async fn ended(&self, pump: &Pump) -> Ending {
        let exit = self.exit().await;
        self.is_ending.set(true);
        let ending = match exit {
            Ok(exit) => Ending {
                code: Some(exit.code()),
                text: words(exit),
            },
            Err(error) => Ending {
                code: None,
                text: format!("could not be started: {}", chain(&error)),
            },
        };
        self.tell_of_memory(pump);
        let (tell, read) = oneshot::channel();
        let farewell = format!("{} {}", self.instance, ending.text);
        pump.ended_then(
            &self.voice,
            farewell,
            Box::new(move || {
                let _ = tell.send(()); // nobody waits any more
            }),
        );
        let _ = tokio::time::timeout(LAST_LINES, read).await;
        ending
    }

    /// It has ended, and that is not told yet.
    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.get()
    }

    /// Tells each time that memory runs out, until it is dropped.
    pub(super) async fn watch_memory(&self, pump: &Pump) {
        let events = self.leaf.as_ref().map(|leaf| leaf.memory_events());
        let Some(watch) = events.and_then(|events| FileWatch::new(&events)) else {
            return std::future::pending().await; // it is not limited
        };
        loop {
            watch.changed().await;
            self.tell_of_memory(pump);
        }
    }

    /// Says that the kernel killed a process of it for memory, if that was not said yet.
    fn tell_of_memory(&self, pump: &Pump) {
        let leaf = self.leaf.as_ref();
        let kills = leaf.map_or(0, |leaf| leaf.out_of_memory_kills());
        if kills > self.memory_kills.replace(kills) {
            let release = Some(self.version);
            let source = "slug".to_owned();
            let mib = self.plan.limits.memory.unwrap_or_default() >> 20;
            let line = format!(
                "{} ran out of its memory ({mib} MiB): the kernel has killed {kills} of its processes (R15)",
                self.instance
            );
            pump.say(Labels { source, release }, &line);
        }
    }

    async fn exit(&self) -> Result<Exit, LaunchError> {
        let (report, exited) = {
            let child = self.child.borrow();
            (watched(child.report_fd())?, watched(child.exited_fd())?)
        };
        while !self.child.borrow_mut().try_started()? {
            report.wait().await.map_err(LaunchError::Pipe)?;
        }
        drop(report);
        loop {
            if let Some(exit) = self.child.borrow_mut().try_wait()? {
                return Ok(exit);
            }
            exited.wait().await.map_err(LaunchError::Pipe)?;
        }
    }
}

/// What its output is read from, and what it is written to: two pipes, or one terminal, which its errors go to as well.
fn outputs(uid: u32, tty: bool) -> io::Result<(OwnedFd, OwnedFd, OwnedFd, OwnedFd)> {
    if tty {
        let (out, to_out) = terminal(uid)?;
        let (nothing, _) = pipe(uid)?;
        let to_err = to_out.try_clone()?;
        return Ok((out, to_out, nothing, to_err));
    }
    let ((out, to_out), (err, to_err)) = (pipe(uid)?, pipe(uid)?);
    Ok((out, to_out, err, to_err))
}

fn watched(fd: BorrowedFd<'_>) -> Result<Readable, LaunchError> {
    fd.try_clone_to_owned()
        .and_then(Readable::watch)
        .map_err(LaunchError::Pipe)
}

/// `exited with code 1`.
pub(super) fn words(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exited with code {code}"),
        Exit::Signal(signal) => format!("was ended by signal {signal}"),
    }
}
