//! Extended attributes of open files and folders. Those of the namespace
//! `user` are content; the others are this machine's own business.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
use rustix::io::Errno;

/// The longest list of names (`XATTR_LIST_MAX` of Linux), in bytes.
const LIST_BYTES_MAX: usize = 64 << 10;
/// The largest value (`XATTR_SIZE_MAX` of Linux), in bytes.
const VALUE_BYTES_MAX: usize = 64 << 10;
/// Most lists are empty or name a label of a security module.
const LIST_BYTES: usize = 1 << 10;

/// The namespace of content.
const USER: &[u8] = b"user.";
/// Overlayfs keeps its own marks here (its option `userxattr`): they say what becomes of the folders below.
pub const OVERLAY: &[u8] = b"user.overlay.";

/// An attribute of the namespace `user`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attribute {
    /// With its namespace: `user.mime_type`.
    pub name: Vec<u8>,
    /// Any bytes.
    pub value: Vec<u8>,
}

/// The names of all attributes of a file or folder, without the marks of overlayfs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Of the namespace `user`, sorted.
    pub user: Vec<CString>,
    /// Of all others.
    pub other: Vec<CString>,
}

/// Lists the names; a file system without extended attributes has none.
pub fn list(file: impl AsFd) -> io::Result<Names> {
    let mut short = [0_u8; LIST_BYTES];
    let mut names = Names::default();
    match flistxattr(&file, &mut short[..]) {
        Ok(length) => names.add(&short[..length]),
        Err(Errno::NOTSUP) => {}
        Err(Errno::RANGE) => {
            let mut long = vec![0; LIST_BYTES_MAX];
            let length = flistxattr(&file, long.as_mut_slice())?;
            names.add(&long[..length]);
        }
        Err(error) => return Err(error.into()),
    }
    names.user.sort_unstable();
    Ok(names)
}

impl Names {
    fn add(&mut self, list: &[u8]) {
        for name in list.split_inclusive(|byte| *byte == 0) {
            let Ok(name) = CString::from_vec_with_nul(name.to_vec()) else {
                continue; // the kernel ends each name with a NUL
            };
            match name.to_bytes() {
                bytes if bytes.starts_with(OVERLAY) => {}
                bytes if bytes.starts_with(USER) => self.user.push(name),
                _ => self.other.push(name),
            }
        }
    }
}

/// The values of those names, in their order; one that is gone meanwhile is left out.
pub fn read(file: impl AsFd, names: Vec<CString>) -> io::Result<Vec<Attribute>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut buffer = vec![0; VALUE_BYTES_MAX];
    let mut attributes = Vec::with_capacity(names.len());
    for name in names {
        match fgetxattr(&file, &*name, buffer.as_mut_slice()) {
            Ok(length) => attributes.push(Attribute {
                name: name.into_bytes(),
                value: buffer[..length].to_vec(),
            }),
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(attributes)
}

/// Sets them.
pub fn set(file: impl AsFd, attributes: &[Attribute]) -> io::Result<()> {
    for Attribute { name, value } in attributes {
        fsetxattr(&file, name.as_slice(), value, XattrFlags::empty())?;
    }
    Ok(())
}

/// Gives `to` what `from` has of the namespace `user`.
pub fn copy(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    let names = list(&from)?.user;
    set(to, &read(from, names)?)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn attributes_come_back_sorted_and_without_the_marks_of_overlays() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| {
            File::create_new(folder.path().join(name)).unwrap();
            File::open(folder.path().join(name)).unwrap()
        });
        assert!(list(&from).unwrap().user.is_empty());
        let attribute = |name: &str, value: &[u8]| Attribute {
            name: name.into(),
            value: value.into(),
        };
        let long = attribute(&format!("user.{}", "n".repeat(250)), &[0, 255, b'=']);
        let given = [
            attribute("user.overlay.opaque", b"y"),
            attribute("user.b", b""),
            attribute("user.a", b"\n"),
            long.clone(),
        ];
        set(&from, &given).unwrap();
        copy(&from, &to).unwrap();
        let names = list(&to).unwrap().user;
        let expected = [attribute("user.a", b"\n"), attribute("user.b", b""), long];
        assert_eq!(read(&to, names).unwrap(), expected);
    }
}
