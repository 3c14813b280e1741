//! What can go wrong with layers and images, as facts.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use crate::ident::{Digest, DigestPrefix};
use crate::sys::PathError;

/// A layer or an image could not be made or read.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// A file of this machine.
    #[error(transparent)]
    Path(#[from] PathError),
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
    /// Placeholder.
    #[error("the path is absolute")]
    Absolute,
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
    #[error("{0}")]
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
