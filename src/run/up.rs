//! The reactor: one thread that does what the supervisor decides, and tells it
//! what came of it.

mod act;
mod asked;
mod handover;
mod ledger;
mod manager;
mod memory;
mod resume;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use handover::Leaf;
pub use handover::Leaving;
use handover::Upgrade;
pub use handover::UpgradeError;
use ledger::PutOff;
use manager::Manager;
use memory::Memory;
pub use resume::Found;
pub use resume::ResumeError;
pub use resume::Resumed;
use thiserror::Error;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::control;
use super::control::Asked;
use super::control::Door;
use super::control::Replies;
use super::control::Reply;
use super::formation::BadFormation;
use super::formation::HostState;
use super::formation::StateError;
use super::front::Front;
use super::launch::LaunchError;
use super::launch::Loaded;
use super::limits::Enforcer;
use super::process::Process;
use super::supervisor::Ending;
use super::supervisor::Event;
use super::supervisor::Moment;
use super::supervisor::ProcessId;
use super::supervisor::Supervisor;
use super::watch::LedgerWatch;
use crate::ident::AppName;
use crate::ident::ProcessType;
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
use crate::sys::notify::Notify;
use crate::sys::orphans;
use crate::sys::signal::is_ignored;
use crate::sys::takeover::Program;
use crate::sys::takeover::Refusal;

/// A dead child that nobody has waited for in so long is an orphan.
const ORPHAN_MIN: Duration = Duration::from_secs(1);
/// How many events are looked at together, at most.
const EVENTS_MAX: usize = 1000;
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
    /// The right to supervise the app.
    pub claim: Arc<Claim>,
    /// What limits processes.
    pub enforcer: Enforcer,
    /// With the end of a process of this type everything ends.
    pub exit_on: Option<ProcessType>,
    /// The service manager that started us.
    pub notify: Notify,
    /// The path that this program was started from: SIGUSR2 upgrades to what is there then.
    pub program: PathBuf,
    /// What this program was given after its name: the next one is given the same.
    pub arguments: Vec<OsString>,
    /// What the program before this one left; none if this is the first.
    pub resumed: Option<Resumed>,
}

/// How supervising came to its end.
pub enum Ended {
    /// Every process is gone. The code is that of the process that everything ended with, if one did.
    Stopped(Option<i32>),
    /// Every process goes on, and everything is packed for another program, which is to be executed at once.
    Replaced(Box<Leaving>),
}

/// The same, as the reactor says it.
enum End {
    Stopped(Option<i32>),
    Leaves(Box<Leaf>),
}

/// The sole right to supervise an app on this host; ends when dropped, or with the process.
#[derive(Debug)]
pub struct Claim {
    lock: Lock,
}

impl Claim {
    /// Takes it; refused while another supervisor has it.
    pub fn take(store: &Store, app: &AppName) -> Result<Self, UpError> {
        let folder = store.host().join("run");
        crate::sys::fs::create_dir_durable(&folder, 0o700)?;
        let lock = Lock::try_take(&folder.join(format!("{app}.lock")))?;
        let lock = lock.ok_or_else(|| UpError::Running(app.clone()))?;
        Ok(Self { lock })
    }
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
    /// What could not be loaded may be tried again.
    TryAgain,
    Asked(Asked),
    /// SIGINT or SIGTERM.
    Interrupted,
    /// SIGUSR2.
    Upgrade,
    /// The program that is to take over was tried.
    Tried(Box<Result<(Program, String), Refusal>>),
}

