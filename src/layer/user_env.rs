//! The user's variables of a build: what buildpacks find in `<platform>/env`
//! (rule 42). Later wins: the machine's settings, project.toml,
//! `--platform-env`, `--env`.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use super::Env;
use super::env::{ENV_FILES_MAX, ENV_VALUE_BYTES_MAX};
use crate::sys::fs::read_if_present;
use crate::sys::{At as _, PathError};

/// The longest name: it is the name of a file.
const NAME_BYTES_MAX: usize = 255;

/// Can a variable be called so? It is the name of a file and a part of an environment.
pub fn is_variable_name(name: &OsStr) -> bool {
    let name = name.as_bytes();
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && ![b".".as_slice(), b".."].contains(&name)
        && !name.iter().any(|byte| b"/=\0".contains(byte))
}

/// Can a variable have this value? The kernel takes no NUL, and no longer one.
pub fn is_variable_value(value: &OsStr) -> bool {
    value.len() as u64 <= ENV_VALUE_BYTES_MAX && !value.as_bytes().contains(&0)
}

/// Reads a folder of `NAME` files. Folders in it are skipped and links to files are followed, since a mounted secret of
/// Kubernetes is laid out so (lifecycle does the same). Bytes are exact.
pub fn read(folder: &Path) -> Result<Env, PathError> {
    let mut env = Env::new();
    for entry in fs::read_dir(folder).at("read", folder)? {
        let entry = entry.at("read", folder)?;
        let (name, path) = (entry.file_name(), entry.path());
        if !fs::metadata(&path).at("look at", &path)?.is_file() {
            continue;
        }
        let refuse = |why: &str| Err(io::Error::other(why.to_owned())).at("use", &path);
        if !is_variable_name(&name) {
            return refuse("its name cannot be the name of a variable");
        }
        let value = read_if_present(&path, ENV_VALUE_BYTES_MAX)?.unwrap_or_default();
        if value.contains(&0) {
            return refuse("it holds a NUL byte, which no variable can");
        }
        env.insert(name, std::ffi::OsString::from_vec(value));
        if env.len() > ENV_FILES_MAX {
            return Err(io::Error::other(format!(
                "it has more than {ENV_FILES_MAX} files"
            )))
            .at("read", folder);
        }
    }
    Ok(env)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::sys::fs::write_unsynced;

    #[test]
    fn rule_42_folders_are_skipped_links_are_followed_and_bytes_are_exact() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("..2024");
        fs::create_dir(&secret).unwrap();
        write_unsynced(&secret.join("TOKEN"), b"t\n", 0o600).unwrap();
        symlink("..2024", folder.path().join("..data")).unwrap();
        symlink("..data/TOKEN", folder.path().join("TOKEN")).unwrap();
        write_unsynced(&folder.path().join("a.b"), b"", 0o600).unwrap();
        let expected = Env::from([("TOKEN".into(), "t\n".into()), ("a.b".into(), "".into())]);
        assert_eq!(read(folder.path()).unwrap(), expected);
    }

    #[test]
    fn what_no_variable_can_be_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, value: &[u8], expected: &str| {
            let path = folder.path().join(name);
            write_unsynced(&path, value, 0o600).unwrap();
            let error = read(folder.path()).unwrap_err();
            assert_eq!(
                (&error.path, error.source.to_string().as_str()),
                (&path, expected)
            );
            fs::remove_file(&path).unwrap();
        };
        check("A=B", b"", "its name cannot be the name of a variable");
        check("A", b"a\0b", "it holds a NUL byte, which no variable can");
        assert!(read(&folder.path().join("none")).is_err());
    }
}
