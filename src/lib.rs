//! `slug` makes the Twelve-Factor App executable: build, release, run.
//!
//! The rooms, lowest first; a room uses only rooms above it in this list
//! (`tests/it/architecture.rs` holds that). Start reading at `build`, then
//! `release`, then `run`: each `mod.rs` tells its stage as one story.

/// Layers and images: canonical tar, OCI manifests, hostile unpacking.
pub mod archive;
/// Source → detect → restore → execute → export: ends in a slug's digest.
pub mod build;
/// The contract: descriptor, order, plan, layers, launch, and what a built-in implements.
pub mod buildpack;
/// The parsed names: `AppName`, `Digest`, `ReleaseVersion`, …
pub mod ident;
/// The environment delta of a layer, and the cache decision with its reasons.
pub mod layer;
/// Lines of output: framing, prefix, history.
pub mod logs;
/// Slug + config → release; rollback; what differs.
pub mod release;
/// The public listener in front of the web processes; knows no release.
pub mod router;
/// Runs releases: launch, formation, supervisor, stop.
pub mod run;
/// Blobs by digest, the ledger of releases, sealed config, garbage.
pub mod store;
/// The only room that touches the machine: files, mounts, processes, clock, fetch.
pub mod sys;

/// The built-in buildpacks; they use `buildpack`, `layer` and `ident` alone.
#[path = "../buildpacks/mod.rs"]
pub mod buildpacks;