/// Supervises the app until SIGINT, SIGTERM, a hang-up, `slug stop`, or the end of a process of `exit_on`; returns when
/// every process is gone, or when another program is to go on with all of them.
pub fn up(mut options: UpOptions) -> Result<Ended, UpError> {
    let mut resumed = options.resumed.take();
    let state = HostState::load(&options.store, &options.app)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| UpError::Io("start the reactor", error))?;
    let (front, pump) = (Arc::clone(&options.front), options.pump.clone());
    let _until_the_end = Arc::clone(&options.claim);
    front.maintenance(state.maintenance.clone());
    let socket = control::socket_path(&options.store, &options.app);
    let memory = Memory::start(options.store.clone(), options.app.clone(), pump.clone())
        .map_err(|error| UpError::Io("start the thread that remembers", error))?;
    let ended = LocalSet::new().block_on(&runtime, async {
        let (inbox, received) = mpsc::unbounded_channel();
        let listener = match &mut resumed {
            Some(resumed) => resumed.listener().and_then(control::listen_on),
            None => control::listen(&socket),
        };
        let listener = listener.map_err(|error| UpError::Io("make the control socket", error))?;
        let asked = inbox.clone();
        let door = Door::open(listener, move |it| {
            let _ = asked.send(Message::Asked(it));
        });
        inherit_orphans().map_err(|error| UpError::Io("catch signals", error))?;
        signals(&inbox).map_err(|error| UpError::Io("catch signals", error))?;
        let mut reactor = Reactor::new(options, state, memory, door, inbox);
        if let Some(resumed) = resumed {
            reactor.resume(resumed).map_err(took_over)?;
        }
        reactor.run(received).await
    });
    let ended = match ended {
        Ok(End::Leaves(leaf)) => {
            let packed = leaf.pack(&pump, FAREWELL);
            let failed = |error| UpError::Io("leave everything to the next program", error);
            return packed
                .map(|leaving| Ended::Replaced(Box::new(leaving)))
                .map_err(failed);
        }
        Ok(End::Stopped(code)) => Ok(Ended::Stopped(code)),
        Err(error) => Err(error),
    };
    let _ = std::fs::remove_file(&socket);
    front.join(FAREWELL);
    pump.close(FAREWELL);
    ended
}

fn took_over(error: io::Error) -> UpError {
    UpError::Io("take over what the program before left", error)
}

/// A terminal that hangs up stops everything as Ctrl-C does, unless `nohup` said that it shall not.
fn signals(inbox: &mpsc::UnboundedSender<Message>) -> io::Result<()> {
    let interrupted = || Message::Interrupted;
    hear_signal(SignalKind::interrupt(), inbox, interrupted)?;
    hear_signal(SignalKind::terminate(), inbox, interrupted)?;
    if !is_ignored(libc::SIGHUP) {
        hear_signal(SignalKind::hangup(), inbox, interrupted)?;
    }
    hear_signal(SignalKind::user_defined2(), inbox, || Message::Upgrade)
}

fn hear_signal(
    kind: SignalKind,
    inbox: &mpsc::UnboundedSender<Message>,
    message: fn() -> Message,
) -> io::Result<()> {
    let (mut signals, inbox) = (signal(kind)?, inbox.clone());
    tokio::task::spawn_local(async move {
        while signals.recv().await.is_some() && inbox.send(message()).is_ok() {}
    });
    Ok(())
}

/// As PID 1 it is the parent of all that lose theirs.
fn inherit_orphans() -> io::Result<()> {
    if orphans::are_mine() {
        tokio::task::spawn_local(reap_orphans(signal(SignalKind::child())?));
    }
    Ok(())
}

/// A child of its own is waited for as soon as it has ended: what
/// has been dead for longer is nobody's.
async fn reap_orphans(mut ends: tokio::signal::unix::Signal) {
    loop {
        let mut dead = orphans::dead();
        while !dead.is_empty() {
            tokio::time::sleep(ORPHAN_MIN).await;
            let now = orphans::dead();
            for pid in now.iter().filter(|pid| dead.contains(*pid)) {
                orphans::reap(*pid);
            }
            dead = now;
            dead.retain(|pid| orphans::is_dead(*pid));
        }
        ends.recv().await;
    }
}

