//! `slug inspect --sbom DIR`: the SBOMs that buildpacks wrote, as files.

use std::fs;
use std::path::Path;

use slug::buildpack::sbom::SBOM_BYTES_MAX;
use slug::sys::fs::{read_plain, write_unsynced};
use slug::sys::{At as _, PathError};

use super::report::Failure;

/// Where they lie in their layer.
const PLACE: &str = "layers/sbom/launch";

/// Makes the folder, which may not be there.
pub(crate) fn make_folder(to: &Path) -> Result<(), Failure> {
    match fs::create_dir(to) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let folder = to.display();
            Err(Failure::usage(format!("`{folder}` is there already"))
                .hint("name a folder that is not there: nothing is written over"))
        }
        made => Ok(made.at("create the folder", to)?),
    }
}

/// Copies the files of an unpacked SBOM layer. The slug may be anybody's: links are left out, never followed.
pub(crate) fn copy(layer: &Path, to: &Path) -> Result<(), PathError> {
    let from = layer.join(PLACE);
    if from.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        copy_folder(&from, to)?;
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), PathError> {
    for entry in fs::read_dir(from).at("read the folder", from)? {
        let entry = entry.at("read the folder", from)?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().at("look at", &path)?;
        if kind.is_dir() {
            fs::create_dir(&copy).at("create the folder", &copy)?;
            copy_folder(&path, &copy)?;
        } else if kind.is_file() {
            let bytes = read_plain(&path, SBOM_BYTES_MAX)?.unwrap_or_default();
            write_unsynced(&copy, &bytes, 0o644)?;
        }
    }
    Ok(())
}
