//! What `slug start` runs: which types, how many of each, at which ports.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::ident::ProcessType;
use crate::run::formation::BadFormation;
use crate::run::formation::Check;
use crate::run::formation::TypePlan;
use crate::run::formation::types_of;

/// The first type's first port, unless something else is said (foreman's, honcho's and Heroku's).
pub const PORT: u16 = 5000;
/// From the first port of a type to that of the next (foreman's), and so the most instances of a type.
pub const PORT_STEP: u16 = 100;

/// A process type that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartType {
    /// Its name.
    pub process_type: ProcessType,
    /// What bash is to run.
    pub command: String,
    /// How it is run: how many, and how it is stopped. None is routed.
    pub plan: TypePlan,
    /// The port of its first instance; the next has the next.
    pub port: u16,
}

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The Procfile: names and commands, in its order.
    pub entries: Vec<(ProcessType, String)>,
    /// `[process.*]` of slug.toml, as its label in a slug has it.
    pub settings: String,
    /// These types alone; all if there is none.
    pub only: Vec<ProcessType>,
    /// How many of each type that is not in `counts`.
    pub all: Option<u32>,
    /// How many of these.
    pub counts: Vec<(ProcessType, u32)>,
    /// The port of the first type.
    pub port: u16,
}

/// It cannot be run so.
#[derive(Debug, Error)]
pub enum BadStart {
    /// The Procfile has no such type.
    #[error("the Procfile has no process type `{wanted}`")]
    NoType {
        /// What was asked for.
        wanted: ProcessType,
        /// What there is.
        has: Vec<ProcessType>,
    },
    /// The release command is no process.
    #[error(
        "`release` is the release command: it runs when a release is made, and `slug start` makes none"
    )]
    Release,
    /// A count for a type that is not among those that were named.
    #[error("`{0}` has a number of instances, but is not among the types to start")]
    NotMeant(ProcessType),
    /// More instances than there are ports for.
    #[error("{count} instances of `{process_type}` are more than {PORT_STEP}")]
    TooMany {
        /// Of which.
        process_type: ProcessType,
        /// How many.
        count: u32,
    },
    /// A port above the last that there is.
    #[error("the ports of `{0}` would be above 65535")]
    Ports(ProcessType),
    /// There is no process at all.
    #[error("nothing is to be started")]
    Nothing,
    /// What slug.toml says.
    #[error(transparent)]
    Formation(#[from] BadFormation),
}

/// What is to run. A type keeps its port whichever others run beside it.
pub fn plan(wish: &Wish) -> Result<Vec<StartType>, BadStart> {
    let entries = || {
        let is_process = |entry: &&(ProcessType, String)| entry.0 != ProcessType::release();
        wish.entries.iter().filter(is_process)
    };
    let named = wish.counts.iter().map(|(process_type, _)| process_type);
    for wanted in wish.only.iter().chain(named) {
        if *wanted == ProcessType::release() {
            return Err(BadStart::Release);
        }
        if !entries().any(|(process_type, _)| process_type == wanted) {
            let has = entries().map(|(process_type, _)| process_type.clone());
            let (wanted, has) = (wanted.clone(), has.collect());
            return Err(BadStart::NoType { wanted, has });
        }
    }
    let names = entries().map(|(process_type, _)| process_type);
    let mut plans = types_of(&wish.settings, names, None)?;
    let mut types = Vec::new();
    for (index, (process_type, command)) in entries().enumerate() {
        let Some(mut plan) = plans.remove(process_type) else {
            continue;
        };
        plan.instances = count(wish, process_type, plan.instances)?;
        // Nothing waits for them to be ready: nothing is routed to them, and no release is switched to.
        (plan.check, plan.liveness) = (Check::Port, None);
        if plan.instances > 0 {
            let port = port(wish.port, index, plan.instances);
            types.push(StartType {
                port: port.ok_or_else(|| BadStart::Ports(process_type.clone()))?,
                process_type: process_type.clone(),
                command: command.clone(),
                plan,
            });
        }
    }
    if types.is_empty() {
        return Err(BadStart::Nothing);
    }
    Ok(types)
}

