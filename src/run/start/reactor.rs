//! The reactor: one thread that does what the supervisor decides, and tells it
//! what came of it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use rustix::event::EventfdFlags;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::process::Pid;

use super::StartError;
use super::StartOptions;
use super::StartType;
use super::program;
use super::running::Running;
use super::running::processes;
use crate::ident::Instance;
use crate::ident::ReleaseVersion;
use crate::logs::Labels;
use crate::run::formation::StopScope;
use crate::run::supervisor::Action;
use crate::run::supervisor::Ending;
use crate::run::supervisor::Event;
use crate::run::supervisor::Moment;
use crate::run::supervisor::Plan;
use crate::run::supervisor::ProcessId;
use crate::run::supervisor::Supervisor;
use crate::sys::sandbox::Exit;
use crate::sys::tree::Order;
use crate::sys::tree::Report;
use crate::sys::tree::Whom;
use crate::sys::tree::end_strays;
use crate::sys::tree::reap_strays;

/// How long the end of a process waits for its last lines to be read: a stuck terminal must not hold up stop.
const LAST_LINES: Duration = Duration::from_millis(300);
/// How long the last lines may take to be written when all has ended.
const FAREWELL: Duration = Duration::from_secs(2);

/// A process that has ended and whose last lines are being read.
struct Parting {
    instance: Instance,
    ending: Ending,
    due: Instant,
}

pub(super) struct Reactor {
    options: StartOptions,
    supervisor: Supervisor,
    began: Instant,
    running: BTreeMap<ProcessId, Running>,
    parting: BTreeMap<ProcessId, Parting>,
    /// Who ended in this step.
    parted: Option<Instance>,
    /// Written to by the thread that reads logs, when a process's last line was read.
    wake: Arc<OwnedFd>,
    tell_read: mpsc::Sender<ProcessId>,
    read: mpsc::Receiver<ProcessId>,
    /// What ended it all.
    exit_code: Option<i32>,
    is_finished: bool,
}

