//! What can go wrong with layers and images, as facts.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use crate::ident::{Digest, DigestPrefix, shown_message};
use crate::store::StoreError;
use crate::sys::PathError;

use super::limits::{
    DEPTH_MAX, DOCUMENT_BYTES_MAX, ENTRIES_MAX, FOLDER_NAMES_BYTES_MAX, FOREIGN_BYTES_MAX,
    FOREIGN_ENTRIES_MAX, HEADER_BODY_BYTES_MAX, LAYERS_MAX, LINK_BYTES_MAX, NAME_BYTES_MAX,
    PATH_BYTES_MAX,
};

/// A layer or an image could not be made or read.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// A file of this machine.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A file of the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of a tree cannot be part of a slug.
    #[error("`{}` cannot be part of a slug: {why}", escaped(path.as_os_str().as_encoded_bytes()))]
    Unpackable {
        /// On this machine.
        path: PathBuf,
        /// Why.
        why: Unpackable,
    },
    /// Two trees of a layer claim the same place.
    #[error("`{}` and `{}` would lie in each other in one layer", upper.display(), lower.display())]
    Overlap {
        /// A place in the slug.
        upper: PathBuf,
        /// The same, or one inside.
        lower: PathBuf,
    },
    /// The bytes of a layer or of an `app.slug` are refused at an entry.
    #[error("entry `{}` is refused: {why}", escaped(entry))]
    Refused {
        /// Its name as the archive gives it; `?` where none could be read.
        entry: Vec<u8>,
        /// Why.
        why: Refusal,
    },
    /// The bytes are not what their name says.
    #[error("{what} {expected} is damaged: its bytes have the digest {actual}")]
    Damaged {
        /// `the blob`, `the layer`.
        what: &'static str,
        /// By name.
        expected: Digest,
        /// By content.
        actual: Digest,
    },
    /// A blob has another size than the manifest says.
    #[error("the blob {digest} has {actual} bytes, and its manifest says {expected}")]
    Size {
        /// Which.
        digest: Digest,
        /// As the manifest says.
        expected: u64,
        /// As it is.
        actual: u64,
    },
    /// A blob of a slug is not in the store, or not in the archive.
    #[error("the blob {digest} is missing")]
    MissingBlob {
        /// Which.
        digest: Digest,
    },
    /// A document of an image is refused.
    #[error("{what} is refused: {why}")]
    Image {
        /// `the manifest sha256:…`, `index.json`.
        what: String,
        /// Why.
        why: BadImage,
    },
    /// A label is one that slug writes itself.
    #[error("the label `{label}` is slug's own")]
    ReservedLabel {
        /// Which.
        label: String,
    },
    /// The store has no such slug.
    #[error("no slug {prefix} in the store")]
    NoSlug {
        /// What was asked for.
        prefix: String,
    },
    /// Several slugs begin so.
    #[error("{prefix} is not unique: {} slugs begin so", candidates.len())]
    AmbiguousSlug {
        /// What was asked for.
        prefix: DigestPrefix,
        /// All that begin so, sorted.
        candidates: Vec<Digest>,
    },
}

/// Why a file cannot be part of a slug.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unpackable {
    /// A device.
    #[error("it is a device")]
    Device,
    /// A named pipe.
    #[error("it is a named pipe")]
    Fifo,
    /// It is neither file, folder, link nor socket.
    #[error("it is no file, folder or link")]
    Unknown,
    /// Setuid or setgid.
    #[error("it is setuid or setgid (mode {mode:04o})")]
    Setuid {
        /// All of its mode bits.
        mode: u32,
    },
    /// It carries file capabilities.
    #[error("it carries file capabilities")]
    Capabilities,
    /// An attribute has a name that no archive can hold.
    #[error(
        "its attribute `{}` has a `=` in its name, which ends the name in an archive",
        escaped(name)
    )]
    AttributeName {
        /// Which.
        name: Vec<u8>,
    },
    /// It has more of attributes than [`super::unpack`] takes.
    #[error("its extended attributes have {bytes} bytes (at most {HEADER_BODY_BYTES_MAX})")]
    Attributes {
        /// In bytes, names and values.
        bytes: u64,
    },
    /// It grew or shrank.
    #[error("it changed its size while it was read (from {expected} bytes)")]
    Changed {
        /// Its size when it was opened, in bytes.
        expected: u64,
    },
    /// OCI would take it for a deletion.
    #[error("names that begin with `.wh.` mean deletions in an image layer")]
    Whiteout,
    /// The path in the slug is too long or too deep.
    #[error(transparent)]
    Name(Refusal),
}

