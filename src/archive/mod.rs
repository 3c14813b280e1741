//! Layers and images: canonical tar in one pass, OCI manifest and config, the
//! one-file form `app.slug`, hostile unpacking. Knows no buildpack's logic, no
//! release, no process.
//!
//! Writing: [`pack`] turns folders into a layer, [`write_image`] turns layers
//! into a slug, [`export_archive`] turns a slug into one file. Reading goes
//! back the same way: [`import_archive`], [`read_image`], [`unpack`].

#[cfg(test)]
mod attacks;
mod base;
mod compress;
mod decompress;
mod documents;
mod elf;
mod entry;
mod error;
mod foreign;
mod host;
#[cfg(test)]
mod hostile;
mod image;
mod labels;
mod layer;
mod limits;
mod name;
mod oci_archive;
mod pack;
mod package;
mod pax;
pub mod settings;
mod slug;
mod sparse;
mod tar_header;
mod target;
mod unpack;
mod walk;
mod write_package;

pub use base::{BaseMismatch, BaseNeeds, ElfFacts, check_base};
pub use error::{ArchiveError, BadImage, Refusal, Unpackable};
pub use foreign::unpack_foreign;
pub use host::Host;
pub use image::{image_blobs, list_slugs, read_image, resolve_slug, write_image};
pub use layer::{
    AppFolder, Compression, DroppedAttributes, LayerBlob, Modes, Packed, Progress, Tree,
};
pub use oci_archive::{export_archive, import_archive};
pub use pack::pack;
pub use package::Package;
pub use slug::{LayerKind, Slug, SlugBuildpack, SlugProcess};
pub use target::{Target, host_target};
pub use unpack::unpack;
pub use write_package::write_package;
