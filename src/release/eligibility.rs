//! Can this release be rolled back to? Asked before it is needed, and answered
//! with a reason.

use serde::Serialize;
use thiserror::Error;

use super::{ReleaseError, Request};
use crate::archive::{BaseMismatch, Slug, check_base, image_blobs, read_image};
use crate::ident::Digest;
use crate::store::{Outcome, Release, Store};

/// Why a release cannot be rolled back to.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Ineligible {
    /// There is nothing to go back from.
    #[error("it is the current release")]
    Current,
    /// Nobody knows yet whether it works.
    #[error("it has not succeeded yet")]
    Pending,
    /// It never worked.
    #[error("it failed ({step})")]
    Failed {
        /// At what.
        step: String,
    },
    /// Made before the first deploy: it has no process.
    #[error("it has no slug")]
    NoSlug,
    /// Its slug is gone, or not whole.
    #[error("its slug cannot be used: {reason}")]
    Slug {
        /// What is missing.
        reason: String,
    },
    /// Its config cannot be opened on this host.
    #[error("its config cannot be read: {reason}")]
    Config {
        /// What is wrong.
        reason: String,
    },
    /// This host lacks what its slug needs.
    #[error("its slug cannot run on this host: {}", mismatches.join("; "))]
    Base {
        /// All that is missing.
        mismatches: Vec<String>,
    },
}

/// Can `request.app` be rolled back to `release`? Reads the slug's manifest and opens its config;
/// blobs are looked at, not hashed (`slug verify` does that).
pub fn eligibility(
    request: &Request<'_>,
    release: &Release,
    current: Option<&Release>,
) -> Result<(), Ineligible> {
    if current.is_some_and(|current| current.record.version == release.record.version) {
        return Err(Ineligible::Current);
    }
    match &release.outcome {
        Outcome::Succeeded { .. } => {}
        Outcome::Pending => return Err(Ineligible::Pending),
        Outcome::Failed { step, .. } => return Err(Ineligible::Failed { step: step.clone() }),
    }
    let slug = release.record.slug.ok_or(Ineligible::NoSlug)?;
    usable_slug(request, &slug).map_err(ineligible_slug)?;
    let opened = request.store.unseal(request.app, &release.record.config);
    opened.map(drop).map_err(|error| Ineligible::Config {
        reason: error.to_string(),
    })
}

fn ineligible_slug(error: ReleaseError) -> Ineligible {
    match error {
        ReleaseError::Base { mismatches, .. } => Ineligible::Base {
            mismatches: mismatches.iter().map(BaseMismatch::to_string).collect(),
        },
        other => Ineligible::Slug {
            reason: other.to_string(),
        },
    }
}

/// The slug, if all its blobs are there and this host can run it.
pub(super) fn usable_slug(request: &Request<'_>, slug: &Digest) -> Result<Slug, ReleaseError> {
    let image = read_image(request.store, slug)?;
    check_blobs(request.store, slug)?;
    match check_base(&image, request.base) {
        Ok(()) => Ok(image),
        Err(mismatches) => Err(ReleaseError::Base {
            slug: *slug,
            mismatches,
        }),
    }
}

/// Are all blobs there, with the sizes that the manifest names?
pub(super) fn check_blobs(store: &Store, slug: &Digest) -> Result<(), ReleaseError> {
    for (blob, size_bytes) in image_blobs(store, slug)? {
        if !store.has_blob(&blob, Some(size_bytes)) {
            return Err(ReleaseError::SlugIncomplete { slug: *slug, blob });
        }
    }
    Ok(())
}
