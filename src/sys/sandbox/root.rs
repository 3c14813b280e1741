//! The root that a sandboxed process sees: an empty folder in memory, on which
//! trees of the host and fresh file systems are put by descriptor, then sealed.
//!
//! Places inside are looked up beneath that folder (`RESOLVE_IN_ROOT`), so a
//! symbolic link in what is already mounted never leads to the host.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::error::refused;
use crate::sys::sandbox::error::setup;
use crate::sys::syscall;

/// How often a look-up is tried anew when the kernel saw a rename elsewhere meanwhile.
const LOOKUPS_MAX: u32 = 128;

/// Of every mount.
pub(super) const GUARDED: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// Of every mount that is not the process's own.
pub(super) const READ_ONLY: MountAttrFlags = GUARDED.union(MountAttrFlags::MOUNT_ATTR_RDONLY);

/// What a place must be for something to be mounted on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    File,
}

/// A root that is being made. The process still sees the host's.
#[derive(Debug)]
pub(super) struct Root {
    top: OwnedFd,
    device: u64,
}

impl Root {
    /// Cuts this mount namespace off from the host's, and begins an empty root in it.
    pub(super) fn new() -> Result<Self, SandboxError> {
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private)
            .map_err(|error| refused("mount(private)", error.into()))?;
        let top = file_system("tmpfs", &[("mode", "0755")], GUARDED)?;
        // Over the host's root, where no path leads: nothing of the host is hidden meanwhile.
        rustix::mount::move_mount(
            top.as_fd(),
            "",
            CWD,
            "/",
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
        )
        .map_err(|error| refused("move_mount", error.into()))?;
        let device = rustix::fs::fstat(&top)
            .map_err(|error| setup("look at the new root", error.into()))?
            .st_dev;
        Ok(Self { top, device })
    }

    /// Makes a folder of the root itself, with its parents, if it is not there.
    pub(super) fn folder(&self, at: &str) -> Result<OwnedFd, SandboxError> {
        self.place(Path::new(at), Kind::Folder)
            .map_err(|error| setup(&format!("make the folder `{at}`"), error))
    }

    /// Makes a symbolic link in the root itself.
    pub(super) fn symlink(&self, target: &Path, at: &Path) -> Result<(), SandboxError> {
        rustix::fs::symlinkat(target, &self.top, beneath(at))
            .map_err(|error| setup(&format!("make the link `{}`", at.display()), error.into()))
    }

    /// Makes a read-only file. What was there is hidden, not changed.
    pub(super) fn file(&self, at: &Path, bytes: &[u8]) -> Result<(), SandboxError> {
        self.try_file(at, bytes)
            .map_err(|error| setup(&format!("make the file `{}`", at.display()), error))
    }

    fn try_file(&self, at: &Path, bytes: &[u8]) -> io::Result<()> {
        const STAGED: &str = ".staged";
        let (parent, name) = split(at)?;
        let parent = self.place(parent, Kind::Folder)?;
        if rustix::fs::fstat(&parent)?.st_dev == self.device {
            match write_new(parent.as_fd(), Path::new(name), bytes) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                done => return done,
            }
        }
        write_new(self.top.as_fd(), Path::new(STAGED), bytes)?;
        let tree = rustix::mount::open_tree(
            &self.top,
            STAGED,
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
        )?;
        syscall::mount_setattr(tree.as_fd(), READ_ONLY.bits().into(), false)?;
        self.try_attach(tree.as_fd(), at, Kind::File)?;
        // Only its place has a name from now on.
        Ok(rustix::fs::unlinkat(&self.top, STAGED, AtFlags::empty())?)
    }

    /// Shows a file or folder of the host, with what is mounted below it.
    pub(super) fn bind(
        &self,
        from: &Path,
        to: &Path,
        attributes: MountAttrFlags,
    ) -> Result<(), SandboxError> {
        let step = || format!("bind `{}` at `{}`", from.display(), to.display());
        let tree = tree_of(from, attributes).map_err(|error| setup(&step(), error))?;
        let kind = kind_of(tree.as_fd()).map_err(|error| setup(&step(), error))?;
        self.try_attach(tree.as_fd(), to, kind)
            .map_err(|error| setup(&step(), error))
    }

    /// Puts a mount that stands nowhere at its place.
    pub(super) fn attach(
        &self,
        mount: BorrowedFd<'_>,
        to: &Path,
        kind: Kind,
    ) -> Result<(), SandboxError> {
        self.try_attach(mount, to, kind)
            .map_err(|error| setup(&format!("mount at `{}`", to.display()), error))
    }

    fn try_attach(&self, mount: BorrowedFd<'_>, to: &Path, kind: Kind) -> io::Result<()> {
        let place = self.place(to, kind)?;
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        Ok(rustix::mount::move_mount(mount, "", &place, "", flags)?)
    }

    /// The place of a path inside; it and its parents are made if they are not there.
    fn place(&self, at: &Path, kind: Kind) -> io::Result<OwnedFd> {
        match self.look_up(at) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        let (parent, name) = split(at)?;
        let parent = self.place(parent, Kind::Folder)?;
        let made = match kind {
            Kind::Folder => rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)),
            Kind::File => create_new(parent.as_fd(), Path::new(name)).map(drop),
        };
        match made {
            Ok(()) | Err(rustix::io::Errno::EXIST) => self.look_up(at),
            Err(error) => Err(error.into()),
        }
    }

    fn look_up(&self, at: &Path) -> io::Result<OwnedFd> {
        for _ in 1..LOOKUPS_MAX {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            match rustix::fs::openat2(
                &self.top,
                beneath(at),
                flags,
                Mode::empty(),
                ResolveFlags::IN_ROOT,
            ) {
                Err(rustix::io::Errno::AGAIN) => {}
                other => return Ok(other?),
            }
        }
        Err(rustix::io::Errno::AGAIN.into())
    }

    /// Makes the root read-only and the process's own, and lets go of the host's.
    pub(super) fn enter(self) -> Result<(), SandboxError> {
        syscall::mount_setattr(self.top.as_fd(), READ_ONLY.bits().into(), false)
            .map_err(|error| setup("make the root read-only", error))?;
        rustix::process::fchdir(&self.top)
            .map_err(|error| setup("enter the root", error.into()))?;
        // The new root goes below the old one, at the same place; then the old one is taken off.
        rustix::process::pivot_root(".", ".")
            .map_err(|error| refused("pivot_root", error.into()))?;
        rustix::mount::unmount(".", UnmountFlags::DETACH)
            .map_err(|error| setup("let go of the host's root", error.into()))?;
        rustix::process::chdir("/").map_err(|error| setup("enter the root", error.into()))
    }
}

