//! What was meant: made once from what was typed and from the machine. The
//! only reader of the environment, the working folder, the user, the host name.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use slug::ident::AppName;
use slug::store::Store;
use slug::sys::clock::Timestamp;
use slug::sys::inherited::{self, BadInherited, LISTEN_VARIABLES};
use slug::sys::notify::Notify;
use slug::sys::notify::VARIABLES;

use super::args::Common;
use super::report::Failure;
use super::ui::Ui;

/// The store of root.
const STORE_OF_ROOT: &str = "/var/lib/slug";

/// What every command knows.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) ui: Ui,
    /// The operator's environment: for builds that must reach the registries that the machine is set up for.
    pub(crate) env: BTreeMap<OsString, OsString>,
    pub(crate) working_dir: PathBuf,
    /// Who is typing, for the ledger.
    pub(crate) by: String,
    /// This host's name, for the ledger.
    pub(crate) host: String,
    /// What a service manager says to this process, and to no other.
    manager: BTreeMap<OsString, OsString>,
    app: Option<AppName>,
    /// None where nothing says where it is.
    store: Option<PathBuf>,
}

impl Settings {
    pub(crate) fn new(common: Common, ui: Ui) -> Result<Self, Failure> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the environment"
        )]
        let mut env: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        let of_manager = |key: &str| env.remove_entry(OsStr::new(key));
        let manager = VARIABLES
            .into_iter()
            .chain(LISTEN_VARIABLES)
            .filter_map(of_manager)
            .collect();
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the working folder"
        )]
        let working_dir = std::env::current_dir().map_err(|error| {
            Failure::failed(format!("the working folder cannot be read: {error}"))
                .hint("go to a folder that is there: `cd`")
        })?;
        let store = match common.store {
            Some(path) => Some(working_dir.join(path)),
            None => default_store(&env),
        };
        let by = user_name(&env);
        Ok(Self {
            ui,
            env,
            manager,
            working_dir,
            by,
            host: host_name(),
            app: common.app,
            store,
        })
    }

    /// The environment of the program that this process becomes: what the service manager said is for it, too.
    pub(crate) fn env_of_next(&self) -> BTreeMap<OsString, OsString> {
        let mut env = self.env.clone();
        env.extend(self.manager.clone());
        env
    }

    /// The service manager that started this process, if one did.
    pub(crate) fn notify(&self) -> Result<Notify, Failure> {
        Notify::from_environment(&self.manager, std::process::id()).map_err(|error| {
            Failure::failed(format!(
                "the service manager cannot be told anything: NOTIFY_SOCKET is {error}"
            ))
            .unchanged("nothing was started")
            .hint("unset NOTIFY_SOCKET, or let it be what systemd says")
        })
    }

    /// The sockets that the service manager has bound for this process.
    pub(crate) fn sockets(&self) -> Result<Vec<(OwnedFd, String)>, BadInherited> {
        inherited::sockets(&self.manager, std::process::id())
    }

    pub(crate) fn now() -> Timestamp {
        Timestamp::now()
    }

    pub(crate) fn open_store(&self) -> Result<Store, Failure> {
        let store = self.store.as_ref().ok_or_else(|| {
            Failure::usage("there is no place for the store: neither XDG_DATA_HOME nor HOME is set")
                .hint("name one with `--store DIR`")
        })?;
        Ok(Store::open(store, store)?)
    }

    /// A path as it was typed, made absolute.
    pub(crate) fn absolute(&self, path: &Path) -> PathBuf {
        self.working_dir.join(path)
    }

    /// A folder of source as it was typed: absolute, without links, so that `.` has a name.
    pub(crate) fn source_dir(&self, dir: &Path) -> Result<PathBuf, Failure> {
        let path = self.absolute(dir);
        let none = |why: &str| {
            Failure::usage(format!("there is no source at `{}`: {why}", path.display()))
                .hint("name the folder of the app")
        };
        let found = path
            .canonicalize()
            .map_err(|error| none(&error.to_string()))?;
        if found.is_dir() {
            Ok(found)
        } else {
            Err(none("it is not a folder"))
        }
    }

    /// The operator's home.
    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.env
            .get(OsStr::new("HOME"))
            .map(PathBuf::from)
            .filter(|home| home.is_absolute())
    }

    /// What kind of terminal the operator has; `xterm` where the shell does not say.
    pub(crate) fn term(&self) -> OsString {
        let term = self
            .env
            .get(OsStr::new("TERM"))
            .filter(|term| !term.is_empty());
        term.cloned().unwrap_or_else(|| "xterm".into())
    }

    /// This binary: every sandbox begins with it.
    pub(crate) fn program() -> Result<PathBuf, Failure> {
        std::env::current_exe()
            .map_err(|error| Failure::failed(format!("slug's own binary cannot be found: {error}")))
    }

    /// Where this binary was started from, as it was typed or found on the path: without following links, so that it is
    /// where a later version is installed.
    pub(crate) fn started_from(&self) -> Result<PathBuf, Failure> {
        let own = Self::program()?;
        let Some(name) = std::env::args_os().next().map(PathBuf::from) else {
            return Ok(own);
        };
        let candidates: Vec<PathBuf> = if name.components().count() > 1 {
            vec![self.absolute(&name)]
        } else {
            let path = self
                .env
                .get(OsStr::new("PATH"))
                .cloned()
                .unwrap_or_default();
            let folders = std::env::split_paths(&path);
            folders
                .map(|folder| self.absolute(&folder).join(&name))
                .collect()
        };
        let is_own = |path: &PathBuf| path.canonicalize().is_ok_and(|path| path == own);
        Ok(candidates.into_iter().find(is_own).unwrap_or(own))
    }

    /// The app of a command without a folder: named, of ./slug.toml, or the only one there is.
    pub(crate) fn app(&self, store: &Store) -> Result<AppName, Failure> {
        let named = self.named_app(&self.working_dir).map_err(|failure| {
            failure
                .unchanged("nothing was done")
                .hint("`--app NAME` names the app without the file")
        })?;
        if let Some(app) = named {
            return Ok(app);
        }
        let apps = store.apps()?;
        match apps.as_slice() {
            [only] => {
                self.ui
                    .say(&format!("app: {only} (the only one in the store)"));
                Ok(only.clone())
            }
            [] => Err(
                Failure::usage("no app was named, and the store has none yet")
                    .hint("name one with `--app NAME`"),
            ),
            several => {
                let names: Vec<&str> = several.iter().map(AppName::as_str).collect();
                Err(Failure::usage(format!(
                    "no app was named, and the store has several: {}",
                    names.join(", ")
                ))
                .hint("name one with `--app NAME` or SLUG_APP"))
            }
        }
    }

    /// The app of a command with a folder: named, of the folder's slug.toml, or the folder's name.
    pub(crate) fn app_of_dir(&self, dir: &Path) -> Result<AppName, Failure> {
        if let Some(app) = self.named_app(dir)? {
            return Ok(app);
        }
        let name = dir
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        name.parse().map_err(|_| {
            Failure::usage(format!(
                "the folder's name, `{}`, cannot be the name of an app",
                name.escape_default()
            ))
            .hint("name the app with `--app NAME`, or write `app = \"NAME\"` into slug.toml")
        })
    }

    fn named_app(&self, dir: &Path) -> Result<Option<AppName>, Failure> {
        if self.app.is_some() {
            return Ok(self.app.clone());
        }
        Ok(slug::build::app_of_slug_toml(dir)?)
    }
}

fn default_store(env: &BTreeMap<OsString, OsString>) -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from(STORE_OF_ROOT));
    }
    let folder = |key: &str| {
        env.get(OsStr::new(key))
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let data =
        folder("XDG_DATA_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/share")));
    data.map(|data| data.join("slug"))
}

/// `sudo` keeps who really typed.
fn user_name(env: &BTreeMap<OsString, OsString>) -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|key| env.get(OsStr::new(key)));
    let named = named
        .and_then(|name| name.to_str())
        .filter(|name| !name.is_empty());
    named.map_or_else(
        || format!("uid {}", rustix::process::getuid().as_raw()),
        str::to_owned,
    )
}

fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
