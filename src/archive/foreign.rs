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
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::archive::attacks::Raw;

    /// What is unpacked of it, as `path mode` and `path -> target`, or what is said.
    fn unpacked(tar: &[u8]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        crate::sys::fs::write_atomic(&folder.path().join("canary"), b"alive", 0o600).unwrap();
        let (archive, to) = (folder.path().join("a.tar"), folder.path().join("to"));
        crate::sys::fs::write_unsynced(&archive, tar, 0o644).unwrap();
        std::fs::create_dir(&to).unwrap();
        let unpacked = unpack_foreign(&archive, &to).map_err(|error| error.to_string());
        let canary = folder.path().join("canary");
        assert_eq!(std::fs::read(&canary).unwrap(), b"alive");
        let mode = |path: &Path| path.symlink_metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&canary), 0o600);
        unpacked?;
        let mut lines = Vec::new();
        let mut folders = vec![to.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(&to).unwrap().display();
                match std::fs::read_link(&path) {
                    Ok(target) => lines.push(format!("{name} -> {}", target.display())),
                    Err(_) => lines.push(format!("{name} {:o}", mode(&path))),
                }
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                }
            }
        }
        lines.sort();
        Ok(lines)
    }

    #[test]
    fn what_others_spell_differently_is_read() {
        let new = Raw::new;
        let rows: &[(&str, Vec<u8>, &[&str])] = &[
            (
                "dot",
                new().folder(".").folder("./a").file("./a/b").end(),
                &["a 755", "a/b 644"],
            ),
            ("absolute", new().file("/a").end(), &["a 644"]),
            (
                "double slash",
                new().file("a//b").end(),
                &["a 755", "a/b 644"],
            ),
            (
                "implied folders",
                new().file("a/b/c").file("a/d").end(),
                &["a 755", "a/b 755", "a/b/c 644", "a/d 644"],
            ),
            (
                "folder twice",
                new().folder("a").folder("a").file("a/b").end(),
                &["a 755", "a/b 644"],
            ),
            (
                "links inside",
                new()
                    .file("a/b")
                    .link("a/c", "b")
                    .link("d", "a/../a/c")
                    .end(),
                &["a 755", "a/b 644", "a/c -> b", "d -> a/../a/c"],
            ),
            (
                "dangling",
                new().link("a", "none/../../x").end(),
                &["a -> none/../../x"],
            ),
            (
                "hard link",
                new().file("./a").hard("./b", "./a").end(),
                &["a 644", "b 644"],
            ),
            (
                "setuid",
                new()
                    .changed(b'0', b"a", b"", b"", |header| {
                        header[100..108].copy_from_slice(b"0006755\0");
                    })
                    .end(),
                &["a 755"],
            ),
            (
                "no permission",
                new()
                    .changed(b'5', b"a/", b"", b"", |header| {
                        header[100..108].copy_from_slice(b"0000000\0");
                    })
                    .file("a/b")
                    .end(),
                &["a 755", "a/b 644"],
            ),
            (
                "git archive",
                new().pax(b'g', &[("comment", b"0123")]).file("a").end(),
                &["a 644"],
            ),
        ];
        for (id, tar, expected) in rows {
            let expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
            assert_eq!(unpacked(tar), Ok(expected), "{id}");
        }
    }

    #[test]
    fn what_leads_out_is_refused() {
        let new = Raw::new;
        let up = b"../canary";
        let rows: &[(&str, Vec<u8>, &str)] = &[
            ("dotdot", new().file("../canary").end(), "goes up by `..`"),
            (
                "dotdot below",
                new().file("./a/../../canary").end(),
                "goes up by `..`",
            ),
            (
                "pax",
                new().pax(b'x', &[("path", up)]).file("a").end(),
                "goes up by `..`",
            ),
            (
                "long name",
                new().entry(b'L', b"L", b"", up).file("a").end(),
                "goes up by `..`",
            ),
            (
                "link",
                new().link("a", "/etc/passwd").end(),
                "leads out of the archive",
            ),
            (
                "link up",
                new().link("a/b", "../../canary").end(),
                "leads out of the archive",
            ),
            (
                "link through a link",
                new()
                    .folder("a/b")
                    .link("a/b/up", "../..")
                    .link("x", "a/b/up/../canary")
                    .end(),
                "leads out of the archive",
            ),
            (
                "link to root",
                new().link("a", "/").end(),
                "leads out of the archive",
            ),
            (
                "write through a link",
                new().link("a", "..").file("a/canary").end(),
                "leads through a link",
            ),
            (
                "implied folder through a link",
                new().link("a", "..").file("a/b/canary").end(),
                "leads through a link",
            ),
            (
                "folder over a link",
                new().link("a", "..").folder("a").end(),
                "is there already",
            ),
            (
                "file twice",
                new().file("a").file("./a").end(),
                "is there already",
            ),
            (
                "file as folder",
                new().file("a").file("a/b").end(),
                "through a link or a file",
            ),
            (
                "root as a file",
                new().file("./").end(),
                "its name ends with `/`",
            ),
            (
                "root as a link",
                new().link(".", "/etc").end(),
                "its name is empty",
            ),
            (
                "hard link out",
                new().hard("a", "../canary").end(),
                "goes up by `..`",
            ),
            (
                "hard link to nothing",
                new().hard("a", "/canary").end(),
                "no file that came before",
            ),
            (
                "hard link through a link",
                new().link("l", "..").hard("a", "l/canary").end(),
                "leads through a link",
            ),
            (
                "device",
                new().entry(b'3', b"a", b"", b"").end(),
                "character device",
            ),
            (
                "named pipe",
                new().entry(b'6', b"a", b"", b"").end(),
                "named pipe",
            ),
            ("whiteout", new().file("a/.wh.b").end(), "deletions"),
            ("empty", Vec::new(), "no end mark"),
            ("text", b"hello".repeat(200), "checksum"),
            (
                "too large",
                new()
                    .changed(b'0', b"a", b"", b"", |header| {
                        header[124..136].copy_from_slice(b"77777777777\0");
                    })
                    .end(),
                "more than 4294967296 bytes",
            ),
        ];
        for (id, tar, expected) in rows {
            let said = unpacked(tar).expect_err(id);
            assert!(
                said.contains(expected),
                "{id}: `{said}` should say `{expected}`"
            );
        }
    }
}
