//! Folders over one another.
//!
//! Each folder is handed to the kernel as `.` after entering it: paths need no
//! escaping and have no length then (an option of the new calls holds 255 bytes,
//! all options of the old one together 4095).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::AtFlags;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountFlags, OpenTreeFlags, UnmountFlags};

use crate::sys::sandbox::root::GUARDED;
use crate::sys::sandbox::root::Kind;
use crate::sys::sandbox::root::READ_ONLY;
use crate::sys::sandbox::root::Root;
use crate::sys::sandbox::root::tree_of;
use crate::sys::syscall;

/// Where the old way parks the lower folders under short names.
const PARK: &str = "/.park";

/// An overlay that stands nowhere yet; the upper folder and its scratch folder, if any.
pub(super) fn overlay(
    root: &Root,
    lower: &[PathBuf],
    upper: Option<&(PathBuf, PathBuf)>,
) -> io::Result<OwnedFd> {
    match by_context(lower, upper)? {
        Some(mount) => Ok(mount),
        None => by_options(root, lower, upper),
    }
}

/// By `lowerdir+`, Linux 6.7; `None` if this kernel does not know it.
fn by_context(
    lower: &[PathBuf],
    upper: Option<&(PathBuf, PathBuf)>,
) -> io::Result<Option<OwnedFd>> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_flag(&context, "userxattr")?;
    for (index, folder) in lower.iter().enumerate() {
        rustix::process::chdir(folder)?;
        match rustix::mount::fsconfig_set_string(&context, "lowerdir+", ".") {
            Err(rustix::io::Errno::INVAL) if index == 0 => return Ok(None),
            other => other?,
        }
    }
    if let Some((upper, work)) = upper {
        rustix::process::chdir(upper)?;
        rustix::mount::fsconfig_set_string(&context, "upperdir", ".")?;
        rustix::process::chdir(work)?;
        rustix::mount::fsconfig_set_string(&context, "workdir", ".")?;
    }
    rustix::mount::fsconfig_create(&context)?;
    let attributes = if upper.is_some() { GUARDED } else { READ_ONLY };
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map(Some)
        .map_err(Into::into)
}

/// By one string of options: the lower folders are parked as `0`, `1`, … while it is mounted.
fn by_options(
    root: &Root,
    lower: &[PathBuf],
    upper: Option<&(PathBuf, PathBuf)>,
) -> io::Result<OwnedFd> {
    const MADE: &str = "made";
    let park = root.folder(PARK).map_err(io::Error::other)?;
    rustix::process::fchdir(&park)?;
    let names: Vec<String> = (0..lower.len()).map(|index| index.to_string()).collect();
    for (name, folder) in names.iter().zip(lower) {
        let tree = tree_of(folder, READ_ONLY)?;
        root.attach(tree.as_fd(), &Path::new(PARK).join(name), Kind::Folder)
            .map_err(io::Error::other)?;
    }
    root.folder(&format!("{PARK}/{MADE}"))
        .map_err(io::Error::other)?;
    rustix::mount::mount(
        "overlay",
        MADE,
        "overlay",
        MountFlags::empty(),
        options(&names, upper)?.as_c_str(),
    )?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = rustix::mount::open_tree(&park, MADE, flags)?;
    for name in names.iter().map(String::as_str).chain([MADE]) {
        rustix::mount::unmount(name, UnmountFlags::DETACH)?;
        rustix::fs::unlinkat(&park, name, AtFlags::REMOVEDIR)?;
    }
    rustix::fs::unlinkat(&park, "../.park", AtFlags::REMOVEDIR)?;
    let attributes = if upper.is_some() { GUARDED } else { READ_ONLY };
    syscall::mount_setattr(mount.as_fd(), attributes.bits().into(), false)?;
    Ok(mount)
}

fn options(lower: &[String], upper: Option<&(PathBuf, PathBuf)>) -> io::Result<CString> {
    let mut options = format!("userxattr,lowerdir={}", lower.join(":")).into_bytes();
    if let Some((upper, work)) = upper {
        options.extend(b",upperdir=");
        options.extend(escaped(upper));
        options.extend(b",workdir=");
        options.extend(escaped(work));
    }
    CString::new(options).map_err(io::Error::other)
}

/// A comma ends an option, and a backslash takes a meaning away.
fn escaped(path: &Path) -> impl Iterator<Item = u8> {
    let bytes = path.as_os_str().as_bytes().iter();
    bytes.flat_map(|byte| {
        [b'\\', *byte]
            .into_iter()
            .skip(usize::from(!b"\\,:".contains(byte)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_a_path_does_not_end_the_option() {
        let upper = (PathBuf::from("/a,b"), PathBuf::from("/c\\d"));
        let options = options(&["0".to_owned(), "1".to_owned()], Some(&upper)).unwrap();
        assert_eq!(
            options.to_str().unwrap(),
            r"userxattr,lowerdir=0:1,upperdir=/a\,b,workdir=/c\\d"
        );
    }
}
