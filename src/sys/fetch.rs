//! Artifacts: fetched once per host, checked by SHA-256, kept by digest.
//!
//! Knows no buildpack: it is told what to get and from where, and answers
//! with a file or with everything that was tried.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ident::Digest;

/// Something that a build needs from elsewhere: a runtime, a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// For people: `python`.
    pub name: String,
    /// For people: `3.12.14`.
    pub version: String,
    /// Without it the build cannot go on. `false`: the buildpack has another way, and says so.
    pub required: bool,
    /// Where it is to be had, the official place first. Each has its own bytes.
    pub sources: Vec<Source>,
}

/// One place that has an artifact. At least one of `url` and `purl` is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The official download.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A package of a registry, `pkg:pypi/uv@0.12.5`, got by the registry's own client as the operator has set it up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purl: Option<String>,
    /// Of the file.
    pub sha256: Digest,
    /// Of the file, where the publisher tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

/// What the user's machine says about fetching.
#[derive(Clone, Debug, Default)]
pub struct FetchSettings {
    /// Where artifacts are kept: `<host>/cache/artifacts`.
    pub folder: PathBuf,
    /// `--mirror`: a URL or a folder that is asked first, for `<sha256>` and for the file's name.
    pub mirror: Option<String>,
    /// `--offline`: only what is kept here already, or lies in a mirror that is a folder.
    pub offline: bool,
    /// The operator's environment: proxies, CA files, and the settings of pip and uv.
    pub env: std::collections::BTreeMap<std::ffi::OsString, std::ffi::OsString>,
}

/// Gets artifacts.
#[derive(Debug)]
pub struct Fetcher {
    settings: FetchSettings,
}

/// An artifact could not be had.
#[derive(Debug, Error)]
#[error("{name} {version} could not be had")]
pub struct FetchError {
    /// The artifact's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Each place that was asked, and what it answered.
    pub tried: Vec<(String, String)>,
}

impl Fetcher {
    /// Asks nobody yet.
    pub fn new(settings: FetchSettings) -> Self {
        Self { settings }
    }

    /// The file of one of the artifact's sources, if it is kept on this host.
    pub fn have(&self, artifact: &Artifact) -> Option<PathBuf> {
        let _ = (&self.settings, artifact);
        todo!()
    }

    /// The file, named by its SHA-256 in hex: kept already, or got now.
    pub fn fetch(
        &self,
        artifact: &Artifact,
        progress: &mut dyn FnMut(FetchProgress<'_>),
    ) -> Result<PathBuf, FetchError> {
        let _ = (artifact, progress);
        todo!()
    }
}

/// What happens during a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchProgress<'a> {
    /// This place is asked now.
    Asking(&'a str),
    /// So much is there.
    Bytes {
        /// So far.
        done: u64,
        /// If the other side tells.
        total: Option<u64>,
    },
    /// This place did not have it: the next one is asked.
    Failed {
        /// The place.
        place: &'a str,
        /// Its answer.
        why: &'a str,
    },
}
