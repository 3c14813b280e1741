//! Blobs by digest, the append-only ledger, sealed config, garbage. A local
//! folder; every write is durable and every object is put if absent. Knows no
//! tar, no image, no process.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::ident::Digest;
use crate::sys::PathError;

/// The folders of a store (`spec/store.md`).
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    host: PathBuf,
}

impl Store {
    /// Opens the store at `root`, making it if it is not there. `host` is this machine's own part (layers, caches, sockets, logs).
    pub fn open(root: &Path, host: &Path) -> Result<Self, PathError> {
        Ok(Self {
            root: root.to_owned(),
            host: host.to_owned(),
        })
    }

    /// Shared by the hosts that name the same store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// This machine's own.
    pub fn host(&self) -> &Path {
        &self.host
    }

    /// Starts a blob whose digest is known when it ends.
    pub fn create_blob(&self) -> Result<BlobWriter, PathError> {
        todo!()
    }

    /// Puts a small blob; the same bytes twice are one blob.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, PathError> {
        let _ = bytes;
        todo!()
    }

    /// Where the blob lies. It may not be there.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Is the blob there, with that size?
    pub fn has_blob(&self, digest: &Digest, size: Option<u64>) -> bool {
        let _ = (digest, size);
        todo!()
    }
}

/// A blob being written: hashed as it goes, kept only if `finish` is called.
#[derive(Debug)]
pub struct BlobWriter {
    _todo: (),
}

impl BlobWriter {
    /// Makes the blob durable under its digest; its size in bytes besides.
    pub fn finish(self) -> Result<(Digest, u64), PathError> {
        todo!()
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = bytes;
        todo!()
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
