//! The folder of an interpreter, being filled: with the interpreter, its
//! standard library and headers, and nothing else of where they come from.

use std::fs;
use std::io;
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;

use crate::buildpack::author::At as _;
use crate::buildpack::author::Failure;

/// Folders of the standard library that no server needs, and what is the host's own.
const FOLDERS_LEFT_OUT: [&str; 11] = [
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idle_test",
    "idlelib",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "pydoc_data",
    "__pycache__",
];
/// Files of the same kind. Whatever a host put into every start of its Python stays on the host.
const FILES_LEFT_OUT: [&str; 4] = [
    "sitecustomize.py",
    "usercustomize.py",
    "EXTERNALLY-MANAGED",
    "turtle.py",
];
/// Extension modules for the tests of `CPython` itself, and Tk.
const MODULES_LEFT_OUT: [&str; 4] = ["_test", "_ctypes_test", "_xx", "_tkinter"];
/// Libraries of Tk, beside the interpreter's own.
const LIBRARIES_LEFT_OUT: [&str; 5] = ["libtcl", "libtk", "libitcl", "libtdbc", "libthread"];

/// The layer's folder, being filled.
pub(super) struct Folder {
    pub(super) root: PathBuf,
    /// `python3.12`.
    pub(super) name: String,
}

impl Folder {
    /// Is this file, by its path below the prefix, a part of what is wanted?
    pub(super) fn wants(&self, path: &Path) -> bool {
        let parts: Vec<&str> = path
            .components()
            .filter_map(|part| part.as_os_str().to_str())
            .collect();
        match parts[..] {
            ["bin", file] => file == self.name,
            ["include", ref folders @ .., _] => folders.first() == Some(&self.name.as_str()),
            ["lib", file] => {
                file.contains(".so")
                    && !LIBRARIES_LEFT_OUT.iter().any(|name| file.starts_with(name))
            }
            ["lib", python, ref folders @ .., file] => {
                python == self.name && wants_library_file(folders, file)
            }
            _ => false,
        }
    }

    /// Writes one file, with a mode that no umask decides.
    pub(super) fn put(
        &self,
        path: &Path,
        executable: bool,
        mut bytes: impl Read,
    ) -> Result<(), Failure> {
        let to = self.parent(path)?;
        let mut file = fs::File::create(&to).at("write", &to)?;
        io::copy(&mut bytes, &mut file).at("write", &to)?;
        let mode = if executable { 0o755 } else { 0o644 };
        Ok(file
            .set_permissions(fs::Permissions::from_mode(mode))
            .at("write", &to)?)
    }

    pub(super) fn link(&self, path: &Path, target: &Path) -> Result<(), Failure> {
        let to = self.parent(path)?;
        Ok(symlink(target, &to).at("write", &to)?)
    }

    fn parent(&self, path: &Path) -> Result<PathBuf, Failure> {
        let to = self.root.join(path);
        let parent = to.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).at("create the folder", parent)?;
        Ok(to)
    }
}

fn wants_library_file(folders: &[&str], file: &str) -> bool {
    let static_only = folders.iter().any(|folder| folder.starts_with("config-"));
    let left_out = folders
        .iter()
        .any(|folder| FOLDERS_LEFT_OUT.contains(folder));
    let extension = Path::new(file)
        .extension()
        .and_then(|extension| extension.to_str());
    let module = folders.last() == Some(&"lib-dynload")
        && MODULES_LEFT_OUT.iter().any(|name| file.starts_with(name));
    !static_only
        && !left_out
        && !module
        && !matches!(extension, Some("a" | "pth" | "pyc"))
        && !FILES_LEFT_OUT.contains(&file)
}

/// A folder of which no file is wanted, so that it need not be walked.
pub(super) fn is_left_out(name: &str) -> bool {
    FOLDERS_LEFT_OUT.contains(&name) || name.starts_with("config-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_host_but_the_interpreter_and_its_library_is_wanted() {
        let folder = Folder {
            root: "/l".into(),
            name: "python3.12".to_owned(),
        };
        for wanted in [
            "bin/python3.12",
            "lib/libpython3.12.so.1.0",
            "lib/python3.12/os.py",
            "lib/python3.12/unittest/mock.py",
            "lib/python3.12/lib-dynload/_ssl.cpython-312-x86_64-linux-gnu.so",
            "lib/python3.12/_sysconfigdata__linux_x86_64-linux-gnu.py",
            "include/python3.12/Python.h",
        ] {
            assert!(folder.wants(Path::new(wanted)), "{wanted}");
        }
        for left_out in [
            "bin/pip",
            "bin/python3.12-config",
            "lib/libtcl8.6.so",
            "lib/python3.11/os.py",
            "lib/python3.12/site-packages/a.pth",
            "lib/python3.12/test/support.py",
            "lib/python3.12/x.pth",
            "lib/python3.12/sitecustomize.py",
            "lib/python3.12/config-3.12-x86_64-linux-gnu/Makefile",
            "lib/python3.12/lib-dynload/_testcapi.cpython-312-x86_64-linux-gnu.so",
            "lib/python3.12/__pycache__/os.cpython-312.pyc",
            "lib/pkgconfig/python3.pc",
            "share/man/man1/python3.1",
        ] {
            assert!(!folder.wants(Path::new(left_out)), "{left_out}");
        }
    }
}
