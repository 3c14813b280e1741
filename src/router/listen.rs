//! Sockets that clients connect to: bound by the supervisor, served by the router's process.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::AddressFamily;
use rustix::net::SocketAddrUnix;

use super::RouterError;
use super::address::Listen;

/// A socket that is listened at.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    at: Listen,
}

impl Listener {
    /// Listens there. A unix socket that a killed supervisor left behind answers nobody, and is replaced; one that
    /// answers is not.
    pub fn bind(at: &Listen) -> Result<Self, RouterError> {
        bind(at).map_err(|source| RouterError::Listen {
            at: at.clone(),
            source,
        })
    }

    /// Where: the port that the kernel chose for `:0` included.
    pub fn at(&self) -> &Listen {
        &self.at
    }

    /// Takes the file of a unix socket away: whoever connects from now on is told that nobody listens.
    pub(super) fn unlink(&self) {
        if let Listen::Unix(path) = &self.at {
            let _ = fs::remove_file(path); // gone already, if somebody else removed it
        }
    }

    /// One that another process has bound.
    pub(super) fn received(socket: OwnedFd) -> io::Result<Self> {
        let address = rustix::net::getsockname(&socket)?;
        let at = if let Ok(address) = SocketAddr::try_from(address.clone()) {
            Listen::Tcp(address)
        } else {
            let address = SocketAddrUnix::try_from(address)?;
            let path = address.path_bytes().unwrap_or_default();
            Listen::Unix(OsStr::from_bytes(path).into())
        };
        Ok(Self { socket, at })
    }

    /// Another descriptor of the same socket: threads that share it share its queue, so that none waits at one
    /// thread while another is free.
    pub(super) fn bound(&self) -> io::Result<Bound> {
        let socket = self.socket.try_clone()?;
        match rustix::net::sockopt::socket_domain(&socket)? {
            AddressFamily::UNIX => Ok(Bound::Unix(socket.into())),
            _ => Ok(Bound::Tcp(socket.into())),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A listener, before a runtime has it.
pub(super) enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

fn bind(at: &Listen) -> io::Result<Listener> {
    match at {
        Listen::Tcp(address) => {
            let socket = TcpListener::bind(address)?;
            socket.set_nonblocking(true)?;
            let at = Listen::Tcp(socket.local_addr()?);
            Ok(Listener {
                socket: socket.into(),
                at,
            })
        }
        Listen::Unix(path) => {
            let socket = bind_unix(path)?;
            socket.set_nonblocking(true)?;
            Ok(Listener {
                socket: socket.into(),
                at: at.clone(),
            })
        }
    }
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let is_dead = UnixStream::connect(path)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
            if !is_dead {
                return Err(error);
            }
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}
