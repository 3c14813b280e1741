//! An interpreter copied from an installation on this host.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::buildpack::author::At as _;
use crate::buildpack::author::Failure;

use super::folder;
use super::folder::Folder;
use super::host::HostPython;
use super::relocate;
use super::tree;

/// Fills the folder from an installation on this host.
pub(super) fn copy(host: &HostPython, into: &Folder) -> Result<(), Failure> {
    let prefix = &host.prefix;
    let enter = |path: &Path| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        !folder::is_left_out(name)
    };
    let mut files = vec![prefix.join("bin").join(&into.name)];
    files.extend(tree::files(&prefix.join("lib").join(&into.name), &enter)?);
    let headers = prefix.join("include").join(&into.name);
    if headers.is_dir() {
        files.extend(tree::files(&headers, &enter)?);
    }
    let mut needed = Vec::new();
    for from in &files {
        let Ok(path) = from.strip_prefix(prefix) else {
            continue;
        };
        if !into.wants(path) {
            continue;
        }
        let bytes = fs::read(from).at("read", from)?;
        needed.extend(relocate::needed(&bytes));
        let executable = fs::metadata(from).at("read", from)?.permissions().mode() & 0o100 != 0;
        into.put(path, executable, &bytes[..])?;
    }
    // Libraries of /usr are the base's: the slug states them as needs.
    if prefix == Path::new("/usr") {
        Ok(())
    } else {
        copy_libraries(prefix, into, needed)
    }
}

/// The libraries that the interpreter needs and that lie in its own prefix, and those that these need.
fn copy_libraries(prefix: &Path, into: &Folder, mut needed: Vec<String>) -> Result<(), Failure> {
    let mut copied = BTreeSet::new();
    while let Some(name) = needed.pop() {
        let from = prefix.join("lib").join(&name);
        if copied.contains(&name) || !from.is_file() {
            continue;
        }
        let bytes = fs::read(&from).at("read", &from)?;
        needed.extend(relocate::needed(&bytes));
        into.put(&Path::new("lib").join(&name), true, &bytes[..])?;
        copied.insert(name);
    }
    Ok(())
}
