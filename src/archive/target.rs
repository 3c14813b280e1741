//! What kind of machine a slug is for.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::sys::PathError;
use crate::sys::fs::read_if_present;

/// A host that slugs are built on or run on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `linux`.
    pub os: String,
    /// As OCI writes it: `amd64`, `arm64`.
    pub arch: String,
    /// `ID` of /etc/os-release; empty if it has none.
    pub distro_name: String,
    /// `VERSION_ID` of /etc/os-release; empty if it has none, as on rolling distros.
    pub distro_version: String,
}

/// An os-release file is a few hundred bytes.
const OS_RELEASE_BYTES_MAX: u64 = 64 << 10;

/// The machine that this process runs on.
pub fn host_target() -> Result<Target, PathError> {
    for path in ["/etc/os-release", "/usr/lib/os-release"] {
        if let Some(text) = read_if_present(Path::new(path), OS_RELEASE_BYTES_MAX)? {
            return Ok(of_os_release(&String::from_utf8_lossy(&text)));
        }
    }
    Ok(of_os_release(""))
}

fn of_os_release(text: &str) -> Target {
    let value = |key: &str| {
        text.lines()
            .rev()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(unquoted)
    };
    Target {
        os: "linux".to_owned(),
        arch: oci_arch(std::env::consts::ARCH).to_owned(),
        distro_name: value("ID").unwrap_or_default(),
        distro_version: value("VERSION_ID").unwrap_or_default(),
    }
}

/// A value as a shell would read it (os-release(5)): quotes dropped, `\x` is `x`.
fn unquoted(value: &str) -> String {
    let value = value.trim();
    let quote = value
        .chars()
        .next()
        .filter(|first| matches!(first, '"' | '\''));
    let inner = quote
        .and_then(|quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(value);
    let mut chars = inner.chars();
    let mut plain = String::with_capacity(inner.len());
    while let Some(char) = chars.next() {
        plain.extend(if char == '\\' {
            chars.next()
        } else {
            Some(char)
        });
    }
    plain
}

/// Go's names, which OCI uses (image specification, "config: architecture").
fn oci_arch(rust_arch: &'static str) -> &'static str {
    match rust_arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "loongarch64" => "loong64",
        same => same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_is_read_as_a_shell_reads_it() {
        let target = of_os_release("NAME=\"Debian\"\nVERSION_ID=\"12\"\nID=debian\nID_LIKE=x\n");
        assert_eq!(
            (target.distro_name.as_str(), target.distro_version.as_str()),
            ("debian", "12")
        );
        let target = of_os_release("ID='a\\'b'\nID=arch\n");
        assert_eq!(
            (target.distro_name.as_str(), target.distro_version.as_str()),
            ("arch", "")
        );
    }

    #[test]
    fn this_host_has_a_target() {
        let target = host_target().unwrap();
        assert_eq!(target.os, "linux");
        assert!(["amd64", "arm64"].contains(&target.arch.as_str()));
    }
}