/// The nearest word counts: of this type, of all, of slug.toml.
fn count(wish: &Wish, process_type: &ProcessType, of_file: u32) -> Result<u32, BadStart> {
    let counts: BTreeMap<_, _> = wish.counts.iter().cloned().collect();
    let is_meant = wish.only.is_empty() || wish.only.contains(process_type);
    let count = match (counts.get(process_type), is_meant) {
        (Some(_), false) => return Err(BadStart::NotMeant(process_type.clone())),
        (Some(count), true) => *count,
        (None, true) => wish.all.unwrap_or(of_file),
        (None, false) => 0,
    };
    if count > u32::from(PORT_STEP) {
        let process_type = process_type.clone();
        return Err(BadStart::TooMany {
            process_type,
            count,
        });
    }
    Ok(count)
}

/// The first port of the type at `index`, if there is one for each instance.
fn port(base: u16, index: usize, instances: u32) -> Option<u16> {
    let first = u16::try_from(index)
        .ok()?
        .checked_mul(PORT_STEP)?
        .checked_add(base)?;
    let last = u16::try_from(instances.checked_sub(1)?).ok()?;
    first.checked_add(last).map(|_| first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(names: &[&str]) -> Wish {
        Wish {
            entries: names
                .iter()
                .map(|name| (name.parse().unwrap(), format!("run {name}")))
                .collect(),
            settings: r#"{"worker":{"instances":3}}"#.to_owned(),
            port: PORT,
            ..Wish::default()
        }
    }

    fn named(names: &[&str]) -> Vec<ProcessType> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn check(wish: &Wish, expected: &str) {
        let shown = match plan(wish) {
            Ok(types) => types
                .iter()
                .map(|of| format!("{}={}@{}", of.process_type, of.plan.instances, of.port))
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{wish:?}");
    }

    #[test]
    fn each_type_runs_once_or_as_slug_toml_says_and_release_never() {
        let wish = wish(&["release", "web", "worker", "clock"]);
        check(&wish, "web=1@5000 worker=3@5100 clock=1@5200");
    }

    #[test]
    fn what_is_not_listed_keeps_its_number_and_all_is_every_type() {
        let mut wish = wish(&["web", "worker", "clock"]);
        wish.counts = vec![("web".parse().unwrap(), 2)];
        check(&wish, "web=2@5000 worker=3@5100 clock=1@5200");
        wish.all = Some(0);
        check(&wish, "web=2@5000");
        wish.counts = vec![("web".parse().unwrap(), 0)];
        check(&wish, "nothing is to be started");
    }

    #[test]
    fn a_type_that_runs_alone_keeps_its_port() {
        let mut wish = wish(&["web", "worker", "clock"]);
        wish.only = named(&["clock", "web"]);
        check(&wish, "web=1@5000 clock=1@5200");
        wish.counts = vec![("worker".parse().unwrap(), 1)];
        check(
            &wish,
            "`worker` has a number of instances, but is not among the types to start",
        );
        wish.only = named(&["queue"]);
        check(&wish, "the Procfile has no process type `queue`");
        wish.only = named(&["release"]);
        check(
            &wish,
            "`release` is the release command: it runs when a release is made, and `slug start` makes none",
        );
    }

    #[test]
    fn there_is_a_port_for_each_instance_or_an_error() {
        let mut wish = wish(&["web", "worker"]);
        wish.all = Some(100);
        check(&wish, "web=100@5000 worker=100@5100");
        wish.all = Some(101);
        check(&wish, "101 instances of `web` are more than 100");
        wish.all = Some(1);
        wish.port = 65_435;
        check(&wish, "web=1@65435 worker=1@65535");
        wish.all = Some(2);
        check(&wish, "the ports of `worker` would be above 65535");
        wish.port = 65_436;
        wish.all = Some(1);
        check(&wish, "the ports of `worker` would be above 65535");
    }
}
