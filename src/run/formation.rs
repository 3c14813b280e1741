//! Which processes an app has, how many, and how each type is run. What a slug
//! says comes from its label `slug.process` (the `[process.*]` of slug.toml as
//! JSON); what an operator said with `slug scale` is remembered on this host.

mod host_state;
mod plan;

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use thiserror::Error;

pub use crate::archive::settings::INSTANCES_MAX;
pub use crate::archive::settings::PROCESS_LABEL;
pub use crate::archive::settings::StopScope;
pub use host_state::HostState;
pub use host_state::StateError;
pub use plan::Check;
pub use plan::DRAIN;
pub use plan::GRACE;
pub use plan::LIVENESS_EVERY;
pub use plan::LIVENESS_FAILURES;
pub use plan::Limits;
pub use plan::Liveness;
pub use plan::READY_WITHIN;
pub use plan::TypePlan;

use crate::archive::Slug;
use crate::archive::SlugProcess;
use crate::archive::settings::ProcessSettings;
use crate::ident::AppName;
use crate::ident::ProcessType;
use crate::store::Store;

/// The slug's label cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the slug's label `{PROCESS_LABEL}` is wrong: {0}")]
pub struct BadFormation(String);

/// The formation that a slug asks for: one instance of each of its types but `release`, unless it says otherwise.
/// (Heroku begins with `web=1` and nothing else, so that a forgotten worker is the commonest first question.)
pub fn types(slug: &Slug) -> Result<BTreeMap<ProcessType, TypePlan>, BadFormation> {
    let label = slug.labels.get(PROCESS_LABEL).map_or("{}", String::as_str);
    let names = slug.processes.iter().map(|process| &process.process_type);
    types_of(label, names, routed_type(slug))
}

/// As `types`, of these names: `settings` is what the label would hold.
pub fn types_of<'a>(
    settings: &str,
    names: impl Iterator<Item = &'a ProcessType>,
    routed: Option<&ProcessType>,
) -> Result<BTreeMap<ProcessType, TypePlan>, BadFormation> {
    let mut settings: BTreeMap<ProcessType, serde_json::Value> =
        serde_json::from_str(settings).map_err(|error| BadFormation(error.to_string()))?;
    let mut types = BTreeMap::new();
    for process_type in names {
        if *process_type != ProcessType::release() {
            let said = settings.remove(process_type);
            let said: ProcessSettings = said
                .map_or_else(|| Ok(ProcessSettings::default()), serde_json::from_value)
                .map_err(|why| BadFormation(format!("[process.{process_type}] {why}")))?;
            let plan = TypePlan::new(&said, routed == Some(process_type));
            let asks_a_port = |asked: &Liveness| !matches!(asked.check, Check::Command(_));
            if !plan.is_routed && plan.liveness.as_ref().is_some_and(asks_a_port) {
                let why = "liveness asks a path, and no request goes to this type: ask a command";
                return Err(BadFormation(format!("[process.{process_type}] {why}")));
            }
            types.insert(process_type.clone(), plan);
        }
    }
    Ok(types)
}

/// `web`, else the slug's default process: only that one is asked over HTTP.
pub fn routed_type(slug: &Slug) -> Option<&ProcessType> {
    let web = ProcessType::web();
    let has = |wanted: &dyn Fn(&SlugProcess) -> bool| {
        slug.processes.iter().find(|process| wanted(process))
    };
    let routed =
        has(&|process| process.process_type == web).or_else(|| has(&|process| process.default));
    routed
        .map(|process| &process.process_type)
        .filter(|process_type| **process_type != ProcessType::release())
}

/// The folder of an app's log history.
pub fn logs_folder(store: &Store, app: &AppName) -> PathBuf {
    store.host().join(Path::new("logs")).join(app.as_str())
}
