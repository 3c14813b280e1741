//! The Cloud Native Buildpacks contract, as data and rules: what the platform
//! and a buildpack say to each other. Knows no source, no store, no image.

pub mod api;
pub mod author;
pub mod bom;
pub mod build_toml;
pub mod classic;
pub mod command;
pub mod descriptor;
pub mod detection;
pub mod environment;
pub mod exec_d;
pub mod exec_env;
#[cfg(test)]
mod hostile;
pub mod launch;
pub mod lint;
pub mod order;
pub mod plan;
pub mod sbom;
pub mod shell;
pub mod store_toml;
pub mod target;

pub use api::Api;
pub use exec_env::ExecEnv;
