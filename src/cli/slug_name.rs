//! What a user types for a slug: a digest, a unique prefix of one, or a file.

use std::path::Path;

use slug::archive;
use slug::ident::{Digest, DigestPrefix};
use slug::store::Store;

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
    let path = settings.absolute(Path::new(named));
    if !path.exists() {
        return Err(Failure::usage(format!(
            "`{}` is neither a digest nor a file",
            named.escape_debug()
        ))
        .hint(
            "`slug build` prints the digest of what it made; `-o app.slug` writes it as a file",
        ));
    }
    let digest = archive::import_archive(store, &path)?;
    settings.ui.detail(&format!("imported {digest}"));
    Ok(digest)
}
