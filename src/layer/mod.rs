//! A layer of a buildpack: its environment delta, its metadata file, and
//! whether a cached one was kept, with reasons. Knows no buildpack, no build.

pub mod cache;
pub mod env;
#[cfg(test)]
mod hostile;
pub mod metadata;
pub mod toml_file;
pub mod user_env;

pub use env::{Env, LayerEnv};
pub use metadata::{LayerMetadata, LayerTypes};
pub use toml_file::TomlError;
