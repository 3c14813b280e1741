//! The reactor: one thread that does what the supervisor decides, and tells it
//! what came of it.

mod asked;
mod ledger;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use thiserror::Error;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::control;
use super::control::Replies;
use super::control::Reply;
use super::control::Request;
use super::formation::BadFormation;
use super::formation::HostState;
use super::formation::StateError;
use super::front::Front;
use super::front::Target;
use super::launch::LaunchError;
use super::launch::Loaded;
use super::one_off::chain;
use super::process::Process;
use super::supervisor::Action;
use super::supervisor::Ending;
use super::supervisor::Event;
use super::supervisor::Generation;
use super::supervisor::Moment;
use super::supervisor::ProcessId;
use super::supervisor::Supervisor;
use super::watch::LedgerWatch;
use crate::ident::AppName;
use crate::ident::Instance;
use crate::ident::ReleaseVersion;
use crate::logs::Labels;
use crate::logs::Pump;
use crate::logs::Voice;
use crate::store::Ledger;
use crate::store::Store;
use crate::store::StoreError;
use crate::sys::PathError;
use crate::sys::clock::Timestamp;
use crate::sys::lock::Lock;

/// How long the last lines and access lines may take to be written when all has ended.
const FAREWELL: Duration = Duration::from_secs(2);

/// What `up` is given.
pub struct UpOptions {
    /// Where releases and slugs are.
    pub store: Store,
    /// Which app is supervised.
    pub app: AppName,
    /// This host's name, as rejections write it.
    pub host: String,
    /// The public side.
    pub front: Arc<dyn Front>,
    /// Who reads every process's output.
    pub pump: Pump,
}

