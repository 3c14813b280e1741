//! Why a build came to what it came to: taken down from its events, so that
//! it is there also when the build fails. Facts alone: `cli` words them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::site::LAYERS;
use super::{BuildError, Event};
use crate::buildpack::detection::{Detected, GroupVerdict, MemberVerdict, Verdict};
use crate::buildpack::launch::Launch;
use crate::buildpack::lint::Written;
use crate::buildpack::plan::{BuildPlan, Conflict};
use crate::ident::{BuildpackId, LayerName, ProcessType};
use crate::layer::env::{Action, Delta, Effect, PATH_VARIABLES};
use crate::layer::{Env, LayerEnv, LayerTypes};

/// Who gives buildpacks a variable; a later one wins over an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VariableSource {
    /// How the machine reaches package registries.
    Machine,
    /// `[[io.buildpacks.build.env]]` of project.toml.
    Project,
    /// `--platform-env`.
    PlatformEnv,
    /// `--env`.
    Option,
    /// `--build-config`.
    BuildConfig,
}

/// A variable of the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenVariable {
    /// Its name.
    pub name: OsString,
    /// Who gives it.
    pub source: VariableSource,
    /// What is done with what is there.
    pub action: Action,
}

/// A layer as later programs see it.
#[derive(Clone, Debug)]
pub struct SeenLayer {
    /// Its name.
    pub name: LayerName,
    /// What it is for.
    pub types: LayerTypes,
    /// Its content, on this machine.
    pub folder: PathBuf,
}

/// What is known of a build.
#[derive(Clone, Debug, Default)]
pub struct Explanation {
    /// The groups that were tried, in order.
    pub groups: Vec<ExplainedGroup>,
    /// Where the variables of builds came from, in the order in which they were applied.
    pub build_environment: BTreeMap<OsString, Vec<Origin>>,
    /// The same of the slug's processes.
    pub launch_environment: BTreeMap<OsString, Vec<Origin>>,
    /// Who said how each process type is started: the last of them counts.
    pub processes: BTreeMap<ProcessType, Vec<BuildpackId>>,
}

/// A group that was tried.
#[derive(Clone, Debug)]
pub struct ExplainedGroup {
    /// It takes the app.
    pub passed: bool,
    /// Of those that did not pass, the one to which the least was missing.
    pub closest: bool,
    /// What its members said.
    pub members: Vec<MemberVerdict>,
    /// What does not fit in the plans, and who could have helped.
    pub conflicts: Vec<ExplainedConflict>,
}

/// Something that does not fit, and who could have helped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedConflict {
    /// What.
    pub conflict: Conflict,
    /// Buildpacks that provide what is required, or require what is provided, and stand elsewhere.
    pub elsewhere: Vec<BuildpackId>,
}

/// One thing that makes a variable what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// What is done with the variable.
    pub action: Action,
    /// By whom.
    pub by: Giver,
}

/// Who does something to a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Giver {
    /// A layer.
    Layer {
        /// Whose.
        buildpack: BuildpackId,
        /// Which.
        layer: LayerName,
        /// The file or folder in it.
        place: String,
    },
    /// The operator.
    Operator(VariableSource),
}

/// Takes down the events of one build.
#[derive(Debug, Default)]
pub struct Explainer {
    plans: BTreeMap<BuildpackId, BuildPlan>,
    detected: Option<Detected>,
    variables: Vec<GivenVariable>,
    explanation: Explanation,
}

