//! A started process, and what is told about it.

mod handed;

use std::cell::Cell;
use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
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
use super::one_off::chain;
use super::one_off::nothing;
use super::pipe::pipe;
use super::port::Port;
use super::probe;
use super::supervisor::Ending;
use crate::ident::Instance;
use crate::ident::ReleaseVersion;
use crate::logs::Labels;
use crate::logs::Pump;
use crate::logs::Voice;
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
}

impl Process {
    /// Starts it; that it was executed is known later: `attend`.
    pub(super) fn start(
        loaded: &Loaded,
        instance: &Instance,
        plan: &TypePlan,
        pump: &Pump,
        random: u64,
    ) -> Result<Self, LaunchError> {
        let port = if plan.is_routed {
            Some(Port::claim(random).map_err(LaunchError::Port)?)
        } else {
            None
        };
        let command = Command::Type(Some(instance.process_type.clone()), Vec::new());
        let spec = loaded.spec(&command, instance, port.as_ref().map(Port::number))?;
        let pipe = || pipe(spec.uid).map_err(LaunchError::Pipe);
        let ((out, to_out), (err, to_err)) = (pipe()?, pipe()?);
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
        self.child.borrow().kill();
    }

    /// Waits until its check passes, which may be never.
    pub(super) async fn ready(&self) {
        match self.address() {
            Some(address) => probe::until_ready(address, &self.plan.check).await,
            None => std::future::pending().await,
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
