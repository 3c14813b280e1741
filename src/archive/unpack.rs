//! Layers onto this host: hostile input, written on directory descriptors.
//! Every path is resolved beneath the new folder, through no link; nothing has
//! its final name before the digests are right.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, fchmod, futimens, linkat,
    mkdirat, openat, openat2, statat, symlinkat, syncfs, utimensat,
};
use rustix::io::Errno;

use crate::ident::Digest;
use crate::store::Store;
use crate::sys::At as _;
use crate::sys::attributes;
use crate::sys::fs::{
    TEMPORARY_PREFIX, create_dir_durable, remove_tree, sync_parent, temporary_beside,
};
use crate::sys::lock::Lock;

use super::decompress::{Hashes, Pieces, decompress};
use super::entry::{Entries, Entry};
use super::error::Refusal;
use super::limits::FOLDER_NAMES_BYTES_MAX;
use super::sparse::SparseWriter;
use super::tar_header::{Kind, MTIME_S};
use super::{ArchiveError, BadImage, Compression, LayerBlob, Progress};

/// Pieces that wait between decompressing and writing.
const PIECES_WAITING: usize = 8;
/// How often progress is told, in bytes.
const PROGRESS_BYTES: u64 = 1 << 20;
/// Nothing of it can be changed by the apps, which see it read-only and under other uids.
const FOLDER_MODE: u32 = 0o755;

/// Unpacks a layer to `<host>/layers/<diff_id hex>`, unless it is there, and gives that folder. It
/// holds the paths of the tar (`workspace/…`, `layers/…`). Once per host: concurrent callers wait
/// for the one that works. The digests and sizes are checked before the folder gets its name; an
/// unpacking that fails, or is killed, leaves nothing that a reader could see.
///
/// Files are readable for everybody (and executable where their owner may), because every app has
/// its own uid; nobody but the owner may write; times are 1980-01-01T00:00:01Z; extended attributes of
/// the namespace `user` are kept, others dropped; long runs of zeros become holes.
pub fn unpack(
    store: &Store,
    layer: &LayerBlob,
    progress: Progress<'_>,
) -> Result<PathBuf, ArchiveError> {
    let folder = store.layers().join(layer.diff_id.hex());
    if is_folder(&folder) {
        return Ok(folder);
    }
    create_dir_durable(&store.layers(), FOLDER_MODE)?;
    let _lock = Lock::take(&store.layers().join(".lock"))?;
    if is_folder(&folder) {
        return Ok(folder);
    }
    sweep(&store.layers())?;
    let staging = Staging::new(&folder)?;
    let root = unpack_into(store, layer, &staging.path, progress)?;
    syncfs(&root).at("make durable", &staging.path)?;
    fs::rename(&staging.path, &folder).at("create", &folder)?;
    sync_parent(&folder)?;
    Ok(folder)
}

fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// What killed unpackings left: nobody else has one under way, because we have the lock.
fn sweep(layers: &Path) -> Result<(), ArchiveError> {
    for entry in fs::read_dir(layers).at("list", layers)? {
        let entry = entry.at("list", layers)?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(TEMPORARY_PREFIX.as_bytes())
        {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// A folder beside the final one; gone when dropped, unless it was renamed.
struct Staging {
    path: PathBuf,
}

impl Staging {
    fn new(folder: &Path) -> Result<Self, ArchiveError> {
        let path = temporary_beside(folder);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .at("create the folder", &path)?;
        Ok(Self { path })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if is_folder(&self.path) {
            // What cannot be removed now is swept by the next unpacking.
            let _ = remove_tree(&self.path);
        }
    }
}

/// One thread decompresses and hashes, this one writes.
fn unpack_into(
    store: &Store,
    layer: &LayerBlob,
    path: &Path,
    progress: Progress<'_>,
) -> Result<OwnedFd, ArchiveError> {
    let compression =
        Compression::of_media_type(&layer.media_type).ok_or_else(|| ArchiveError::Image {
            what: format!("the layer {}", layer.digest),
            why: BadImage::Says(format!(
                "it is of the type `{}`",
                layer.media_type.escape_debug()
            )),
        })?;
    let blob = open_blob(store, layer)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(path, flags, Mode::empty()).at("open", path)?;
    let (hashes, written) = thread::scope(|scope| {
        let (pieces, to_write) = sync_channel(PIECES_WAITING);
        let (done, free) = channel();
        let hashes = scope.spawn(move || decompress(blob, compression, &pieces, &free));
        let entries = Entries::new(Pieces::new(to_write, done), layer.tar_bytes);
        let written = Unpacking::new(&root, path).all(entries, progress);
        (
            hashes
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the decompressing thread ended"))),
            written,
        )
    });
    check(
        layer,
        hashes.at("read", &store.blob_path(&layer.digest))?,
        written,
    )?;
    Ok(root)
}

fn open_blob(store: &Store, layer: &LayerBlob) -> Result<File, ArchiveError> {
    let path = store.blob_path(&layer.digest);
    match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ArchiveError::MissingBlob {
            digest: layer.digest,
        }),
        opened => Ok(opened.at("open", &path)?),
    }
}

/// A damaged blob explains all that follows from it, so it comes first.
fn check(
    layer: &LayerBlob,
    hashes: Hashes,
    written: Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let Hashes {
        blob,
        blob_bytes,
        tar,
    } = hashes;
    if blob_bytes != layer.size_bytes {
        return Err(ArchiveError::Size {
            digest: layer.digest,
            expected: layer.size_bytes,
            actual: blob_bytes,
        });
    }
    let actual = Digest::from_hasher(blob);
    if actual != layer.digest {
        return Err(ArchiveError::Damaged {
            what: "the blob",
            expected: layer.digest,
            actual,
        });
    }
    written?;
    let actual = Digest::from_hasher(tar);
    if actual != layer.diff_id {
        return Err(ArchiveError::Damaged {
            what: "the layer",
            expected: layer.diff_id,
            actual,
        });
    }
    Ok(())
}

/// Entries becoming files beneath `root`.
pub(super) struct Unpacking<'a> {
    root: &'a OwnedFd,
    /// Of the root, for messages.
    path: &'a Path,
    /// The folder of the entry before: entries mostly come folder by folder.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// All that were made, in order: their times are set last.
    folders: Vec<Vec<u8>>,
    folder_bytes: usize,
}