impl Explainer {
    /// Hears one event. What cannot be read is the build's own error, and explains itself.
    pub fn hear(&mut self, event: &Event<'_>) {
        match event {
            Event::Detected(detected) => self.detected = Some((*detected).clone()),
            Event::Variables(variables) => self.variables = variables.to_vec(),
            Event::Layers { buildpack, layers } => self.add_layers(buildpack, layers),
            Event::Wrote { buildpack, what } => match what {
                Written::Plan(path) => {
                    let plan = BuildPlan::read(path).unwrap_or_default();
                    self.plans.insert(buildpack.id.clone(), plan);
                }
                Written::Layers(folder) => {
                    let read = Launch::read(&folder.join("launch.toml"), buildpack.api);
                    let processes = read.map(|read| read.launch.processes).unwrap_or_default();
                    for process in processes {
                        let all = &mut self.explanation.processes;
                        let by = all.entry(process.process_type).or_default();
                        by.push(buildpack.id.clone());
                    }
                }
            },
            _ => {}
        }
    }

    /// All that was heard; of a build that failed in detection, its groups.
    pub fn finish(mut self, failed: Option<&BuildError>) -> Explanation {
        let (before, passed) = match (self.detected.take(), failed) {
            (Some(detected), _) => {
                let group = GroupVerdict {
                    members: detected.members,
                    conflicts: detected.dropped,
                };
                (detected.before, Some(group))
            }
            (None, Some(BuildError::NothingFits(groups) | BuildError::DetectFailed(groups))) => {
                (groups.clone(), None)
            }
            (None, _) => (Vec::new(), None),
        };
        let closest = closest(&before);
        let mut groups: Vec<ExplainedGroup> = Vec::new();
        for (number, group) in before.iter().enumerate() {
            groups.push(self.group(group, false, closest == Some(number)));
        }
        groups.extend(passed.map(|group| self.group(&group, true, false)));
        self.add_operators();
        Explanation {
            groups,
            ..self.explanation
        }
    }

    fn group(&self, group: &GroupVerdict, passed: bool, closest: bool) -> ExplainedGroup {
        let conflicts = group.conflicts.iter().map(|conflict| ExplainedConflict {
            conflict: conflict.clone(),
            elsewhere: self.elsewhere(conflict),
        });
        ExplainedGroup {
            passed,
            closest,
            members: group.members.clone(),
            conflicts: conflicts.collect(),
        }
    }

    /// Who provides what is required, or requires what is provided: not where it would count.
    fn elsewhere(&self, conflict: &Conflict) -> Vec<BuildpackId> {
        let (buildpack, name, wants_provider) = match conflict {
            Conflict::Requires { buildpack, name } => (buildpack, name, true),
            Conflict::Provides { buildpack, name } => (buildpack, name, false),
            Conflict::NobodyLeft | Conflict::TooManyTrials => return Vec::new(),
        };
        let helps = |plan: &BuildPlan| {
            plan.choices().iter().any(|choice| {
                if wants_provider {
                    choice.provides.iter().any(|one| one.name == *name)
                } else {
                    choice.requires.iter().any(|one| one.name == *name)
                }
            })
        };
        let others = self.plans.iter().filter(|(id, _)| *id != buildpack);
        others
            .filter(|(_, plan)| helps(plan))
            .map(|(id, _)| id.clone())
            .collect()
    }

    fn add_layers(&mut self, buildpack: &BuildpackId, layers: &[SeenLayer]) {
        for SeenLayer {
            name,
            types,
            folder,
        } in layers
        {
            let at = Path::new(LAYERS).join(buildpack.folder());
            let Ok(env) = LayerEnv::read(folder, &at.join(name.as_str())) else {
                continue; // the build ends with this very error
            };
            let Explanation {
                build_environment,
                launch_environment,
                ..
            } = &mut self.explanation;
            if types.build {
                add(build_environment, env.effects_at_build(), buildpack, name);
            }
            if types.launch {
                add(launch_environment, env.effects_at_launch(), buildpack, name);
            }
        }
    }

    /// After the layers: so they are applied.
    fn add_operators(&mut self) {
        for given in std::mem::take(&mut self.variables) {
            let GivenVariable {
                name,
                source,
                action,
            } = given;
            let origins = self.explanation.build_environment.entry(name).or_default();
            // Of several values for /platform/env, the last one is there.
            if source != VariableSource::BuildConfig {
                origins.retain(|origin| !matches!(origin.by, Giver::Operator(_)));
            }
            let by = Giver::Operator(source);
            origins.push(Origin { action, by });
        }
    }
}

