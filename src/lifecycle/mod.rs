//! What lifecycle's programs do (`detector`, `restorer`, `builder`, `launcher`;
//! Platform API 0.7 to 0.15), with their flags, variables, files and exit codes,
//! at the paths they are given and without a sandbox: what drives lifecycle, and
//! the tests made for it, can drive `slug`. The rules are those of `buildpack`
//! and `layer`, as in `slug build`; here is only how they are asked.
//!
//! Knows no store, no slug, no release. Prints through the `Write` it is given.

mod build;
mod cache_dir;
mod console;
mod descriptors;
mod detect;
mod extract;
mod failed;
mod files;
mod flags;
mod inputs;
mod launch;
mod metadata;
mod owner;
mod platform_api;
mod restore;
mod target;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::PathBuf;

use crate::layer::Env;

use console::Console;
use failed::Failed;
use flags::Parsed;
use inputs::Inputs;
use platform_api::PlatformApi;

pub use launch::{is_process_type, launch};

/// A phase of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// `detector`: which group takes the app.
    Detect,
    /// `restorer`: what the last build left.
    Restore,
    /// `builder`: each `bin/build`.
    Build,
}

/// How a program of lifecycle was called.
#[derive(Clone, Debug)]
pub struct Call {
    /// What follows the name of the phase.
    pub arguments: Vec<OsString>,
    /// The environment.
    pub env: Env,
    /// The working folder, absolute.
    pub cwd: PathBuf,
}

impl Phase {
    const ALL: [Self; 3] = [Self::Detect, Self::Restore, Self::Build];

    /// By the name of lifecycle's program: `detector`, `restorer`, `builder`.
    pub fn of_program(name: &OsStr) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|phase| OsStr::new(phase.program()) == name)
    }

    /// By the name of lifecycle's command: `detect`, `restore`, `build`.
    pub fn of_command(name: &OsStr) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|phase| OsStr::new(phase.command()) == name)
    }

    fn program(self) -> &'static str {
        match self {
            Self::Detect => "detector",
            Self::Restore => "restorer",
            Self::Build => "builder",
        }
    }

    fn command(self) -> &'static str {
        match self {
            Self::Detect => "detect",
            Self::Restore => "restore",
            Self::Build => "build",
        }
    }
}

/// Runs a phase; gives lifecycle's exit code.
pub fn run(phase: Phase, call: &Call, out: &mut dyn Write) -> u8 {
    let mut console = Console::new(out);
    let outcome = try_run(phase, call, &mut console);
    console.answer(outcome)
}

/// Says which version this is; gives lifecycle's exit code.
pub fn version(out: &mut dyn Write) -> u8 {
    let mut console = Console::new(out);
    console.info(env!("CARGO_PKG_VERSION"));
    console.answer(Ok(()))
}

/// Says that there is no such phase; gives lifecycle's exit code.
pub fn no_such_phase(name: &OsStr, out: &mut dyn Write) -> u8 {
    let mut console = Console::new(out);
    let name = name.to_string_lossy();
    let what =
        format!("recognize phase: {name} (those of slug are detect, restore, build and launch)");
    console.answer(Err(Failed::because(failed::ARGUMENTS, &what)))
}

fn try_run(phase: Phase, call: &Call, console: &mut Console<'_>) -> Result<(), Failed> {
    let api = PlatformApi::of(&call.env)?;
    let parsed = flags::parse(phase, api, &call.arguments)?;
    let values = match parsed {
        Parsed::Help(text) => {
            console.info(&text);
            return Ok(());
        }
        Parsed::Version => {
            console.info(env!("CARGO_PKG_VERSION"));
            return Ok(());
        }
        Parsed::Values(values) => values,
    };
    let inputs = Inputs::resolve(phase, api, &values, call)?;
    console.set_level(&inputs.log_level)?;
    if phase != Phase::Restore && rustix::process::geteuid().is_root() {
        let why = "refusing to run as root";
        return Err(Failed::new(failed::FAILED, phase.command(), why));
    }
    match phase {
        Phase::Detect => detect::detect(&inputs, console),
        Phase::Restore => restore::restore(&inputs, console),
        Phase::Build => build::build(&inputs, console),
    }
}