struct Reactor {
    options: UpOptions,
    ledger: Ledger,
    supervisor: Supervisor,
    manager: Manager,
    began: Instant,
    began_at: Timestamp,
    proven: Option<ReleaseVersion>,
    memory: Memory,
    door: Door,
    upgrade: Option<Upgrade>,
    /// Of the process that everything ended with.
    exit_code: Option<i32>,
    inbox: mpsc::UnboundedSender<Message>,
    processes: HashMap<ProcessId, Process>,
    /// The last lines of those that ended in this step.
    ended: HashMap<ProcessId, Voice>,
    loaded: HashMap<ReleaseVersion, Rc<Loaded>>,
    loading: Option<ReleaseVersion>,
    put_off: Option<PutOff>,
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
    fn new(
        mut options: UpOptions,
        state: HostState,
        memory: Memory,
        door: Door,
        inbox: mpsc::UnboundedSender<Message>,
    ) -> Self {
        let random =
            u64::from_str_radix(&crate::sys::fs::random_hex()[..16], 16).unwrap_or_default();
        Self {
            ledger: Ledger::open(&options.store, &options.app),
            supervisor: Supervisor::new(state.scale, options.exit_on.clone(), random),
            manager: Manager::new(mem::take(&mut options.notify)),
            began: Instant::now(),
            began_at: Timestamp::now(),
            proven: state.proven,
            memory,
            door,
            upgrade: None,
            exit_code: None,
            inbox,
            processes: HashMap::new(),
            ended: HashMap::new(),
            loaded: HashMap::new(),
            loading: None,
            put_off: None,
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

    async fn run(mut self, mut received: mpsc::UnboundedReceiver<Message>) -> Result<End, UpError> {
        let mut watch = LedgerWatch::new(self.ledger.folder());
        self.look()?;
        while !self.is_finished {
            if self.is_time_to_leave() && received.is_empty() {
                match self.leave() {
                    Ok(leaf) => return Ok(End::Leaves(Box::new(leaf))),
                    Err(error) => self.end_upgrade(&error),
                }
            }
            let tick = self
                .supervisor
                .next_tick()
                .map(|due| tokio::time::Instant::from_std(self.began + due));
            let far = tokio::time::Instant::now() + Duration::from_hours(1);
            self.manager.tell(self.stage());
            let beat = self.manager.next_beat().map(tokio::time::Instant::from_std);
            tokio::select! {
                message = received.recv() => match message {
                    Some(message) => self.hear(message, &mut received)?,
                    None => break, // we hold a sender ourselves: this cannot be
                },
                () = tokio::time::sleep_until(tick.unwrap_or(far)) => self.step([Event::Tick]),
                () = tokio::time::sleep_until(beat.unwrap_or(far)) => self.manager.beat(),
                () = watch.changed() => {
                    watch.arm();
                    self.look()?;
                }
                () = self.door.left() => {} // it may be time to leave
            }
        }
        for stopper in self.stoppers.drain(..) {
            let _ = stopper.send(Reply::Done);
        }
        tokio::task::yield_now().await; // the replies are written by tasks of this thread
        Ok(End::Stopped(self.exit_code))
    }

    /// What waits is heard together: where hundreds of processes end at once, one look at all of them is enough.
    fn hear(
        &mut self,
        first: Message,
        received: &mut mpsc::UnboundedReceiver<Message>,
    ) -> Result<(), UpError> {
        let mut events = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Happened(event) => {
                    if let Event::Unhealthy(_, why) = &event {
                        self.say(None, &format!("{why}: it is ended"));
                    }
                    events.push(event);
                }
                Message::Exited(id, ending) => {
                    if let Some(process) = self.processes.remove(&id) {
                        self.ended.insert(id, process.voice.clone());
                    }
                    events.push(Event::Exited(id, ending));
                }
                Message::Loaded(version, loaded) => {
                    self.step(mem::take(&mut events));
                    self.on_loaded(version, *loaded)?;
                }
                Message::TryAgain => self.on_try_again()?,
                Message::Asked(asked) => {
                    self.step(mem::take(&mut events));
                    self.on_asked(asked)?;
                }
                Message::Upgrade => {
                    let program = self.options.program.clone();
                    self.begin_upgrade(&program, None);
                }
                Message::Tried(tried) => self.on_tried(*tried),
                Message::Interrupted if self.is_stopping => events.push(Event::StopNow),
                Message::Interrupted => self.stop(),
            }
            let has_room = events.len() < EVENTS_MAX;
            next = has_room.then(|| received.try_recv().ok()).flatten();
        }
        self.step(events);
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
        self.end_upgrade(&UpgradeError::Stopping);
        self.say(
            None,
            "stopping: each process gets its grace; a second Ctrl-C ends them at once",
        );
        self.step([Event::Stop]);
    }

    fn step(&mut self, events: impl IntoIterator<Item = Event>) {
        for action in self.supervisor.step(events, self.now()) {
            self.act(action);
        }
        self.ended.clear();
    }
}

/// Tells the reactor when a process is ready, if it does not know that, and when it has ended.
async fn tell(
    id: ProcessId,
    process: Process,
    is_ready: bool,
    pump: Pump,
    inbox: mpsc::UnboundedSender<Message>,
) {
    let ready = async {
        if !is_ready && process.plan.is_checked() {
            process.ready().await;
            let _ = inbox.send(Message::Happened(Event::Ready(id)));
        }
        let why = process.dead().await;
        let _ = inbox.send(Message::Happened(Event::Unhealthy(id, why)));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ending = process.ended(&pump) => drop(inbox.send(Message::Exited(id, ending))),
        () = ready => {}
        () = process.watch_memory(&pump) => {}
    }
}
