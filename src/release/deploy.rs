//! A slug, with the config that the app has.

use super::eligibility::usable_slug;
use super::plan::{ConfigSource, Now, Proposal, plan};
use super::{Planned, ReleaseError, Request};
use crate::ident::Digest;
use crate::store::{ConfigVars, Reason};

/// Plans the release of a slug. Nothing, if the current release runs it already.
pub fn plan_deploy(request: &Request<'_>, slug: &Digest) -> Result<Planned, ReleaseError> {
    let image = usable_slug(request, slug)?;
    let now = Now::read(request)?;
    if now.slug() == Some(*slug) {
        return Ok(now.unchanged(request.app));
    }
    let source = match &now.current {
        Some(current) => ConfigSource::Sealed(current.record.config),
        None => ConfigSource::New(ConfigVars::new()),
    };
    let proposal = Proposal {
        reason: Reason::Deploy,
        slug: Some((*slug, image)),
        vars: now.vars.clone(),
        source,
    };
    Ok(Planned::Release(Box::new(plan(request, &now, proposal)?)))
}
