//! What every sandbox sees of the host, and what is made for it: programs and
//! libraries, the part of `/etc` that they read, basic devices, and nothing of
//! `/home`, `/root`, `/var`, `/opt`, `/srv`, `/run`, `/sys`.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::mount::MountAttrFlags;

use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::identity::Identity;
use crate::sys::sandbox::root::GUARDED;
use crate::sys::sandbox::root::Kind;
use crate::sys::sandbox::root::READ_ONLY;
use crate::sys::sandbox::root::Root;
use crate::sys::sandbox::root::file_system;

/// Beside `/usr`: folders on some distributions, links into `/usr` on most.
const PROGRAMS: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Name look-up, certificates, the dynamic loader, time zones, tables of names. No secret, no account.
const ETC: [&str; 25] = [
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "ethertypes",
    "fonts",
    "gai.conf",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "mime.types",
    "networks",
    "nsswitch.conf",
    "os-release",
    "pki",
    "protocols",
    "resolv.conf",
    "rpc",
    "services",
    "ssl",
    "terminfo",
    "timezone",
];

/// The devices that a program may expect on any Unix.
const DEVICES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];

/// Links of `/dev`, and to where.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
];

/// Lays the base out on an empty root.
pub(super) fn lay_out(root: &Root, identity: &Identity, home: &OsStr) -> Result<(), SandboxError> {
    programs(root)?;
    etc(root)?;
    accounts(root, identity, home)?;
    devices(root)?;
    let proc = file_system("proc", &[], GUARDED | MountAttrFlags::MOUNT_ATTR_NOEXEC)?;
    root.attach(proc.as_fd(), Path::new("/proc"), Kind::Folder)?;
    for folder in ["/tmp", "/dev/shm"] {
        let memory = file_system("tmpfs", &[("mode", "1777")], GUARDED)?;
        root.attach(memory.as_fd(), Path::new(folder), Kind::Folder)?;
    }
    Ok(())
}

fn programs(root: &Root) -> Result<(), SandboxError> {
    root.bind(Path::new("/usr"), Path::new("/usr"), READ_ONLY)?;
    for name in PROGRAMS {
        let path = Path::new("/").join(name);
        show(root, &path, |_| true)?;
    }
    Ok(())
}

fn etc(root: &Root) -> Result<(), SandboxError> {
    root.folder("/etc")?;
    for name in ETC {
        // A link out of what is visible, as resolv.conf is on many hosts, is followed now. A time
        // zone stays a link, because its target is how a program learns the zone's name.
        show(root, &Path::new("/etc").join(name), |target| {
            Path::new("/etc").join(target).starts_with("/usr")
        })?;
    }
    Ok(())
}

/// Shows a path of the host at the same place: as the link that it is, if `keep_link` says so of
/// its target. What the host does not have is left out.
fn show(root: &Root, path: &Path, keep_link: impl Fn(&Path) -> bool) -> Result<(), SandboxError> {
    if let Ok(target) = fs::read_link(path)
        && keep_link(&lexical(&target))
    {
        return root.symlink(&target, path);
    }
    match root.bind(path, path, READ_ONLY) {
        Err(SandboxError::Setup { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        other => other,
    }
}

/// `../usr/x`, seen from a folder of the root, is `/usr/x`.
fn lexical(target: &Path) -> std::path::PathBuf {
    target
        .strip_prefix("..")
        .map_or_else(|_| target.to_owned(), |rest| Path::new("/").join(rest))
}

/// Root, nobody, and the process itself, so that a look-up of its own uid has an answer.
fn accounts(root: &Root, identity: &Identity, home: &OsStr) -> Result<(), SandboxError> {
    let Identity { uid, gid, .. } = identity;
    let mut passwd = format!("root:x:0:0:root:/:/bin/sh\nslug:x:{uid}:{gid}:slug:").into_bytes();
    passwd.extend(account_field(home));
    passwd.extend(b":/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n");
    root.file(Path::new("/etc/passwd"), &passwd)?;
    let group = format!("root:x:0:\nslug:x:{gid}:\nnogroup:x:65534:\n");
    root.file(Path::new("/etc/group"), group.as_bytes())
}

/// A home as passwd can hold it: `/` where a byte of it would begin another field or line.
fn account_field(home: &OsStr) -> &[u8] {
    let bytes = home.as_bytes();
    if bytes.is_empty() || bytes.iter().any(|byte| b":\n".contains(byte)) {
        b"/"
    } else {
        bytes
    }
}

fn devices(root: &Root) -> Result<(), SandboxError> {
    root.folder("/dev")?;
    // The host's own nodes: a user namespace can make none. Read-only is their inode; writing to a device is not barred by it.
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID;
    for name in DEVICES {
        let path = Path::new("/dev").join(name);
        root.bind(&path, &path, attributes)?;
    }
    for (at, target) in DEVICE_LINKS {
        root.symlink(Path::new(target), Path::new(at))?;
    }
    let pts = file_system(
        "devpts",
        &[("ptmxmode", "0666"), ("mode", "0620")],
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC,
    )?;
    root.attach(pts.as_fd(), Path::new("/dev/pts"), Kind::Folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_that_would_forge_an_account_is_left_out() {
        assert_eq!(account_field(OsStr::new("/home/slug")), b"/home/slug");
        assert_eq!(
            account_field(OsStr::new("/x\nroot2:x:0:0::/:/bin/sh")),
            b"/"
        );
        assert_eq!(account_field(OsStr::new("/x:/bin/evil")), b"/");
        assert_eq!(account_field(OsStr::new("")), b"/");
    }

    #[test]
    fn a_relative_link_of_etc_is_seen_to_lead_to_usr() {
        assert_eq!(
            lexical(Path::new("../usr/lib/os-release")),
            Path::new("/usr/lib/os-release")
        );
        assert_eq!(
            lexical(Path::new("/run/resolv.conf")),
            Path::new("/run/resolv.conf")
        );
    }
}
