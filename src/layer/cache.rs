//! Whether the layer of the last build is kept, and if not, why.
//!
//! What invalidates what: a layer is packed anew when …
//!
//! | | cached (`cache = true`) | launch only | app |
//! |---|---|---|---|
//! | it was not there at the last build | ● | ● | ● |
//! | the buildpack wrote anything in it | ● | ● ¹ | – |
//! | its blob is gone from the store | ● | ● ² | – |
//! | it was compressed in another way | ● | ● ² | – |
//! | `--clear-cache` | ● | ● ² | – |
//! | any of the app's files differs | – ³ | – ³ | ● ⁴ |
//!
//! ¹ Its content is never restored, only its metadata: there is a folder only
//!   if the buildpack made it again.
//! ² Its metadata is not restored then, so that the buildpack makes it again.
//! ³ Unless the buildpack sees it and writes: that is its decision alone.
//! ⁴ Always packed: the app is small, and its digest says whether it changed.
//!
//! A new version of a buildpack invalidates nothing by itself: the buildpack
//! sees its old metadata and decides.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a layer was packed anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// The last build had no such layer.
    New,
    /// The buildpack wrote in it.
    Written,
    /// The buildpack removed it and made it again.
    Remade,
    /// Its blob is no more in the store.
    BlobGone,
    /// It is asked for in another compression.
    Compression,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "it is new",
            Self::Written => "the buildpack wrote in it",
            Self::Remade => "the buildpack made it again",
            Self::BlobGone => "its blob was no more in the store",
            Self::Compression => "it is compressed in another way",
        })
    }
}
