//! What goes into a layer, and what comes out.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ident::Digest;

use super::ElfFacts;

/// Told the bytes of tar done so far, on the caller's thread, at most once per MiB.
pub type Progress<'a> = &'a mut dyn FnMut(u64);

/// How layers are compressed. The name of a slug does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// Level 3, multi-threaded: the same bytes whatever the number of threads.
    #[default]
    Zstd,
    /// Independent members of 1 MiB.
    Gzip,
}

impl Compression {
    /// The media type of such a layer (OCI image specification, "Layer media types").
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        }
    }

    /// The compression that a media type states; none if a slug does not use it.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        [Self::Zstd, Self::Gzip]
            .into_iter()
            .find(|compression| compression.media_type() == media_type)
    }
}

/// One layer as it lies in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerBlob {
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// The digest of the compressed blob.
    pub digest: Digest,
    /// The size of the compressed blob, in bytes.
    pub size_bytes: u64,
    /// The size of the uncompressed tar, in bytes.
    pub tar_bytes: u64,
    /// `application/vnd.oci.image.layer.v1.tar+zstd` or `+gzip`.
    pub media_type: String,
}

/// Extended attributes that a layer does not carry: access control lists and what else is of a machine, not of content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedAttributes {
    /// The name of the first: `system.posix_acl_access`.
    pub name: String,
    /// The file or folder that has it.
    pub path: PathBuf,
    /// How many there are.
    pub count: u64,
}

/// What one pass over the trees of a layer gives. A build keeps it with a
/// cached layer, so that a layer that did not change is not walked again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// The layer.
    pub layer: LayerBlob,
    /// What its ELF files need and provide: `BaseNeeds::of` sums all layers up.
    pub elf: ElfFacts,
    /// What was left out; none if nothing was.
    #[serde(default, skip_serializing)]
    pub dropped: Option<DroppedAttributes>,
}

/// A folder to be packed, and where it lies in the slug: `/workspace`, `/layers/slug_python/venv`.
#[derive(Clone, Debug)]
pub struct Tree {
    /// On this machine: a folder, or a single file.
    pub from: PathBuf,
    /// In the slug, absolute.
    pub to: PathBuf,
    /// App files become 0644 or 0755 by their exec bit, whatever the checkout's umask; layers keep their modes.
    pub modes: Modes,
}

/// What becomes of modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modes {
    /// 0644, or 0755 where the owner may execute; folders 0755.
    Normalized,
    /// Kept; of folders without setgid and sticky.
    Kept,
}

/// Where the app lies, in its build and in the slug that comes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppFolder {
    /// `/workspace`, as on other CNB platforms.
    #[default]
    Workspace,
    /// `/app`, as on Heroku: classic buildpacks write this path into what they make.
    App,
}

impl AppFolder {
    /// All that there are.
    pub const ALL: [Self; 2] = [Self::Workspace, Self::App];

    /// Its path inside.
    pub fn path(self) -> &'static Path {
        Path::new(self.text())
    }

    /// Its path below the root of a layer: `workspace`.
    pub fn in_layer(self) -> &'static Path {
        Path::new(self.text().trim_start_matches('/'))
    }

    /// The folder of that path; none if no slug has its app there.
    pub fn of(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|folder| folder.text() == path)
    }

    /// Its path as text.
    pub fn text(self) -> &'static str {
        match self {
            Self::Workspace => "/workspace",
            Self::App => "/app",
        }
    }
}
