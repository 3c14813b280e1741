//! An older release's slug and config, as a new release. Databases and
//! formations stay as they are.

use super::eligibility::{eligibility, usable_slug};
use super::plan::{ConfigSource, Now, Proposal, plan};
use super::{Ineligible, Planned, ReleaseError, Request};
use crate::ident::ReleaseVersion;
use crate::store::{Reason, Release};

/// How many refused releases a failed search for a target names.
const REFUSED_MAX: usize = 20;

/// Plans a rollback to a release; to the last eligible one before the current, if none is named.
/// Nothing, if the current release has that slug and config already.
pub fn plan_rollback(
    request: &Request<'_>,
    to: Option<ReleaseVersion>,
) -> Result<Planned, ReleaseError> {
    let now = Now::read(request)?;
    let target = match to {
        Some(version) => named(request, &now, version)?,
        None => last_before_current(request, &now)?,
    };
    let vars = request.store.unseal(request.app, &target.record.config)?;
    if now.slug() == target.record.slug && now.vars == vars {
        return Ok(now.unchanged(request.app));
    }
    let slug = match target.record.slug {
        Some(slug) => Some((slug, usable_slug(request, &slug)?)),
        None => None,
    };
    let source = ConfigSource::Sealed(target.record.config);
    let proposal = Proposal {
        reason: Reason::Rollback {
            to: target.record.version,
        },
        slug,
        vars,
        source,
    };
    Ok(Planned::Release(Box::new(plan(request, &now, proposal)?)))
}

fn named(
    request: &Request<'_>,
    now: &Now,
    version: ReleaseVersion,
) -> Result<Release, ReleaseError> {
    let target = now.ledger.get(version)?;
    match eligibility(request, &target, now.current.as_ref()) {
        Ok(()) => Ok(target),
        Err(why) => Err(ReleaseError::Ineligible {
            app: request.app.clone(),
            version,
            why,
        }),
    }
}

/// Passed over besides what is ineligible: what this host has rejected, and what is the same as the current release.
fn last_before_current(request: &Request<'_>, now: &Now) -> Result<Release, ReleaseError> {
    let mut refused: Vec<(ReleaseVersion, Ineligible)> = Vec::new();
    for release in now.ledger.newest_first()? {
        let release = release?;
        let is_before = now
            .version()
            .is_some_and(|current| release.record.version < current);
        if !is_before || release.rejected_by(request.host) || is_same(now, &release) {
            continue;
        }
        match eligibility(request, &release, now.current.as_ref()) {
            Ok(()) => return Ok(release),
            Err(why) if refused.len() < REFUSED_MAX => refused.push((release.record.version, why)),
            Err(_) => {}
        }
    }
    Err(ReleaseError::NothingToRollBackTo {
        app: request.app.clone(),
        current: now.version(),
        refused,
    })
}

fn is_same(now: &Now, release: &Release) -> bool {
    now.current.as_ref().is_some_and(|current| {
        (current.record.slug, current.record.config) == (release.record.slug, release.record.config)
    })
}
