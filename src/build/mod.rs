//! Source → slug: the first of the three stages. Ends in a digest.
//!
//! Knows no release, no config var, no running process. Reads no environment
//! and no clock: what the machine says comes in with the request.

pub mod detect;
mod error;
mod git;
pub mod machine;
mod project_toml;
mod report;
mod request;
mod slug_toml;
mod source;

use crate::ident::AppName;

pub use error::BuildError;
pub use report::{
    Built, BuiltLayer, BuiltProcess, FoundEvidence, Phase, Planned, PlannedBuildpack, Why,
};
pub use request::{BuildRequest, BuiltIns, Event, Isolation};

/// The app that the `slug.toml` of a folder names.
pub fn app_of_slug_toml(folder: &std::path::Path) -> Result<Option<AppName>, BuildError> {
    Ok(slug_toml::SlugToml::read(folder)?.0.app)
}

/// Builds a slug.
pub fn build(
    request: &BuildRequest,
    progress: &mut dyn FnMut(Event<'_>),
) -> Result<Built, BuildError> {
    let _ = (request, progress);
    todo!()
}

/// What `build` would do, as far as detection tells: nothing is fetched, no cache is touched.
pub fn plan(
    request: &BuildRequest,
    progress: &mut dyn FnMut(Event<'_>),
) -> Result<Planned, BuildError> {
    let _ = (request, progress);
    todo!()
}
