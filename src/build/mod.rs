//! Source → slug: the first of the three stages. Ends in a digest.
//!
//! Knows no release, no config var, no running process. Reads no environment
//! and no clock: what the machine says comes in with the request.

pub mod detect;
mod error;
pub mod machine;
mod report;
mod request;

pub use error::BuildError;
pub use report::{
    Built, BuiltLayer, BuiltProcess, FoundEvidence, Phase, Planned, PlannedBuildpack, Why,
};
pub use request::{BuildRequest, BuiltIns, Event, Isolation};

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
