//! Trees of layers on this machine: stacks of overlay folders made one tree,
//! copies, and whether a tree was touched.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::sys::copy::copy_content;
use crate::sys::{At as _, PathError, attributes};

/// The mark of a folder that hides what lies below it (overlayfs, option `userxattr`).
const OPAQUE: &str = "user.overlay.opaque";

/// Is it the mark of something removed? Overlayfs makes it a device 0, 0.
pub(super) fn is_whiteout(found: &Metadata) -> bool {
    found.file_type().is_char_device() && found.rdev() == 0
}

/// Does this folder of an overlay hide what lies below it?
pub(super) fn is_opaque(folder: &Path) -> bool {
    let mut value = [0_u8; 8];
    let read = rustix::fs::lgetxattr(folder, OPAQUE, &mut value[..]);
    read.is_ok_and(|length| length > 0 && value[0] == b'y')
}

/// Makes the one tree `to` of folders that lie over one another, topmost first. Files are hard links,
/// which is quick, and safe because the trees of layers are never written again.
pub(super) fn flatten(stack: &[PathBuf], to: &Path) -> Result<(), PathError> {
    let Some(top) = stack.first() else {
        return Ok(());
    };
    make_folder(to)?;
    let mut seen = BTreeSet::new();
    for (depth, folder) in stack.iter().enumerate() {
        for name in names(folder)? {
            if !seen.insert(name.clone()) {
                continue;
            }
            let from = folder.join(&name);
            let found = from.symlink_metadata().at("look at", &from)?;
            if found.is_dir() {
                flatten(
                    &same_folder_below(&from, &stack[depth + 1..], &name),
                    &to.join(&name),
                )?;
            } else if !is_whiteout(&found) {
                let link = to.join(&name);
                fs::hard_link(&from, &link).at("link", &link)?;
            }
        }
        if is_opaque(folder) {
            break;
        }
    }
    make_alike(top, to)
}

/// The folder `top` and those of the same name in the lower folders, down to the first that hides or ends them.
fn same_folder_below(top: &Path, lower: &[PathBuf], name: &OsStr) -> Vec<PathBuf> {
    let mut stack = vec![top.to_owned()];
    for folder in lower {
        if stack.last().is_some_and(|last| is_opaque(last)) {
            break;
        }
        let below = folder.join(name);
        match below.symlink_metadata() {
            Ok(found) if found.is_dir() => stack.push(below),
            Ok(_) => break,
            Err(_) if is_opaque(folder) => break,
            Err(_) => {}
        }
        if is_opaque(folder) {
            break;
        }
    }
    stack
}

/// Moves a tree, by copying where it goes to another file system.
pub(super) fn move_tree(from: &Path, to: &Path) -> Result<(), PathError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            copy_tree(from, to)?;
            crate::sys::fs::remove_tree(from)
        }
        moved => moved.at("move", from),
    }
}

/// Copies a tree with modes, times, links, hard links, holes and attributes; owners where the caller may give away.
pub(super) fn copy_tree(from: &Path, to: &Path) -> Result<(), PathError> {
    copy_entry(from, to, &mut HashMap::new())
}

fn copy_entry(
    from: &Path,
    to: &Path,
    linked: &mut HashMap<(u64, u64), PathBuf>,
) -> Result<(), PathError> {
    let found = from.symlink_metadata().at("look at", from)?;
    if found.is_dir() {
        make_folder(to)?;
        for name in names(from)? {
            copy_entry(&from.join(&name), &to.join(&name), linked)?;
        }
        return make_alike(from, to);
    }
    if found.is_symlink() {
        let target = fs::read_link(from).at("read the link", from)?;
        symlink(target, to).at("create the link", to)?;
        return give(&found, to);
    }
    if !found.is_file() {
        return Ok(()); // a socket or a pipe means nothing without who listens to it
    }
    if found.nlink() > 1 {
        if let Some(first) = linked.get(&(found.dev(), found.ino())) {
            return fs::hard_link(first, to).at("link", to);
        }
        linked.insert((found.dev(), found.ino()), to.to_owned());
    }
    let source = File::open(from).at("open", from)?;
    let target = File::create_new(to).at("create", to)?;
    copy_content(&source, &found, &target).at("copy", from)?;
    attributes::copy(&source, &target).at("set the attributes of", to)?;
    give(&found, to)?;
    // After the owner, whose change takes away setuid.
    target
        .set_permissions(Permissions::from_mode(found.mode() & 0o7777))
        .at("set the mode of", to)?;
    target
        .set_modified(found.modified().at("look at", from)?)
        .at("set the time of", to)
}

