//! The control socket: JSON lines over `<host>/run/<app>.sock`, for its owner alone.

mod door;

use std::fs;
use std::fs::File;
use std::fs::Permissions;
use std::io;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::fd::AsRawFd as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use thiserror::Error;
use tokio::io::AsyncBufReadExt as _;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::sync::mpsc;

pub(super) use door::Door;
use door::Guest;
pub(super) use door::answer;

use crate::ident::AppName;
use crate::ident::ProcessType;
use crate::ident::ReleaseVersion;
use crate::store::Store;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The processes; answered by one `Reply::Processes`.
    Ps,
    /// So many instances of each of these types from now on; answered by `Reply::Done`.
    Scale {
        /// Types and counts.
        counts: std::collections::BTreeMap<ProcessType, u32>,
    },
    /// New processes of the same release: all (beside the old, then switched), or those of one type or instance.
    Restart {
        /// `web`, `web.1`; all if none.
        which: Option<String>,
    },
    /// Ends the supervisor and all its processes.
    Stop,
    /// Makes the supervisor this program, which goes on with everything (`spec/upgrade.md`); answered by `Upgraded`,
    /// or by `Refused` and then the supervisor is what it was.
    Upgrade {
        /// The absolute path of the program.
        program: PathBuf,
    },
    /// Whether there is maintenance has changed in the host's state; answered by `Reply::Done`.
    Maintenance,
    /// Looks into the ledger now, and tells how the switch to this release goes; ends with one of
    /// `Switched`, `Rejected`, `Superseded`.
    Follow {
        /// The release.
        version: ReleaseVersion,
    },
}

/// A process, as `slug ps` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// `web.1`.
    pub instance: crate::ident::Instance,
    /// Its release.
    pub release: ReleaseVersion,
    /// `starting`, `up`, `standby` (of the release before, until the gate closes), `waiting` (to be started again),
    /// `draining`, `stopping`.
    pub state: String,
    /// The init of its sandbox, as the host numbers it, if it runs.
    pub pid: Option<u32>,
    /// Where it listens, if it is routed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Since when it is in this state.
    pub since: crate::sys::clock::Timestamp,
    /// How often it ended unasked since it was last up for a minute.
    pub crashes: u32,
    /// While it waits: when it is started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<crate::sys::clock::Timestamp>,
}

/// What the supervisor answers: one a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Reply {
    /// To `Ps`.
    Processes {
        /// Sorted by name.
        processes: Vec<Process>,
    },
    /// It was done, or begun.
    Done,
    /// A step on the way.
    Progress {
        /// In words.
        text: String,
    },
    /// Requests go to this release now (or it is up, if nothing is routed).
    Switched {
        /// The release.
        version: ReleaseVersion,
    },
    /// It did not become ready; the one before serves on.
    Rejected {
        /// The release.
        version: ReleaseVersion,
        /// Why, in words.
        why: String,
        /// The last lines of the process that failed.
        tail: String,
    },
    /// A later release took its place before it was ready.
    Superseded {
        /// By which.
        by: ReleaseVersion,
    },
    /// The supervisor is another program now.
    Upgraded {
        /// The version that it was.
        from: String,
        /// The version that it is.
        to: String,
    },
    /// The request could not be done.
    Refused {
        /// Why, in words.
        why: String,
    },
}

/// Why the supervisor could not be asked.
#[derive(Debug, Error)]
pub enum ControlError {
    /// No supervisor is up.
    #[error("no supervisor of `{0}` is up on this host")]
    NotUp(AppName),
    /// The connection failed.
    #[error("could not talk to the supervisor over `{}`", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The answer is not one that this version knows.
    #[error("the supervisor's answer was not understood: {0}")]
    Answer(String),
}

/// The longest request, in bytes.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;
/// The longest reply, in bytes: `ps` of 500 processes, a tail.
const REPLY_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How long a client may take to ask.
const REQUEST_MAX: Duration = Duration::from_secs(5);

/// Where the socket of an app's supervisor is.
pub fn socket_path(store: &Store, app: &AppName) -> PathBuf {
    store.host().join("run").join(format!("{app}.sock"))
}

/// A way to the socket that fits into the 108 bytes of its address, however deep the store lies. Lives as long as the folder is held.
fn short(path: &Path) -> io::Result<(File, PathBuf)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let folder = File::open(folder)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    Ok((folder, short))
}

/// Asks the supervisor of `app`; `heard` gets each reply, the last one included, which is returned.
pub fn ask(
    socket: &Path,
    app: &AppName,
    request: &Request,
    heard: &mut dyn FnMut(&Reply),
) -> Result<Reply, ControlError> {
    let broken = |source| ControlError::Broken {
        path: socket.to_owned(),
        source,
    };
    let connected = short(socket).and_then(|(_folder, path)| UnixStream::connect(path));
    let mut stream = connected.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ControlError::NotUp(app.clone())
        }
        _ => broken(error),
    })?;
    let mut line = serde_json::to_vec(request).map_err(|error| broken(error.into()))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(broken)?;
    let mut reader = BufReader::new(stream);
    let mut last = None;
    loop {
        line.clear();
        let read = (&mut reader)
            .take(REPLY_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .map_err(broken)?;
        if read == 0 {
            // It ended, or was killed, before it had answered.
            let ended = || broken(io::Error::from(io::ErrorKind::UnexpectedEof));
            return last.ok_or_else(ended);
        }
        let reply: Reply = serde_json::from_slice(&line)
            .map_err(|error| ControlError::Answer(error.to_string()))?;
        heard(&reply);
        let is_last = !matches!(reply, Reply::Progress { .. });
        last = Some(reply).filter(|_| is_last);
        if let Some(last) = last {
            return Ok(last);
        }
    }
}

