//! `slug` makes the Twelve-Factor App executable: build, release, run.
//!
//! The rooms, lowest first; a room uses only rooms above it in this list
//! (`tests/it/architecture.rs` holds that):
//!
//! - `ident`: the parsed names: `AppName`, `Digest`, `ReleaseVersion`, …
//! - `sys`: the only room that touches the machine: files, mounts, processes, clock, fetch.
//! - `logs`: lines of output: framing, prefix, history.
//! - `grammar`: `Procfile` and `.env`: one strict grammar each.
//! - `layer`: the environment delta of a layer, and the cache decision with its reasons.
//! - `buildpack`: the contract: descriptor, order, plan, layers, launch, and what a built-in implements.
//! - `store`: blobs by digest, the ledger of releases, sealed config, garbage.
//! - `archive`: layers and images: canonical tar, OCI manifests, hostile unpacking.
//! - `build`: source → detect → restore → execute → export: ends in a slug's digest.
//! - `workshop`: what authors of buildpacks work with: fixtures, run in real builds.
//! - `lifecycle`: what lifecycle's programs do, at real paths: `slug cnb …`, and the launcher of an image.
//! - `release`: slug + config → release; rollback; what differs.
//! - `run`: runs releases: launch, formation, supervisor, stop.
//! - `export`: the service that runs `slug up`, in the words of a process manager.
//! - `router`: the public listener in front of the web processes; knows no release.
//! - `buildpacks`: the built-in ones, a folder each; they use `buildpack`, `grammar`, `layer` and `ident` alone.
//!
//! The binary's `cli` is another crate. Start reading at `build`, then `release`, then `run`: each
//! `mod.rs` tells its stage as one story.

pub mod archive;
pub mod build;
pub mod buildpack;
#[path = "../buildpacks/mod.rs"]
pub mod buildpacks;
pub mod export;
#[cfg(test)]
mod fuzz;
pub mod grammar;
pub mod ident;
pub mod layer;
pub mod lifecycle;
pub mod logs;
pub mod release;
pub mod router;
pub mod run;
pub mod store;
pub mod sys;
pub mod workshop;
