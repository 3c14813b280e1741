//! Config vars set and unset: each change is a release of the current slug.

use super::plan::{ConfigSource, Now, Proposal, plan};
use super::{Planned, ReleaseError, Request};
use crate::archive::read_image;
use crate::ident::EnvKey;
use crate::store::{ConfigVars, Reason, Secret};

/// What is to change.
#[derive(Clone, Debug, Default)]
pub struct ConfigChange {
    /// To be set; of one that is here twice, the last counts.
    pub set: Vec<(EnvKey, Secret)>,
    /// To be taken away; one that is not there is no error.
    pub unset: Vec<EnvKey>,
}

/// Plans a change of config vars. Nothing, if they are so already. An app that has no slug yet may
/// have config: its releases then have no process until the first deploy.
pub fn plan_config_change(
    request: &Request<'_>,
    change: &ConfigChange,
) -> Result<Planned, ReleaseError> {
    if let Some((key, _)) = change
        .set
        .iter()
        .find(|(key, _)| change.unset.contains(key))
    {
        return Err(ReleaseError::SetAndUnset { key: key.clone() });
    }
    let now = Now::read(request)?;
    let vars = changed(&now.vars, change)?;
    if vars == now.vars {
        return Ok(now.unchanged(request.app));
    }
    let differs = |key: &EnvKey| now.vars.get(key) != vars.get(key);
    let touched = now
        .vars
        .keys()
        .chain(vars.keys().filter(|key| now.vars.get(key).is_none()));
    let (set, unset) = touched
        .filter(|key| differs(key))
        .cloned()
        .partition(|key| vars.get(key).is_some());
    let slug = match now.slug() {
        Some(slug) => Some((slug, read_image(request.store, &slug)?)),
        None => None,
    };
    let source = ConfigSource::New(vars.clone());
    let proposal = Proposal {
        reason: Reason::Config { set, unset },
        slug,
        vars,
        source,
    };
    Ok(Planned::Release(Box::new(plan(request, &now, proposal)?)))
}

/// First all that goes, then all that comes, so that a full config can be exchanged for another.
fn changed(old: &ConfigVars, change: &ConfigChange) -> Result<ConfigVars, ReleaseError> {
    let mut vars = old.clone();
    for key in &change.unset {
        vars.unset(key);
    }
    for (key, value) in &change.set {
        vars.set(key.clone(), value.clone())?;
    }
    Ok(vars)
}
