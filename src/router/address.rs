//! Where the router listens, and whose word about a request's origin is taken.

use std::fmt;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::ident::shown;
use thiserror::Error;

/// Where the router listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `127.0.0.1:8080`, `[::]:80`; `:8080` is every address of the machine.
    Tcp(SocketAddr),
    /// A unix socket by its path: `unix:shop.sock`, or any text with a `/`.
    Unix(PathBuf),
}

/// The text is not an address to listen at.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not an address to listen at (expected `127.0.0.1:8080`, `[::]:80`, `:8080` or the path of a unix socket)"
)]
pub struct BadListen(String);

impl FromStr for Listen {
    type Err = BadListen;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadListen(shown(text));
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        if text.contains('/') {
            return Ok(Self::Unix(PathBuf::from(text)));
        }
        if let Some(port) = text.strip_prefix(':') {
            return port
                .parse()
                .map(|port| Self::Tcp((Ipv6Addr::UNSPECIFIED, port).into()))
                .map_err(|_| bad());
        }
        let text = text
            .strip_prefix("localhost:")
            .map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
        text.parse().map(Self::Tcp).map_err(|_| bad())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Peers whose `X-Forwarded-*` and `Forwarded` are kept: an address, or a network such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedProxy {
    network: IpAddr,
    bits: u8,
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, bits } = self;
        write!(f, "{network}/{bits}")
    }
}

/// The text is not an address or a network.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not an address or a network (expected such as `10.1.2.3` or `10.0.0.0/8`)")]
pub struct BadTrustedProxy(String);

impl FromStr for TrustedProxy {
    type Err = BadTrustedProxy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadTrustedProxy(shown(text));
        let (address, bits) = text
            .split_once('/')
            .map_or((text, None), |(address, bits)| (address, Some(bits)));
        let network: IpAddr = address.parse().map_err(|_| bad())?;
        let bits_max = if network.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(bits_max), |bits| bits.parse().map_err(|_| bad()))?;
        if bits > bits_max {
            Err(bad())
        } else {
            Ok(Self { network, bits })
        }
    }
}

impl TrustedProxy {
    /// Is that address one of these? An IPv4 address that came over an IPv6 socket is an IPv4 address.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.bits);
                network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.bits);
                network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_paths_can_be_listened_at() {
        let shown = |text: &str| text.parse::<Listen>().map(|listen| listen.to_string());
        assert_eq!(shown("127.0.0.1:8080").unwrap(), "127.0.0.1:8080");
        assert_eq!(shown("localhost:80").unwrap(), "127.0.0.1:80");
        assert_eq!(shown(":80").unwrap(), "[::]:80");
        assert_eq!(shown("/run/a.sock").unwrap(), "unix:/run/a.sock");
        assert_eq!(shown("unix:a.sock").unwrap(), "unix:a.sock");
        for bad in [
            "",
            ":",
            "8080",
            "unix:",
            "example.org:80",
            "127.0.0.1:99999",
        ] {
            assert!(shown(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_network_contains_its_addresses_alone() {
        let contains = |network: &str, address: &str| {
            network
                .parse::<TrustedProxy>()
                .unwrap()
                .contains(address.parse().unwrap())
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("10.0.0.1", "::ffff:10.0.0.1") && !contains("10.0.0.1", "10.0.0.2"));
        assert!(
            contains("0.0.0.0/0", "1.2.3.4")
                && contains("fd00::/8", "fd12::1")
                && !contains("fd00::/8", "fe80::1")
        );
        let network: TrustedProxy = "10.0.0.0/8".parse().unwrap();
        assert_eq!(network.to_string().parse(), Ok(network));
        for bad in ["10.0.0.0/33", "::/129", "10.0/8", "a", "/8"] {
            assert!(bad.parse::<TrustedProxy>().is_err(), "{bad}");
        }
    }
}
