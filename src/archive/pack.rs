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
use super::walk::{Halt, Sink, Walked, walk};
use super::{ArchiveError, Compression, LayerBlob, Packed, Progress, Tree};

/// Chunks that wait between the reading and the hashing thread.
const CHUNKS_WAITING: usize = 4;

/// Reads the trees once and writes them as one layer into the store: a canonical tar, the same
/// bytes for the same trees on any host, whatever the number of threads.
///
/// Entries are sorted; their time is 1980-01-01T00:00:01Z, their owner 0, without names. Folders
/// above a tree are 0755. Hard links are kept: the second name is a link to the first. Sockets are
/// left out, as git leaves them out: they mean nothing without their listener. Holes are zeros:
/// which parts of a file are holes differs from disk to disk. Extended attributes of the
/// namespace `user` are carried where modes are kept; an app's are not, since they differ from checkout to
/// checkout. All others are left out, and the first that is not of a security module is told.
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
    let (walked, taken) = thread::scope(|scope| {
        let (taker, to_take) = sync_channel(CHUNKS_WAITING);
        let (done, free) = channel();
        let taking = scope.spawn(move || take(&to_take, &done, compressor));
        // The sink, and with it the taker's supply, ends with this call.
        let walked = tar(
            trees,
            Chunks {
                taker,
                free,
                current: vec![0; CHUNK + 1],
                filled: 0,
                sent: 0,
                progress,
            },
        );
        outcome(walked, taking, store)
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
        elf: walked.elf,
        dropped: walked.dropped,
    })
}

/// The whole tar, with its end mark.
fn tar(trees: &[Tree], mut chunks: Chunks<'_>) -> Result<Walked, Halt> {
    let walked = walk(trees, &mut chunks)?;
    chunks.put(&[0; 2 * BLOCK])?;
    chunks.send()?;
    Ok(walked)
}

