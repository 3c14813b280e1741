//! What those who write buildpacks work with: fixtures, each an app and what
//! a buildpack is expected to make of it, run in the sandbox of a real build.
//!
//! Uses `build` as `cli` does, with a store of its own that is thrown away.
//! Prints nothing, and words no failure.

mod bench;
mod compare;
mod expectation;
mod fixture;
mod found;
mod pattern;
mod place;
mod stand_in;
mod trial;
mod update;

pub use bench::{Bench, Tested, WorkshopError};
pub use compare::Difference;
pub use expectation::{Expectation, Outcome};
pub use fixture::Fixture;
pub use found::{Found, Listener};
pub use trial::Tried;
pub use update::updated;
