//! A cached layer's tar back to its place. The names in it are absolute, as
//! lifecycle writes them; whatever they say, nothing is written but below the
//! folder that is asked for, and no link is followed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, fchmod, mkdirat, openat, openat2, symlinkat};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use crate::sys::PathError;
use crate::sys::{At as _, fs::remove_tree};

/// Makes `folder`, absolute, anew of what the tar holds of it. Modes are the tar's; the owner is who does it.
pub(super) fn extract(tar: File, folder: &Path) -> Result<(), PathError> {
    remove_tree(folder)?;
    fs::create_dir_all(folder).at("create the folder", folder)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(folder, flags, Mode::empty()).at("open", folder)?;
    let mut extraction = Extraction {
        root,
        modes: BTreeMap::new(),
    };
    let mut archive = Archive::new(io::BufReader::with_capacity(256 * 1024, tar));
    let entries = archive.entries().at("read the layer of", folder)?;
    for entry in entries {
        let entry = entry.at("read the layer of", folder)?;
        let name = name_of(&entry, folder)?;
        let Some(name) = name else {
            continue; // a folder around it
        };
        extraction
            .entry(entry, &name)
            .at("restore", &folder.join(&name))?;
    }
    extraction.set_modes().at("set the modes in", folder)
}

struct Extraction {
    root: OwnedFd,
    /// Of folders, set last: one may not allow writing.
    modes: BTreeMap<PathBuf, Mode>,
}

/// The path of an entry below the folder, empty for the folder itself; none for one around it, and for what is no file.
fn name_of(entry: &Entry<'_, impl io::Read>, folder: &Path) -> Result<Option<PathBuf>, PathError> {
    if entry.header().entry_type() == EntryType::XGlobalHeader {
        return Ok(None);
    }
    let path = entry.path().at("read the layer of", folder)?;
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(outside()).at("restore", &path);
            }
        }
    }
    match clean.strip_prefix(folder) {
        Ok(name) => Ok(Some(name.to_owned())),
        Err(_) if folder.starts_with(&clean) => Ok(None),
        Err(_) => Err(outside()).at("restore", &clean),
    }
}

fn outside() -> io::Error {
    io::Error::other("the cache holds it in a layer that it does not belong to")
}

impl Extraction {
    fn entry(&mut self, mut entry: Entry<'_, impl io::Read>, name: &Path) -> io::Result<()> {
        let header = entry.header();
        let (kind, mode) = (
            header.entry_type(),
            Mode::from_raw_mode(header.mode()? & 0o7777),
        );
        if kind == EntryType::Directory {
            self.make_folder(name)?;
            self.modes.insert(name.to_owned(), mode);
            return Ok(());
        }
        let base = name.file_name().ok_or_else(outside)?;
        let parent = name.parent().unwrap_or(Path::new(""));
        self.make_folder(parent)?;
        let parent = self.folder(parent)?;
        match kind {
            EntryType::Regular | EntryType::Continuous => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                let flags = flags | OFlags::CLOEXEC;
                let file = openat(&parent, base, flags, Mode::from_raw_mode(0o600))?;
                let mut file = File::from(file);
                io::copy(&mut entry, &mut file)?;
                Ok(fchmod(&file, mode)?)
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().ok_or_else(outside)?;
                Ok(symlinkat(target.as_ref(), &parent, base)?)
            }
            other => Err(io::Error::other(format!(
                "it is neither a file, a folder nor a symbolic link ({other:?})"
            ))),
        }
    }

    /// Makes a folder and those around it, if they are not there.
    fn make_folder(&self, name: &Path) -> io::Result<()> {
        let mut so_far = PathBuf::new();
        for part in name.components() {
            let parent = self.folder(&so_far)?;
            match mkdirat(
                &parent,
                part.as_os_str().as_bytes(),
                Mode::from_raw_mode(0o755),
            ) {
                Ok(()) | Err(Errno::EXIST) => so_far.push(part),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn folder(&self, name: &Path) -> io::Result<OwnedFd> {
        let name = if name.as_os_str().is_empty() {
            Path::new(".")
        } else {
            name
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        Ok(openat2(&self.root, name, flags, Mode::empty(), resolve)?)
    }

    fn set_modes(&self) -> io::Result<()> {
        // Deepest first: a folder that may not be entered is left last.
        for (name, mode) in self.modes.iter().rev() {
            let folder = self.folder(name)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let folder = openat(&folder, ".", flags, Mode::empty())?;
            fchmod(&folder, *mode)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Seek as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A tar of these names: one ending in `/` is a folder, `a -> b` a link.
    fn tar_of(names: &[String]) -> File {
        let mut tar = tar::Builder::new(tempfile::tempfile().unwrap());
        for name in names {
            let mut header = tar::Header::new_gnu();
            let (path, kind) = match (name.split_once(" -> "), name.ends_with('/')) {
                (Some((path, target)), _) => {
                    header.set_link_name(target).unwrap();
                    (path, EntryType::Symlink)
                }
                (None, true) => (name.as_str(), EntryType::Directory),
                (None, false) => (name.as_str(), EntryType::Regular),
            };
            header.set_entry_type(kind);
            header.set_mode(if kind == EntryType::Directory {
                0o555
            } else {
                0o440
            });
            let body: &[u8] = if kind == EntryType::Regular {
                b"x"
            } else {
                b""
            };
            header.set_size(body.len() as u64);
            // `set_path` refuses what a hostile tar may hold.
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            tar.append(&header, body).unwrap();
        }
        let mut file = tar.into_inner().unwrap();
        file.rewind().unwrap();
        file
    }

    fn check(names: &[&str]) -> (tempfile::TempDir, Result<(), PathError>) {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display().to_string();
        let names: Vec<String> = names.iter().map(|name| name.replace('@', &at)).collect();
        let extracted = extract(tar_of(&names), &folder.path().join("l"));
        (folder, extracted)
    }

    #[test]
    fn a_layer_comes_back_with_its_modes() {
        let (folder, extracted) = check(&[
            "/",
            "@/",
            "@/l/",
            "@/l/sub/",
            "@/l/sub/file",
            "@/l/link -> /etc/passwd",
        ]);
        extracted.unwrap();
        let mode = |name: &str| {
            let found = folder.path().join(name).symlink_metadata().unwrap();
            found.permissions().mode() & 0o7777
        };
        assert_eq!((mode("l/sub"), mode("l/sub/file")), (0o555, 0o440));
        assert!(folder.path().join("l/link").is_symlink());
    }

    #[test]
    fn nothing_is_written_outside_the_layer() {
        let hostile: [&[&str]; 5] = [
            &["@/other"],
            &["@/l/../other"],
            &["@/l/a -> ..", "@/l/a/other"],
            &["@/l/a -> @", "@/l/a/other"],
            &["@/l/x", "@/l/x"],
        ];
        for names in hostile {
            let (folder, extracted) = check(names);
            assert!(extracted.is_err(), "{names:?}");
            assert!(!folder.path().join("other").exists(), "{names:?}");
        }
    }
}
