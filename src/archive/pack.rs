//! Walk → tar → both digests → compress, in one pass: one thread reads, one
//! hashes and hands on, the compressor's own compress. Memory is bounded by the
//! chunks in flight, whatever the trees.

use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, ScopedJoinHandle};

use sha2::Digest as _;
use sha2::Sha256;

use crate::ident::Digest;
use crate::store::{BlobWriter, Store};
use crate::sys::At as _;

use super::compress::{CHUNK, Compressor};
use super::tar_header::BLOCK;
use super::walk::{Halt, Sink, walk};
use super::{ArchiveError, Compression, ElfFacts, LayerBlob, Packed, Progress, Tree};

/// Chunks that wait between the reading and the hashing thread.
const CHUNKS_WAITING: usize = 4;

/// Reads the trees once and writes them as one layer into the store: a canonical tar, the same
/// bytes for the same trees on any host, whatever the number of threads.
///
/// Entries are sorted; their time is 1980-01-01T00:00:01Z, their owner 0, without names. Folders
/// above a tree are 0755. Hard links are kept: the second name is a link to the first. Sockets are
/// left out, as git leaves them out: they mean nothing without their listener. Extended
/// attributes are not carried: they differ from checkout to checkout, and no unpacking sets them.
/// Refused, by path: devices and fifos; setuid, setgid and file capabilities, which a slug would
/// silently lose; names that OCI takes for deletions (`.wh.…`); paths beyond what
/// [`super::unpack`] takes; a file that changes its size while it is read.
pub fn pack(
    store: &Store,
    trees: &[Tree],
    compression: Compression,
    progress: Progress<'_>,
) -> Result<Packed, ArchiveError> {
    let compressor = Compressor::new(compression, store.create_blob()?)
        .at("start to compress into", store.root())?;
    let (elf, taken) = thread::scope(|scope| {
        let (chunks, to_take) = sync_channel(CHUNKS_WAITING);
        let (done, free) = channel();
        let taker = scope.spawn(move || take(&to_take, &done, compressor));
        // The sink, and with it the taker's supply, ends with this call.
        let walked = tar(
            trees,
            Chunks {
                chunks,
                free,
                current: vec![0; CHUNK + 1],
                filled: 0,
                sent: 0,
                progress,
            },
        );
        outcome(walked, taker, store)
    })?;
    let Taken {
        tar_hash,
        tar_bytes,
        compressor,
    } = taken;
    let (digest, size_bytes) = compressor
        .finish()
        .at("write a blob in", store.root())?
        .finish()?;
    let diff_id = Digest::from_hasher(tar_hash);
    let media_type = compression.media_type().to_owned();
    Ok(Packed {
        layer: LayerBlob {
            diff_id,
            digest,
            size_bytes,
            tar_bytes,
            media_type,
        },
        elf,
    })
}

/// The whole tar, with its end mark.
fn tar(trees: &[Tree], mut chunks: Chunks<'_>) -> Result<ElfFacts, Halt> {
    let elf = walk(trees, &mut chunks)?;
    chunks.put(&[0; 2 * BLOCK])?;
    chunks.send()?;
    Ok(elf)
}

/// Both threads' answers as one: what went wrong first, at its source.
fn outcome(
    walked: Result<ElfFacts, Halt>,
    taker: ScopedJoinHandle<'_, io::Result<Taken>>,
    store: &Store,
) -> Result<(ElfFacts, Taken), ArchiveError> {
    let taken = taker
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the hashing thread ended")));
    match walked {
        Err(Halt::Error(error)) => Err(error),
        Err(Halt::TakerGone) => match taken {
            Err(error) => Err(error).at("write a blob in", store.root())?,
            Ok(_) => Err(io::Error::other("the hashing thread ended"))
                .at("write a blob in", store.root())?,
        },
        Ok(elf) => Ok((elf, taken.at("write a blob in", store.root())?)),
    }
}

/// What the hashing thread has when the last chunk is through.
struct Taken {
    tar_hash: Sha256,
    tar_bytes: u64,
    compressor: Compressor<BlobWriter>,
}

fn take(
    chunks: &Receiver<Vec<u8>>,
    done: &Sender<Vec<u8>>,
    mut compressor: Compressor<BlobWriter>,
) -> io::Result<Taken> {
    let mut tar_hash = Sha256::new();
    let mut tar_bytes = 0;
    for chunk in chunks {
        tar_hash.update(&chunk);
        tar_bytes += chunk.len() as u64;
        if let Some(buffer) = compressor.write(chunk)? {
            // After the last chunk nobody wants buffers any more.
            let _ = done.send(buffer);
        }
    }
    Ok(Taken {
        tar_hash,
        tar_bytes,
        compressor,
    })
}

/// Fills chunks of `CHUNK` bytes, all but the last, and hands them over.
struct Chunks<'a> {
    chunks: SyncSender<Vec<u8>>,
    free: Receiver<Vec<u8>>,
    /// One byte longer than a chunk: `Sink::spare`.
    current: Vec<u8>,
    filled: usize,
    sent: u64,
    progress: Progress<'a>,
}

impl Chunks<'_> {
    fn send(&mut self) -> Result<(), Halt> {
        let mut next = self.free.try_recv().unwrap_or_default();
        next.resize(CHUNK + 1, 0);
        let mut full = std::mem::replace(&mut self.current, next);
        full.truncate(self.filled);
        self.sent += self.filled as u64;
        self.filled = 0;
        self.chunks.send(full).map_err(|_| Halt::TakerGone)?;
        (self.progress)(self.sent);
        Ok(())
    }
}

impl Sink for Chunks<'_> {
    fn put(&mut self, mut bytes: &[u8]) -> Result<(), Halt> {
        while !bytes.is_empty() {
            let spare = self.spare()?;
            let count = bytes.len().min(spare.len() - 1);
            spare[..count].copy_from_slice(&bytes[..count]);
            self.advance(count);
            bytes = &bytes[count..];
        }
        Ok(())
    }

    fn spare(&mut self) -> Result<&mut [u8], Halt> {
        if self.filled == CHUNK {
            self.send()?;
        }
        Ok(&mut self.current[self.filled..])
    }

    fn advance(&mut self, bytes: usize) {
        self.filled += bytes;
    }
}
