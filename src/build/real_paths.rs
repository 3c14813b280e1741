//! The real `/workspace`, `/layers`, `/platform` and `/cnb` of a build with
//! isolation `none`: taken for one build, and free again after it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::iter;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink,
};
use std::path::{Path, PathBuf};

use super::BuildError;
use super::site::{CNB, HOST, LAYERS, PLATFORM};
use super::tree::copy_tree;
use crate::archive::AppFolder;
use crate::sys::fs::{random_hex, read_plain, remove_tree, write_atomic, write_unsynced};
use crate::sys::lock::Lock;
use crate::sys::{At as _, PathError};

/// Lies in `/cnb`, locked by the build that runs: what is there is ours to remove. Says where the app is and, on a
/// second line, the folder with the secrets, if there is one.
const OURS: &str = "/cnb/.slug-build";
/// The largest such file, in bytes.
const MARK_BYTES_MAX: u64 = 256;
/// The real folders, besides the app's.
const REAL: [&str; 3] = [CNB, LAYERS, PLATFORM];
/// Files that no disk holds.
const MEMORY: &str = "/dev/shm";
/// How the name of the folder with the secrets begins.
const PRIVATE: &str = "slug-secrets-";

/// The real folders, taken. They are free again when this is dropped, whatever became of the build.
#[derive(Debug)]
pub(super) struct RealPaths {
    /// `/`.
    root: PathBuf,
    app: AppFolder,
    /// On the mark: who holds it builds at these paths.
    lock: Lock,
}

impl RealPaths {
    /// Takes the paths, if they are free or what a killed build of ours left.
    pub(super) fn take(root: &Path, app: AppFolder) -> Result<Self, BuildError> {
        let at = |path: &str| below(root, path);
        if let Some(app) = Mark::read(&at(OURS))?.and_then(|mark| mark.app) {
            drop(Self::lock(root, app)?);
        }
        let mut all = REAL.into_iter().chain([app.text()]).map(at);
        if let Some(taken) = all.find(|path| path.symlink_metadata().is_ok()) {
            return Err(BuildError::PathTaken(taken));
        }
        fs::create_dir(at(CNB)).at("create the folder", &at(CNB))?;
        write_atomic(&at(OURS), app.text().as_bytes(), 0o644)?;
        // From here on, what is there is ours.
        let paths = Self::lock(root, app)?;
        for path in [app.text(), LAYERS].map(at) {
            fs::create_dir(&path).at("create the folder", &path)?;
        }
        Ok(paths)
    }

    fn lock(root: &Path, app: AppFolder) -> Result<Self, BuildError> {
        let mark = below(root, OURS);
        let lock = Lock::try_take(&mark)?.ok_or_else(|| BuildError::PathBusy(below(root, CNB)))?;
        Ok(Self {
            root: root.to_owned(),
            app,
            lock,
        })
    }

    /// Shows files at `to` that only `uid` may read, if one is named, and that lie in memory.
    pub(super) fn show_private(
        &self,
        to: &Path,
        files: &BTreeMap<OsString, Vec<u8>>,
        uid: Option<u32>,
    ) -> Result<(), PathError> {
        let memory = Path::new(MEMORY);
        let kind = rustix::fs::statfs(memory).at("look at", memory)?.f_type;
        if kind != libc::TMPFS_MAGIC {
            let why = io::Error::other("it is no tmpfs, and secrets are written to no disk");
            return Err(why).at("use", memory);
        }
        let folder = memory.join(format!("{PRIVATE}{}", random_hex()));
        let mark = format!("{}\n{}", self.app.text(), folder.display());
        self.lock.say_who(&mark, &below(&self.root, OURS))?;
        let make = fs::DirBuilder::new().mode(0o700).create(&folder);
        make.at("create the folder", &folder)?;
        let give = |path: &Path| {
            uid.map_or(Ok(()), |uid| {
                chown(path, Some(uid), Some(uid)).at("give away", path)
            })
        };
        for (name, bytes) in files {
            let file = folder.join(name);
            write_unsynced(&file, bytes, 0o400)?;
            give(&file)?;
        }
        give(&folder)?;
        symlink(&folder, to).at("create the link", to)
    }

