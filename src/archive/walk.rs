//! Trees as the entries of a canonical tar, on directory descriptors.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, fgetxattr, fstat, openat, readlinkat, statat,
};

use crate::sys::At as _;

use super::error::Unpackable;
use super::limits::ENTRIES_MAX;
use super::name::check_name;
use super::tar_header::{BLOCK, Header, Kind};
use super::{ArchiveError, ElfFacts, Modes, Refusal, Tree, elf};

/// Why a walk ends early.
pub(super) enum Halt {
    /// Something in the trees.
    Error(ArchiveError),
    /// Nobody takes the bytes any more; the taker knows why.
    TakerGone,
}

impl<E: Into<ArchiveError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// Takes the bytes of the tar.
pub(super) trait Sink {
    /// Bytes that are at hand.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Halt>;
    /// Room to write into. Its last byte is only there to notice a file that grew; at the start of a block it holds a block at least.
    fn spare(&mut self) -> Result<&mut [u8], Halt>;
    /// So many bytes were written into what `spare` gave; never its last byte.
    fn advance(&mut self, bytes: usize);
}

/// One walk over all trees of a layer.
pub(super) struct Walk<'a, S> {
    sink: &'a mut S,
    tree: &'a Tree,
    /// The entry's name in the tar; grows and shrinks with the walk.
    name: Vec<u8>,
    /// Of the current tree's root, in bytes.
    root_length: usize,
    /// Device and inode of each file with several links → its first name.
    links: HashMap<(u64, u64), Vec<u8>>,
    elf: ElfFacts,
    entries: u64,
    header: Vec<u8>,
}

/// Writes the trees' entries into `sink`, and gives what their ELF files need and provide.
pub(super) fn walk<S: Sink>(trees: &[Tree], sink: &mut S) -> Result<ElfFacts, Halt> {
    let mut sorted: Vec<&Tree> = trees.iter().collect();
    sorted.sort_by(|one, other| one.to.cmp(&other.to));
    for pair in sorted.windows(2) {
        if pair[1].to.starts_with(&pair[0].to) {
            let (upper, lower) = (pair[0].to.clone(), pair[1].to.clone());
            return Err(ArchiveError::Overlap { upper, lower }.into());
        }
    }
    let Some(first) = sorted.first() else {
        return Ok(ElfFacts::default());
    };
    let mut walk = Walk {
        sink,
        tree: first,
        name: Vec::new(),
        root_length: 0,
        links: HashMap::new(),
        elf: ElfFacts::default(),
        entries: 0,
        header: Vec::new(),
    };
    let mut above = Path::new("/");
    for tree in sorted {
        walk.tree(tree, above)?;
        above = &tree.to;
    }
    Ok(walk.elf)
}

