//! Why a release, or a process of it, cannot run on this host.

use std::io;

use thiserror::Error;

use crate::archive::ArchiveError;
use crate::archive::BaseMismatch;
use crate::ident::Digest;
use crate::ident::Instance;
use crate::ident::ProcessType;
use crate::ident::ReleaseVersion;
use crate::store::StoreError;
use crate::sys::PathError;
use crate::sys::cgroup::CgroupError;
use crate::sys::sandbox::SandboxError;

/// Why a release, or a process of it, cannot run here.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// It was made by `slug config set` before anything was deployed.
    #[error("{0} has no slug yet: it holds config alone")]
    NoSlug(ReleaseVersion),
    /// The slug has no such process type.
    #[error("{slug} has no process type `{wanted}`")]
    NoType {
        /// Which slug.
        slug: Digest,
        /// What was asked for.
        wanted: ProcessType,
        /// Those that it has.
        has: Vec<ProcessType>,
    },
    /// No type was named and the slug has no default.
    #[error("{slug} has no default process")]
    NoDefault {
        /// Which slug.
        slug: Digest,
        /// The types that it has.
        has: Vec<ProcessType>,
    },
    /// There is nothing to execute.
    #[error("the command of `{0}` is empty")]
    EmptyCommand(ProcessType),
    /// This host lacks what the slug's files need.
    #[error("this host lacks what {slug} needs")]
    Base {
        /// Which slug.
        slug: Digest,
        /// All that is missing.
        missing: Vec<BaseMismatch>,
    },
    /// The slug could not be read or unpacked.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The config could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A layer's environment could not be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The sandbox could not be made, or its program not be executed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// No port could be had for it.
    #[error("no port could be had")]
    Port(#[source] io::Error),
    /// A pipe for its output, or what watches over it, could not be made.
    #[error("could not make what its output goes through")]
    Pipe(#[source] io::Error),
    /// The cgroup that limits it could not be made.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Its release is not loaded any more.
    #[error("the release of {0} is not loaded")]
    NotLoaded(Instance),
}

impl LaunchError {
    /// The same release may be loaded later: a disk was full, a file could not be read, descriptors had run out. What
    /// the release itself lacks, or what is damaged, stays so.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Path(_)
                | Self::Port(_)
                | Self::Pipe(_)
                | Self::Archive(ArchiveError::Path(_) | ArchiveError::Store(StoreError::Path(_)))
                | Self::Store(StoreError::Path(_))
        )
    }
}
