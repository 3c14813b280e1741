//! What a release would do: made without writing anything, printed by
//! `--dry-run` and `--json`, and applied as it is.

use std::collections::BTreeSet;

use serde::Serialize;

use super::eligibility::eligibility;
use super::{Changes, Contract, ReleaseError, Request};
use crate::archive::{Slug, SlugProcess};
use crate::ident::{AppName, Digest, EnvKey, ProcessType, ReleaseVersion};
use crate::store::{ConfigVars, Ledger, Reason, Release};
use crate::sys::fs::free_bytes;

/// Among how many releases a plan looks for rollback targets: each costs a look at a slug and an opened config.
const ROLLBACK_LOOKED_AT_MAX: usize = 10;

/// What would become of a request.
#[derive(Debug)]
pub enum Planned {
    /// Nothing: the current release is what was asked for.
    Unchanged(Unchanged),
    /// A new release.
    Release(Box<ReleasePlan>),
}

/// Same slug, same config: no release is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unchanged {
    /// Of these plans; their form (`spec/store.md`).
    pub schema: u32,
    /// Whose.
    pub app: AppName,
    /// The release that is already as asked for; none if the app has none and nothing was asked for.
    pub current: Option<ReleaseVersion>,
    /// Its slug.
    pub slug: Option<Digest>,
}

/// Every effect of a release.
#[derive(Debug, Serialize)]
pub struct ReleasePlan {
    /// Of these plans; their form (`spec/store.md`).
    pub schema: u32,
    /// Whose.
    pub app: AppName,
    /// The number it will have.
    pub version: ReleaseVersion,
    /// What kind of change.
    pub reason: Reason,
    /// What it runs; none before the first deploy.
    pub slug: Option<Digest>,
    /// The current release, which it takes the place of.
    pub replaces: Option<ReleaseVersion>,
    /// Does it run another slug than the current one?
    pub slug_changed: bool,
    /// What changes in the config vars, by name.
    pub config: Changes<EnvKey>,
    /// What will run, with the new slug and config, before it succeeds.
    pub release_command: Option<Vec<String>>,
    /// Process types that the current release has not.
    pub processes_added: Vec<ProcessType>,
    /// Process types that only the current release has.
    pub processes_removed: Vec<ProcessType>,
    /// The layers on this host.
    pub layers: LayerEffect,
    /// The releases that can be rolled back to afterwards, newest first, of the ten newest.
    pub rollback_targets: Vec<ReleaseVersion>,
    /// Releases whose maker seems to have died: they will be recorded as failed, if nobody holds the lock.
    pub interrupted: Vec<ReleaseVersion>,
    #[serde(skip)]
    pub(super) source: ConfigSource,
}

/// What lies unpacked on this host, and what is still to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LayerEffect {
    /// Layers that are unpacked already.
    pub reused: usize,
    /// Layers that are not.
    pub unpacked: usize,
    /// What unpacking writes, in bytes of tar.
    pub unpacked_bytes: u64,
    /// What is free on the disk of this host's layers before that, in bytes.
    pub disk_free_bytes: u64,
}

/// Where the new release's config comes from.
#[derive(Debug)]
pub(super) enum ConfigSource {
    /// Sealed already: that of the current release, or of the one rolled back to.
    Sealed(Digest),
    /// To be sealed.
    New(ConfigVars),
}

/// What the app runs on this host now.
pub(super) struct Now {
    pub(super) ledger: Ledger,
    pub(super) current: Option<Release>,
    pub(super) vars: ConfigVars,
}

impl Now {
    pub(super) fn read(request: &Request<'_>) -> Result<Self, ReleaseError> {
        let ledger = Ledger::open(request.store, request.app);
        let current = ledger.current(request.host)?;
        let vars = match &current {
            Some(current) => request.store.unseal(request.app, &current.record.config)?,
            None => ConfigVars::new(),
        };
        Ok(Self {
            ledger,
            current,
            vars,
        })
    }