impl<'a, S: Sink> Walk<'a, S> {
    /// The folders above the tree that are not there yet, because they are above the tree before it too; then the tree.
    fn tree(&mut self, tree: &'a Tree, before: &Path) -> Result<(), Halt> {
        self.tree = tree;
        self.name.clear();
        let mut components = tree
            .to
            .components()
            .filter(|component| *component != Component::RootDir)
            .peekable();
        let mut upper = PathBuf::from("/");
        while let Some(component) = components.next() {
            self.push(component.as_os_str().as_bytes());
            self.check_name()?;
            upper.push(component);
            if components.peek().is_some() && !before.starts_with(&upper) {
                self.folder_entry(0o755)?;
            }
        }
        self.root_length = self.name.len();
        let root = File::open(&tree.from).at("open", &tree.from)?;
        let stat = fstat(&root).at("examine", &tree.from)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.folder(root.as_fd(), &stat),
            FileType::RegularFile => self.file(root, &stat),
            other => self.special(other),
        }
    }

    fn folder(&mut self, folder: BorrowedFd<'_>, stat: &Stat) -> Result<(), Halt> {
        let mode = match self.tree.modes {
            Modes::Normalized => 0o755,
            Modes::Kept => stat.st_mode & 0o777,
        };
        self.folder_entry(mode)?;
        for (name, file_type) in self.list(folder)? {
            let length = self.name.len();
            self.push(name.to_bytes());
            self.check_name()?;
            self.child(folder, &name, file_type)?;
            self.name.truncate(length);
        }
        Ok(())
    }

    /// The names in a folder, sorted by their bytes.
    fn list(&self, folder: BorrowedFd<'_>) -> Result<Vec<(CString, FileType)>, Halt> {
        let mut names = Vec::new();
        for entry in Dir::read_from(folder).at("list", &self.path())? {
            let entry = entry.at("list", &self.path())?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push((entry.file_name().to_owned(), entry.file_type()));
            }
        }
        names.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        Ok(names)
    }

    fn child(
        &mut self,
        folder: BorrowedFd<'_>,
        name: &CStr,
        file_type: FileType,
    ) -> Result<(), Halt> {
        match file_type {
            FileType::RegularFile | FileType::Directory => self.opened(folder, name),
            FileType::Symlink => {
                let target =
                    readlinkat(folder, name, Vec::new()).at("read the link", &self.path())?;
                self.entry(Kind::Symlink, 0o777, 0, target.as_bytes())
            }
            // Some file systems do not tell types in a listing.
            FileType::Unknown => {
                let stat =
                    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).at("examine", &self.path())?;
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Unknown => self.special(FileType::Unknown),
                    known => self.child(folder, name, known),
                }
            }
            special => self.special(special),
        }
    }

    fn opened(&mut self, folder: BorrowedFd<'_>, name: &CStr) -> Result<(), Halt> {
        // NONBLOCK: should it have become a fifo since it was listed, the open must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = openat(folder, name, flags, Mode::empty()).at("open", &self.path())?;
        let stat = fstat(&fd).at("examine", &self.path())?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.folder(fd.as_fd(), &stat),
            FileType::RegularFile => self.file(File::from(fd), &stat),
            special => self.special(special),
        }
    }

    /// Sockets are left out; all else that is special is refused.
    fn special(&self, file_type: FileType) -> Result<(), Halt> {
        match file_type {
            FileType::Socket => Ok(()),
            FileType::Fifo => Err(self.unpackable(Unpackable::Fifo)),
            FileType::CharacterDevice | FileType::BlockDevice => {
                Err(self.unpackable(Unpackable::Device))
            }
            _ => Err(self.unpackable(Unpackable::Unknown)),
        }
    }

    fn file(&mut self, mut file: File, stat: &Stat) -> Result<(), Halt> {
        let mode = self.file_mode(&file, stat)?;
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                let first = first.clone();
                return self.entry(Kind::HardLink, mode, 0, &first);
            }
            self.links
                .insert((stat.st_dev, stat.st_ino), self.name.clone());
        }
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        self.entry(Kind::File, mode, size, b"")?;
        if self.content(&mut file, size)? {
            self.add_elf(&file);
        }
        Ok(())
    }

    fn file_mode(&self, file: &File, stat: &Stat) -> Result<u32, Halt> {
        let mode = stat.st_mode & 0o7777;
        if mode & 0o6000 != 0 {
            return Err(self.unpackable(Unpackable::Setuid { mode }));
        }
        if mode & 0o111 != 0 && has_capabilities(file) {
            return Err(self.unpackable(Unpackable::Capabilities));
        }
        Ok(match self.tree.modes {
            Modes::Normalized if mode & 0o100 != 0 => 0o755,
            Modes::Normalized => 0o644,
            Modes::Kept => mode & 0o777,
        })
    }

    /// Copies exactly `size` bytes, and finds that there are no more. Says whether they begin as an ELF file does.
    fn content(&mut self, file: &mut File, size: u64) -> Result<bool, Halt> {
        let mut left = size;
        let mut is_elf = false;
        loop {
            let spare = self.sink.spare()?;
            let room = spare.len() - 1;
            let wanted = usize::try_from(left).map_or(room, |left| left.min(room));
            // One byte more than is expected, where it may be the last read: the end is found without another.
            let past = usize::from(wanted as u64 == left);
            let read = match file.read(&mut spare[..wanted + past]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).at("read", &self.path())?,
            };
            if left == size && size >= elf::HEADER_BYTES_MIN {
                is_elf = spare[..read].starts_with(elf::MAGIC);
            }
            if read > wanted || (read == 0 && left > 0) {
                return Err(self.unpackable(Unpackable::Changed { expected: size }));
            }
            self.sink.advance(read);
            left -= read as u64;
            if left == 0 && read < wanted + past {
                break;
            }
        }
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        self.sink
            .put(&[0; BLOCK][..usize::try_from(padding).unwrap_or_default()])?;
        Ok(is_elf)
    }

    fn add_elf(&mut self, file: &File) {
        if let Some(facts) = elf::read(file) {
            self.elf.add(&String::from_utf8_lossy(&self.name), facts);
        }
    }

    fn folder_entry(&mut self, mode: u32) -> Result<(), Halt> {
        self.name.push(b'/');
        self.entry(Kind::Folder, mode, 0, b"")?;
        self.name.pop();
        Ok(())
    }

    fn entry(&mut self, kind: Kind, mode: u32, size: u64, link: &[u8]) -> Result<(), Halt> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(self.unpackable(Unpackable::Name(Refusal::TooManyEntries)));
        }
        self.header.clear();
        Header {
            name: &self.name,
            kind,
            mode,
            size,
            link,
        }
        .write(&mut self.header);
        self.sink.put(&self.header)
    }

    fn push(&mut self, component: &[u8]) {
        if !self.name.is_empty() {
            self.name.push(b'/');
        }
        self.name.extend_from_slice(component);
    }

    fn check_name(&self) -> Result<(), Halt> {
        check_name(&self.name).map_err(|why| match why {
            Refusal::Whiteout => self.unpackable(Unpackable::Whiteout),
            why => self.unpackable(Unpackable::Name(why)),
        })
    }

    fn unpackable(&self, why: Unpackable) -> Halt {
        ArchiveError::Unpackable {
            path: self.path(),
            why,
        }
        .into()
    }

    /// The entry's path on this machine.
    fn path(&self) -> PathBuf {
        let below = self.name.get(self.root_length..).unwrap_or_default();
        let below = below.strip_prefix(b"/").unwrap_or(below);
        if below.is_empty() {
            self.tree.from.clone()
        } else {
            self.tree.from.join(OsStr::from_bytes(below))
        }
    }
}

/// File systems without extended attributes have none.
fn has_capabilities(file: &File) -> bool {
    fgetxattr(file, "security.capability", &mut [0_u8; 0][..]).is_ok()
}