/// Ours alone until it is filled: its own mode may not let us.
fn make_folder(to: &Path) -> Result<(), PathError> {
    fs::create_dir(to).at("create the folder", to)?;
    fs::set_permissions(to, Permissions::from_mode(0o700)).at("set the mode of", to)
}

/// Gives a filled folder the time, owner and mode of the original.
fn make_alike(from: &Path, to: &Path) -> Result<(), PathError> {
    let found = from.symlink_metadata().at("look at", from)?;
    let modified = found.modified().at("look at", from)?;
    let folder = File::open(to).at("open", to)?;
    let original = File::open(from).at("open", from)?;
    attributes::copy(&original, &folder).at("set the attributes of", to)?;
    folder.set_modified(modified).at("set the time of", to)?;
    give(&found, to)?;
    fs::set_permissions(to, Permissions::from_mode(found.mode() & 0o7777)).at("set the mode of", to)
}

/// Gives the copy to the owner of the original, if the caller is root; another's files are its own anyway.
fn give(found: &Metadata, to: &Path) -> Result<(), PathError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    std::os::unix::fs::lchown(to, Some(found.uid()), Some(found.gid())).at("give away", to)
}

fn names(folder: &Path) -> Result<Vec<OsString>, PathError> {
    let entries = fs::read_dir(folder).at("read", folder)?;
    entries
        .map(|entry| entry.map(|entry| entry.file_name()).at("read", folder))
        .collect()
}

/// A reading of a file system's clock: seconds since 1970, and nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instant(i64, i64);

impl Instant {
    fn of_change(found: &Metadata) -> Self {
        Self(found.ctime(), found.ctime_nsec())
    }

    /// Since 1970.
    pub(super) fn seconds(self) -> i64 {
        self.0
    }
}

/// The time; returns once the clock of the file system has ticked on (every 4 ms or so): whatever is changed from then on
/// has a later time.
pub(super) fn tick(scratch: &Path) -> Result<Instant, PathError> {
    let probe = scratch.join("tick");
    crate::sys::fs::write_unsynced(&probe, b"", 0o600)?;
    let now = || {
        Ok(Instant::of_change(
            &probe.symlink_metadata().at("look at", &probe)?,
        ))
    };
    let before = now()?;
    loop {
        crate::sys::fs::touch(&probe)?;
        if now()? > before {
            return Ok(before);
        }
    }
}

/// When anything in the tree was changed last, as the kernel notes it: nobody can set that back.
pub(super) fn newest_change(tree: &Path) -> Result<Instant, PathError> {
    let found = tree.symlink_metadata().at("look at", tree)?;
    let mut newest = Instant::of_change(&found);
    if !found.is_dir() {
        return Ok(newest);
    }
    for entry in fs::read_dir(tree).at("read", tree)? {
        let entry = entry.at("read", tree)?;
        // Of an entry that is no folder, what is found by its folder: a third of the time of a whole path.
        let found = entry.metadata().at("look at", &entry.path())?;
        let changed = if found.is_dir() {
            newest_change(&entry.path())?
        } else {
            Instant::of_change(&found)
        };
        newest = newest.max(changed);
    }
    Ok(newest)
}

/// What tells a touched tree from an untouched one without reading a file: a write, a change of mode
/// or owner, a rename all change one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index(BTreeMap<PathBuf, (u64, u64, i64, i64, i64, i64)>);

impl Index {
    /// Looks at every entry of the tree; an empty index if it is not there.
    pub(super) fn of(tree: &Path) -> Result<Self, PathError> {
        let mut index = Self::default();
        if tree.symlink_metadata().is_ok() {
            index.add(tree, Path::new(""))?;
        }
        Ok(index)
    }

    /// As `of`, of a tree that was just made: returns once the clock of the file system has ticked on (every
    /// 4 ms or so), because a write within the same tick would not show.
    pub(super) fn of_fresh(tree: &Path, scratch: &Path) -> Result<Self, PathError> {
        let index = Self::of(tree)?;
        tick(scratch)?;
        Ok(index)
    }