/// Why an entry of an archive is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Its name.
    #[error("its name is empty")]
    EmptyName,
    /// Its name.
    #[error("its path is absolute")]
    Absolute,
    /// Its name.
    #[error("its path goes up by `..`")]
    DotDot,
    /// Its name.
    #[error("its path has an empty or `.` component")]
    NotCanonical,
    /// Its name, or its target.
    #[error("it holds a NUL byte")]
    Nul,
    /// Its name.
    #[error("its path has {bytes} bytes (at most {PATH_BYTES_MAX})")]
    PathTooLong {
        /// How many.
        bytes: usize,
    },
    /// Its name.
    #[error("a component of its path has {bytes} bytes (at most {NAME_BYTES_MAX})")]
    NameTooLong {
        /// How many.
        bytes: usize,
    },
    /// Its name.
    #[error("its path has {depth} components (at most {DEPTH_MAX})")]
    TooDeep {
        /// How many.
        depth: usize,
    },
    /// Its name.
    #[error("names that begin with `.wh.` mean deletions in an image layer")]
    Whiteout,
    /// Its name.
    #[error("it is a {kind}, and its name ends with `/`")]
    TrailingSlash {
        /// `file` or `link`.
        kind: &'static str,
    },
    /// Its type.
    #[error("it is of the type {}", type_name(*flag))]
    Type {
        /// As tar writes it.
        flag: u8,
    },
    /// Its size field.
    #[error("its size is no number, or negative")]
    BadSize,
    /// Its mode field.
    #[error("its mode is no number")]
    BadMode,
    /// Its size field.
    #[error("it claims {size} bytes, and the archive has {left} left")]
    Oversize {
        /// As claimed, in bytes.
        size: u64,
        /// By the size that the manifest states.
        left: u64,
    },
    /// Its size field.
    #[error("it is no file and claims {size} bytes")]
    SizeOfNoFile {
        /// As claimed, in bytes.
        size: u64,
    },
    /// Its headers.
    #[error("its header's checksum is wrong")]
    Checksum,
    /// Its headers.
    #[error("its extended header has {size} bytes (at most {HEADER_BODY_BYTES_MAX})")]
    LongHeader {
        /// As claimed, in bytes.
        size: u64,
    },
    /// Its headers.
    #[error("its extended header is malformed")]
    MalformedPax,
    /// Its headers.
    #[error("its extended header says `{key}` twice")]
    RepeatedPaxKey {
        /// Which.
        key: String,
    },
    /// Its headers.
    #[error("it has two extended headers of one kind")]
    RepeatedHeader,
    /// Its headers.
    #[error("a global header says `{key}`")]
    GlobalPax {
        /// Which.
        key: String,
    },
    /// Its headers.
    #[error("it is a link and has extended attributes")]
    AttributeOfLink,
    /// Its headers.
    #[error("it has an attribute `user.overlay.…`, a mark that overlayfs believes")]
    OverlayMark,
    /// Its bytes.
    #[error("the rest of its last block is not zero")]
    Padding,
    /// Its headers.
    #[error("it is sparse")]
    Sparse,
    /// Its headers.
    #[error("its name or target is said twice, by PAX and by GNU headers")]
    TwoNames,
    /// Its headers.
    #[error("its header says {header} bytes, and its extended header {pax}")]
    TwoSizes {
        /// In the header.
        header: u64,
        /// In the PAX header.
        pax: u64,
    },
    /// Its place.
    #[error("its folder is not in the archive before it")]
    NoFolder,
    /// Its place.
    #[error("its path leads through a link or a file")]
    ThroughLink,
    /// Its place.
    #[error("its name is there already")]
    Repeated,
    /// A link.
    #[error("its target is empty")]
    EmptyTarget,
    /// A link.
    #[error("its target has {bytes} bytes (at most {LINK_BYTES_MAX})")]
    LongTarget {
        /// How many.
        bytes: usize,
    },
    /// A hard link.
    #[error("its target `{}` is refused: {why}", escaped(target))]
    Target {
        /// As the archive gives it.
        target: Vec<u8>,
        /// Why.
        why: Box<Self>,
    },
    /// A hard link.
    #[error("it is no file that came before in this archive")]
    NotBefore,
    /// The whole.
    #[error("the archive ends within it")]
    Truncated,
    /// The whole.
    #[error("the archive has no end mark")]
    NoEnd,
    /// The whole.
    #[error("there is data after the end of the archive")]
    AfterEnd,
    /// The whole.
    #[error("it has more than {ENTRIES_MAX} entries")]
    TooManyEntries,
    /// The whole.
    #[error("its folders have more than {FOLDER_NAMES_BYTES_MAX} bytes of names")]
    TooManyFolders,
    /// The whole, of an archive that others made.
    #[error("the archive has more than {FOREIGN_ENTRIES_MAX} entries")]
    TooManyForeign,
    /// The whole, of an archive that others made.
    #[error("the archive has more than {FOREIGN_BYTES_MAX} bytes")]
    TooManyBytes,
    /// Its place, in an image with a buildpack.
    #[error("it does not lie below /{folder}")]
    Elsewhere {
        /// Where it should.
        folder: &'static str,
    },
    /// A symbolic link, of an archive that others made.
    #[error("its target `{}` leads out of the archive", escaped(target))]
    LeadsOut {
        /// As the archive gives it.
        target: Vec<u8>,
    },
    /// The whole.
    #[error("the archive has {actual} bytes or more, and the slug says {expected}")]
    TarBytes {
        /// By the slug.
        expected: u64,
        /// Read so far: more, or at the end.
        actual: u64,
    },
    /// The whole.
    #[error("its compressed data is malformed: {0}")]
    Compression(String),
    /// The whole.
    #[error("it could not be read: {0}")]
    Unreadable(String),
    /// Of an `app.slug`.
    #[error("an image layout has no such file")]
    NotOfLayout,
    /// Of an `app.slug`.
    #[error("an image has at most {} blobs", LAYERS_MAX + 2)]
    TooManyBlobs,
    /// Of an `app.slug`.
    #[error("it has {size} bytes (at most {DOCUMENT_BYTES_MAX})")]
    LongDocument {
        /// How many.
        size: u64,
    },
    /// Of an `app.slug`.
    #[error("its bytes have the digest {actual}")]
    OtherDigest {
        /// By content.
        actual: Digest,
    },
    /// Of an `app.slug`.
    #[error("nothing in the image refers to it")]
    Unreferenced,
}

