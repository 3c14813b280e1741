//! The index, proxy and CA settings of the operator's machine, for the build
//! that runs in the sandbox: as environment variables and as files to show it.
//!
//! Everything else of the operator's shell stays outside.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;

/// What a build may know of the operator's machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Written as `/platform/env/NAME`.
    pub env: BTreeMap<String, Vec<u8>>,
    /// Files and folders that `env` names, shown read-only at their own paths.
    pub binds: Vec<PathBuf>,
}

/// Reads the settings of pip and uv, proxies and CA files from the operator's environment and home.
pub fn settings(operator_env: &BTreeMap<OsString, OsString>, home: Option<&Path>) -> Machine {
    let _ = (operator_env, home);
    todo!()
}
