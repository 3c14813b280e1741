//! A layer's blob as tar, decompressed and hashed on a thread of its own.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender};

use flate2::bufread::MultiGzDecoder;
use sha2::Digest as _;
use sha2::Sha256;

use super::Compression;
use super::error::Refusal;
use super::limits::WINDOW_LOG_MAX;

/// What is decompressed, hashed and handed over at a time: fits into a core's second-level cache.
const PIECE: usize = 256 << 10;

/// What the thread found, whether or not the tar was taken to its end.
pub(super) struct Hashes {
    /// Of the blob's bytes, all of them.
    pub(super) blob: Sha256,
    pub(super) blob_bytes: u64,
    /// Of the tar, as far as it was taken.
    pub(super) tar: Sha256,
}

/// Decompresses a blob into `pieces`. Whatever goes wrong with the compressed data goes the same way, as
/// an error with a `Refusal` in it; the blob is read to its end all the same, so that its digest tells whether it is what it should be.
pub(super) fn decompress(
    blob: File,
    compression: Compression,
    pieces: &SyncSender<io::Result<Vec<u8>>>,
    free: &Receiver<Vec<u8>>,
) -> io::Result<Hashes> {
    let mut tar_hash = Sha256::new();
    let mut blob = BufReader::with_capacity(
        PIECE,
        Hashing {
            file: blob,
            hash: Sha256::new(),
            bytes: 0,
        },
    );
    let mut hand_over = |decoder: &mut dyn Read| hand_over(decoder, &mut tar_hash, pieces, free);
    let taken = match compression {
        Compression::Zstd => zstd(&mut blob, &mut hand_over),
        Compression::Gzip => hand_over(&mut MultiGzDecoder::new(&mut blob)),
    };
    if let Err(error) = taken {
        // If nobody waits for it, somebody has an error already.
        let _ = pieces.send(Err(error));
    }
    io::copy(&mut blob, &mut io::sink())?;
    let Hashing { hash, bytes, .. } = blob.into_inner();
    Ok(Hashes {
        blob: hash,
        blob_bytes: bytes,
        tar: tar_hash,
    })
}

/// One frame and nothing after it: a second one would be a second archive to some readers.
fn zstd(
    blob: &mut impl BufRead,
    hand_over: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    let mut decoder = zstd::Decoder::with_buffer(&mut *blob)?.single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    hand_over(&mut decoder)?;
    if blob.fill_buf()?.is_empty() {
        Ok(())
    } else {
        Err(io::Error::other(Refusal::AfterEnd))
    }
}

fn hand_over(
    decoder: &mut dyn Read,
    tar_hash: &mut Sha256,
    pieces: &SyncSender<io::Result<Vec<u8>>>,
    free: &Receiver<Vec<u8>>,
) -> io::Result<()> {
    loop {
        let mut piece = free.try_recv().unwrap_or_default();
        piece.resize(PIECE, 0);
        let filled = fill(decoder, &mut piece)?;
        piece.truncate(filled);
        if piece.is_empty() {
            return Ok(());
        }
        tar_hash.update(&piece);
        if pieces.send(Ok(piece)).is_err() {
            return Ok(());
        }
    }
}

/// As many bytes as there are, at most a whole piece: small pieces would cost a wake-up each.
fn fill(decoder: &mut dyn Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < piece.len() {
        match decoder.read(&mut piece[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(io::Error::other(Refusal::Compression(error.to_string()))),
        }
    }
    Ok(filled)
}

struct Hashing {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Read for Hashing {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        self.hash.update(&into[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

/// The pieces as one stream.
pub(super) struct Pieces {
    coming: Receiver<io::Result<Vec<u8>>>,
    free: Sender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
}

impl Pieces {
    pub(super) fn new(coming: Receiver<io::Result<Vec<u8>>>, free: Sender<Vec<u8>>) -> Self {
        Self {
            coming,
            free,
            current: Vec::new(),
            at: 0,
        }
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.current.len() {
            self.at = 0;
            // Nobody wants it any more once the last piece is on its way.
            let _ = self.free.send(std::mem::take(&mut self.current));
            if let Ok(piece) = self.coming.recv() {
                self.current = piece?;
            }
        }
        Ok(&self.current[self.at..])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(into.len());
        into[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}
