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
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::AddressFamily;
use rustix::net::SocketAddrUnix;
use rustix::net::SocketType;

use super::RouterError;
use super::address::Listen;

/// A socket that is listened at.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    at: Listen,
    /// Another has bound it: its file stays.
    is_inherited: bool,
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
        if let (Listen::Unix(path), false) = (&self.at, self.is_inherited) {
            let _ = fs::remove_file(path); // gone already, if somebody else removed it
        }
    }

    /// One that a service manager has bound, named after its unit: TCP, or a unix socket of streams, that listens.
    pub fn inherited(socket: OwnedFd, name: &str) -> Result<Self, RouterError> {
        let bad = |what: &str| RouterError::Inherited {
            name: name.to_owned(),
            what: what.to_owned(),
        };
        let of = |error: rustix::io::Errno| bad(&format!("a descriptor of another kind ({error})"));
        match rustix::net::sockopt::socket_domain(&socket).map_err(of)? {
            AddressFamily::INET | AddressFamily::INET6 | AddressFamily::UNIX => {}
            _ => return Err(bad("a socket of another family")),
        }
        if rustix::net::sockopt::socket_type(&socket).map_err(of)? != SocketType::STREAM {
            return Err(bad("a socket for datagrams or packets"));
        }
        if !rustix::net::sockopt::socket_acceptconn(&socket).map_err(of)? {
            return Err(bad("a connection (a unit with `Accept=yes`?)"));
        }
        rustix::io::ioctl_fionbio(&socket, true).map_err(of)?;
        Self::received(socket, true).map_err(|error| bad(&error.to_string()))
    }

    /// Did another bind it?
    pub(super) fn is_inherited(&self) -> bool {
        self.is_inherited
    }

    /// One that another process, or the program before this one, has bound.
    pub(super) fn received(socket: OwnedFd, is_inherited: bool) -> io::Result<Self> {
        let address = rustix::net::getsockname(&socket)?;
        let at = if let Ok(address) = SocketAddr::try_from(address.clone()) {
            Listen::Tcp(address)
        } else {
            let address = SocketAddrUnix::try_from(address)?;
            let path = address.path_bytes().unwrap_or_default();
            Listen::Unix(OsStr::from_bytes(path).into())
        };
        Ok(Self {
            socket,
            at,
            is_inherited,
        })
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
                is_inherited: false,
            })
        }
        Listen::Unix(path) => {
            let socket = bind_unix(path)?;
            socket.set_nonblocking(true)?;
            Ok(Listener {
                socket: socket.into(),
                at: at.clone(),
                is_inherited: false,
            })
        }
    }
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            // A file that is no socket refuses a connection too, and is somebody's.
            let is_socket = fs::symlink_metadata(path)?.file_type().is_socket();
            let is_dead = is_socket
                && UnixStream::connect(path)
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
