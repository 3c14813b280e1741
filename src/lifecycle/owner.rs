//! A restorer that root runs becomes the user of the build, who is to own what
//! it makes (Platform API, "User Identifiers").

use std::fs;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::Path;

use rustix::process::{Gid, Uid};

use super::failed::{FAILED, Failed};
use crate::sys::{At as _, PathError};

/// Gives these folders to the user, and becomes the user: there is no way back. Only root can, and only root need.
pub(super) fn become_owner(uid: u32, gid: u32, folders: &[&Path]) -> Result<(), Failed> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    for folder in folders {
        give(folder, uid, gid).map_err(|error| Failed::new(FAILED, "chown volumes", error))?;
    }
    let (own_uid, own_gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let became = rustix::thread::set_thread_groups(&[])
        .and_then(|()| rustix::thread::set_thread_gid(own_gid))
        .and_then(|()| rustix::thread::set_thread_uid(own_uid));
    became.map_err(|error| Failed::new(FAILED, &format!("exec as user {uid}:{gid}"), error))
}

/// A tree whose top is the user's already is left as it is.
fn give(top: &Path, uid: u32, gid: u32) -> Result<(), PathError> {
    let Ok(found) = top.symlink_metadata() else {
        return Ok(());
    };
    if (found.uid(), found.gid()) == (uid, gid) {
        return Ok(());
    }
    let mut left = vec![top.to_owned()];
    while let Some(path) = left.pop() {
        lchown(&path, Some(uid), Some(gid)).at("give away", &path)?;
        if path.symlink_metadata().at("look at", &path)?.is_dir() {
            for entry in fs::read_dir(&path).at("read", &path)? {
                left.push(entry.at("read", &path)?.path());
            }
        }
    }
    Ok(())
}
