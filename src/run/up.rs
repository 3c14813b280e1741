//! The reactor: one thread that does what the supervisor decides, and tells it
//! what came of it.

mod act;
mod asked;
mod ledger;
mod manager;
mod memory;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use ledger::PutOff;
use manager::Manager;
use memory::Memory;
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
use super::launch::LaunchError;
use super::launch::Loaded;
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
use crate::sys::signal::is_ignored;

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
    /// With the end of a process of this type everything ends.
    pub exit_on: Option<ProcessType>,
    /// The service manager that started us.
    pub notify: Notify,
}

/// The sole right to supervise an app on this host; ends when dropped, or with the process.
#[derive(Debug)]
pub struct Claim {
    _lock: Lock,
}

impl Claim {
    /// Takes it; refused while another supervisor has it.
    pub fn take(store: &Store, app: &AppName) -> Result<Self, UpError> {
        let folder = store.host().join("run");
        crate::sys::fs::create_dir_durable(&folder, 0o700)?;
        let lock = Lock::try_take(&folder.join(format!("{app}.lock")))?;
        let lock = lock.ok_or_else(|| UpError::Running(app.clone()))?;
        Ok(Self { _lock: lock })
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
    Asked(Request, Replies),
    /// SIGINT or SIGTERM.
    Interrupted,
}

/// Supervises the app until SIGINT, SIGTERM, a hang-up, `slug stop`, or the end of a process of `exit_on`, whose exit
/// code is returned; returns when every process is gone. The caller keeps the claim until then.
pub fn up(options: UpOptions, _: &Claim) -> Result<Option<i32>, UpError> {
    let state = HostState::load(&options.store, &options.app)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| UpError::Io("start the reactor", error))?;
    let (front, pump) = (Arc::clone(&options.front), options.pump.clone());
    let socket = control::socket_path(&options.store, &options.app);
    let memory = Memory::start(options.store.clone(), options.app.clone(), pump.clone())
        .map_err(|error| UpError::Io("start the thread that remembers", error))?;
    let ended = LocalSet::new().block_on(&runtime, async {
        let (inbox, received) = mpsc::unbounded_channel();
        let listener = control::listen(&socket)
            .map_err(|error| UpError::Io("make the control socket", error))?;
        let asked = inbox.clone();
        tokio::task::spawn_local(control::serve(listener, move |request, replies| {
            let _ = asked.send(Message::Asked(request, replies));
        }));
        interrupts(&inbox).map_err(|error| UpError::Io("catch signals", error))?;
        Reactor::new(options, state, memory, inbox)
            .run(received)
            .await
    });
    let _ = std::fs::remove_file(&socket);
    front.join(FAREWELL);
    pump.close(FAREWELL);
    ended
}

/// A terminal that hangs up stops everything as Ctrl-C does, unless `nohup` said that it shall not.
fn interrupts(inbox: &mpsc::UnboundedSender<Message>) -> io::Result<()> {
    let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
    if !is_ignored(libc::SIGHUP) {
        kinds.push(SignalKind::hangup());
    }
    for kind in kinds {
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
    manager: Manager,
    began: Instant,
    began_at: Timestamp,
    proven: Option<ReleaseVersion>,
    memory: Memory,
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

    async fn run(
        mut self,
        mut received: mpsc::UnboundedReceiver<Message>,
    ) -> Result<Option<i32>, UpError> {
        let mut watch = LedgerWatch::new(self.ledger.folder());
        self.look()?;
        while !self.is_finished {
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
            }
        }
        for stopper in self.stoppers.drain(..) {
            let _ = stopper.send(Reply::Done);
        }
        tokio::task::yield_now().await; // the replies are written by tasks of this thread
        Ok(self.exit_code)
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
                Message::Happened(event) => events.push(event),
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
                Message::Asked(request, replies) => {
                    self.step(mem::take(&mut events));
                    self.on_asked(request, replies)?;
                }
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