    fn add(&mut self, tree: &Path, at: &Path) -> Result<(), PathError> {
        let path = tree.join(at);
        let found = path.symlink_metadata().at("look at", &path)?;
        let times = (
            found.mtime(),
            found.mtime_nsec(),
            found.ctime(),
            found.ctime_nsec(),
        );
        let entry = (
            found.ino(),
            found.size(),
            times.0,
            times.1,
            times.2,
            times.3,
        );
        self.0.insert(at.to_owned(), entry);
        if found.is_dir() {
            for name in names(&path)? {
                self.add(tree, &at.join(name))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        crate::sys::fs::write_atomic(path, text.as_bytes(), 0o644).unwrap();
    }

    fn shown(tree: &Path) -> Vec<String> {
        let mut shown = Vec::new();
        for name in names(tree).unwrap() {
            let path = tree.join(&name);
            let name = name.into_string().unwrap();
            if path.is_dir() {
                shown.push(format!("{name}/"));
                shown.extend(
                    self::shown(&path)
                        .into_iter()
                        .map(|inner| format!("{name}/{inner}")),
                );
            } else {
                shown.push(format!("{name}={}", fs::read_to_string(&path).unwrap()));
            }
        }
        shown.sort();
        shown
    }

    #[test]
    fn a_stack_is_made_one_tree_in_which_the_topmost_wins() {
        let folder = tempfile::tempdir().unwrap();
        let [top, middle, low] = ["top", "middle", "low"].map(|name| folder.path().join(name));
        for name in ["a", "d/x", "hidden/x", "kept/x"] {
            write(&low.join(name), "low");
        }
        write(&middle.join("d/y"), "middle");
        write(&top.join("a"), "top");
        write(&top.join("hidden/new"), "top");
        let opaque = rustix::fs::lsetxattr(
            top.join("hidden"),
            OPAQUE,
            b"y",
            rustix::fs::XattrFlags::empty(),
        );
        if opaque.is_err() {
            return; // this file system keeps no such attributes, and so has no overlays
        }
        let to = folder.path().join("to");
        flatten(&[top, middle, low], &to).unwrap();
        let expected = [
            "a=top",
            "d/",
            "d/x=low",
            "d/y=middle",
            "hidden/",
            "hidden/new=top",
            "kept/",
            "kept/x=low",
        ];
        assert_eq!(shown(&to), expected);
    }

    #[test]
    fn a_file_over_a_folder_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let [top, middle, low] = ["top", "middle", "low"].map(|name| folder.path().join(name));
        write(&low.join("a/old"), "low");
        write(&middle.join("a"), "file");
        write(&top.join("a/new"), "top");
        let to = folder.path().join("to");
        flatten(&[top, middle, low], &to).unwrap();
        assert_eq!(shown(&to), ["a/", "a/new=top"]);
    }

    #[test]
    fn a_copy_keeps_modes_links_and_hard_links() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        write(&from.join("a"), "1");
        fs::hard_link(from.join("a"), from.join("b")).unwrap();
        let attribute = |of: &Path| {
            let mut value = [0_u8; 9];
            let length = rustix::fs::lgetxattr(of, "user.a", &mut value[..]).unwrap();
            value[..length].to_vec()
        };
        for of in [from.join("a"), from.clone()] {
            let none = rustix::fs::XattrFlags::empty();
            rustix::fs::lsetxattr(of, "user.a", b"1", none).unwrap();
        }
        fs::set_permissions(from.join("a"), Permissions::from_mode(0o500)).unwrap();
        symlink("nowhere", from.join("c")).unwrap();
        copy_tree(&from, &to).unwrap();
        let found = |name: &str| to.join(name).symlink_metadata().unwrap();
        assert_eq!(
            (found("a").mode() & 0o7777, found("a").ino()),
            (0o500, found("b").ino())
        );
        assert_eq!([attribute(&to.join("b")), attribute(&to)], [b"1", b"1"]);
        assert_eq!(fs::read_link(to.join("c")).unwrap(), Path::new("nowhere"));
        assert_eq!(
            found("a").modified().unwrap(),
            from.join("a").metadata().unwrap().modified().unwrap()
        );
    }

    #[test]
    fn an_index_tells_every_touch() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        assert_eq!(Index::of(&tree).unwrap(), Index::default());
        write(&tree.join("a"), "1");
        write(&tree.join("d/b"), "1");
        let before = Index::of_fresh(&tree, folder.path()).unwrap();
        assert_eq!(Index::of(&tree).unwrap(), before);
        fs::set_permissions(tree.join("d/b"), Permissions::from_mode(0o600)).unwrap();
        let changed = Index::of_fresh(&tree, folder.path()).unwrap();
        assert_ne!(changed, before);
        write(&tree.join("a"), "2");
        assert_ne!(Index::of(&tree).unwrap(), changed);
    }
}