/// A fresh file system that stands nowhere yet.
pub(super) fn file_system(
    name: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, SandboxError> {
    let make = || -> io::Result<OwnedFd> {
        let context = rustix::mount::fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in options {
            rustix::mount::fsconfig_set_string(&context, *key, *value)?;
        }
        rustix::mount::fsconfig_create(&context)?;
        Ok(rustix::mount::fsmount(
            &context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            attributes,
        )?)
    };
    make().map_err(|error| refused(&format!("mount({name})"), error))
}

/// A copy of the host's mount at `from`, with those below it, that stands nowhere yet.
pub(super) fn tree_of(from: &Path, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(CWD, from, flags)?;
    syscall::mount_setattr(tree.as_fd(), attributes.bits().into(), true)?;
    Ok(tree)
}

/// Whether the root of a mount is a folder.
pub(super) fn kind_of(tree: BorrowedFd<'_>) -> io::Result<Kind> {
    let mode = rustix::fs::fstat(tree)?.st_mode;
    Ok(if FileType::from_raw_mode(mode) == FileType::Directory {
        Kind::Folder
    } else {
        Kind::File
    })
}

/// `at` without its leading slash, so that it is looked up beneath a descriptor.
fn beneath(at: &Path) -> &Path {
    match at.strip_prefix("/") {
        Ok(rest) if rest.as_os_str().is_empty() => Path::new("."),
        Ok(rest) => rest,
        Err(_) => at,
    }
}

fn split(at: &Path) -> io::Result<(&Path, &std::ffi::OsStr)> {
    let parts = at.parent().zip(at.file_name()).filter(|_| at.is_absolute());
    parts.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "not an absolute path to a file or folder",
        )
    })
}

fn create_new(parent: BorrowedFd<'_>, name: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o444))
}

fn write_new(parent: BorrowedFd<'_>, name: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    std::fs::File::from(create_new(parent, name)?).write_all(bytes)
}