impl<'a> Unpacking<'a> {
    /// Into the folder `root`, whose path is `path`.
    pub(super) fn new(root: &'a OwnedFd, path: &'a Path) -> Self {
        Self {
            root,
            path,
            parent: None,
            folders: Vec::new(),
            folder_bytes: 0,
        }
    }

    fn all(
        mut self,
        mut entries: Entries<Pieces>,
        progress: Progress<'_>,
    ) -> Result<(), ArchiveError> {
        let mut told = 0;
        while let Some(entry) = entries.next()? {
            self.entry(&entry, &mut entries)?;
            if entries.position() - told >= PROGRESS_BYTES {
                told = entries.position();
                progress(told);
            }
        }
        self.finish_folders()
    }

    /// Makes what the entry says. Its folder is there already.
    pub(super) fn entry<R: BufRead>(
        &mut self,
        entry: &Entry,
        entries: &mut Entries<R>,
    ) -> Result<(), ArchiveError> {
        let (parent, base) = split(&entry.name);
        self.enter(parent)
            .map_err(|errno| self.refused(entry, errno))?;
        let folder = self.parent.as_ref().map_or(self.root, |(_, folder)| folder);
        let made = match entry.kind {
            Kind::Folder => mkdirat(folder, base, Mode::from_raw_mode(0o700)),
            Kind::Symlink => symlinkat(entry.link.as_slice(), folder, base)
                .and_then(|()| utimensat(folder, base, &times(), AtFlags::SYMLINK_NOFOLLOW)),
            Kind::HardLink => return self.hard_link(entry, base),
            Kind::File => return self.file(entry, base, entries),
        };
        made.map_err(|errno| self.refused(entry, errno))?;
        if entry.kind == Kind::Folder {
            self.set_folder_attributes(entry)?;
            self.remember(entry)
        } else {
            Ok(())
        }
    }

    /// Makes a folder that no entry says.
    pub(super) fn folder(&mut self, name: &[u8]) -> Result<(), ArchiveError> {
        let entry = Entry::folder(name);
        let (parent, base) = split(&entry.name);
        let made = self.enter(parent).and_then(|()| {
            let folder = self.parent.as_ref().map_or(self.root, |(_, folder)| folder);
            mkdirat(folder, base, Mode::from_raw_mode(0o700))
        });
        made.map_err(|errno| self.refused(&entry, errno))?;
        self.remember(&entry)
    }

    /// Makes `parent` the current folder.
    pub(super) fn enter(&mut self, parent: &[u8]) -> Result<(), Errno> {
        if self.parent.as_ref().is_some_and(|(name, _)| name == parent) {
            return Ok(());
        }
        self.parent = None;
        if !parent.is_empty() {
            let folder = beneath(self.root, parent, OFlags::PATH)?;
            self.parent = Some((parent.to_vec(), folder));
        }
        Ok(())
    }

    fn file<R: BufRead>(
        &self,
        entry: &Entry,
        base: &[u8],
        entries: &mut Entries<R>,
    ) -> Result<(), ArchiveError> {
        let folder = self.parent.as_ref().map_or(self.root, |(_, folder)| folder);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(folder, base, flags, Mode::from_raw_mode(0o600))
            .map_err(|errno| self.refused(entry, errno))?;
        let mut file = SparseWriter::new(file.into());
        loop {
            let bytes = entries.body()?;
            if bytes.is_empty() {
                break;
            }
            let count = bytes.len();
            file.write(bytes).at("write", &self.path_of(&entry.name))?;
            entries.consume(count);
        }
        let file = file.finish().at("write", &self.path_of(&entry.name))?;
        self.set_attributes(&file, entry)?;
        fchmod(&file, Mode::from_raw_mode(file_mode(entry.mode)))
            .and_then(|()| futimens(&file, &times()))
            .map_err(|errno| self.refused(entry, errno))
    }

