//! `slug up`: the supervisor and the router, which meet only here.

use std::ffi::OsString;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::Value;
use slug::ident::AppName;
use slug::logs::{Labels, Pump, PumpError, Sink};
use slug::release::{ConfigChange, plan_config_change, plan_deploy};
use slug::router::{self, Listener, ProcessOptions, RouterError, RouterProcess};
use slug::run::{self, Claim, Ended, Enforcer, Found, Front, Leaving, Target, UpError, UpOptions};
use slug::store::Store;
use slug::sys::inherited::BadInherited;
use slug::sys::takeover::{Bag, Package};

use super::args::Up;
use super::release::prepare;
use super::report::{Failure, exit};
use super::settings::Settings;
use super::watch::Watcher;
use super::{build, config};

/// The config of a folder that is run where it is written.
const ENV_FILE: &str = ".env";
/// Where the router listens if nobody says where.
const LISTEN_USUAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 8080);

pub(crate) fn run(settings: &Settings, typed: &Up) -> Result<u8, Failure> {
    let store = settings.open_store()?;
    let _watcher = typed.watch.then(Watcher::start).transpose()?;
    let app = match &typed.dir {
        Some(dir) => build_and_release(settings, &store, dir, typed)?,
        None => settings.app(&store)?,
    };
    let notify = settings.notify()?;
    // Before anything is started, or said to be; a process that is started would be in the cgroup that is divided.
    let claim = Claim::take(&store, &app)?;
    let enforcer = Enforcer::take();
    let listeners = listen(settings, typed)?;
    let pump =
        Pump::start(sinks(settings, &store, &app, typed)?).map_err(|error| pump_failed(&error))?;
    let router = start_router(typed, listeners, &pump)?;
    for address in router.listening() {
        settings
            .ui
            .say(&format!("{app} is served at {}", url(address)));
    }
    let options = UpOptions {
        store,
        app,
        host: settings.host.clone(),
        front: Arc::new(RouterFront(router)),
        pump,
        claim: Arc::new(claim),
        enforcer,
        exit_on: typed.exit_on.clone(),
        notify,
        program: settings.started_from()?,
        arguments: std::env::args_os().skip(1).collect(),
        resumed: None,
    };
    live(settings, options)
}

/// What another program of this process left goes on; from here on there is no way back to it.
pub(crate) fn resume(
    settings: &Settings,
    typed: &Up,
    (store, found): (Store, Found),
    sinks: Vec<Box<dyn Sink>>,
    arguments: Vec<OsString>,
    package: Package,
) -> Result<UpOptions, Failure> {
    let (app, host) = (found.app().clone(), found.host().to_owned());
    let program = found.program().to_owned();
    let mut resumed = found.take(package);
    let pump = resumed.pump(sinks).map_err(|error| pump_failed(&error))?;
    let claim = resumed.claim().map_err(|error| not_taken(&error))?;
    let (state, bag) = resumed.front();
    let router = RouterProcess::adopt(router_options(typed, Vec::new(), &pump), state, bag);
    let front = RouterFront(router.map_err(|error| not_taken(&error))?);
    Ok(UpOptions {
        store,
        app,
        host,
        front: Arc::new(front),
        pump,
        claim: Arc::new(claim),
        enforcer: Enforcer::take(),
        exit_on: typed.exit_on.clone(),
        notify: settings.notify()?,
        program,
        arguments,
        resumed: Some(resumed),
    })
}

/// Supervises until all has ended; or leaves everything to another program, and then does not return.
pub(crate) fn live(settings: &Settings, options: UpOptions) -> Result<u8, Failure> {
    let leaving = match run::up(options)? {
        // A code above 255 is none that a process can end with.
        Ended::Stopped(code) => {
            return Ok(code.map_or(0, |code| u8::try_from(code).unwrap_or(exit::FAILED)));
        }
        Ended::Replaced(leaving) => *leaving,
    };
    let Leaving {
        package,
        program,
        arguments,
    } = leaving;
    let env = settings.env_of_next();
    let error = package.exec(&program, &arguments, &env);
    let why = format!("it could not be executed: {error}");
    let error = package.go_back(&arguments, &env, &why);
    Err(Failure::failed(format!(
        "neither the next program nor this one again could be executed: {error}"
    ))
    .hint("every process of the app has ended: start it again with `slug up`"))
}

/// Made here, so that the supervisor finds it as the current release when it starts.
pub(crate) fn build_and_release(
    settings: &Settings,
    store: &Store,
    dir: &std::path::Path,
    typed: &Up,
) -> Result<AppName, Failure> {
    let dir = settings.source_dir(dir)?;
    let app = settings.app_of_dir(&dir)?;
    let built = build::build(settings, &dir, &app, store, &typed.options)?;
    let env_file = dir.join(ENV_FILE);
    if env_file.is_file() {
        let set = config::import(settings, &env_file)?;
        let unset = Vec::new();
        let change = ConfigChange { set, unset };
        prepare(settings, store, &app, &|request| {
            plan_config_change(request, &change)
        })?;
    }
    prepare(settings, store, &app, &|request| {
        plan_deploy(request, &built.slug)
    })?;
    Ok(app)
}

