//! A fresh folder, and `slug` in it.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::chown;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::support::apps;
use crate::support::processes;
use crate::support::run::Invocation;
use crate::support::run::Run;
use crate::support::tools;

/// The uid and gid of `nobody` on Debian, Ubuntu and most others: owns nothing.
pub(crate) const NOBODY: u32 = 65534;

/// The app of a world that does not say otherwise: another in each, so that its processes can be told.
pub(crate) fn app_of(world: &Path) -> String {
    let folder = world.file_name().unwrap().to_str().unwrap();
    let unique = folder.rsplit('-').next().unwrap();
    format!("shop-{}", unique.to_lowercase())
}

/// A home, a store, temporary files and an environment of its own. Dropping it removes all.
pub(crate) struct World {
    /// Holds `home`, `tmp`, `store`, `bin` and what the test writes.
    folder: PathBuf,
    _removed: Option<TempDir>,
    binary: PathBuf,
    environment: BTreeMap<OsString, OsString>,
    as_nobody: bool,
}

impl World {
    /// A world of the user who runs the tests.
    pub(crate) fn new() -> Self {
        Self::of(false)
    }

    /// A world of an unprivileged user, also where root runs the tests.
    pub(crate) fn unprivileged() -> Self {
        Self::of(tools::is_root())
    }

    fn of(as_nobody: bool) -> Self {
        // Resolved, because messages name resolved paths.
        let parent = env::temp_dir().canonicalize().unwrap();
        let folder = tempfile::Builder::new()
            .prefix("slug-it-")
            .tempdir_in(parent)
            .unwrap();
        Self::at(folder.path().to_owned(), Some(folder), as_nobody)
    }

    /// A world in the folder `folder`, emptied first, that stays until the next one: for what lives as long as all tests.
    pub(crate) fn shared(folder: &Path) -> Self {
        if folder.exists() {
            fs::remove_dir_all(folder).unwrap();
        }
        fs::create_dir_all(folder).unwrap();
        Self::at(folder.to_owned(), None, false)
    }

    fn at(folder: PathBuf, removed: Option<TempDir>, as_nobody: bool) -> Self {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let mut binary = PathBuf::from(env!("CARGO_BIN_EXE_slug"));
        if as_nobody {
            binary = reachable(&binary, &folder.join("bin"));
        }
        let environment = environment(&folder, &binary);
        let world = Self {
            folder,
            _removed: removed,
            binary,
            environment,
            as_nobody,
        };
        for own in ["home", "tmp"] {
            fs::create_dir(world.path(own)).unwrap();
            world.give(&world.path(own));
        }
        world.give(world.folder());
        world
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.folder().join(inside)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Writes a file, its folders too, and gives its path.
    pub(crate) fn write(&self, inside: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        for own in path.ancestors().take_while(|path| *path != self.folder()) {
            self.give(own);
        }
        path
    }

    /// An app of these files, in the folder `name`.
    pub(crate) fn app(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        for (file, text) in files {
            self.write(&format!("{name}/{file}"), text);
        }
        self.path(name)
    }

    /// A copy of the app of that name in `tests/apps`, in the folder of that name.
    pub(crate) fn real_app(&self, name: &str) -> PathBuf {
        self.real_app_at(name, name)
    }

    pub(crate) fn real_app_at(&self, name: &str, inside: &str) -> PathBuf {
        let copy = self.path(inside);
        apps::copy(name, &copy);
        self.give_tree(&copy);
        copy
    }

    /// Releases the app of that name in `tests/apps`, built once for all tests; gives the digest of its slug.
    #[track_caller]
    pub(crate) fn release_real_app(&self, name: &str) -> String {
        let archive = self.slug_file(name);
        self.slug(&["release", archive.to_str().unwrap()]).ok();
        apps::built(name).digest.clone()
    }

    /// A file `app.slug` of the app of that name in `tests/apps`, built once for all tests.
    pub(crate) fn slug_file(&self, name: &str) -> PathBuf {
        let copy = self.path(format!("{name}.slug"));
        fs::copy(&apps::built(name).archive, &copy).unwrap();
        self.give(&copy);
        copy
    }

    /// Runs `slug` with these arguments to its end.
    #[track_caller]
    pub(crate) fn slug(&self, arguments: &[&str]) -> Run {
        self.invoke(arguments).run()
    }

    /// `slug` with these arguments, to be changed before it runs.
    pub(crate) fn invoke(&self, arguments: &[&str]) -> Invocation {
        Invocation::new(self.command(arguments), self.folder())
    }

    /// Another program with the environment and user of this world.
    pub(crate) fn program(&self, program: &str, arguments: &[&str]) -> Invocation {
        Invocation::new(
            self.command_of(Path::new(program), arguments),
            self.folder(),
        )
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(&self.binary, arguments)
    }

    pub(crate) fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = if self.as_nobody {
            nobody(program)
        } else {
            Command::new(program)
        };
        command
            .args(arguments)
            .env_clear()
            .envs(&self.environment)
            .current_dir(self.folder());
        command
    }