impl Reactor {
    pub(super) fn new(options: StartOptions) -> Result<Self, StartError> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| StartError("start the reactor", error.into()))?;
        let seed = u64::from_str_radix(&crate::sys::fs::random_hex()[..16], 16);
        let (tell_read, read) = mpsc::channel();
        Ok(Self {
            supervisor: Supervisor::new(BTreeMap::new(), None, seed.unwrap_or_default()),
            began: Instant::now(),
            running: BTreeMap::new(),
            parting: BTreeMap::new(),
            parted: None,
            wake: Arc::new(wake),
            tell_read,
            read,
            exit_code: None,
            is_finished: false,
            options,
        })
    }

    pub(super) fn run(mut self) -> Result<i32, StartError> {
        let types = self.options.types.iter();
        let types = types.map(|of| (of.process_type.clone(), of.plan.clone()));
        let plan = Plan {
            version: ReleaseVersion::FIRST, // there is one, and nobody sees its number
            types: types.collect(),
            has_fallback: false,
        };
        self.step(Event::Released(plan));
        while !self.is_finished {
            let ready = self
                .wait()
                .map_err(|error| StartError("wait for its processes", error))?;
            let mut count = [0; 8];
            let _ = rustix::io::read(&*self.wake, &mut count);
            while let Some(signal) = self.options.signals.take() {
                self.on_signal(signal);
            }
            for id in ready {
                self.hear(id);
            }
            let inits: Vec<Pid> = self.inits().collect();
            reap_strays(&inits);
            self.part();
            let now = self.now();
            if self.supervisor.next_tick().is_some_and(|due| due <= now) {
                self.step(Event::Tick);
            }
        }
        self.options.pump.close(FAREWELL);
        Ok(self.exit_code.unwrap_or_default())
    }

    /// Waits until something happens or is due; says whose tree has something to tell.
    fn wait(&self) -> io::Result<Vec<ProcessId>> {
        let parted = self.parting.values().map(|parting| parting.due);
        let tick = self.supervisor.next_tick().map(|due| self.began + due);
        let due = parted.chain(tick).min();
        // One millisecond more: poll waits for whole ones, and must not wake too early again and again.
        let patience =
            due.map(|due| due.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        let mut watched = vec![
            PollFd::new(&self.options.signals, PollFlags::IN),
            PollFd::new(&*self.wake, PollFlags::IN),
        ];
        let trees = self.running.values();
        watched.extend(trees.map(|running| PollFd::new(&running.tree, PollFlags::IN)));
        match rustix::event::poll(&mut watched, patience.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = watched[2..].iter().zip(self.running.keys());
        let ready = ready.filter(|(fd, _)| !fd.revents().is_empty());
        Ok(ready.map(|(_, id)| *id).collect())
    }

    fn now(&self) -> Moment {
        self.began.elapsed()
    }

    fn inits(&self) -> impl Iterator<Item = Pid> {
        self.running
            .values()
            .filter_map(|running| running.tree.init())
    }

    fn say(&self, line: &str) {
        self.options.pump.say(Labels::slug(), line);
    }

    fn on_signal(&mut self, signal: i32) {
        if signal == libc::SIGCHLD {
            return; // it has woken us: the sockets tell who ended, and strays are reaped each time
        }
        if self.exit_code.is_some() {
            self.step(Event::StopNow);
            return;
        }
        self.say("stopping: each process gets its grace; a second Ctrl-C ends them at once");
        self.stop(128 + signal);
    }

    fn stop(&mut self, exit_code: i32) {
        self.exit_code = Some(exit_code);
        self.step(Event::Stop);
    }

    fn step(&mut self, event: Event) {
        for action in self.supervisor.step([event], self.now()) {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start(id, _, instance) => self.start(id, &instance),
            Action::Signal(id) => {
                if let Some((running, of)) = self.of(id) {
                    let whom = match of.plan.stop_scope {
                        StopScope::Leader => Whom::Leader,
                        StopScope::Group => Whom::Group,
                    };
                    running.tree.signal(of.plan.stop_signal, whom);
                }
            }
            Action::Kill { id, overdue } => {
                if let Some((running, of)) = self.of(id) {
                    if overdue {
                        let (instance, grace) = (&running.instance, of.plan.grace.as_secs_f64());
                        self.say(&format!(
                            "{instance} did not end within {grace} s of its stop signal and is killed"
                        ));
                    }
                    running.tree.kill();
                }
            }
            Action::Backoff { pause, crashes, .. } => self.backoff(pause, crashes),
            Action::Finished => self.is_finished = true,
            // Nothing is routed, and there is one release, without a gate.
            _ => {}
        }
    }

    fn of(&self, id: ProcessId) -> Option<(&Running, &StartType)> {
        let running = self.running.get(&id)?;
        let mut types = self.options.types.iter();
        let of = types.find(|of| of.process_type == running.instance.process_type)?;
        Some((running, of))
    }

    fn start(&mut self, id: ProcessId, instance: &Instance) {
        match self.try_start(instance) {
            Ok(running) => drop(self.running.insert(id, running)),
            Err(error) => {
                let text = format!("could not be started: {error}");
                self.say(&format!("{instance} {text}"));
                let ending = Ending { code: None, text };
                self.parting.insert(
                    id,
                    Parting {
                        instance: instance.clone(),
                        ending,
                        due: Instant::now(),
                    },
                );
            }
        }
    }

    fn try_start(&mut self, instance: &Instance) -> io::Result<Running> {
        let of = self.options.types.iter();
        let of = of
            .clone()
            .find(|of| of.process_type == instance.process_type)
            .ok_or_else(|| io::Error::other("no such type"))?;
        let order = Order {
            program: program(&self.options, of, instance),
            stop_signal: of.plan.stop_signal,
            grace: of.plan.grace,
        };
        let ((out, to_out), (err, to_err)) = (io::pipe()?, io::pipe()?);
        let tree = self
            .options
            .server
            .tree(&order, &to_out.into(), &to_err.into())?;
        let labels = Labels {
            source: instance.to_string(),
            release: None,
        };
        let voice = self.options.pump.listen(labels, out.into(), err.into());
        Ok(Running::new(instance.clone(), tree, voice))
    }

    /// Takes in all that a tree has to tell.
    fn hear(&mut self, id: ProcessId) {
        while let Some(running) = self.running.get_mut(&id) {
            match running.tree.report() {
                Ok(None) => return,
                Ok(Some(Report::Gone)) | Err(_) => return self.gone(id),
                Ok(Some(report)) => {
                    running.note(&report);
                    self.heard(id, &report);
                }
            }
        }
    }

    fn heard(&mut self, id: ProcessId, report: &Report) {
        let Some((running, of)) = self.of(id) else {
            return;
        };
        let instance = running.instance.clone();
        match report {
            Report::Started { pid } => {
                let port = u32::from(of.port) + instance.number.get() - 1;
                self.say(&format!(
                    "{instance} is started: process {pid}, PORT={port}"
                ));
            }
            Report::Ended { exit, left } => {
                // While all is being ended it is no news: a shell ends before what it ran.
                if *left > 0 && self.exit_code.is_none() {
                    let (left, grace) = (processes(*left), of.plan.grace.as_secs_f64());
                    self.say(&format!(
                        "{instance} has ended; what it left ({left}) has {grace} s to end"
                    ));
                }
                self.exit_if_asked(&instance, *exit);
            }
            Report::NotExecuted { .. } => self.exit_if_asked(&instance, Exit::Code(127)),
            Report::Empty { .. } | Report::Gone => {}
        }
    }

    fn exit_if_asked(&mut self, instance: &Instance, exit: Exit) {
        if self.exit_code.is_none() && self.options.exit_on.names(&instance.process_type) {
            self.say(&format!("{instance} has ended, and all ends with it"));
            self.stop(exit.code());
        }
    }

    /// Its init has ended: nothing of its tree is left, or is the reactor's to end.
    fn gone(&mut self, id: ProcessId) {
        let Some(running) = self.running.remove(&id) else {
            return;
        };
        if running.lost_its_init() {
            let keep: Vec<Pid> = self.inits().chain([self.options.server.pid()]).collect();
            if let Err(error) = end_strays(&keep) {
                self.say(&format!(
                    "what {} left running could not be looked for: {error}",
                    running.instance
                ));
            }
        }
        let ending = running.ending();
        let farewell = format!("{} {}", running.instance, ending.text);
        let (wake, read) = (Arc::clone(&self.wake), self.tell_read.clone());
        let then = move || {
            let _ = read.send(id); // nobody waits any more
            let _ = rustix::io::write(&*wake, &1_u64.to_ne_bytes());
        };
        self.options
            .pump
            .ended_then(&running.voice, farewell, Box::new(then));
        self.parting.insert(
            id,
            Parting {
                instance: running.instance,
                ending,
                due: Instant::now() + LAST_LINES,
            },
        );
    }

    /// Those whose last lines were read, or have been waited for long enough, have ended.
    fn part(&mut self) {
        while let Ok(id) = self.read.try_recv() {
            if let Some(parting) = self.parting.get_mut(&id) {
                parting.due = Instant::now();
            }
        }
        let now = Instant::now();
        let due = self.parting.extract_if(.., |_, parting| parting.due <= now);
        for (id, parting) in due.collect::<Vec<_>>() {
            self.parted = Some(parting.instance);
            self.step(Event::Exited(id, parting.ending));
        }
    }

    fn backoff(&self, pause: Duration, crashes: u32) {
        let Some(instance) = &self.parted else {
            return;
        };
        let times = if crashes == 1 {
            "once".to_owned()
        } else {
            format!("{crashes} times")
        };
        self.say(&format!(
            "{instance} is started again in {:.1} s (it has ended {times})",
            pause.as_secs_f64()
        ));
    }
}
