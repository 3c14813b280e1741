//! Archives that others made: a buildpack as a tar, or the layers of an image
//! with buildpacks. They are spelt in more ways than slug's own, and trusted as
//! little: what leads out of the new folder is refused.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::sys::At as _;

use super::ArchiveError;
use super::entry::{Entries, Entry};
use super::error::Refusal;
use super::limits::{FOLDER_NAMES_BYTES_MAX, WINDOW_LOG_MAX};
use super::tar_header::Kind;
use super::unpack::{Unpacking, beneath, split};

/// One read of an archive on a disk.
const READ_BYTES: usize = 256 << 10;

/// Unpacks a tar that others made, compressed with gzip or zstd or not at all, into the empty folder `to`. Modes and times
/// become those of [`unpack`](super::unpack); a failure leaves files behind, and the caller removes the folder.
pub fn unpack_foreign(from: &Path, to: &Path) -> Result<(), ArchiveError> {
    let file = File::open(from).at("open", from)?;
    let mut file = BufReader::with_capacity(READ_BYTES, file);
    let start = file.fill_buf().at("read", from)?;
    let compression = Compressed::of_bytes(start);
    let mut tar = decoder(compression, file).at("read", from)?;
    let root = open_folder(to)?;
    let mut unpacking = Foreign::new(&root, to, None);
    unpacking.take(&mut tar)?;
    unpacking.finish()
}

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compressed {
    Not,
    Gzip,
    Zstd,
}

impl Compressed {
    /// By the first bytes (RFC 1952, 2.3.1; RFC 8878, 3.1.1).
    fn of_bytes(start: &[u8]) -> Self {
        if start.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Zstd
        } else {
            Self::Not
        }
    }
}

/// The bytes, decompressed.
pub(super) fn decoder<'a>(
    compression: Compressed,
    from: impl BufRead + 'a,
) -> io::Result<Box<dyn BufRead + 'a>> {
    let decoded: Box<dyn Read + 'a> = match compression {
        Compressed::Not => return Ok(Box::new(from)),
        Compressed::Gzip => Box::new(MultiGzDecoder::new(from)),
        Compressed::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(from)?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    };
    Ok(Box::new(BufReader::with_capacity(READ_BYTES, decoded)))
}

pub(super) fn open_folder(path: &Path) -> Result<OwnedFd, ArchiveError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty()).at("open", path)?)
}

/// One archive after another, becoming files beneath one folder.
pub(super) struct Foreign<'a> {
    root: &'a OwnedFd,
    unpacking: Unpacking<'a>,
    /// The only folder in which files may lie, as a canonical path.
    only: Option<&'static str>,
    /// Symbolic links and what they say: whether they lead out is known when everything is there.
    links: Vec<(Vec<u8>, Vec<u8>)>,
    link_bytes: usize,
}

impl<'a> Foreign<'a> {
    /// Into the folder `root`, whose path is `path`.
    pub(super) fn new(root: &'a OwnedFd, path: &'a Path, only: Option<&'static str>) -> Self {
        Self {
            root,
            unpacking: Unpacking::new(root, path),
            only,
            links: Vec::new(),
            link_bytes: 0,
        }
    }

    /// All entries of one archive. Folders may be implied by what is in them, and may come twice.
    pub(super) fn take(&mut self, tar: impl BufRead) -> Result<(), ArchiveError> {
        let mut entries = Entries::of_others(tar);
        while let Some(entry) = entries.next()? {
            self.check_place(&entry)?;
            self.make_folders(&entry)?;
            if entry.kind == Kind::Folder && beneath(self.root, &entry.name, OFlags::PATH).is_ok() {
                continue;
            }
            self.remember_link(&entry)?;
            self.unpacking.entry(&entry, &mut entries)?;
        }
        Ok(())
    }

    /// Modes and times of folders; then no link may lead out.
    pub(super) fn finish(self) -> Result<(), ArchiveError> {
        self.unpacking.finish_folders()?;
        for (name, target) in self.links {
            if leads_out(self.root, &name) {
                return Err(refused(&name, Refusal::LeadsOut { target }));
            }
        }
        Ok(())
    }

    fn check_place(&self, entry: &Entry) -> Result<(), ArchiveError> {
        let Some(folder) = self.only else {
            return Ok(());
        };
        let (name, within) = (entry.name.as_slice(), folder.as_bytes());
        let is_below = name
            .strip_prefix(within)
            .is_some_and(|rest| rest.starts_with(b"/"));
        let is_above = entry.kind == Kind::Folder
            && within
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
        if is_below || is_above {
            Ok(())
        } else {
            Err(refused(name, Refusal::Elsewhere { folder }))
        }
    }

    fn make_folders(&mut self, entry: &Entry) -> Result<(), ArchiveError> {
        let (parent, _) = split(&entry.name);
        if self.unpacking.enter(parent).is_ok() {
            return Ok(());
        }
        let ends = parent
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(at, _)| at)
            .chain([parent.len()]);
        for end in ends {
            match beneath(self.root, &parent[..end], OFlags::PATH) {
                Ok(_) => {}
                Err(Errno::NOENT) => self.unpacking.folder(&parent[..end])?,
                Err(errno) => return Err(self.unpacking.refused(entry, errno)),
            }
        }
        Ok(())
    }

    fn remember_link(&mut self, entry: &Entry) -> Result<(), ArchiveError> {
        if entry.kind != Kind::Symlink {
            return Ok(());
        }
        self.link_bytes += entry.name.len() + entry.link.len();
        if self.link_bytes > FOLDER_NAMES_BYTES_MAX {
            return Err(refused(&entry.name, Refusal::TooManyFolders));
        }
        self.links.push((entry.name.clone(), entry.link.clone()));
        Ok(())
    }
}

fn refused(name: &[u8], why: Refusal) -> ArchiveError {
    ArchiveError::Refused {
        entry: name.to_vec(),
        why,
    }
}

/// Would following the link, and whatever it leads through, leave the folder? One that leads nowhere does not.
fn leads_out(root: &OwnedFd, name: &[u8]) -> bool {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    loop {
        match openat2(root.as_fd(), name, flags, Mode::empty(), resolve) {
            // Something on this machine was renamed meanwhile: the kernel could not be sure, and asks to be asked again.
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::XDEV) => return true,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests;
