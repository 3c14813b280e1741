//! Where lines are to go besides the terminal and history, as it is typed.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use super::Batch;
use super::Form;
use super::Journald;
use super::Policy;
use super::Service;
use super::Sink;
use super::Syslog;
use super::TextFile;
use super::Written;
use super::journald::JOURNAL_SOCKET;
use crate::ident::shown;

/// Every accepted form.
pub const DESTINATION_FORMS: &str = "journald, syslog+unix:/PATH, syslog+udp://HOST:PORT, syslog+tcp://HOST:PORT, file:/PATH, ndjson:/PATH; each may end in `,block` or `,drop-oldest`";

/// A place, and what happens when it is slow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    place: Place,
    /// None: as its kind has it.
    policy: Option<Policy>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// `journald`, or `journald:/PATH` for another socket than systemd's.
    Journald(PathBuf),
    /// `syslog+unix:/PATH`, `syslog+udp://HOST:PORT`, `syslog+tcp://HOST:PORT`.
    Syslog(Service),
    /// `file:/PATH`: lines for people, dated.
    File(PathBuf),
    /// `ndjson:/PATH`: one JSON object a line.
    Ndjson(PathBuf),
}

/// The text is no destination.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is no place for logs (expected one of: {DESTINATION_FORMS})")]
pub struct BadDestination(String);

impl FromStr for Destination {
    type Err = BadDestination;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let policies = [Policy::Block, Policy::DropOldest];
        let ended = policies.into_iter().find_map(|policy| {
            let place = text.strip_suffix(policy.name())?.strip_suffix(',')?;
            Some((place, policy))
        });
        let (place, policy) = ended.map_or((text, None), |(place, policy)| (place, Some(policy)));
        let place = Place::parse(place).ok_or_else(|| BadDestination(shown(text)))?;
        Ok(Self { place, policy })
    }
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let path = |rest: &str| {
            let is_path = rest.starts_with('/') && !rest.contains('\0');
            is_path.then(|| PathBuf::from(rest))
        };
        let address = |rest: &str| {
            let (host, port) = rest.rsplit_once(':')?;
            let is_host = !host.is_empty() && !host.contains(['/', ' ']);
            let is_plain = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
            let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
            let is_address = is_host && is_plain && is_port;
            is_address.then(|| rest.to_owned())
        };
        if text == "journald" {
            return Some(Self::Journald(JOURNAL_SOCKET.into()));
        }
        let (kind, rest) = text.split_once(':')?;
        let host = || rest.strip_prefix("//").and_then(address);
        Some(match kind {
            "journald" => Self::Journald(path(rest)?),
            "syslog+unix" => Self::Syslog(Service::Unix(path(rest)?)),
            "syslog+udp" => Self::Syslog(Service::Udp(host()?)),
            "syslog+tcp" => Self::Syslog(Service::Tcp(host()?)),
            "file" => Self::File(path(rest)?),
            "ndjson" => Self::Ndjson(path(rest)?),
            _ => return None,
        })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)?;
        self.policy.map_or(Ok(()), |it| write!(f, ",{}", it.name()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journald(path) if path.as_os_str() == JOURNAL_SOCKET => f.write_str("journald"),
            Self::Journald(path) => write!(f, "journald:{}", path.display()),
            Self::Syslog(Service::Unix(path)) => write!(f, "syslog+unix:{}", path.display()),
            Self::Syslog(Service::Udp(address)) => write!(f, "syslog+udp://{address}"),
            Self::Syslog(Service::Tcp(address)) => write!(f, "syslog+tcp://{address}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Ndjson(path) => write!(f, "ndjson:{}", path.display()),
        }
    }
}

impl Destination {
    /// The sink for the lines of `app` on `host`. It connects when the first line comes.
    pub fn sink(&self, host: &str, app: &str) -> Box<dyn Sink> {
        let name = self.place.to_string();
        let sink: Box<dyn Sink> = match self.place.clone() {
            Place::Journald(path) => Box::new(Journald::new(path, app)),
            Place::Syslog(service) => Box::new(Syslog::new(service, name, host, app)),
            Place::File(path) => Box::new(TextFile::new(path, Form::Dated, name)),
            Place::Ndjson(path) => Box::new(TextFile::new(path, Form::Json, name)),
        };
        match self.policy {
            Some(policy) => Box::new(WithPolicy { sink, policy }),
            None => sink,
        }
    }
}

/// A sink whose policy was chosen.
struct WithPolicy {
    sink: Box<dyn Sink>,
    policy: Policy,
}

impl Sink for WithPolicy {
    fn name(&self) -> String {
        self.sink.name()
    }

    fn policy(&self) -> Policy {
        self.policy
    }

    fn write(&mut self, batches: &[Arc<Batch>], alive: &dyn Fn()) -> Written {
        self.sink.write(batches, alive)
    }

    fn tidy(&mut self) {
        self.sink.tidy();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_as_it_was_and_nothing_else_is() {
        let forms = [
            "journald",
            "journald:/tmp/j",
            "syslog+unix:/dev/log",
            "syslog+udp://logs.example:514",
            "syslog+tcp://[::1]:6514",
            "file:/var/log/shop.log",
            "ndjson:/var/log/shop.ndjson",
            "syslog+tcp://logs:6514,block",
            "file:/var/log/shop,drop-oldest",
        ];
        for form in forms {
            assert_eq!(form.parse::<Destination>().unwrap().to_string(), form);
        }
        let wrong = [
            "",
            "journal",
            "file:relative",
            "journald,wait",
            "syslog:/dev/log",
            "syslog+udp:logs:514",
            "syslog+udp://logs",
            "syslog+udp://:514",
            "syslog+tcp://logs:0",
            "syslog+tcp://::1:514",
            "syslog+tcp://logs:514/x",
        ];
        for form in wrong {
            let error = form.parse::<Destination>().unwrap_err().to_string();
            assert!(error.contains(DESTINATION_FORMS), "{form}: {error}");
        }
    }
}