    /// The mark goes last: until then, the next build knows that the rest is ours.
    fn remove(&self) -> Result<(), PathError> {
        let (cnb, mark) = (below(&self.root, CNB), below(&self.root, OURS));
        if let Some(private) = Mark::read(&mark)?.and_then(|mark| mark.private) {
            remove_tree(&private)?;
        }
        for path in [self.app.text(), LAYERS, PLATFORM] {
            remove_tree(&below(&self.root, path))?;
        }
        for entry in fs::read_dir(&cnb).at("read", &cnb)? {
            let path = entry.at("read", &cnb)?.path();
            if path != mark {
                remove_tree(&path)?;
            }
        }
        remove_tree(&mark)?;
        fs::remove_dir(&cnb).at("remove", &cnb)
    }
}

impl Drop for RealPaths {
    fn drop(&mut self) {
        // What cannot be removed is found, with the mark, by the next build.
        let _ = self.remove();
    }
}

/// Shows what is not to be written at a real path. Not by a copy where that can be helped: the interpreters of a host
/// are 120,000 files, and copying them took six times as long as the build. A prefix of the host that the programs'
/// user can reach is a link; what belongs to root, and so cannot be written by `uid`, is hard links.
pub(super) fn show(from: &Path, to: &Path, uid: Option<u32>) -> Result<(), PathError> {
    let is_prefix = to.starts_with(Path::new(PLATFORM).join(HOST));
    if is_prefix && can_reach(from, uid)? {
        return symlink(from, to).at("create the link", to);
    }
    if uid.is_some() {
        link_tree(from, to)
    } else {
        copy_tree(from, to)
    }
}