    /// Where `slug` is, as this world's user reaches it.
    pub(crate) fn binary_folder(&self) -> &Path {
        self.binary.parent().unwrap()
    }

    pub(crate) fn set_env(&mut self, key: &str, value: impl Into<OsString>) {
        self.environment.insert(key.into(), value.into());
    }

    /// Makes a path the property of the user of this world.
    pub(crate) fn give(&self, path: &Path) {
        if self.as_nobody {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    pub(crate) fn give_tree(&self, path: &Path) {
        self.give(path);
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                self.give_tree(&entry.unwrap().path());
            }
        }
    }
}

impl Drop for World {
    /// A failed test may have left processes, which would write on while the folder is removed.
    fn drop(&mut self) {
        for process in processes::of(self.folder()) {
            let pid = rustix::process::Pid::from_raw(i32::try_from(process.pid).unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL); // it may have ended by now
        }
    }
}

/// The program as `nobody`.
pub(crate) fn nobody(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    let uid = NOBODY.to_string();
    command
        .args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "--"])
        .arg(program);
    command
}

/// The same binary where others may execute it: the target folder can lie in a home that they may not enter.
fn reachable(binary: &Path, folder: &Path) -> PathBuf {
    fs::create_dir(folder).unwrap();
    let link = folder.join("slug");
    if fs::hard_link(binary, &link).is_err() {
        fs::copy(binary, &link).unwrap(); // another file system
    }
    link
}

fn environment(folder: &Path, binary: &Path) -> BTreeMap<OsString, OsString> {
    let own = [
        ("HOME", folder.join("home").into_os_string()),
        ("TMPDIR", folder.join("tmp").into_os_string()),
        ("PATH", path(binary)),
        ("SLUG_APP", app_of(folder).into()),
        ("SLUG_STORE", folder.join("store").into_os_string()),
    ];
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests' own environment is where the machine's settings are"
    )]
    let mut environment: BTreeMap<OsString, OsString> = env::vars_os()
        .filter(|(key, _)| is_of_the_machine(&key.to_string_lossy()))
        .collect();
    environment.extend(own.map(|(key, value)| (key.into(), value)));
    environment
}

/// How this machine reaches package registries: part of every developer's environment, not of the test.
fn is_of_the_machine(key: &str) -> bool {
    let prefixes = ["PIP_", "UV_", "SSL_CERT_"];
    let names = [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "ALL_PROXY",
        "REQUESTS_CA_BUNDLE",
    ];
    prefixes.iter().any(|prefix| key.starts_with(prefix))
        || names.contains(&key.to_uppercase().as_str())
}

/// `slug` itself, the host's programs, and the interpreters of the developer's version manager.
fn path(binary: &Path) -> OsString {
    let mut folders: Vec<PathBuf> = vec![binary.parent().unwrap().to_owned()];
    folders.extend(["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    if let Ok(versions) = home.join(".pyenv/versions").read_dir() {
        let mut versions: Vec<_> = versions
            .filter_map(|version| Some(version.ok()?.path().join("bin")))
            .collect();
        versions.sort();
        folders.extend(versions);
    }
    env::join_paths(folders).unwrap()
}
