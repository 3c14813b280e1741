//! Real servers, each on a free address, gone with the test.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::address;
use crate::support::tools;
use crate::support::wait;
use crate::support::world;

/// A memcached.
pub(crate) struct Memcached {
    address: SocketAddr,
    _server: Server,
}

impl Memcached {
    pub(crate) fn start() -> Self {
        let address = address::free();
        let mut command = unprivileged(&tools::find("memcached").unwrap());
        command.args([
            "-U",
            "0",
            "-l",
            &address.ip().to_string(),
            "-p",
            &address.port().to_string(),
        ]);
        let server = Server(command.stderr(Stdio::null()).spawn().unwrap());
        let memcached = Self {
            address,
            _server: server,
        };
        wait::until(Duration::from_secs(30), "memcached", || {
            TcpStream::connect(address).ok()
        });
        memcached
    }

    /// What the apps take as `MEMCACHED_URL`.
    pub(crate) fn url(&self) -> String {
        format!("memcached://{}", self.address)
    }

    /// The value of a key, asked of the server itself.
    pub(crate) fn value(&self, key: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(stream, "get {key}\r\n").unwrap();
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        let found = lines.next().unwrap();
        found
            .starts_with("VALUE ")
            .then(|| lines.next().unwrap().trim_end().to_owned())
    }
}

/// A PostgreSQL with one user, `app`, who owns the database `postgres`.
pub(crate) struct Postgres {
    address: SocketAddr,
    password: String,
    _server: Server,
    _folder: TempDir,
}

impl Postgres {
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("slug-postgres-")
            .tempdir()
            .unwrap();
        let password = "correct-horse-battery".to_owned();
        let word_file = folder.path().join("password");
        std::fs::write(&word_file, &password).unwrap();
        if tools::is_root() {
            for path in [folder.path(), &word_file] {
                chown(path, Some(world::NOBODY), Some(world::NOBODY)).unwrap();
            }
        }
        let data = folder.path().join("data");
        let mut initdb = unprivileged(&tools::find("initdb").unwrap());
        initdb.args([
            "--username=app",
            "--auth=scram-sha-256",
            "--no-sync",
            "--encoding=UTF8",
            "--no-locale",
        ]);
        tools::done(
            initdb
                .arg("--pwfile")
                .arg(&word_file)
                .arg("--pgdata")
                .arg(&data),
        );
        let address = address::free();
        let server = Server(postgres(&data, address).spawn().unwrap());
        wait::until(Duration::from_mins(1), "PostgreSQL", || is_ready(address));
        Self {
            address,
            password,
            _server: server,
            _folder: folder,
        }
    }

    /// What the apps take as `DATABASE_URL`.
    pub(crate) fn url(&self) -> String {
        let Self {
            address, password, ..
        } = self;
        format!("postgres://app:{password}@{address}/postgres")
    }
}

fn postgres(data: &Path, address: SocketAddr) -> Command {
    let mut command = unprivileged(&tools::find("postgres").unwrap());
    let settings = [
        format!("listen_addresses={}", address.ip()),
        format!("port={}", address.port()),
        "unix_socket_directories=".to_owned(),
        "fsync=off".to_owned(),
    ];
    command.arg("-D").arg(data).stderr(Stdio::null());
    for setting in settings {
        command.args(["-c", &setting]);
    }
    command
}

fn is_ready(address: SocketAddr) -> Option<()> {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let mut ask = Command::new(tools::find("pg_isready").unwrap());
    ask.args([
        "--quiet",
        "--username=app",
        "--dbname=postgres",
        "--host",
        &host,
        "--port",
        &port,
    ]);
    ask.status().unwrap().success().then_some(())
}

/// A server's process: killed when the guard is dropped, and by the kernel when the test's thread dies.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

/// The server as an unprivileged user (PostgreSQL refuses root), in an empty environment.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if tools::is_root() {
        let uid = world::NOBODY.to_string();
        command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups"]);
    }
    let path = PathBuf::from("/usr/local/bin:/usr/bin:/bin");
    command
        .arg("--")
        .arg(program)
        .env_clear()
        .env("PATH", path)
        .current_dir("/")
        .stdin(Stdio::null());
    command
}