/// May that user, none for this process's own, look into the folder? By the modes alone: no group, no list of others.
fn can_reach(folder: &Path, uid: Option<u32>) -> Result<bool, PathError> {
    let Some(uid) = uid else {
        return Ok(true);
    };
    for (above, needed) in folder
        .ancestors()
        .zip(iter::once(0o5).chain(iter::repeat(0o1)))
    {
        let found = above.metadata().at("look at", above)?;
        let mode = if found.uid() == uid {
            found.mode() >> 6
        } else {
            found.mode()
        };
        if mode & needed != needed {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A tree of hard links; a copy of what cannot be one, such as what lies on another file system.
fn link_tree(from: &Path, to: &Path) -> Result<(), PathError> {
    let found = from.symlink_metadata().at("look at", from)?;
    if !found.is_dir() {
        return match fs::hard_link(from, to) {
            Ok(()) => Ok(()),
            Err(_) => copy_tree(from, to),
        };
    }
    fs::create_dir(to).at("create the folder", to)?;
    for entry in fs::read_dir(from).at("read", from)? {
        let name = entry.at("read", from)?.file_name();
        link_tree(&from.join(&name), &to.join(&name))?;
    }
    let mode = Permissions::from_mode(found.mode() & 0o777);
    fs::set_permissions(to, mode).at("set the mode of", to)
}

/// What the mark says. An unprivileged buildpack may have written to it: what cannot be ours is not believed.
struct Mark {
    app: Option<AppFolder>,
    private: Option<PathBuf>,
}

impl Mark {
    fn read(path: &Path) -> Result<Option<Self>, PathError> {
        let Some(text) = read_plain(path, MARK_BYTES_MAX)? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut lines = text.lines();
        let app = lines.next().and_then(AppFolder::of);
        let is_ours = |folder: &&str| {
            let name = folder
                .strip_prefix(MEMORY)
                .and_then(|path| path.strip_prefix('/'));
            let random = name.and_then(|name| name.strip_prefix(PRIVATE));
            random.is_some_and(|random| random.bytes().all(|byte| byte.is_ascii_hexdigit()))
        };
        let private = lines.next().filter(is_ours).map(PathBuf::from);
        Ok(Some(Self { app, private }))
    }
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        crate::sys::fs::write_atomic(path, text.as_bytes(), 0o644).unwrap();
    }

    #[test]
    fn real_paths_are_free_again_after_the_build() {
        for app in AppFolder::ALL {
            let root = tempfile::tempdir().unwrap();
            let paths = RealPaths::take(root.path(), app).unwrap();
            write(&root.path().join(app.in_layer()).join("file"), "");
            assert!(root.path().join("cnb").exists());
            drop(paths);
            assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn what_is_not_ours_is_refused_and_stays() {
        for taken in ["app", "cnb", "layers", "platform"] {
            let root = tempfile::tempdir().unwrap();
            let file = root.path().join(taken).join("precious");
            write(&file, "");
            let error = RealPaths::take(root.path(), AppFolder::App).unwrap_err();
            assert!(
                matches!(error, BuildError::PathTaken(path) if path == root.path().join(taken))
            );
            assert!(file.exists(), "{taken}");
            assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn the_paths_of_a_build_that_runs_are_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let running = RealPaths::take(root.path(), AppFolder::Workspace).unwrap();
        let error = RealPaths::take(root.path(), AppFolder::Workspace).unwrap_err();
        assert!(matches!(error, BuildError::PathBusy(_)), "{error}");
        assert!(root.path().join("workspace").exists());
        drop(running);
        drop(RealPaths::take(root.path(), AppFolder::Workspace).unwrap());
    }

    #[test]
    fn what_a_killed_build_of_ours_left_is_removed_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let app = root.path().join("app/file");
        write(&app, "");
        write(&root.path().join("cnb/.slug-build"), "/workspace");
        write(&root.path().join("workspace/old"), "");
        write(&root.path().join("layers/old"), "");
        let paths = RealPaths::take(root.path(), AppFolder::Workspace).unwrap();
        assert!(!root.path().join("layers/old").exists());
        drop(paths);
        assert!(app.exists(), "no build of ours had its app at `/app`");
    }

    #[test]
    fn a_tree_is_shown_without_copying_it() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        write(&from.join("bin/python3"), "x");
        symlink("python3", from.join("bin/python")).unwrap();
        show(&from, &to, Some(12_345)).unwrap();
        let inode = |path: &Path| path.metadata().unwrap().ino();
        assert_eq!(
            inode(&from.join("bin/python3")),
            inode(&to.join("bin/python"))
        );
        assert!(to.join("bin/python").is_symlink() && !to.is_symlink());
        let copy = folder.path().join("copy");
        show(&from, &copy, None).unwrap();
        assert_ne!(
            inode(&from.join("bin/python3")),
            inode(&copy.join("bin/python3"))
        );
    }

    #[test]
    fn a_folder_of_roots_own_cannot_be_reached_by_another() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(can_reach(folder.path(), None).unwrap());
        assert!(!can_reach(folder.path(), Some(u32::MAX - 1)).unwrap());
        assert!(can_reach(Path::new("/usr/bin"), Some(u32::MAX - 1)).unwrap());
    }

    #[test]
    fn a_mark_that_names_what_cannot_be_ours_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let private = |text: &str| {
            let path = folder.path().join("mark");
            write(&path, text);
            Mark::read(&path).unwrap().unwrap().private
        };
        let ours = "/dev/shm/slug-secrets-0123456789abcdef0123456789abcdef";
        assert_eq!(private(&format!("/workspace\n{ours}")), Some(ours.into()));
        for wrong in [
            "/",
            "/home",
            "/dev/shm/slug-secrets-../../home",
            "/dev/shm/other",
        ] {
            assert_eq!(private(&format!("/workspace\n{wrong}")), None, "{wrong}");
        }
    }
}