/// Where the replies to one request go; the connection ends when it is dropped.
pub(super) type Replies = mpsc::UnboundedSender<Reply>;

/// Listens at the socket, for the owner alone. The caller holds the app's lock: a socket that is there is a dead one's.
pub(super) fn listen(socket: &Path) -> io::Result<UnixListener> {
    let (_folder, path) = short(socket)?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Listens at the socket that another program of this process left.
pub(super) fn listen_on(descriptor: OwnedFd) -> io::Result<UnixListener> {
    UnixListener::from_std(descriptor.into())
}

/// What a client asked.
pub(super) struct Asked {
    /// What.
    pub(super) request: Request,
    /// The way back.
    pub(super) replies: Replies,
    /// For `Upgrade` alone: the way back that the next program has.
    pub(super) connection: Option<OwnedFd>,
}

async fn attend(
    mut stream: tokio::net::UnixStream,
    heard: &dyn Fn(Asked),
    guest: Guest,
) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    if peer != 0 && peer != rustix::process::getuid().as_raw() {
        return Ok(()); // the folder's mode keeps others out already
    }
    let mut guest = Some(guest);
    let connection = stream.as_fd().try_clone_to_owned()?;
    let mut line = Vec::new();
    let (reader, mut writer) = stream.split();
    let mut reader = tokio::io::BufReader::new(reader).take(REQUEST_BYTES_MAX);
    let read = tokio::time::timeout(REQUEST_MAX, reader.read_until(b'\n', &mut line));
    read.await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let (replies, mut to_send) = mpsc::unbounded_channel();
    match serde_json::from_slice(&line) {
        Ok(request) => {
            let is_upgrade = matches!(request, Request::Upgrade { .. });
            if is_upgrade {
                drop(guest.take()); // the upgrade does not wait for the one who waits for it
            }
            heard(Asked {
                request,
                replies,
                connection: is_upgrade.then_some(connection),
            });
        }
        Err(error) => {
            let why = format!("the request was not understood: {error}");
            let _ = replies.send(Reply::Refused { why });
            drop(replies);
        }
    }
    let mut rest = [0; 64];
    loop {
        tokio::select! {
            reply = to_send.recv() => match reply {
                Some(reply) => {
                    let mut line = serde_json::to_vec(&reply)?;
                    line.push(b'\n');
                    writer.write_all(&line).await?;
                }
                None => return Ok(()),
            },
            // A client that goes away needs no reply; what else it sends is not looked at.
            read = reader.get_mut().read(&mut rest) => if read? == 0 { return Ok(()) },
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;

    fn with_server(client: impl FnOnce(&Path) + Send + 'static) {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x".repeat(100)).join("y".repeat(100));
        fs::create_dir_all(&deep).unwrap();
        let socket = deep.join("shop.sock");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, async {
            let listener = listen(&socket).unwrap();
            let _door = Door::open(listener, |asked: Asked| {
                let _ = asked.replies.send(Reply::Progress {
                    text: format!("{:?}", asked.request),
                });
                let _ = asked.replies.send(Reply::Done);
            });
            let (end, ended) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || {
                client(&socket);
                end.send(()).unwrap();
            });
            ended.await.expect("the client failed");
        });
    }

    fn ask_stop(socket: &Path) -> Vec<Reply> {
        let mut all = Vec::new();
        ask(
            socket,
            &"shop".parse().unwrap(),
            &Request::Stop,
            &mut |reply| all.push(reply.clone()),
        )
        .unwrap();
        all
    }

    #[test]
    fn a_request_is_answered_over_a_socket_however_deep_it_lies() {
        with_server(|socket| {
            assert_eq!(
                fs::metadata(socket).unwrap().permissions().mode() & 0o777,
                0o600
            );
            assert_eq!(
                ask_stop(socket),
                [
                    Reply::Progress {
                        text: "Stop".to_owned()
                    },
                    Reply::Done
                ]
            );
        });
    }

    #[test]
    fn garbage_is_told_so_and_harms_nobody() {
        with_server(|socket| {
            let long = vec![b'x'; usize::try_from(REQUEST_BYTES_MAX).unwrap() + 1];
            for garbage in [
                b"\n".as_slice(),
                b"{}\n",
                b"\xff\0\n",
                b"{\"do\":\"dance\"}\n",
                &long,
            ] {
                let (_folder, path) = short(socket).unwrap();
                let mut stream = UnixStream::connect(path).unwrap();
                stream.write_all(garbage).unwrap();
                let mut answer = String::new();
                // The server closes with bytes unread where the request was too long: a reset is an answer too.
                let _ = stream.read_to_string(&mut answer);
                assert!(answer.is_empty() || answer.contains("refused"), "{answer}");
            }
            let (_folder, path) = short(socket).unwrap();
            drop(UnixStream::connect(path).unwrap());
            assert_eq!(ask_stop(socket).len(), 2);
        });
    }

    #[test]
    fn no_socket_and_a_dead_one_both_mean_that_nothing_is_up() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("shop.sock");
        let asked = || ask(&socket, &"shop".parse().unwrap(), &Request::Ps, &mut |_| {});
        assert!(matches!(asked(), Err(ControlError::NotUp(_))));
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert!(matches!(asked(), Err(ControlError::NotUp(_))));
    }
}