    fn set_folder_attributes(&self, entry: &Entry) -> Result<(), ArchiveError> {
        if entry.attributes.is_empty() {
            return Ok(());
        }
        let folder = beneath(self.root, &entry.name, OFlags::RDONLY)
            .map_err(|errno| self.refused(entry, errno))?;
        self.set_attributes(&folder, entry)
    }

    /// Before its mode: one that may not be written may not be given attributes.
    fn set_attributes(&self, file: impl AsFd, entry: &Entry) -> Result<(), ArchiveError> {
        attributes::set(file, &entry.attributes)
            .at("set the attributes of", &self.path_of(&entry.name))?;
        Ok(())
    }

    /// A second name for a file that came before; never for what a link points to.
    fn hard_link(&self, entry: &Entry, base: &[u8]) -> Result<(), ArchiveError> {
        let bad = |why| ArchiveError::Refused {
            entry: entry.name.clone(),
            why: Refusal::Target {
                target: entry.link.clone(),
                why: Box::new(why),
            },
        };
        let (parent, target) = split(&entry.link);
        let found = beneath(self.root, parent, OFlags::PATH).and_then(|folder| {
            let stat = statat(&folder, target, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok((folder, FileType::from_raw_mode(stat.st_mode)))
        });
        let target_folder = match found {
            Ok((folder, FileType::RegularFile)) => folder,
            Ok(_) | Err(Errno::NOENT) => return Err(bad(Refusal::NotBefore)),
            Err(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => {
                return Err(bad(Refusal::ThroughLink));
            }
            Err(errno) => return Err(self.refused(entry, errno)),
        };
        let folder = self.parent.as_ref().map_or(self.root, |(_, folder)| folder);
        linkat(&target_folder, target, folder, base, AtFlags::empty())
            .map_err(|errno| self.refused(entry, errno))
    }

    fn remember(&mut self, entry: &Entry) -> Result<(), ArchiveError> {
        self.folder_bytes += entry.name.len();
        if self.folder_bytes > FOLDER_NAMES_BYTES_MAX {
            return Err(ArchiveError::Refused {
                entry: entry.name.clone(),
                why: Refusal::TooManyFolders,
            });
        }
        self.folders.push(entry.name.clone());
        Ok(())
    }

    /// Modes and times of folders, deepest first: what is made in a folder changes its time.
    pub(super) fn finish_folders(&self) -> Result<(), ArchiveError> {
        for name in self.folders.iter().rev() {
            let folder =
                beneath(self.root, name, OFlags::RDONLY).at("open", &self.path_of(name))?;
            finish_folder(&folder).at("set the mode of", &self.path_of(name))?;
        }
        finish_folder(self.root).at("set the mode of", self.path)?;
        Ok(())
    }

    /// What an error of the kernel says about the entry, where it says something.
    pub(super) fn refused(&self, entry: &Entry, errno: Errno) -> ArchiveError {
        let why = match errno {
            Errno::NOENT => Refusal::NoFolder,
            Errno::LOOP | Errno::NOTDIR | Errno::XDEV => Refusal::ThroughLink,
            Errno::EXIST => Refusal::Repeated,
            other => {
                let path = self.path_of(&entry.name);
                return crate::sys::PathError {
                    doing: "unpack",
                    path,
                    source: other.into(),
                }
                .into();
            }
        };
        ArchiveError::Refused {
            entry: entry.name.clone(),
            why,
        }
    }

    fn path_of(&self, name: &[u8]) -> PathBuf {
        use std::os::unix::ffi::OsStrExt as _;
        self.path.join(std::ffi::OsStr::from_bytes(name))
    }
}

/// Opens a folder of the new tree: never one above it, never through a link.
pub(super) fn beneath(root: &OwnedFd, name: &[u8], access: OFlags) -> Result<OwnedFd, Errno> {
    let name = if name.is_empty() { b"." } else { name };
    let flags = access | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(root.as_fd(), name, flags, Mode::empty(), resolve) {
            // Something on this machine was renamed meanwhile: the kernel could not be sure, and asks to be asked again.
            Err(Errno::AGAIN | Errno::INTR) => {}
            answer => return answer,
        }
    }
}

fn finish_folder(folder: &OwnedFd) -> Result<(), Errno> {
    fchmod(folder, Mode::from_raw_mode(FOLDER_MODE))?;
    futimens(folder, &times())
}

pub(super) fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&name[..slash], &name[slash + 1..]),
        None => (b"", name),
    }
}

/// Readable for all, executable for all where the owner may execute, writable for the owner at most.
fn file_mode(mode: u32) -> u32 {
    let execute = if mode & 0o100 != 0 { 0o111 } else { 0 };
    (mode & 0o644) | 0o444 | execute
}

fn times() -> Timestamps {
    let time = Timespec {
        tv_sec: MTIME_S.cast_signed(),
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