/// Where all that is said goes.
pub(crate) fn sinks(
    settings: &Settings,
    store: &Store,
    app: &AppName,
    typed: &Up,
) -> Result<Vec<Box<dyn Sink>>, Failure> {
    let mut sinks = typed.logs.sinks(settings, app.as_str())?;
    let folder = store.host().join("logs").join(app.as_str());
    sinks.push(typed.keep.history(&folder)?);
    Ok(sinks)
}

fn not_taken(error: &io::Error) -> Failure {
    Failure::failed(format!(
        "what the program before left could not be taken over: {error}"
    ))
}

fn pump_failed(error: &PumpError) -> Failure {
    Failure::of(exit::FAILED, error)
}

/// The sockets of the service manager and those that are typed; with neither, the usual one.
fn listen(settings: &Settings, typed: &Up) -> Result<Vec<Listener>, Failure> {
    let mut listeners = Vec::new();
    for (socket, name) in settings.sockets()? {
        listeners.push(Listener::inherited(socket, &name)?);
    }
    for at in &typed.listen {
        listeners.push(Listener::bind(at)?);
    }
    if listeners.is_empty() {
        let usual = router::Listen::Tcp(LISTEN_USUAL.into());
        listeners.push(Listener::bind(&usual)?);
    }
    Ok(listeners)
}

fn start_router(
    typed: &Up,
    listeners: Vec<Listener>,
    pump: &Pump,
) -> Result<RouterProcess, RouterError> {
    RouterProcess::start(router_options(typed, listeners, pump))
}

fn router_options(typed: &Up, listeners: Vec<Listener>, pump: &Pump) -> ProcessOptions {
    let (access, said) = (pump.clone(), pump.clone());
    ProcessOptions {
        program: "/proc/self/exe".into(),
        listeners,
        trusted: typed.trusted_proxy.clone(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        listen_to: Box::new(move |pipe| drop(access.listen_to_router(pipe))),
        say: Box::new(move |line| said.say(Labels::router(), line)),
    }
}

fn url(address: &router::Listen) -> String {
    match address {
        router::Listen::Tcp(address) => format!("http://{address}"),
        router::Listen::Unix(path) => path.display().to_string(),
    }
}

/// The router, as the supervisor knows what stands in front.
struct RouterFront(RouterProcess);

impl Front for RouterFront {
    fn hand_over(&self, bag: &mut Bag) -> io::Result<Value> {
        self.0.hand_over(bag)
    }

    fn renew(&self) {
        self.0.renew();
    }

    fn route(&self, targets: &[Target], hold: bool) {
        let targets: Vec<router::Target> = targets
            .iter()
            .map(|target| router::Target {
                id: target.id,
                instance: target.instance.to_string(),
                release: target.release.to_string(),
                address: target.address,
            })
            .collect();
        self.0.route(&targets, hold);
    }

    fn when_idle(&self, target: u64, then: Box<dyn FnOnce() + Send>) {
        self.0.when_idle(target, then);
    }

    fn maintenance(&self, page: Option<String>) {
        self.0.maintenance(page);
    }

    fn cut(&self, target: u64) {
        self.0.cut(target);
    }

    fn close(&self) {
        self.0.close();
    }

    fn join(&self, patience: std::time::Duration) {
        self.0.join(patience);
    }
}

impl From<RouterError> for Failure {
    fn from(error: RouterError) -> Self {
        let failure =
            Self::of(super::report::exit::FAILED, &error).unchanged("nothing was started");
        match error {
            RouterError::Listen { .. } => {
                failure.hint("another address can be named: `slug up --listen 127.0.0.1:8081`")
            }
            RouterError::Inherited { .. } => {
                failure.hint("in the socket unit: `ListenStream=`, and no `Accept=yes`")
            }
            RouterError::Start(_) => failure,
        }
    }
}

impl From<BadInherited> for Failure {
    fn from(error: BadInherited) -> Self {
        let failure =
            Self::of(super::report::exit::FAILED, &error).unchanged("nothing was started");
        failure
            .hint("let LISTEN_FDS be what the service manager says, or unset it and use `--listen`")
    }
}

impl From<UpError> for Failure {
    fn from(error: UpError) -> Self {
        let failure = Self::of(super::report::exit::FAILED, &error);
        match error {
            UpError::Running(_) => failure
                .code(super::report::exit::REFUSED)
                .hint("`slug ps` shows it; `slug stop` ends it"),
            UpError::Path(error) => Self::from(error),
            UpError::Store(error) => Self::from(error),
            UpError::State(_) | UpError::Io(..) => failure,
            UpError::Release { version, source } => match source {
                run::ReleaseError::Launch(error) => Self::from(error),
                run::ReleaseError::Formation(_) => failure
                    .code(super::report::exit::REFUSED)
                    .hint("correct [process] in slug.toml, and build again"),
            }
            .detail(format!("{version} is the current release")),
        }
    }
}
