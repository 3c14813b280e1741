//! A port for each routed process. It is chosen outside the range that the kernel
//! takes for outgoing connections (32768 and up), so that none of those can have
//! it in the moment before the app binds it.

use std::io;
use std::net::Ipv4Addr;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixDatagram;

/// The first port of the range.
const PORT_MIN: u16 = 20_000;
/// The last.
const PORT_MAX: u16 = 29_999;

/// A port that no other supervisor of this network will give away; free again when dropped.
#[derive(Debug)]
pub(super) struct Port {
    number: u16,
    /// An abstract socket named after the port: like a port, it belongs to one network namespace, and the kernel
    /// takes it back however its holder dies.
    claim: UnixDatagram,
}

impl Port {
    /// One that nobody has claimed and nobody listens at. `from` decides where the search begins: random, so that
    /// a port is not given again right after its process ended.
    pub(super) fn claim(from: u64) -> io::Result<Self> {
        let count = PORT_MAX - PORT_MIN + 1;
        let start = u16::try_from(from % u64::from(count)).unwrap_or_default();
        for step in 0..count {
            let number = PORT_MIN + (start + step) % count;
            let name = SocketAddr::from_abstract_name(format!("slug/port/{number}"))?;
            let claim = UnixDatagram::bind_addr(&name);
            if let Ok(claim) = claim
                && TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).is_ok()
            {
                return Ok(Self { number, claim });
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("every port from {PORT_MIN} to {PORT_MAX} is taken"),
        ))
    }

    pub(super) fn number(&self) -> u16 {
        self.number
    }

    /// A port whose claim another program of this process left.
    pub(super) fn adopt(number: u16, claim: OwnedFd) -> Self {
        Self {
            number,
            claim: claim.into(),
        }
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.claim.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice_and_a_taken_one_never() {
        let first = Port::claim(9_999).unwrap();
        let second = Port::claim(9_999).unwrap();
        assert_ne!(first.number(), second.number());
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first.number())).unwrap();
        let number = first.number();
        drop(first);
        let from = u64::from(number - PORT_MIN);
        assert_ne!(
            Port::claim(from).unwrap().number(),
            number,
            "somebody listens there"
        );
        drop(taken);
    }
}
