//! `slug gc`: the plan, and its application under the store's own lock.

use serde_json::json;
use slug::release;
use slug::store::gc::{Garbage, KeptFor};
use slug::store::{GcPlan, Retention};

use super::args::Gc;
use super::report::Failure;
use super::settings::Settings;
use super::ui::{Text, human_bytes};

pub(crate) fn run(settings: &Settings, typed: &Gc) -> Result<u8, Failure> {
    let store = settings.open_store()?;
    // Taken for a dry run too: a plan is only right for a store that nobody is writing to.
    let lock = store.lock_for_gc(&mut || {
        settings
            .ui
            .say("slugs are being built or released: waiting for that to end");
    })?;
    let retention = Retention {
        releases: typed.keep,
        days: typed.days,
        cache_bytes: typed.cache_max.0,
        ..Retention::default()
    };
    let plan = release::plan_collection(&store, retention, Settings::now())?;
    if !typed.dry_run {
        plan.apply(&store, &lock, &mut |deletion| {
            settings
                .ui
                .detail(&format!("deleted {}", name(&deletion.garbage)));
        })?;
    }
    let object = json!({ "schema": 1, "dry_run": typed.dry_run, "plan": plan });
    settings
        .ui
        .answer(&object, |_| text(&plan, typed.dry_run))?;
    Ok(0)
}

fn text(plan: &GcPlan, dry_run: bool) -> String {
    let mut text = Text::default();
    text.lines(plan.keep.iter().map(|kept| {
        let why = match kept.why {
            KeptFor::Current => "current",
            KeptFor::Pending => "pending",
            KeptFor::Recent => "recent",
            KeptFor::LatelyCurrent => "lately current",
        };
        format!("keep     {} of {} ({why})", kept.version, kept.app)
    }));
    let (verb, sum) = if dry_run {
        ("delete ", "would free")
    } else {
        ("deleted", "freed")
    };
    text.lines(plan.delete.iter().map(|deletion| {
        format!(
            "{verb}  {} ({})",
            name(&deletion.garbage),
            human_bytes(deletion.bytes)
        )
    }));
    text.line(format!("{sum} {}", human_bytes(plan.bytes)));
    text.into_string()
}

fn name(garbage: &Garbage) -> String {
    match garbage {
        Garbage::Slug(digest) => format!("slug {}", digest.short()),
        Garbage::Blob(digest) => format!("blob {}", digest.short()),
        Garbage::Config(app, digest) => format!("config {} of {app}", digest.short()),
        Garbage::Layer(digest) => format!("layer {}", digest.short()),
        Garbage::Artifact(digest) => format!("artifact {}", digest.short()),
        Garbage::Buildpack(digest) => format!("buildpack {}", digest.short()),
        Garbage::BuildCache(app) => format!("build cache of {app}"),
        Garbage::Temporary(path) => format!("`{}`", path.display()),
    }
}
