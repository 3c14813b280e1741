//! Trees as the entries of a canonical tar, on directory descriptors.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};

use crate::sys::At as _;
use crate::sys::attributes;
use crate::sys::attributes::Attribute;
use crate::sys::copy::{may_have_holes, next_data};

use super::error::Unpackable;
use super::limits::{ENTRIES_MAX, HEADER_BODY_BYTES_MAX};
use super::name::check_name;
use super::tar_header::{BLOCK, Header, Kind};
use super::{ArchiveError, DroppedAttributes, ElfFacts, Modes, Refusal, Tree, elf};

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
    dropped: Option<DroppedAttributes>,
    entries: u64,
    header: Vec<u8>,
}

/// What a walk found on its way.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// What the ELF files need and provide.
    pub(super) elf: ElfFacts,
    /// Attributes that are not carried.
    pub(super) dropped: Option<DroppedAttributes>,
}

/// What an entry says besides its name, kind and mode.
#[derive(Clone, Copy, Default)]
struct Content<'a> {
    size: u64,
    link: &'a [u8],
    attributes: &'a [Attribute],
}

/// Writes the trees' entries into `sink`.
pub(super) fn walk<S: Sink>(trees: &[Tree], sink: &mut S) -> Result<Walked, Halt> {
    let mut sorted: Vec<&Tree> = trees.iter().collect();
    sorted.sort_by(|one, other| one.to.cmp(&other.to));
    for pair in sorted.windows(2) {
        if pair[1].to.starts_with(&pair[0].to) {
            let (upper, lower) = (pair[0].to.clone(), pair[1].to.clone());
            return Err(ArchiveError::Overlap { upper, lower }.into());
        }
    }
    let Some(first) = sorted.first() else {
        return Ok(Walked::default());
    };
    let mut walk = Walk {
        sink,
        tree: first,
        name: Vec::new(),
        root_length: 0,
        links: HashMap::new(),
        elf: ElfFacts::default(),
        dropped: None,
        entries: 0,
        header: Vec::new(),
    };
    let mut above = Path::new("/");
    for tree in sorted {
        walk.tree(tree, above)?;
        above = &tree.to;
    }
    Ok(Walked {
        elf: walk.elf,
        dropped: walk.dropped,
    })
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
                self.folder_entry(0o755, &[])?;
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
        let attributes = self.attributes(folder, false)?;
        self.folder_entry(mode, &attributes)?;
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
                let link = target.as_bytes();
                self.entry(
                    Kind::Symlink,
                    0o777,
                    Content {
                        link,
                        ..Content::default()
                    },
                )
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
        let mode = self.file_mode(stat)?;
        let attributes = self.attributes(file.as_fd(), mode & 0o111 != 0)?;
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                let link = &first.clone();
                return self.entry(
                    Kind::HardLink,
                    mode,
                    Content {
                        link,
                        ..Content::default()
                    },
                );
            }
            self.links
                .insert((stat.st_dev, stat.st_ino), self.name.clone());
        }
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let content = Content {
            size,
            attributes: &attributes,
            ..Content::default()
        };
        self.entry(Kind::File, mode, content)?;
        let blocks = u64::try_from(stat.st_blocks).unwrap_or_default();
        if self.content(&mut file, size, blocks)? {
            self.add_elf(&file);
        }
        Ok(())
    }

    /// What the entry carries of its attributes. Those of the user's namespace belong to a layer; in an app they
    /// differ from checkout to checkout.
    fn attributes(
        &mut self,
        file: BorrowedFd<'_>,
        is_executable: bool,
    ) -> Result<Vec<Attribute>, Halt> {
        let is_kept = self.tree.modes == Modes::Kept;
        if !is_kept && !is_executable {
            return Ok(Vec::new());
        }
        let names = attributes::list(file).at("list the attributes of", &self.path())?;
        for name in &names.other {
            match name.to_bytes() {
                b"security.capability" => return Err(self.unpackable(Unpackable::Capabilities)),
                // Labels that this machine's security modules put on every file.
                other if other.starts_with(b"security.") => {}
                _ if is_kept => self.drop_attribute(name),
                _ => {}
            }
        }
        if !is_kept || names.user.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(name) = names
            .user
            .iter()
            .find(|name| name.to_bytes().contains(&b'='))
        {
            let name = name.to_bytes().to_owned();
            return Err(self.unpackable(Unpackable::AttributeName { name }));
        }
        let kept = attributes::read(file, names.user).at("read the attributes of", &self.path())?;
        let bytes = kept
            .iter()
            .map(|one| one.name.len() + one.value.len())
            .sum::<usize>() as u64;
        // Names and targets stand in the same header.
        if bytes > HEADER_BODY_BYTES_MAX / 2 {
            return Err(self.unpackable(Unpackable::Attributes { bytes }));
        }
        Ok(kept)
    }

    fn drop_attribute(&mut self, name: &CStr) {
        let path = self.path();
        let dropped = self.dropped.get_or_insert_with(|| DroppedAttributes {
            name: name.to_string_lossy().into_owned(),
            path,
            count: 0,
        });
        dropped.count += 1;
    }

    fn file_mode(&self, stat: &Stat) -> Result<u32, Halt> {
        let mode = stat.st_mode & 0o7777;
        if mode & 0o6000 != 0 {
            return Err(self.unpackable(Unpackable::Setuid { mode }));
        }
        Ok(match self.tree.modes {
            Modes::Normalized if mode & 0o100 != 0 => 0o755,
            Modes::Normalized => 0o644,
            Modes::Kept => mode & 0o777,
        })
    }

    /// Copies exactly `size` bytes, holes as zeros, and finds that there are no more. Says whether they begin as an ELF file does.
    fn content(&mut self, file: &mut File, size: u64, blocks: u64) -> Result<bool, Halt> {
        let mut is_elf = false;
        let mut at = 0;
        while at < size && may_have_holes(size, blocks) {
            let data = next_data(file, at, size).at("read", &self.path())?;
            self.zeros(data.start - at)?;
            file.seek(SeekFrom::Start(data.start))
                .at("read", &self.path())?;
            is_elf |= self.data(file, data.start..data.end, size)?;
            at = data.end;
        }
        if at < size || size == 0 {
            is_elf = self.data(file, 0..size, size)?;
        }
        self.zeros(size.next_multiple_of(BLOCK as u64) - size)?;
        Ok(is_elf)
    }

    fn zeros(&mut self, mut count: u64) -> Result<(), Halt> {
        while count > 0 {
            let spare = self.sink.spare()?;
            let room = spare.len() - 1;
            let filled = usize::try_from(count).map_or(room, |count| count.min(room));
            spare[..filled].fill(0);
            self.sink.advance(filled);
            count -= filled as u64;
        }
        Ok(())
    }

    /// Copies that part of a file of `size` bytes, at which the file stands, and finds that nothing follows the last.
    /// Says whether it begins as an ELF file does.
    fn data(&mut self, file: &mut File, part: Range<u64>, size: u64) -> Result<bool, Halt> {
        let mut left = part.end - part.start;
        let mut is_elf = false;
        loop {
            let spare = self.sink.spare()?;
            let room = spare.len() - 1;
            let wanted = usize::try_from(left).map_or(room, |left| left.min(room));
            // One byte more than is expected, where it may be the last read: the end is found without another.
            let past = usize::from(part.end == size && wanted as u64 == left);
            let read = match file.read(&mut spare[..wanted + past]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).at("read", &self.path())?,
            };
            if part.start == 0 && left == part.end && size >= elf::HEADER_BYTES_MIN {
                is_elf = spare[..read].starts_with(elf::MAGIC);
            }
            if read > wanted || (read == 0 && left > 0) {
                return Err(self.unpackable(Unpackable::Changed { expected: size }));
            }
            self.sink.advance(read);
            left -= read as u64;
            if left == 0 && (part.end < size || read < wanted + past) {
                return Ok(is_elf);
            }
        }
    }

    fn add_elf(&mut self, file: &File) {
        if let Some(facts) = elf::read(file) {
            self.elf.add(&String::from_utf8_lossy(&self.name), facts);
        }
    }

    fn folder_entry(&mut self, mode: u32, attributes: &[Attribute]) -> Result<(), Halt> {
        self.name.push(b'/');
        self.entry(
            Kind::Folder,
            mode,
            Content {
                attributes,
                ..Content::default()
            },
        )?;
        self.name.pop();
        Ok(())
    }

    fn entry(&mut self, kind: Kind, mode: u32, content: Content<'_>) -> Result<(), Halt> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(self.unpackable(Unpackable::Name(Refusal::TooManyEntries)));
        }
        self.header.clear();
        let Content {
            size,
            link,
            attributes,
        } = content;
        Header {
            name: &self.name,
            kind,
            mode,
            size,
            link,
            attributes,
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
