//! The built-in buildpacks, and their order.

mod classic;
mod procfile;
mod python;

use crate::buildpack::author::BuiltIn;

/// Runs Heroku's classic buildpacks: laid out with those that a build names, never by itself.
pub const CLASSIC: BuiltIn = classic::BUILT_IN;

/// All whose `bin/detect` and `bin/build` are links to this program.
pub const PROGRAMS: &[BuiltIn] = &[python::BUILT_IN, procfile::BUILT_IN, classic::BUILT_IN];

/// All built-ins.
pub const BUILT_IN: &[BuiltIn] = &[python::BUILT_IN, procfile::BUILT_IN];

/// The order in which they are tried: groups of ids, each with whether it is optional.
pub const ORDER: &[&[(&str, bool)]] = &[
    &[("slug/python", false), ("slug/procfile", true)],
    &[("slug/procfile", false)],
];
