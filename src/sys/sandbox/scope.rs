//! Landlock, where the kernel has it: signals and abstract sockets end at the
//! sandbox. The mount namespace is what makes files read-only; this is on top.

use landlock::{
    ABI, Access as _, BitFlags, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _, Scope,
};

use crate::sys::sandbox::SandboxError;
use crate::sys::sandbox::error::setup;

/// Scopes the abstract sockets of a process that enters a sandbox. Signals are kept in by its PID namespace, and an operator
/// is to be able to send them there.
pub(super) fn restrict_sockets() -> Result<(), SandboxError> {
    restrict_to(Scope::AbstractUnixSocket.into())
}

/// Scopes this process and all that it will start. An older kernel (before 6.12) scopes nothing:
/// signals are then kept in by the PID namespace alone.
pub(super) fn restrict() -> Result<(), SandboxError> {
    restrict_to(Scope::from_all(ABI::V6))
}

fn restrict_to(scopes: BitFlags<Scope>) -> Result<(), SandboxError> {
    let failed = |error: landlock::RulesetError| {
        setup("scope signals and sockets", std::io::Error::other(error))
    };
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let created = ruleset
        .scope(scopes)
        .and_then(Ruleset::create)
        .map_err(failed)?;
    created.restrict_self().map(drop).map_err(failed)
}
