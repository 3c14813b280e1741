//! Walk → tar → both digests → compress, in one pass.

use crate::store::Store;

use super::{ArchiveError, Compression, Packed, Progress, Tree};

/// Reads the trees once and writes them as one layer into the store: a canonical tar, the same
/// bytes for the same trees on any host, whatever the number of threads.
///
/// Entries are sorted; their time is 1980-01-01T00:00:01Z, their owner 0, without names. Folders
/// above a tree are 0755. Hard links are kept: the second name is a link to the first. Sockets are
/// left out, as git leaves them out: they mean nothing without their listener. Extended
/// attributes are not carried. Refused, by path: devices and fifos; setuid, setgid and file
/// capabilities, which a slug would silently lose; names that OCI takes for deletions (`.wh.…`);
/// paths beyond what [`super::unpack`] takes; a file that changes its size while it is read.
pub fn pack(
    store: &Store,
    trees: &[Tree],
    compression: Compression,
    progress: Progress<'_>,
) -> Result<Packed, ArchiveError> {
    let _ = (store, trees, compression, progress);
    todo!()
}
