//! Runs releases. `launch` says what a process is; `one_off` runs one in the
//! foreground; `up` supervises a formation: `supervisor` (pure) decides, `up`
//! does. Knows no router: it hands routes to a `Front`.

pub mod control;
mod enter;
pub mod formation;
mod front;
pub mod launch;
mod limits;
mod one_off;
mod pipe;
mod port;
mod probe;
mod process;
pub mod start;
pub mod supervisor;
mod up;
mod watch;

pub use enter::{EnterError, Entering, enter};
pub use front::{Front, Target};
pub use launch::{Command, LaunchError};
pub use limits::Enforcer;
pub use one_off::registry;
pub use one_off::{OneOff, RELEASE_COMMAND_MAX, RunError, release_command, run};
pub use one_off::{run_detached, stop_one_off};
pub use up::{
    Claim, Ended, Found, Leaving, ReleaseError, ResumeError, Resumed, UpError, UpOptions,
    UpgradeError, up,
};
