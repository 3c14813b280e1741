//! What a type's processes may use, where this host lets it be enforced.

use std::collections::BTreeMap;

use super::formation::Limits;
use super::formation::TypePlan;
use crate::ident::ProcessType;
use crate::sys::cgroup;
use crate::sys::cgroup::CgroupError;
use crate::sys::cgroup::Controller;
use crate::sys::cgroup::Tree;

/// The cgroups that are this supervisor's to divide, or why there are none. Taken before it starts any process.
#[derive(Debug)]
pub struct Enforcer(Result<Tree, CgroupError>);

impl Enforcer {
    /// Takes the cgroup that this process is in, if it is delegated to it.
    pub fn take() -> Self {
        Self(cgroup::own().and_then(|root| Tree::take(&root)))
    }

    /// The cgroups, if there are any.
    pub(super) fn tree(&self) -> Option<&Tree> {
        self.0.as_ref().ok()
    }

    /// A line for each limit that is asked for and cannot be enforced.
    pub(super) fn lacks(&self, types: &BTreeMap<ProcessType, TypePlan>) -> Vec<String> {
        let mut lines = Vec::new();
        for (process_type, plan) in types {
            for (controller, asked) in asked(&plan.limits) {
                if let Some(why) = self.lack(controller) {
                    lines.push(format!(
                        "{asked} of `{process_type}` is NOT enforced: {why} (`slug doctor` says more)"
                    ));
                }
            }
        }
        lines
    }

    fn lack(&self, controller: Controller) -> Option<String> {
        match &self.0 {
            Err(error) => Some(error.to_string()),
            Ok(tree) if tree.has(controller) => None,
            Ok(tree) => Some(format!(
                "the cgroup `{}` has no controller `{}`",
                tree.root().display(),
                controller.name()
            )),
        }
    }
}

/// The limits that cgroups enforce, each as slug.toml calls it.
fn asked(limits: &Limits) -> Vec<(Controller, &'static str)> {
    let Limits {
        memory,
        cpu_milli,
        pids,
        nofile: _, // each process's own, and always enforced
    } = limits;
    let asked = [
        (Controller::Memory, "memory", memory.is_some()),
        (Controller::Cpu, "cpu", cpu_milli.is_some()),
        (Controller::Pids, "pids", pids.is_some()),
    ];
    let asked = asked.into_iter().filter(|(_, _, is_asked)| *is_asked);
    asked
        .map(|(controller, key, _)| (controller, key))
        .collect()
}

/// As the room that makes cgroups calls them; none if no cgroup is needed.
pub(super) fn of_leaf(limits: &Limits) -> Option<cgroup::Limits> {
    (!asked(limits).is_empty()).then_some(cgroup::Limits {
        memory: limits.memory,
        cpu_milli: limits.cpu_milli,
        pids: limits.pids,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_that_is_not_enforced_is_named_and_no_other() {
        let mut plan = TypePlan::new(&crate::archive::settings::ProcessSettings::default(), true);
        plan.limits = Limits {
            memory: Some(1 << 20),
            cpu_milli: None,
            pids: Some(3),
            nofile: Some(9),
        };
        let types = BTreeMap::from([(ProcessType::web(), plan)]);
        let lacks = Enforcer(Err(CgroupError::None)).lacks(&types);
        let said = |key: &str| {
            format!(
                "{key} of `web` is NOT enforced: this host has no cgroup v2 (`slug doctor` says more)"
            )
        };
        assert_eq!(lacks, [said("memory"), said("pids")]);
    }
}
