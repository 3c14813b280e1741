//! The system that is built for: what analyzed.toml says of the run image; this
//! machine's, where it says nothing.

use super::console::Console;
use super::failed::{FAILED, Failed};
use super::files::AnalyzedToml;
use crate::archive::host_target;
use crate::buildpack::target::{Base, Distro};

/// Fills in what analyzed.toml leaves out, as lifecycle does: only if it names no distribution.
pub(super) fn target(analyzed: &AnalyzedToml, console: &mut Console<'_>) -> Result<Base, Failed> {
    let (mut base, has_distro) = analyzed.base();
    if has_distro {
        return Ok(base);
    }
    console.info("target distro name/version labels not found, reading /etc/os-release file");
    let host = host_target().map_err(|error| Failed::new(FAILED, "read the target", error))?;
    for (said, host) in [(&mut base.os, host.os), (&mut base.arch, host.arch)] {
        if said.is_empty() {
            *said = host;
        }
    }
    base.distro = Distro {
        name: host.distro_name,
        version: host.distro_version,
    };
    Ok(base)
}
