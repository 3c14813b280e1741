//! The source of a build as it is seen from outside: enough to tell whether
//! another build would read something else.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;

use ignore::WalkBuilder;

use super::BuildError;
use super::BuildRequest;
use super::source::Source;

/// What Python writes beside its sources when they run: no change of them.
const BYTECODE: &str = "__pycache__";
/// The config of a folder, which is no source, but read again by `slug up DIR`.
const ENV_FILE: &str = ".env";

/// The source, as far as a look tells. Two looks are equal if nothing of it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    files: BTreeMap<PathBuf, Stamp>,
    folders: BTreeSet<PathBuf>,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    mode: u32,
    inode: u64,
    changed: (i64, i64),
}

impl Seen {
    /// Looks at the source of a build.
    pub fn look(request: &BuildRequest) -> Result<Self, BuildError> {
        let root = &request.source;
        // Before the files: a folder that appears meanwhile is seen by its files, or by the next look.
        let mut folders = folders(root);
        let mut names = Source::read(request)?.files;
        names.push(ENV_FILE.into());
        let mut files = BTreeMap::new();
        for name in names {
            let is_bytecode = name.iter().any(|part| part == OsStr::new(BYTECODE));
            if let (Some(stamp), false) = (Stamp::of(&root.join(&name)), is_bytecode) {
                let parents = name.ancestors().skip(1);
                folders.extend(parents.map(|parent| root.join(parent)));
                files.insert(name, stamp);
            }
        }
        Ok(Self { files, folders })
    }

    /// The folders in which a file of the source is, or could appear.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.iter().map(PathBuf::as_path)
    }

    /// The files that differ between two looks, by name.
    pub fn changed<'a>(&'a self, before: &'a Self) -> Vec<&'a Path> {
        let names: BTreeSet<&PathBuf> = self.files.keys().chain(before.files.keys()).collect();
        let differs = |name: &&&PathBuf| self.files.get(**name) != before.files.get(**name);
        names
            .iter()
            .filter(differs)
            .map(|name| name.as_path())
            .collect()
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = path.symlink_metadata().ok()?;
        Some(Self {
            bytes: found.size(),
            mode: found.mode(),
            inode: found.ino(),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// Every folder but those that git or `.slugignore` leaves out. A few more than those of the source do no harm.
fn folders(root: &Path) -> BTreeSet<PathBuf> {
    let walk = WalkBuilder::new(root)
        .hidden(false)
        .ignore(false)
        .add_custom_ignore_filename(".slugignore")
        .filter_entry(|entry| {
            let is_left_out =
                [OsStr::new(".git"), OsStr::new(BYTECODE)].contains(&entry.file_name());
            entry.file_type().is_some_and(|kind| kind.is_dir()) && !is_left_out
        })
        .build();
    // What cannot be read now, a build would say.
    walk.filter_map(Result::ok)
        .map(ignore::DirEntry::into_path)
        .collect()
}
