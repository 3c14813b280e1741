//! What a user types for a slug: a digest, a unique prefix of one, or a file.

use std::io;
use std::path::{Path, PathBuf};

use slug::archive;
use slug::ident::{Digest, DigestPrefix};
use slug::store::Store;
use slug::sys::At as _;
use tempfile::TempDir;

use super::report::Failure;
use super::settings::Settings;

/// A name that is no digest, or that a file has, means the file.
pub(crate) fn is_file(settings: &Settings, named: &str) -> bool {
    named.parse::<DigestPrefix>().is_err() || settings.absolute(Path::new(named)).is_file()
}

/// A slug of the store.
pub(crate) fn in_store(store: &Store, named: &str) -> Result<Digest, Failure> {
    let prefix = named
        .parse::<DigestPrefix>()
        .map_err(|error| Failure::usage(error.to_string()))?;
    Ok(archive::resolve_slug(store, &prefix)?)
}

/// A slug of the store; a file is imported first.
pub(crate) fn resolve(settings: &Settings, store: &Store, named: &str) -> Result<Digest, Failure> {
    if !is_file(settings, named) {
        return in_store(store, named);
    }
    let digest = archive::import_archive(store, &file(settings, named)?)?;
    settings.ui.detail(&format!("imported {digest}"));
    Ok(digest)
}

/// The file of that name, which must be there.
pub(crate) fn file(settings: &Settings, named: &str) -> Result<PathBuf, Failure> {
    let path = settings.absolute(Path::new(named));
    if path.exists() {
        return Ok(path);
    }
    let what = format!("`{}` is neither a digest nor a file", named.escape_debug());
    let digits = named.strip_prefix("sha256:").unwrap_or(named);
    let is_short = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    Err(Failure::usage(what).hint(if is_short {
        "a digest may be cut short, to 8 digits or more"
    } else {
        "`slug build` prints the digest of what it made; `-o app.slug` writes it as a file"
    }))
}

/// A store of its own for a file that is only looked at; dropped with all in it.
pub(crate) fn scratch(store: &Store) -> Result<(TempDir, Store), Failure> {
    // The name is one that `slug gc` knows to be left over.
    let folder = tempfile::Builder::new()
        .prefix(".tmp-")
        .tempdir_in(store.host())
        .map_err(|error| io::Error::from(error.kind()))
        .at("make a temporary folder in", store.host())?;
    let scratch = Store::open(folder.path(), folder.path())?;
    Ok((folder, scratch))
}
