//! An interpreter from an archive of python-build-standalone.

use std::fs;
use std::io;
use std::path::Component;
use std::path::Path;

use crate::buildpack::author::At as _;
use crate::buildpack::author::Failure;

use super::folder::Folder;

/// Fills the folder from an archive, whose files lie below `python/`.
pub(super) fn unpack(archive: &Path, folder: &Folder) -> Result<(), Failure> {
    let bad = |why: String| {
        Failure(format!(
            "`{}` is no archive of Python: {why}",
            archive.display()
        ))
    };
    let file = fs::File::open(archive).at("read", archive)?;
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(io::BufReader::new(file)));
    for entry in tar.entries().map_err(|error| bad(error.to_string()))? {
        let mut entry = entry.map_err(|error| bad(error.to_string()))?;
        let path = entry
            .path()
            .map_err(|error| bad(error.to_string()))?
            .into_owned();
        let Ok(path) = path.strip_prefix("python") else {
            continue;
        };
        if !path
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
            || !folder.wants(path)
        {
            continue;
        }
        match entry.header().entry_type() {
            tar::EntryType::Regular => {
                let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
                folder.put(path, executable, &mut entry)?;
            }
            tar::EntryType::Symlink => {
                let target = entry
                    .link_name()
                    .ok()
                    .flatten()
                    .unwrap_or_default()
                    .into_owned();
                if is_name(&target) {
                    folder.link(path, &target)?;
                }
            }
            tar::EntryType::Directory => {}
            other => {
                return Err(bad(format!(
                    "`{}` is an entry of type {other:?}",
                    path.display()
                )));
            }
        }
    }
    Ok(())
}

/// A link to a neighbour; anything else could lead out of the layer.
fn is_name(target: &Path) -> bool {
    let mut parts = target.components();
    matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(_)), None)
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::buildpacks::python::tree;

    #[test]
    fn an_archive_is_unpacked_without_what_is_not_wanted() {
        let temporary = tempfile::tempdir().unwrap();
        let archive = temporary.path().join("python.tar.gz");
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
            fs::File::create(&archive).unwrap(),
            flate2::Compression::fast(),
        ));
        for (path, mode) in [
            ("python/bin/python3.12", 0o700),
            ("python/lib/python3.12/os.py", 0o666),
            ("python/bin/pip", 0o755),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            header.set_mode(mode);
            tar.append_data(&mut header, path, &b"x"[..]).unwrap();
        }
        for (path, target) in [
            ("python/lib/libpython3.so", "libpython3.12.so"),
            ("python/lib/evil.so", "/etc/passwd"),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            tar.append_link(&mut header, path, target).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
        let root = temporary.path().join("layer");
        unpack(
            &archive,
            &Folder {
                root: root.clone(),
                name: "python3.12".to_owned(),
            },
        )
        .unwrap();
        let modes: Vec<_> = tree::files(&root, &|_| true)
            .unwrap()
            .iter()
            .map(|path| {
                (
                    path.strip_prefix(&root).unwrap().display().to_string(),
                    fs::metadata(path).unwrap().permissions().mode() & 0o777,
                )
            })
            .collect();
        assert_eq!(
            modes,
            [
                ("bin/python3.12".to_owned(), 0o755),
                ("lib/python3.12/os.py".to_owned(), 0o644)
            ]
        );
        assert_eq!(
            fs::read_link(root.join("lib/libpython3.so")).unwrap(),
            Path::new("libpython3.12.so")
        );
        assert!(!root.join("lib/evil.so").is_symlink());
    }
}
