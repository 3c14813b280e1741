//! Python apps.

use crate::buildpack::author::BuildContext;
use crate::buildpack::author::BuiltIn;
use crate::buildpack::author::DetectContext;
use crate::buildpack::author::Detected;
use crate::buildpack::author::Failure;

/// The buildpack.
pub const BUILT_IN: BuiltIn = BuiltIn {
    id: "slug/python",
    descriptor: include_str!("buildpack.toml"),
    detect,
    build,
};

fn detect(_: &DetectContext) -> Result<Detected, Failure> {
    todo!()
}

fn build(_: &BuildContext) -> Result<(), Failure> {
    todo!()
}
