//! The built-ins as folders, as any buildpack is one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::kept::Kept;
use crate::build::site::SLUG;
use crate::build::{BuildError, BuiltIns};
use crate::buildpack::author::BuiltIn;
use crate::buildpack::descriptor::Descriptor;
use crate::ident::Digest;
use crate::sys::At as _;
use crate::sys::fs::write_unsynced;

/// Writes the built-ins as folders, once for each set of descriptors: `bin/detect` and `bin/build` are links to where
/// a build shows the `slug` binary, so nothing here changes with the binary itself.
pub(super) fn lay_out(built_ins: &BuiltIns, kept: &Kept) -> Result<PathBuf, BuildError> {
    let descriptors: Vec<_> = built_ins
        .all
        .iter()
        .map(|built_in| (built_in.id, built_in.descriptor))
        .collect();
    let version = Digest::of(serde_json::json!(descriptors).to_string().as_bytes());
    kept.get_or_make(&version.hex(), |to| {
        for BuiltIn { id, descriptor, .. } in built_ins.all {
            let own = folder_of(to, id);
            fs::create_dir_all(own.join("bin")).at("create the folder", &own)?;
            write_unsynced(&own.join("buildpack.toml"), descriptor.as_bytes(), 0o644)?;
            for program in ["bin/detect", "bin/build"] {
                let link = own.join(program);
                symlink(SLUG, &link).at("create the link", &link)?;
            }
        }
        Ok(())
    })
}

/// Reads those that were laid out in `folder`.
pub(super) fn read(built_ins: &BuiltIns, folder: &Path) -> Result<Vec<Descriptor>, BuildError> {
    let read = |built_in: &BuiltIn| Ok(Descriptor::read(&folder_of(folder, built_in.id))?);
    built_ins.all.iter().map(read).collect()
}

fn folder_of(parent: &Path, id: &str) -> PathBuf {
    parent.join(id.replace('/', "_"))
}
