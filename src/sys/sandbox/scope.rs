//! Landlock, where the kernel has it: signals and abstract sockets end at the
//! sandbox. The mount namespace is what makes files read-only; this is on top.

use landlock::{ABI, Access as _, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _, Scope};

use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::error::setup;

/// Scopes this process and all that it will start. An older kernel (before 6.12) scopes nothing:
/// signals are then kept in by the PID namespace alone.
pub(super) fn restrict() -> Result<(), SandboxError> {
    let failed = |error: landlock::RulesetError| {
        setup("scope signals and sockets", std::io::Error::other(error))
    };
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let created = ruleset
        .scope(Scope::from_all(ABI::V6))
        .and_then(Ruleset::create)
        .map_err(failed)?;
    created.restrict_self().map(drop).map_err(failed)
}