fn type_name(flag: u8) -> String {
    let name = match flag {
        b'3' => "character device",
        b'4' => "block device",
        b'6' => "named pipe",
        b'S' => "sparse file",
        b'V' => "volume label",
        b'M' => "continuation of another volume",
        b'D' => "GNU incremental folder",
        _ => return format!("`{}`, which is unknown", flag.escape_ascii()),
    };
    name.to_owned()
}

/// Why a document of an image is refused.
#[derive(Debug, Error)]
pub enum BadImage {
    /// Its schema is not known.
    #[error("its schema is `{found}`, and this slug reads 1")]
    Schema {
        /// What it says.
        found: String,
    },
    /// It is not the JSON that it should be.
    #[error("{}", shown_message(&.0.to_string()))]
    Json(#[from] serde_json::Error),
    /// It says what cannot be.
    #[error("{0}")]
    Says(String),
}

/// Bytes of a name so that no terminal acts on them: what is not printable, and what is no UTF-8, as escapes.
pub(super) fn escaped(name: &[u8]) -> impl fmt::Display + '_ {
    struct Escaped<'a>(&'a [u8]);
    impl fmt::Display for Escaped<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            for chunk in self.0.utf8_chunks() {
                write!(
                    f,
                    "{}{}",
                    chunk.valid().escape_debug(),
                    chunk.invalid().escape_ascii()
                )?;
            }
            Ok(())
        }
    }
    Escaped(name)
}
