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
//! | the execution environment or the target changed (rule 49) | ● ² | ● ² | – |
//! | `slug gc` removed its cached content | ● ² | – | – |
//! | `--clear-cache` | ● ² | ● ² | – |
//! | any of the app's files differs | – ³ | – ³ | ● |
//!
//! ¹ Its content is never restored, only its metadata: there is a folder only
//!   if the buildpack made it again.
//! ² Its metadata is not restored then, so that the buildpack makes it again.
//! ³ Unless the buildpack sees it and writes: that is its decision alone.
//!
//! A new version of a buildpack invalidates nothing by itself: the buildpack
//! sees its old metadata and decides. What it then writes is said to be due to its version.

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
    /// As `Written` or `Remade`, by another version of the buildpack than the last build's.
    BuildpackVersion,
    /// Its blob is no more in the store.
    BlobGone,
    /// It is asked for in another compression.
    Compression,
    /// The last build was for another execution environment (`CNB_EXEC_ENV`).
    ExecEnv,
    /// The last build was for another operating system, architecture or distribution.
    Target,
    /// Nothing of the last build was to be used.
    Cleared,
    /// Its content was no more in the cache: `slug gc` keeps that within its budget.
    Evicted,
}

impl Change {
    /// The same, of a layer that a buildpack of the version `new` changed after one of the version `old`.
    #[must_use]
    pub fn by_version(self, old: &str, new: &str) -> Self {
        match self {
            Self::Written | Self::Remade if old != new => Self::BuildpackVersion,
            other => other,
        }
    }
}
