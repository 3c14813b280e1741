//! The journal of systemd, by its native protocol: a datagram of fields a
//! line; one that is too long for a datagram goes in a sealed memory file.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::io::IoSlice;
use std::io::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::MemfdFlags;
use rustix::fs::SealFlags;
use rustix::io::Errno;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendAncillaryMessage;
use rustix::net::SendFlags;

use super::Batch;
use super::Policy;
use super::Sink;
use super::Written;
use super::syslog::severity;

/// Where the journal listens (systemd-journald.service(8)).
pub const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";
/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// `journald`.
#[derive(Debug)]
pub struct Journald {
    path: PathBuf,
    app: String,
    socket: Option<UnixDatagram>,
    /// Messages that were not sent yet.
    unsent: VecDeque<Vec<u8>>,
}

impl Journald {
    /// For the lines of `app`.
    pub fn new(path: PathBuf, app: &str) -> Self {
        Self {
            path,
            app: app.to_owned(),
            socket: None,
            unsent: VecDeque::new(),
        }
    }

    fn encode(&mut self, batch: &Batch) {
        let app = &self.app;
        let (source, stream) = (&batch.labels.source, batch.stream.name());
        let priority = severity(batch.stream);
        let release = batch.labels.release;
        let release = release.map_or_else(String::new, |it| format!("SLUG_RELEASE={it}\n"));
        let cut = if batch.cut { "SLUG_CUT=1\n" } else { "" };
        let fields = format!(
            "PRIORITY={priority}\nSYSLOG_IDENTIFIER={app}\nSLUG_APP={app}\nSLUG_PROCESS={source}\nSLUG_STREAM={stream}\nSLUG_AT={}\n{release}{cut}",
            batch.at
        );
        for line in batch.lines() {
            // No line has a newline in it: the plain form of a field carries any other byte.
            let parts = [fields.as_bytes(), b"MESSAGE=", line, b"\n"];
            self.unsent.push_back(parts.concat());
        }
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let socket = if let Some(socket) = self.socket.take() {
            socket
        } else {
            let socket = UnixDatagram::unbound()?;
            socket.connect(&self.path)?;
            socket
        };
        match socket.send(message) {
            Ok(_) => {}
            Err(error) if Errno::from_io_error(&error) == Some(Errno::MSGSIZE) => {
                send_file(&socket, message)?;
            }
            Err(error) => return Err(error),
        }
        self.socket = Some(socket);
        Ok(())
    }
}

/// Sealed, because the journal trusts only what can no longer change.
fn send_file(socket: &UnixDatagram, message: &[u8]) -> io::Result<()> {
    let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
    let file = rustix::fs::memfd_create("slug-log", flags)?;
    let mut file = File::from(file);
    file.write_all(message)?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    let fds = [file.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let nothing = [IoSlice::new(&[])];
    rustix::net::sendmsg(socket, &nothing, &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

impl Sink for Journald {
    fn name(&self) -> String {
        "journald".to_owned()
    }

    fn policy(&self) -> Policy {
        Policy::DropOldest
    }

    fn write(&mut self, batches: &[Arc<Batch>], alive: &dyn Fn()) -> Written {
        for batch in batches {
            self.encode(batch);
        }
        while let Some(message) = self.unsent.pop_front() {
            if let Err(error) = self.send(&message) {
                self.unsent.push_front(message);
                return Written::Later(AGAIN, error.to_string());
            }
            alive();
        }
        Written::All
    }
}
