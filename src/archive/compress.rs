//! Compression whose bytes depend on the input alone: not on the number of
//! threads, not on how the input was cut into writes.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use libdeflater::{CompressionLvl, Compressor as Deflate};
use zstd::zstd_safe::CParameter;

use super::Compression;

/// What the input is cut into, and a member of a gzip layer: large enough that the cut costs no size
/// (0.1 %), small enough to be in flight many times.
pub(super) const CHUNK: usize = 1 << 20;

/// zstd's level: the knee of its curve, and what `zstd` itself takes.
const ZSTD_LEVEL: i32 = 3;
/// What one zstd worker compresses at a time, in bytes: part of the format's determinism, since the
/// cut is in the bytes; zstd's own choice for this level (8 MiB) would take twice the memory.
const ZSTD_JOB_BYTES: u32 = 4 << 20;
/// libdeflate's own default.
const GZIP_LEVEL: i32 = 6;
/// Workers hold up to three buffers each: this bounds the memory of a pack, whatever the machine.
const WORKERS_MAX: usize = 8;

/// Compresses chunks in order into `W`.
pub(super) enum Compressor<W: Write> {
    /// One frame.
    Zstd(zstd::Encoder<'static, W>),
    /// One member a chunk.
    Gzip(GzipMembers<W>),
}

impl<W: Write> Compressor<W> {
    pub(super) fn new(compression: Compression, into: W) -> io::Result<Self> {
        let workers = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(WORKERS_MAX);
        Self::with_workers(compression, into, workers)
    }

    fn with_workers(compression: Compression, into: W, workers: usize) -> io::Result<Self> {
        Ok(match compression {
            Compression::Zstd => Self::Zstd(zstd_encoder(into, workers)?),
            Compression::Gzip => Self::Gzip(GzipMembers::new(into, workers)?),
        })
    }

    /// Takes the next chunk, of `CHUNK` bytes unless it is the last. Gives back a buffer that is done with, if there is one.
    pub(super) fn write(&mut self, chunk: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Zstd(encoder) => encoder.write_all(&chunk).map(|()| Some(chunk)),
            Self::Gzip(members) => members.write(chunk),
        }
    }

    /// Ends the stream.
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::Zstd(encoder) => encoder.finish(),
            Self::Gzip(members) => members.finish(),
        }
    }
}

/// At least one worker: without any, zstd writes other bytes than with any number of them.
fn zstd_encoder<W: Write>(into: W, workers: usize) -> io::Result<zstd::Encoder<'static, W>> {
    let mut encoder = zstd::Encoder::new(into, ZSTD_LEVEL)?;
    encoder.multithread(u32::try_from(workers.max(1)).unwrap_or(1))?;
    encoder.set_parameter(CParameter::JobSize(ZSTD_JOB_BYTES))?;
    Ok(encoder)
}

/// Gzip by workers in turn: chunk `i` goes to worker `i % n`, and results are taken in the same order.
pub(super) struct GzipMembers<W: Write> {
    into: W,
    /// The front one has the oldest chunk, or is idle.
    workers: VecDeque<GzipWorker>,
    busy: usize,
}

struct GzipWorker {
    chunks: SyncSender<Vec<u8>>,
    done: Receiver<io::Result<Member>>,
    thread: JoinHandle<()>,
}

struct Member {
    chunk: Vec<u8>,
    bytes: Vec<u8>,
}

impl<W: Write> GzipMembers<W> {
    fn new(into: W, workers: usize) -> io::Result<Self> {
        let workers = (0..workers.max(1))
            .map(|_| GzipWorker::start())
            .collect::<io::Result<_>>()?;
        Ok(Self {
            into,
            workers,
            busy: 0,
        })
    }

    fn write(&mut self, chunk: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        let free = if self.busy == self.workers.len() {
            Some(self.take_oldest()?)
        } else {
            None
        };
        // The idle ones lie behind the busy ones.
        self.workers[self.busy]
            .chunks
            .send(chunk)
            .map_err(|_| died())?;
        self.busy += 1;
        Ok(free)
    }

    fn take_oldest(&mut self) -> io::Result<Vec<u8>> {
        let Member { chunk, bytes } = self.workers[0].done.recv().map_err(|_| died())??;
        self.into.write_all(&bytes)?;
        self.workers.rotate_left(1);
        self.busy -= 1;
        Ok(chunk)
    }

    fn finish(mut self) -> io::Result<W> {
        while self.busy > 0 {
            self.take_oldest()?;
        }
        for GzipWorker {
            chunks,
            done,
            thread,
        } in self.workers
        {
            drop((chunks, done));
            thread.join().map_err(|_| died())?;
        }
        Ok(self.into)
    }
}

impl GzipWorker {
    fn start() -> io::Result<Self> {
        let (chunks, work) = sync_channel::<Vec<u8>>(1);
        let (results, done) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("gzip".to_owned())
            .spawn(move || {
                let level = CompressionLvl::new(GZIP_LEVEL).unwrap_or_default();
                let mut deflate = Deflate::new(level);
                for chunk in work {
                    if results.send(gzip_member(&mut deflate, chunk)).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self {
            chunks,
            done,
            thread,
        })
    }
}

fn gzip_member(deflate: &mut Deflate, chunk: Vec<u8>) -> io::Result<Member> {
    let mut bytes = vec![0; deflate.gzip_compress_bound(chunk.len())];
    let length = deflate
        .gzip_compress(&chunk, &mut bytes)
        .map_err(io::Error::other)?;
    bytes.truncate(length);
    Ok(Member { chunk, bytes })
}

fn died() -> io::Error {
    io::Error::other("a compressing thread ended")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// 10 MiB that neither repeat nor are noise.
    fn input() -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b'a' + u8::try_from(state >> 28).unwrap()
        };
        (0..10 * CHUNK + 17).map(|_| next()).collect()
    }

    fn compressed(compression: Compression, input: &[u8], workers: usize) -> Vec<u8> {
        let mut compressor = Compressor::with_workers(compression, Vec::new(), workers).unwrap();
        for chunk in input.chunks(CHUNK) {
            compressor.write(chunk.to_vec()).unwrap();
        }
        compressor.finish().unwrap()
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_number_of_workers() {
        let input = input();
        for compression in [Compression::Zstd, Compression::Gzip] {
            let one = compressed(compression, &input, 1);
            for workers in [2, 3, 8] {
                assert!(
                    compressed(compression, &input, workers) == one,
                    "{compression:?}, {workers} workers"
                );
            }
        }
    }

    #[test]
    fn what_is_compressed_comes_back() {
        for input in [input(), vec![b'a'; CHUNK], vec![b'a'; 1]] {
            let zstd = compressed(Compression::Zstd, &input, 2);
            assert!(zstd::decode_all(&zstd[..]).unwrap() == input);
            let mut plain = Vec::new();
            let gzip = compressed(Compression::Gzip, &input, 2);
            flate2::read::MultiGzDecoder::new(&gzip[..])
                .read_to_end(&mut plain)
                .unwrap();
            assert!(plain == input);
        }
    }
}
