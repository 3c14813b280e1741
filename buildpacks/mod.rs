//! The built-in buildpacks, and their order.

mod procfile;
mod python;

use crate::buildpack::author::BuiltIn;

/// All built-ins.
pub const BUILT_IN: &[BuiltIn] = &[python::BUILT_IN, procfile::BUILT_IN];

/// The order in which they are tried: groups of ids, each with whether it is optional.
pub const ORDER: &[&[(&str, bool)]] = &[
    &[("slug/python", false), ("slug/procfile", true)],
    &[("slug/procfile", false)],
];
