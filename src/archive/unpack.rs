//! Layers onto this host: hostile input, read on directory descriptors.

use std::path::PathBuf;

use crate::store::Store;

use super::{ArchiveError, LayerBlob, Progress};

/// Unpacks a layer to `<host>/layers/<diff_id hex>`, unless it is there, and gives that folder. It
/// holds the paths of the tar (`workspace/…`, `layers/…`). Once per host: concurrent callers wait
/// for the one that works. The digests and sizes are checked before the folder gets its name; an
/// unpacking that fails, or is killed, leaves nothing that a reader could see.
///
/// Files are readable for everybody (and executable where their owner may), because every app has
/// its own uid; nobody but the owner may write; times are 1980-01-01T00:00:01Z.
pub fn unpack(
    store: &Store,
    layer: &LayerBlob,
    progress: Progress<'_>,
) -> Result<PathBuf, ArchiveError> {
    let _ = (store, layer, progress);
    todo!()
}
