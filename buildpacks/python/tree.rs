//! Walking folders in one order, whatever the file system's.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::path::PathBuf;

use sha2::Digest as _;
use sha2::Sha256;

use crate::buildpack::author::At as _;
use crate::buildpack::author::Failure;
use crate::ident::Digest;

/// Folders that hold no code of the app, whatever their place.
const SKIPPED: [&str; 6] = [
    "__pycache__",
    "node_modules",
    ".git",
    ".venv",
    "venv",
    ".tox",
];

/// Regular files below `folder`, sorted, without following links; `enter` says which folders are looked into.
pub(super) fn files(folder: &Path, enter: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    walk(folder, enter, &mut found)?;
    Ok(found)
}

fn walk(
    folder: &Path,
    enter: &dyn Fn(&Path) -> bool,
    found: &mut Vec<PathBuf>,
) -> Result<(), Failure> {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .and_then(Iterator::collect)
        .at("read the folder", folder)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type().at("read", &entry.path())?);
        if kind.is_dir() && enter(&path) {
            walk(&path, enter, found)?;
        } else if kind.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

/// The Python files of an app: none of its hidden folders, virtual environments or modules of Node.
pub(super) fn app_code(app: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = files(app, &|folder| {
        let name = folder.file_name().unwrap_or_default();
        !SKIPPED.iter().any(|skipped| name == *skipped) && !name.as_bytes().starts_with(b".")
    })?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "py"));
    Ok(files)
}

/// One digest of the paths (relative to `base`) and bytes of these files.
pub(super) fn digest(base: &Path, files: &[PathBuf]) -> Result<Digest, Failure> {
    let mut hasher = Sha256::new();
    for path in files {
        let name = path
            .strip_prefix(base)
            .unwrap_or(path)
            .as_os_str()
            .as_bytes();
        let bytes = fs::read(path).at("read", path)?;
        hasher.update((name.len() as u64).to_le_bytes());
        hasher.update(name);
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(&bytes);
    }
    Ok(Digest::from_hasher(hasher))
}

/// The bytecode below a folder.
pub(super) fn bytecode(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = files(folder, &|_| true)?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "pyc"));
    Ok(files)
}
