//! A connection to a log service: made when it is needed, made again when it
//! breaks, with a growing pause between tries.

use std::io;
use std::io::Write as _;
use std::net::TcpStream;
use std::net::ToSocketAddrs as _;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::RecvFlags;

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a service may take no byte at all before the connection is given up.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// The pause after the first failure; it doubles with each one that follows.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest pause.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Where a service listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// A datagram socket of this host.
    Unix(PathBuf),
    /// `host:port`; the name is looked up for each connection.
    Udp(String),
    /// `host:port`, as above.
    Tcp(String),
}

/// A connection that heals.
#[derive(Debug)]
pub(super) struct Transport {
    service: Service,
    open: Option<Open>,
    backoff: Duration,
}

#[derive(Debug)]
enum Open {
    Unix(UnixDatagram),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Transport {
    pub(super) fn new(service: Service) -> Self {
        Self {
            service,
            open: None,
            backoff: BACKOFF_MIN,
        }
    }

    /// Whether each message travels alone, and so has a size that it cannot exceed.
    pub(super) fn is_datagram(&self) -> bool {
        !matches!(self.service, Service::Tcp(_))
    }

    /// Sends these bytes: one message of a datagram service, any number of framed ones of a stream.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.try_send(bytes);
        match sent {
            Ok(()) => self.backoff = BACKOFF_MIN,
            Err(_) => self.open = None,
        }
        sent
    }

    /// How long to wait before the next try.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.backoff;
        self.backoff = (pause * 2).min(BACKOFF_MAX);
        pause
    }

    fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(Open::Tcp(stream)) = &self.open
            && is_closed(stream)
        {
            self.open = None; // else what is written now is lost without an error
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => self.service.connect()?,
        };
        match self.open.insert(open) {
            Open::Unix(socket) => sent_whole(socket.send(bytes)?, bytes),
            Open::Udp(socket) => sent_whole(socket.send(bytes)?, bytes),
            Open::Tcp(stream) => stream.write_all(bytes),
        }
    }
}

fn sent_whole(count: usize, bytes: &[u8]) -> io::Result<()> {
    if count == bytes.len() {
        Ok(())
    } else {
        Err(io::Error::other("a message was sent in part"))
    }
}

/// The other side has closed it: it sends nothing otherwise.
fn is_closed(stream: &TcpStream) -> bool {
    let received = rustix::net::recv(stream, &mut [0; 64], RecvFlags::DONTWAIT);
    !matches!(received, Ok((1.., _)) | Err(Errno::AGAIN | Errno::INTR))
}

impl Service {
    fn connect(&self) -> io::Result<Open> {
        match self {
            Self::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(Some(WRITE_MAX))?;
                Ok(Open::Unix(socket))
            }
            Self::Udp(address) => first(address, |address| {
                let any = if address.is_ipv4() {
                    "0.0.0.0:0"
                } else {
                    "[::]:0"
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                Ok(Open::Udp(socket))
            }),
            Self::Tcp(address) => first(address, |address| {
                let stream = TcpStream::connect_timeout(&address, CONNECT_MAX)?;
                stream.set_write_timeout(Some(WRITE_MAX))?;
                stream.set_nodelay(true)?;
                Ok(Open::Tcp(stream))
            }),
        }
    }
}

/// What the first address of a name gives that gives anything.
fn first(
    name: &str,
    connect: impl Fn(std::net::SocketAddr) -> io::Result<Open>,
) -> io::Result<Open> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in name.to_socket_addrs()? {
        match connect(address) {
            Ok(open) => return Ok(open),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
