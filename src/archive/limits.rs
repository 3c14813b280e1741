//! How large a layer, a name, a document may be. `pack` refuses what `unpack`
//! would refuse, so that no slug is made that cannot be run.

/// Components of a path.
pub(super) const DEPTH_MAX: usize = 128;
/// Bytes of a path.
pub(super) const PATH_BYTES_MAX: usize = 4096;
/// Bytes of one component (`NAME_MAX` of Linux).
pub(super) const NAME_BYTES_MAX: usize = 255;
/// Bytes of a symbolic link's target (`PATH_MAX` of Linux, without its NUL).
pub(super) const LINK_BYTES_MAX: usize = 4095;
/// Bytes of the body of a PAX header or of a GNU long name: tar readers without this limit
/// take gigabytes of memory for a megabyte of archive.
pub(super) const HEADER_BODY_BYTES_MAX: u64 = 1 << 20;
/// Files, folders and links of one layer.
pub(super) const ENTRIES_MAX: u64 = 1_000_000;
/// The same of one archive that others made: a buildpack that brings its runtimes along has 30,000.
pub(super) const FOREIGN_ENTRIES_MAX: u64 = 200_000;
/// Bytes of one archive that others made, uncompressed: a buildpack that brings its runtimes along has 1 GB.
pub(super) const FOREIGN_BYTES_MAX: u64 = 4 << 30;
/// Bytes of all folder names of one layer, which an unpacking holds in memory.
pub(super) const FOLDER_NAMES_BYTES_MAX: usize = 64 << 20;
/// A zstd window of 128 MiB, the most that a decoder takes without being asked (RFC 8878, 3.1.1.1.2 advises 8 MiB; level 3 needs 2).
pub(super) const WINDOW_LOG_MAX: u32 = 27;
/// Layers of one slug; container engines stop at 127, but a slug is not stacked.
pub(super) const LAYERS_MAX: usize = 256;
/// Bytes of a manifest, a config or an index (registries stop at 4 MiB).
pub(super) const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
