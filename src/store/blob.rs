//! Blobs: bytes by their digest. Written beside, synced, renamed, so that a
//! name never stands for less than all of its bytes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::Digest as _;
use sha2::Sha256;

use super::{PUBLIC_DIR, PUBLIC_FILE, Store};
use crate::ident::Digest;
use crate::sys::fs::{create_dir_durable, step, sync_parent, temporary_beside};
use crate::sys::{At as _, PathError};

impl Store {
    /// Starts a blob whose digest is known when it ends.
    pub fn create_blob(&self) -> Result<BlobWriter, PathError> {
        let folder = self.blobs();
        create_dir_durable(&folder, PUBLIC_DIR)?;
        let temporary = temporary_beside(&folder.join("blob"));
        step();
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(PUBLIC_FILE)
            .open(&temporary)
            .at("create", &temporary)?;
        Ok(BlobWriter {
            file,
            temporary,
            folder,
            hasher: Sha256::new(),
            size_bytes: 0,
        })
    }

    /// Puts a small blob; the same bytes twice are one blob.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, PathError> {
        let digest = Digest::of(bytes);
        if self.has_blob(&digest, Some(bytes.len() as u64)) {
            sync_parent(&self.blob_path(&digest))?;
            return Ok(digest);
        }
        let mut blob = self.create_blob()?;
        blob.write_all(bytes).at("write", blob.path())?;
        Ok(blob.finish()?.0)
    }

    /// Where the blob lies. It may not be there.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// Is the blob there, with that size? Its bytes are not read: `slug verify` does that.
    pub fn has_blob(&self, digest: &Digest, size_bytes: Option<u64>) -> bool {
        has_file(&self.blob_path(digest), size_bytes)
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root().join("blobs/sha256")
    }
}

fn has_file(path: &Path, size_bytes: Option<u64>) -> bool {
    let metadata = fs::symlink_metadata(path);
    metadata.is_ok_and(|metadata| {
        metadata.is_file() && size_bytes.is_none_or(|size| size == metadata.len())
    })
}

/// A blob being written: hashed as it goes, kept only if `finish` is called.
#[derive(Debug)]
pub struct BlobWriter {
    file: File,
    temporary: PathBuf,
    folder: PathBuf,
    hasher: Sha256,
    size_bytes: u64,
}

impl BlobWriter {
    /// Where the bytes go until the digest is known: for the message when a write fails.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Makes the blob durable under its digest; its size in bytes besides.
    pub fn finish(self) -> Result<(Digest, u64), PathError> {
        let digest = Digest::from_hasher(self.hasher.clone());
        let path = self.folder.join(digest.hex());
        // A blob that is there already was synced before it got its name, so
        // its bytes need no second wait for the disk; its name may.
        if !has_file(&path, Some(self.size_bytes)) {
            step();
            self.file.sync_all().at("write", &path)?;
            step();
            fs::rename(&self.temporary, &path).at("create", &path)?;
        }
        sync_parent(&path)?;
        Ok((digest, self.size_bytes))
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        // Gone already if `finish` renamed it.
        let _ = fs::remove_file(&self.temporary);
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        step();
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size_bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::store;

    #[test]
    fn the_same_bytes_twice_are_one_blob_and_nothing_stays_beside() {
        let (_folder, store) = store();
        let digest = store.put_blob(b"layer").unwrap();
        let mut blob = store.create_blob().unwrap();
        blob.write_all(b"lay").unwrap();
        blob.write_all(b"er").unwrap();
        assert_eq!(blob.finish().unwrap(), (digest, 5));
        drop(store.create_blob().unwrap());
        assert_eq!(fs::read_dir(store.blobs()).unwrap().count(), 1);
        assert_eq!(fs::read(store.blob_path(&digest)).unwrap(), b"layer");
    }

    #[test]
    fn a_blob_that_was_cut_short_is_written_again() {
        let (_folder, store) = store();
        let digest = store.put_blob(b"layer").unwrap();
        OpenOptions::new()
            .write(true)
            .open(store.blob_path(&digest))
            .unwrap()
            .set_len(2)
            .unwrap();
        assert!(!store.has_blob(&digest, Some(5)));
        assert_eq!(store.put_blob(b"layer").unwrap(), digest);
        assert_eq!(fs::read(store.blob_path(&digest)).unwrap(), b"layer");
    }
}