/// Both threads' answers as one: what went wrong first, at its source.
fn outcome(
    walked: Result<Walked, Halt>,
    taking: ScopedJoinHandle<'_, io::Result<Taken>>,
    store: &Store,
) -> Result<(Walked, Taken), ArchiveError> {
    let taken = taking
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the hashing thread ended")));
    match walked {
        Err(Halt::Error(error)) => Err(error),
        Err(Halt::TakerGone) => match taken {
            Err(error) => Err(error).at("write a blob in", store.root())?,
            Ok(_) => Err(io::Error::other("the hashing thread ended"))
                .at("write a blob in", store.root())?,
        },
        Ok(walked) => Ok((walked, taken.at("write a blob in", store.root())?)),
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
    taker: SyncSender<Vec<u8>>,
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
        self.taker.send(full).map_err(|_| Halt::TakerGone)?;
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

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test's files need not survive a crash"
)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use super::*;
    use crate::archive::{Modes, unpack};

    struct Place {
        folder: tempfile::TempDir,
        store: Store,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("app")).unwrap();
            let root = folder.path().join("store");
            Self {
                store: Store::open(&root, &root.join("host")).unwrap(),
                folder,
            }
        }

        fn app(&self) -> std::path::PathBuf {
            self.folder.path().join("app")
        }

        fn file(&self, name: &str, mode: u32) -> &Self {
            let path = self.app().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            self
        }

        fn pack(&self, modes: Modes) -> Result<Packed, ArchiveError> {
            pack(
                &self.store,
                &[tree(&self.app(), "/workspace", modes)],
                Compression::Zstd,
                &mut |_| {},
            )
        }

        fn refused(&self, expected: &str) {
            let message = self.pack(Modes::Kept).unwrap_err().to_string();
            assert!(
                message.contains(expected),
                "`{message}` should say `{expected}`"
            );
            let blobs = fs::read_dir(self.store.root().join("blobs/sha256")).unwrap();
            let left = blobs.filter(|blob| {
                let name = blob.as_ref().unwrap().file_name();
                name.as_encoded_bytes().starts_with(b".tmp-")
            });
            assert_eq!(left.count(), 0);
        }
    }

    fn tree(from: &Path, to: &str, modes: Modes) -> Tree {
        Tree {
            from: from.to_owned(),
            to: to.into(),
            modes,
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn the_same_app_is_the_same_layer_wherever_it_lies() {
        let (one, other) = (Place::new(), Place::new());
        one.file("b", 0o600).file("a/c", 0o700).file("a-b", 0o644);
        other.file("a-b", 0o664).file("b", 0o444).file("a/c", 0o775);
        fs::set_permissions(other.app().join("a"), Permissions::from_mode(0o2700)).unwrap();
        assert_eq!(
            one.pack(Modes::Normalized).unwrap(),
            other.pack(Modes::Normalized).unwrap()
        );
        assert_ne!(
            one.pack(Modes::Kept).unwrap(),
            other.pack(Modes::Kept).unwrap()
        );
    }

    #[test]
    fn what_is_packed_comes_back() {
        let place = Place::new();
        let long = format!("{}/{}", "d".repeat(200), "e\u{301}é".repeat(40));
        place
            .file("run", 0o755)
            .file("conf", 0o600)
            .file(&long, 0o644)
            .file("empty", 0o644);
        fs::write(place.app().join("empty"), "").unwrap();
        fs::write(place.app().join("large"), vec![7; 3 * CHUNK + 5]).unwrap();
        fs::hard_link(place.app().join("run"), place.app().join("run2")).unwrap();
        symlink("../".repeat(60) + "etc", place.app().join("up")).unwrap();
        let _socket = UnixListener::bind(place.app().join("socket")).unwrap();
        for compression in [Compression::Zstd, Compression::Gzip] {
            let _ = fs::remove_dir_all(place.store.layers());
            let trees = [
                tree(&place.app(), "/layers/a/b", Modes::Kept),
                tree(&place.app(), "/layers/a/c", Modes::Normalized),
            ];
            let mut told = 0;
            let layer = pack(&place.store, &trees, compression, &mut |bytes| told = bytes)
                .unwrap()
                .layer;
            assert_eq!(told, layer.tar_bytes);
            let unpacked = unpack(&place.store, &layer, &mut |_| {})
                .unwrap()
                .join("layers/a");
            for name in ["run", "run2", "conf", &long, "empty", "large"] {
                assert!(
                    fs::read(unpacked.join("b").join(name)).unwrap()
                        == fs::read(place.app().join(name)).unwrap()
                );
            }
            assert_eq!(
                fs::read_link(unpacked.join("b/up")).unwrap(),
                fs::read_link(place.app().join("up")).unwrap()
            );
            assert_eq!(fs::metadata(unpacked.join("c/run")).unwrap().nlink(), 4);
            assert_eq!(
                [
                    mode(&unpacked.join("b/run")),
                    mode(&unpacked.join("b/conf"))
                ],
                [0o755, 0o644]
            );
            assert!(!unpacked.join("b/socket").exists());
        }
    }

    #[test]
    fn what_would_be_lost_or_cannot_be_is_refused_by_path() {
        let refused = |name: &str, mode: u32, expected: &str| {
            let place = Place::new();
            place.file(name, mode).refused(expected);
            place.refused(name.rsplit('/').next().unwrap());
        };
        refused("bin/su", 0o4755, "it is setuid or setgid (mode 4755)");
        refused("bin/wall", 0o2755, "it is setuid or setgid (mode 2755)");
        refused("a/.wh.b", 0o644, "mean deletions");
        refused(
            &format!("{}x", "d/".repeat(127)),
            0o644,
            "has 129 components (at most 128)",
        );
        let place = Place::new();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            place.app().join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        place.refused("app/pipe` cannot be part of a slug: it is a named pipe");
    }

    #[test]
    fn attributes_of_the_user_are_kept_and_others_are_said() {
        let place = Place::new();
        let set = |name: &str, attribute: &str, value: &[u8]| {
            let none = rustix::fs::XattrFlags::empty();
            rustix::fs::lsetxattr(place.app().join(name), attribute, value, none).unwrap();
        };
        place.file("a", 0o644);
        set("a", "user.overlay.origin", b"x");
        let plain = place.pack(Modes::Kept).unwrap();
        set("a", "user.b", b"1");
        assert_eq!(
            place.pack(Modes::Normalized).unwrap().layer,
            {
                let other = Place::new();
                other.file("a", 0o644);
                other.pack(Modes::Normalized).unwrap().layer
            },
            "an app's are not carried"
        );
        let kept = place.pack(Modes::Kept).unwrap();
        assert_ne!(kept.layer.diff_id, plain.layer.diff_id);
        assert_eq!(kept.dropped, None);
        // Read for the owner and for the user 1 (`struct posix_acl_xattr_header`).
        let entry = |tag: u16, id: u32| {
            [
                &tag.to_le_bytes()[..],
                &4_u16.to_le_bytes(),
                &id.to_le_bytes(),
            ]
            .concat()
        };
        let none = u32::MAX;
        let list = [
            2_u32.to_le_bytes().to_vec(),
            entry(1, none),
            entry(2, 1),
            entry(4, none),
            entry(16, none),
            entry(32, none),
        ]
        .concat();
        set("a", "system.posix_acl_access", &list);
        let dropped = place.pack(Modes::Kept).unwrap().dropped.unwrap();
        assert_eq!(
            (dropped.name.as_str(), dropped.count),
            ("system.posix_acl_access", 1)
        );
        assert_eq!(dropped.path, place.app().join("a"));
        set("a", "user.c=d", b"1");
        place.refused(
            "app/a` cannot be part of a slug: its attribute `user.c=d` has a `=` in its name",
        );
    }

    #[test]
    fn a_file_that_is_longer_than_it_said_is_refused() {
        let place = Place::new();
        // The kernel says that files of /proc have no bytes, and then gives some.
        let trees = [tree(
            Path::new("/proc/version"),
            "/workspace/version",
            Modes::Kept,
        )];
        let error = pack(&place.store, &trees, Compression::Zstd, &mut |_| {}).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`/proc/version` cannot be part of a slug: it changed its size while it was read (from 0 bytes)"
        );
    }

    #[test]
    fn trees_that_lie_in_each_other_are_refused() {
        let place = Place::new();
        let check = |to: [&str; 2]| {
            let trees = to.map(|to| tree(&place.app(), to, Modes::Kept));
            pack(&place.store, &trees, Compression::Zstd, &mut |_| {})
        };
        assert!(matches!(
            check(["/layers/a/b", "/layers/a"]),
            Err(ArchiveError::Overlap { .. })
        ));
        assert!(matches!(
            check(["/layers/a", "/layers/a"]),
            Err(ArchiveError::Overlap { .. })
        ));
        assert!(check(["/layers/a", "/layers/ab"]).is_ok());
        assert!(check(["/workspace/../etc", "/layers/ab"]).is_err());
    }

    #[test]
    fn elf_files_are_found_on_the_way() {
        let place = Place::new();
        fs::copy("/proc/self/exe", place.app().join("program")).unwrap();
        place.file("text", 0o755);
        let elf = place.pack(Modes::Normalized).unwrap().elf;
        assert!(
            elf.needed.values().all(|path| path == "workspace/program"),
            "{elf:?}"
        );
        assert!(
            elf.needed.keys().any(|name| name.contains("libc.")),
            "{elf:?}"
        );
        assert!(elf.provided.contains("program"));
    }
}
