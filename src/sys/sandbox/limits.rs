//! Resource limits: fixed, below what the host's administrator allows at most,
//! never those of the shell that started `slug`.

use rustix::process::{Resource, Rlimit};

use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::error::setup;

/// Open descriptors: enough for a busy server, few enough for the programs that close each number up to the limit.
const OPEN_FILES: u64 = 65_536;

/// The main thread's stack, in bytes, as Linux has it by default.
const STACK_BYTES: u64 = 8 * 1024 * 1024;

/// What is wanted of each limit; `None` is no limit.
const WANTED: [(Resource, Option<u64>); 9] = [
    (Resource::As, None),
    (Resource::Core, Some(0)),
    (Resource::Cpu, None),
    (Resource::Data, None),
    (Resource::Fsize, None),
    (Resource::Nofile, Some(OPEN_FILES)),
    (Resource::Nproc, None),
    (Resource::Rss, None),
    (Resource::Stack, Some(STACK_BYTES)),
];

/// Sets the limits of this process. A core dump, which may hold secrets, is barred for good.
/// `nofile` is wanted of the open descriptors in the place of the default.
pub(super) fn set(nofile: Option<u64>) -> Result<(), SandboxError> {
    for (resource, wanted) in WANTED {
        let wanted = match resource {
            Resource::Nofile => nofile.or(wanted),
            _ => wanted,
        };
        let maximum = rustix::process::getrlimit(resource).maximum;
        let current = at_most(wanted, maximum);
        let maximum = if resource == Resource::Core {
            current
        } else {
            maximum
        };
        rustix::process::setrlimit(resource, Rlimit { current, maximum })
            .map_err(|error| setup(&format!("limit {resource:?}"), error.into()))?;
    }
    Ok(())
}

/// Lets this process, and those that it starts, have so many open descriptors: to be called before rights are given up.
pub(super) fn allow(nofile: u64) -> Result<(), SandboxError> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let Some(maximum) = limit.maximum.filter(|maximum| *maximum < nofile) else {
        return Ok(());
    };
    let raised = Rlimit {
        current: limit.current,
        maximum: Some(nofile),
    };
    let step = format!("allow {nofile} open descriptors (the hard limit here is {maximum})");
    rustix::process::setrlimit(Resource::Nofile, raised).map_err(|error| setup(&step, error.into()))
}

fn at_most(wanted: Option<u64>, maximum: Option<u64>) -> Option<u64> {
    match (wanted, maximum) {
        (Some(wanted), Some(maximum)) => Some(wanted.min(maximum)),
        (wanted, maximum) => wanted.or(maximum),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_above_what_the_host_allows() {
        assert_eq!(at_most(None, Some(5)), Some(5));
        assert_eq!(at_most(Some(9), Some(5)), Some(5));
        assert_eq!(at_most(Some(3), Some(5)), Some(3));
        assert_eq!(at_most(Some(3), None), Some(3));
        assert_eq!(at_most(None, None), None);
    }
}