/// Why supervising did not begin, or ended otherwise than by being told to.
#[derive(Debug, Error)]
pub enum UpError {
    /// Another `slug up` supervises this app.
    #[error("the app `{0}` is supervised already on this host")]
    Running(AppName),
    /// A file or folder of this host's part of the store.
    #[error(transparent)]
    Path(#[from] PathError),
    /// What this host remembers of the app.
    #[error(transparent)]
    State(#[from] StateError),
    /// The ledger.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The reactor, its signals or its control socket.
    #[error("could not {0}")]
    Io(&'static str, #[source] io::Error),
    /// The only release that could run cannot.
    #[error("{version} cannot run on this host")]
    Release {
        /// Which.
        version: ReleaseVersion,
        /// Why.
        source: ReleaseError,
    },
}

/// Why a release cannot run on this host at all.
#[derive(Debug, Error)]
pub enum ReleaseError {
    /// Its files, its config, or this host's base.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// How its processes are to run.
    #[error(transparent)]
    Formation(#[from] BadFormation),
}

/// What reaches the reactor from its tasks and threads.
enum Message {
    Happened(Event),
    Exited(ProcessId, Ending),
    Loaded(ReleaseVersion, Box<Result<Loaded, LaunchError>>),
    Asked(Request, Replies),
    /// SIGINT or SIGTERM.
    Interrupted,
}

/// Supervises the app until SIGINT, SIGTERM or `slug stop`; returns when every process is gone.
pub fn up(options: UpOptions) -> Result<(), UpError> {
    let folder = options.store.host().join("run");
    crate::sys::fs::create_dir_durable(&folder, 0o700)?;
    let lock = Lock::try_take(&folder.join(format!("{}.lock", options.app)))?;
    let _only_one = lock.ok_or_else(|| UpError::Running(options.app.clone()))?;
    let state = HostState::load(&options.store, &options.app)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| UpError::Io("start the reactor", error))?;
    let (front, pump) = (Arc::clone(&options.front), options.pump.clone());
    let socket = control::socket_path(&options.store, &options.app);
    let ended = LocalSet::new().block_on(&runtime, async {
        let (inbox, received) = mpsc::unbounded_channel();
        let listener = control::listen(&socket)
            .map_err(|error| UpError::Io("make the control socket", error))?;
        let asked = inbox.clone();
        tokio::task::spawn_local(control::serve(listener, move |request, replies| {
            let _ = asked.send(Message::Asked(request, replies));
        }));
        interrupts(&inbox).map_err(|error| UpError::Io("catch signals", error))?;
        Reactor::new(options, state, inbox).run(received).await
    });
    let _ = std::fs::remove_file(&socket);
    front.join(FAREWELL);
    pump.close(FAREWELL);
    ended
}

fn interrupts(inbox: &mpsc::UnboundedSender<Message>) -> io::Result<()> {
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let (mut signals, inbox) = (signal(kind)?, inbox.clone());
        tokio::task::spawn_local(async move {
            while signals.recv().await.is_some() && inbox.send(Message::Interrupted).is_ok() {}
        });
    }
    Ok(())
}

struct Reactor {
    options: UpOptions,
    ledger: Ledger,
    supervisor: Supervisor,
    began: Instant,
    began_at: Timestamp,
    proven: Option<ReleaseVersion>,
    inbox: mpsc::UnboundedSender<Message>,
    processes: HashMap<ProcessId, Process>,
    /// The last lines of those that ended in this step.
    ended: HashMap<ProcessId, Voice>,
    loaded: HashMap<ReleaseVersion, Rc<Loaded>>,
    loading: Option<ReleaseVersion>,
    /// Rejected, though the ledger does not know it.
    unrecorded: Option<ReleaseVersion>,
    followers: Vec<(ReleaseVersion, Replies)>,
    stoppers: Vec<Replies>,
    is_stopping: bool,
    is_finished: bool,
    random: u64,
    /// What was said about the ledger last: it is not said twice in a row.
    said: RefCell<String>,
}

impl Reactor {
    fn new(options: UpOptions, state: HostState, inbox: mpsc::UnboundedSender<Message>) -> Self {
        let random =
            u64::from_str_radix(&crate::sys::fs::random_hex()[..16], 16).unwrap_or_default();
        Self {
            ledger: Ledger::open(&options.store, &options.app),
            supervisor: Supervisor::new(state.scale, random),
            began: Instant::now(),
            began_at: Timestamp::now(),
            proven: state.proven,
            inbox,
            processes: HashMap::new(),
            ended: HashMap::new(),
            loaded: HashMap::new(),
            loading: None,
            unrecorded: None,
            followers: Vec::new(),
            stoppers: Vec::new(),
            is_stopping: false,
            is_finished: false,
            random,
            said: RefCell::default(),
            options,
        }
    }

    async fn run(mut self, mut received: mpsc::UnboundedReceiver<Message>) -> Result<(), UpError> {
        let mut watch = LedgerWatch::new(self.ledger.folder());
        self.look()?;
        while !self.is_finished {
            let tick = self
                .supervisor
                .next_tick()
                .map(|due| tokio::time::Instant::from_std(self.began + due));
            let far = tokio::time::Instant::now() + Duration::from_hours(1);
            tokio::select! {
                message = received.recv() => match message {
                    Some(message) => self.hear(message)?,
                    None => break, // we hold a sender ourselves: this cannot be
                },
                () = tokio::time::sleep_until(tick.unwrap_or(far)) => self.step(Event::Tick),
                () = watch.changed() => {
                    watch.arm();
                    self.look()?;
                }
            }
        }
        for stopper in self.stoppers.drain(..) {
            let _ = stopper.send(Reply::Done);
        }
        tokio::task::yield_now().await; // the replies are written by tasks of this thread
        Ok(())
    }

    fn hear(&mut self, message: Message) -> Result<(), UpError> {
        match message {
            Message::Happened(event) => self.step(event),
            Message::Exited(id, ending) => {
                if let Some(process) = self.processes.remove(&id) {
                    self.ended.insert(id, process.voice.clone());
                }
                self.step(Event::Exited(id, ending));
                self.ended.remove(&id);
            }
            Message::Loaded(version, loaded) => self.on_loaded(version, *loaded)?,
            Message::Asked(request, replies) => self.on_asked(request, replies)?,
            Message::Interrupted if self.is_stopping => self.step(Event::StopNow),
            Message::Interrupted => self.stop(),
        }
        Ok(())
    }

    fn now(&self) -> Moment {
        self.began.elapsed()
    }

    fn say(&self, release: Option<ReleaseVersion>, line: &str) {
        self.options.pump.say(
            Labels {
                source: "slug".to_owned(),
                release,
            },
            line,
        );
    }

    fn stop(&mut self) {
        self.is_stopping = true;
        self.say(
            None,
            "stopping: each process gets its grace; a second Ctrl-C ends them at once",
        );
        self.step(Event::Stop);
    }

    fn step(&mut self, event: Event) {
        for action in self.supervisor.step(event, self.now()) {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start(id, generation, instance) => self.start(id, generation, &instance),
            Action::Signal(id) => self
                .processes
                .get(&id)
                .into_iter()
                .for_each(Process::signal),
            Action::Kill { id, overdue } => self.kill(id, overdue),
            Action::Route { targets, hold } => self.route(&targets, hold),
            Action::WatchIdle(id) => {
                let inbox = self.inbox.clone();
                let tell = move || drop(inbox.send(Message::Happened(Event::Idle(id))));
                self.options.front.when_idle(id.0, Box::new(tell));
            }
            Action::Switched { version, .. } => self.switched(version),
            Action::Undone {
                version,
                failed,
                why,
                ..
            } => self.undone(version, failed, &why),
            Action::Failing {
                version,
                failed,
                why,
            } => self.failing(version, failed, &why),
            Action::Superseded(version) => self.superseded(version),
            Action::Backoff { id, pause, crashes } => self.backoff(id, pause, crashes),
            Action::Forget(_) => self.forget(),
            Action::CloseFront => self.options.front.close(),
            Action::Finished => self.is_finished = true,
        }
    }

    fn start(&mut self, id: ProcessId, generation: Generation, instance: &Instance) {
        let started = self.try_start(generation, instance);
        match started {
            Ok(process) => {
                self.progress(process.version, &format!("{instance} is starting"));
                tokio::task::spawn_local(tell(
                    id,
                    process.clone(),
                    self.options.pump.clone(),
                    self.inbox.clone(),
                ));
                self.processes.insert(id, process);
            }
            Err(error) => {
                let text = format!("could not be started: {}", chain(&error));
                self.say(None, &format!("{instance} {text}"));
                let ending = Ending {
                    is_clean: false,
                    text,
                };
                let _ = self.inbox.send(Message::Exited(id, ending));
            }
        }
    }

    fn try_start(
        &mut self,
        generation: Generation,
        instance: &Instance,
    ) -> Result<Process, LaunchError> {
        let nothing = || LaunchError::NotLoaded(instance.clone());
        let plan = self.supervisor.plan(generation).ok_or_else(nothing)?;
        let loaded = self.loaded.get(&plan.version).ok_or_else(nothing)?;
        let type_plan = plan.types.get(&instance.process_type).ok_or_else(nothing)?;
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Process::start(
            loaded,
            instance,
            type_plan,
            &self.options.pump,
            self.random >> 33,
        )
    }

    fn kill(&self, id: ProcessId, overdue: bool) {
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        if overdue {
            let grace = process.plan.grace.as_secs();
            self.say(
                Some(process.version),
                &format!(
                    "{} did not end within {grace} s of its stop signal and is killed (R12)",
                    process.instance
                ),
            );
        }
        process.kill();
    }

    fn route(&self, targets: &[ProcessId], hold: bool) {
        let target = |id: &ProcessId| {
            let process = self.processes.get(id)?;
            let (instance, release) = (process.instance.clone(), process.version);
            Some(Target {
                id: id.0,
                instance,
                release,
                address: process.address()?,
            })
        };
        let targets: Vec<Target> = targets.iter().filter_map(target).collect();
        self.options.front.route(&targets, hold);
    }

    fn switched(&mut self, version: ReleaseVersion) {
        self.say(Some(version), &format!("{version} is up"));
        if self.proven != Some(version) {
            self.proven = Some(version);
            let remembered = HostState::change(&self.options.store, &self.options.app, |state| {
                state.proven = Some(version);
            });
            if let Err(error) = remembered {
                self.say(
                    Some(version),
                    &format!(
                        "that {version} is up could not be remembered: {}",
                        chain(&error)
                    ),
                );
            }
        }
        self.settle_followers(version, &Reply::Switched { version });
    }

    fn undone(&mut self, version: ReleaseVersion, failed: ProcessId, why: &str) {
        let tail = self.tail(failed);
        if self.supervisor.current() == Some(version) {
            self.say(Some(version), &format!("the restart was undone: {why}"));
            return;
        }
        self.reject(version, why, &tail);
    }

    fn failing(&mut self, version: ReleaseVersion, failed: ProcessId, why: &str) {
        let tail = self.tail(failed);
        let why = format!(
            "{version} is not up: {why}; it is tried again, for there is no release to go back to\n{tail}"
        );
        self.settle_followers(
            version,
            &Reply::Refused {
                why: why.trim_end().to_owned(),
            },
        );
    }

    fn superseded(&mut self, version: ReleaseVersion) {
        let by = self.supervisor.incoming().or(self.supervisor.current());
        // A release can take its own place: a restart that is asked for again.
        if let Some(by) = by.filter(|by| *by != version) {
            self.say(
                Some(version),
                &format!("{version} is given up before it was ready: {by} is released"),
            );
            self.settle_followers(version, &Reply::Superseded { by });
        }
    }

    fn backoff(&self, id: ProcessId, pause: Duration, crashes: u32) {
        let Some(voice) = self.ended.get(&id) else {
            return;
        };
        let Labels { source, release } = voice.labels();
        let times = if crashes == 1 {
            "once".to_owned()
        } else {
            format!("{crashes} times")
        };
        self.say(
            *release,
            &format!(
                "{source} is started again in {:.1} s (it has ended {times})",
                pause.as_secs_f64()
            ),
        );
    }

    fn forget(&mut self) {
        let supervisor = &self.supervisor;
        let needed: Vec<ReleaseVersion> = supervisor.versions().collect();
        self.loaded.retain(|version, _| needed.contains(version));
    }

    fn tail(&self, id: ProcessId) -> String {
        let voice = self
            .ended
            .get(&id)
            .or_else(|| self.processes.get(&id).map(|process| &process.voice));
        voice.map(Voice::tail).unwrap_or_default()
    }

    fn progress(&self, version: ReleaseVersion, text: &str) {
        for (_, replies) in self
            .followers
            .iter()
            .filter(|(followed, _)| *followed == version)
        {
            let _ = replies.send(Reply::Progress {
                text: text.to_owned(),
            });
        }
    }

    /// Tells those who follow this release how it ended.
    fn settle_followers(&mut self, version: ReleaseVersion, reply: &Reply) {
        self.followers.retain(|(followed, replies)| {
            let is_over = *followed == version;
            if is_over {
                let _ = replies.send(reply.clone());
            }
            !is_over
        });
    }
}

/// Tells the reactor when a process is ready, and when it has ended.
async fn tell(id: ProcessId, process: Process, pump: Pump, inbox: mpsc::UnboundedSender<Message>) {
    let ready = async {
        process.ready().await;
        let _ = inbox.send(Message::Happened(Event::Ready(id)));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ending = process.ended(&pump) => drop(inbox.send(Message::Exited(id, ending))),
        () = ready => {}
    }
}