fn add(
    environment: &mut BTreeMap<OsString, Vec<Origin>>,
    effects: Vec<Effect>,
    buildpack: &BuildpackId,
    layer: &LayerName,
) {
    for Effect {
        variable,
        action,
        place,
    } in effects
    {
        let by = Giver::Layer {
            buildpack: buildpack.clone(),
            layer: layer.clone(),
            place,
        };
        let origins = environment.entry(variable).or_default();
        origins.push(Origin { action, by });
    }
}

/// Of groups that did not pass, the one to which the least was missing: that in which only the plans do not fit;
/// else the one with the fewest required members that did not pass, and then the most that did.
pub fn closest(groups: &[GroupVerdict]) -> Option<usize> {
    let missing = |group: &GroupVerdict| {
        let is_missing = |member: &&MemberVerdict| {
            !member.optional && !matches!(member.verdict, Verdict::Passed | Verdict::OtherExecEnv)
        };
        group.members.iter().filter(is_missing).count()
    };
    let passed = |group: &GroupVerdict| {
        let passed = group.members.iter();
        passed
            .filter(|member| member.verdict == Verdict::Passed)
            .count()
    };
    let is_near = |group: &&(usize, &GroupVerdict)| passed(group.1) > 0;
    let groups: Vec<_> = groups.iter().enumerate().collect();
    groups
        .iter()
        .filter(is_near)
        .min_by_key(|(_, group)| (missing(group), std::cmp::Reverse(passed(group))))
        .map(|(number, _)| *number)
}

/// Variables for `/platform/env` and who gives them (rule 42).
pub(super) fn given(source: VariableSource, env: &Env) -> Vec<GivenVariable> {
    let is_path = |name: &OsString| PATH_VARIABLES.iter().any(|path| name == path);
    let given = env.keys().map(|name| GivenVariable {
        name: name.clone(),
        source,
        action: if is_path(name) {
            Action::Prepend
        } else {
            Action::Override
        },
    });
    given.collect()
}

/// Variables of `<build-config>/env` (rule 43).
pub(super) fn given_by_build_config(delta: &Delta) -> Vec<GivenVariable> {
    let effects = delta.effects("env").into_iter();
    effects
        .map(|effect| GivenVariable {
            name: effect.variable,
            source: VariableSource::BuildConfig,
            action: effect.action,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(members: &[(&str, bool, Verdict)]) -> GroupVerdict {
        let member = |(id, optional, verdict): &(&str, bool, Verdict)| MemberVerdict {
            buildpack: id.parse().unwrap(),
            version: String::new(),
            optional: *optional,
            verdict: verdict.clone(),
        };
        GroupVerdict {
            members: members.iter().map(member).collect(),
            conflicts: Vec::new(),
        }
    }

    #[test]
    fn the_closest_group_lacks_the_fewest_required_members() {
        use Verdict::{Declined, Passed};
        let one = group(&[("a", false, Passed), ("b", false, Declined)]);
        let two = group(&[
            ("a", false, Passed),
            ("b", false, Declined),
            ("c", false, Declined),
        ]);
        let more = group(&[
            ("a", false, Passed),
            ("b", false, Declined),
            ("c", true, Passed),
        ]);
        let fits_not = group(&[("a", false, Passed)]);
        let far = group(&[("b", false, Declined)]);
        let check = |groups: &[&GroupVerdict], expected: Option<usize>| {
            let groups: Vec<GroupVerdict> = groups.iter().map(|group| (*group).clone()).collect();
            assert_eq!(closest(&groups), expected);
        };
        check(&[&two, &one], Some(1));
        check(&[&one, &more], Some(1));
        check(&[&one, &fits_not], Some(1));
        check(&[&one, &one], Some(0));
        check(&[&far], None);
        check(&[], None);
    }
}