    pub(super) fn slug(&self) -> Option<Digest> {
        self.current
            .as_ref()
            .and_then(|current| current.record.slug)
    }

    pub(super) fn version(&self) -> Option<ReleaseVersion> {
        self.current.as_ref().map(|current| current.record.version)
    }

    pub(super) fn unchanged(&self, app: &AppName) -> Planned {
        Planned::Unchanged(Unchanged {
            schema: 1,
            app: app.clone(),
            current: self.version(),
            slug: self.slug(),
        })
    }
}

/// What a new release is to be.
pub(super) struct Proposal {
    pub(super) reason: Reason,
    /// The slug's name, and what it is.
    pub(super) slug: Option<(Digest, Slug)>,
    pub(super) vars: ConfigVars,
    pub(super) source: ConfigSource,
}

/// Checks the contract and lists every effect.
pub(super) fn plan(
    request: &Request<'_>,
    now: &Now,
    proposal: Proposal,
) -> Result<ReleasePlan, ReleaseError> {
    let Proposal {
        reason,
        slug,
        vars,
        source,
    } = proposal;
    if let Some((name, image)) = &slug {
        Contract::of(name, image)?.check(request.app, &vars)?;
    }
    let image = slug.as_ref().map(|(_, image)| image);
    let name = slug.as_ref().map(|(name, _)| *name);
    let slug_changed = name != now.slug();
    let before = if slug_changed {
        processes_of_current(request, now)
    } else {
        types(image)
    };
    let after = types(image);
    Ok(ReleasePlan {
        schema: 1,
        app: request.app.clone(),
        version: now.ledger.next_version()?,
        reason,
        slug: name,
        replaces: now.version(),
        slug_changed,
        config: Changes::of_config(&now.vars, &vars),
        release_command: image.and_then(release_command),
        processes_added: after.difference(&before).cloned().collect(),
        processes_removed: before.difference(&after).cloned().collect(),
        layers: layer_effect(request, image)?,
        rollback_targets: rollback_targets(request, now)?,
        interrupted: now.ledger.pending()?,
        source,
    })
}

/// A current slug that cannot be read any more is no reason to refuse the one that takes its place.
fn processes_of_current(request: &Request<'_>, now: &Now) -> BTreeSet<ProcessType> {
    let image = now
        .slug()
        .and_then(|slug| crate::archive::read_image(request.store, &slug).ok());
    types(image.as_ref())
}

fn types(slug: Option<&Slug>) -> BTreeSet<ProcessType> {
    let processes: &[SlugProcess] = slug.map_or(&[], |slug| &slug.processes);
    processes
        .iter()
        .map(|process| process.process_type.clone())
        .collect()
}

fn release_command(slug: &Slug) -> Option<Vec<String>> {
    let release = slug
        .processes
        .iter()
        .find(|process| process.process_type == ProcessType::release())?;
    Some(
        release
            .command
            .iter()
            .chain(&release.args)
            .cloned()
            .collect(),
    )
}

fn layer_effect(request: &Request<'_>, slug: Option<&Slug>) -> Result<LayerEffect, ReleaseError> {
    let folder = request.store.layers();
    let mut effect = LayerEffect {
        disk_free_bytes: free_bytes(request.store.host())?,
        ..LayerEffect::default()
    };
    for (_, layer) in slug.map_or(&[][..], |slug| &slug.layers) {
        if folder.join(layer.diff_id.hex()).is_dir() {
            effect.reused += 1;
        } else {
            effect.unpacked += 1;
            effect.unpacked_bytes += layer.tar_bytes;
        }
    }
    Ok(effect)
}

/// With the new release as the current one, today's can be rolled back to like any other.
fn rollback_targets(request: &Request<'_>, now: &Now) -> Result<Vec<ReleaseVersion>, ReleaseError> {
    let mut targets = Vec::new();
    for release in now.ledger.newest_first()?.take(ROLLBACK_LOOKED_AT_MAX) {
        let release = release?;
        if eligibility(request, &release, None).is_ok() {
            targets.push(release.record.version);
        }
    }
    Ok(targets)
}
