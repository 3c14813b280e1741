//! What a slug's ELF files need from the host under it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{ArchiveError, Slug, Target};

/// What the ELF files of one layer need and provide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElfFacts {
    /// `NEEDED` names, each with the first path that wants it.
    pub needed: BTreeMap<String, String>,
    /// `SONAME`s and file names of the shared objects.
    pub provided: BTreeSet<String>,
    /// The highest `GLIBC_x.y` that a file wants: `2.34`.
    pub glibc: Option<String>,
}

/// What the slug's ELF files need from the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseNeeds {
    /// `SONAME`s that no file of the slug provides, sorted; each with a path in the slug that wants it.
    pub sonames: BTreeMap<String, String>,
    /// The highest `GLIBC_x.y` that a file wants: `2.34`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glibc: Option<String>,
}

impl BaseNeeds {
    /// Sums up the layers of a slug. What `built_on` lacks itself is left out: an optional module
    /// that the build could not use either (Python's `_tkinter` on a server) is no need.
    pub fn of<'a>(layers: impl IntoIterator<Item = &'a ElfFacts>, built_on: &Host) -> Self {
        let _ = (layers.into_iter().count(), built_on);
        todo!()
    }
}

/// What a host offers to the slugs that run on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// What it is.
    pub target: Target,
    /// The names of the shared libraries that its dynamic linker finds.
    pub libraries: BTreeSet<String>,
    /// The version of its glibc: `2.36`; none if it has another libc.
    pub glibc: Option<String>,
}

impl Host {
    /// This machine: its ld.so.cache and the linker's standard folders.
    pub fn read() -> Result<Self, ArchiveError> {
        todo!()
    }
}

/// One thing that a slug needs and a host has not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseMismatch {
    /// Built for other processors.
    #[error("built for {slug}, and this host is {host}")]
    Arch {
        /// The slug's.
        slug: String,
        /// The host's.
        host: String,
    },
    /// The glibc is too old, or is none.
    #[error("needs glibc {needed}, and this host has {}", host.as_deref().unwrap_or("none"))]
    Glibc {
        /// The slug's.
        needed: String,
        /// The host's.
        host: Option<String>,
    },
    /// A library is missing.
    #[error("`{wanted_by}` needs `{soname}`, which neither the slug nor this host has")]
    Library {
        /// What is missing.
        soname: String,
        /// A path in the slug that wants it.
        wanted_by: String,
    },
}

/// Can the slug run on that host? All that is missing, if not. The distro is not asked:
/// what matters of it are its libraries.
pub fn check_base(slug: &Slug, host: &Host) -> Result<(), Vec<BaseMismatch>> {
    let _ = (slug, host);
    todo!()
}
