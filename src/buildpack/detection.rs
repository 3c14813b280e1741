//! Which group of buildpacks takes an app (rules 8, 9 and 13-17). Pure: how
//! the `bin/detect`s of a group are run, and whether at the same time, is the
//! caller's.

use std::collections::BTreeMap;

use super::descriptor::Descriptor;
use super::exec_env::ExecEnv;
use super::order::Component;
use super::plan::{BuildPlan, Candidate, Conflict, Entry, resolve};
use super::target::Base;
use crate::ident::BuildpackId;
use crate::layer::TomlError;

/// What became of one group that did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupVerdict {
    /// Each member, in order.
    pub members: Vec<MemberVerdict>,
    /// Why the plans of those that passed do not fit together; empty if it did not come to that.
    pub conflicts: Vec<Conflict>,
}

/// What a member of a group said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberVerdict {
    /// Who.
    pub buildpack: BuildpackId,
    /// Its version.
    pub version: String,
    /// May be left out.
    pub optional: bool,
    /// What it said.
    pub verdict: Verdict,
}

/// What a `bin/detect` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Exit 0.
    Passed,
    /// Exit 100: the app is not for it.
    Declined,
    /// Any other exit.
    Failed {
        /// 128 + n for signal n.
        exit: i32,
        /// The last of its output.
        tail: Vec<u8>,
    },
    /// It could not be run, it did not end in time, or its plan cannot be read.
    Error(String),
    /// Not asked, and as if it were not in the group: it is meant for other execution environments (rule 9).
    OtherExecEnv,
}

impl Verdict {
    fn is_error(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Error(_))
    }
}

/// What one `bin/detect` came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Ran {
    /// What its exit means.
    pub verdict: Verdict,
    /// What it offers and wants; empty unless it passed.
    pub plan: BuildPlan,
    /// Its standard output and error.
    pub output: Vec<u8>,
}

impl Ran {
    /// What an exit means (rules 13 and 14); `read` is the plan file.
    pub fn concluded(exit: i32, output: Vec<u8>, read: Result<BuildPlan, TomlError>) -> Self {
        let (verdict, plan) = match (exit, read) {
            (0, Ok(plan)) => (Verdict::Passed, plan),
            (0, Err(error)) => return Self::error(error.to_string(), output),
            (100, _) => (Verdict::Declined, BuildPlan::default()),
            (exit, _) => {
                let tail = output.clone();
                (Verdict::Failed { exit, tail }, BuildPlan::default())
            }
        };
        Self {
            verdict,
            plan,
            output,
        }
    }

    /// It came to no exit that says something.
    pub fn error(why: String, output: Vec<u8>) -> Self {
        Self {
            verdict: Verdict::Error(why),
            plan: BuildPlan::default(),
            output,
        }
    }
}

/// What the app is built for.
#[derive(Clone, Copy, Debug)]
pub struct Purpose<'a> {
    /// The system (rule 8).
    pub base: &'a Base,
    /// The execution environment (rule 9).
    pub exec_env: &'a ExecEnv,
}

/// The group that takes the app, and how it came to that.
#[derive(Clone, Debug)]
pub struct Detected {
    /// Its buildpacks, in order.
    pub buildpacks: Vec<Descriptor>,
    /// What they provide to one another.
    pub entries: Vec<Entry>,
    /// What each member of the group said, those that do not take part included.
    pub members: Vec<MemberVerdict>,
    /// Why optional members that passed do not take part: their plans do not fit.
    pub dropped: Vec<Conflict>,
    /// The groups before it, which did not pass.
    pub before: Vec<GroupVerdict>,
}

/// Why there is no group that takes the app.
#[derive(Debug)]
pub enum Refused<E> {
    /// No group passed, and in none did a required member fail (exit code 20).
    NothingFits(Vec<GroupVerdict>),
    /// No group passed, and in one of them a member failed (exit code 21).
    Failed(Vec<GroupVerdict>),
    /// The detects could not be run at all.
    Run(E),
}

/// Runs the `bin/detect`s of these buildpacks, and gives what each came to, in their order.
pub type RunAll<'a, E> = dyn FnMut(&[&Descriptor]) -> Result<Vec<Ran>, E> + 'a;

/// Finds the first group that passes. `run` is given those buildpacks of a group that no group before it
/// had, whatever its place there (rule 17).
pub fn detect<E>(
    groups: Vec<Vec<Component<'_>>>,
    purpose: Purpose<'_>,
    run: &mut RunAll<'_, E>,
) -> Result<Detected, Refused<E>> {
    let mut runs = Runs::new();
    let mut before = Vec::new();
    let mut has_failed = false;
    for members in groups {
        run_missing(purpose, &members, &mut runs, run).map_err(Refused::Run)?;
        match judge(purpose, &members, &runs) {
            Ok(detected) => return Ok(Detected { before, ..detected }),
            Err(verdict) => {
                has_failed |= is_failure(&verdict);
                before.push(verdict);
            }
        }
    }
    Err(if has_failed {
        Refused::Failed(before)
    } else {
        Refused::NothingFits(before)
    })
}

type Runs<'a> = BTreeMap<(&'a BuildpackId, &'a str), Ran>;

fn key(buildpack: &Descriptor) -> (&BuildpackId, &str) {
    (&buildpack.id, &buildpack.version)
}

/// An error counts only in a group that a required member keeps from passing: an optional one is dropped (rule 14).
fn is_failure(group: &GroupVerdict) -> bool {
    let is_kept = |member: &MemberVerdict| {
        !member.optional && (member.verdict == Verdict::Declined || member.verdict.is_error())
    };
    group.members.iter().any(is_kept)
        && group.members.iter().any(|member| member.verdict.is_error())
}

/// A required member that is not meant for this system fails its group without being run; an optional one is
/// run all the same, as in lifecycle (rule 8).
fn is_refused(purpose: Purpose<'_>, member: &Component<'_>) -> bool {
    !member.optional && !member.descriptor.fits(purpose.base)
}

fn run_missing<'a, E>(
    purpose: Purpose<'_>,
    members: &[Component<'a>],
    runs: &mut Runs<'a>,
    run: &mut RunAll<'_, E>,
) -> Result<(), E> {
    let missing: Vec<&'a Descriptor> = members
        .iter()
        .filter(|member| !is_refused(purpose, member))
        .map(|member| member.descriptor)
        .filter(|buildpack| buildpack.fits_exec_env(purpose.exec_env))
        .filter(|buildpack| !runs.contains_key(&key(buildpack)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let done = run(&missing)?;
    runs.extend(missing.iter().map(|buildpack| key(buildpack)).zip(done));
    Ok(())
}

/// A group passes if every required member did, at least one did, and their plans fit together (rule 16).
fn judge(
    purpose: Purpose<'_>,
    members: &[Component<'_>],
    runs: &Runs<'_>,
) -> Result<Detected, GroupVerdict> {
    let verdicts: Vec<MemberVerdict> = members
        .iter()
        .map(|member| MemberVerdict {
            buildpack: member.descriptor.id.clone(),
            version: member.descriptor.version.clone(),
            optional: member.optional,
            verdict: verdict_of(purpose, member, runs),
        })
        .collect();
    let passed = |member: &MemberVerdict| member.verdict == Verdict::Passed;
    let is_let = |member: &MemberVerdict| {
        passed(member) || member.optional || member.verdict == Verdict::OtherExecEnv
    };
    if !verdicts.iter().all(is_let) || !verdicts.iter().any(passed) {
        return Err(GroupVerdict {
            members: verdicts,
            conflicts: Vec::new(),
        });
    }
    let passing: Vec<(&Component<'_>, &Ran)> = members
        .iter()
        .zip(&verdicts)
        .filter(|(_, verdict)| passed(verdict))
        .filter_map(|(member, _)| Some((member, runs.get(&key(member.descriptor))?)))
        .collect();
    let candidates: Vec<Candidate<'_>> = passing
        .iter()
        .map(|(member, ran)| Candidate {
            id: &member.descriptor.id,
            optional: member.optional,
            plan: &ran.plan,
        })
        .collect();
    match resolve(&candidates) {
        Ok(resolved) => Ok(Detected {
            buildpacks: resolved
                .members
                .iter()
                .map(|place| passing[*place].0.descriptor.clone())
                .collect(),
            entries: resolved.entries,
            members: verdicts,
            dropped: resolved.dropped,
            before: Vec::new(),
        }),
        Err(conflicts) => Err(GroupVerdict {
            members: verdicts,
            conflicts,
        }),
    }
}

fn verdict_of(purpose: Purpose<'_>, member: &Component<'_>, runs: &Runs<'_>) -> Verdict {
    if !member.descriptor.fits_exec_env(purpose.exec_env) {
        return Verdict::OtherExecEnv;
    }
    match runs.get(&key(member.descriptor)) {
        Some(ran) if !is_refused(purpose, member) => ran.verdict.clone(),
        _ => Verdict::Error(not_meant_for(purpose.base, member.descriptor)),
    }
}

fn not_meant_for(base: &Base, buildpack: &Descriptor) -> String {
    let targets: Vec<String> = buildpack.targets.iter().map(ToString::to_string).collect();
    format!(
        "it is meant for {}, and this machine is {base}",
        targets.join(" or ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildpack::order::{Group, Member, expand};
    use crate::buildpack::plan::{Provide, Require};

    fn descriptor(name: &str) -> Descriptor {
        Descriptor {
            api: crate::buildpack::Api::MAX,
            exec_env: if name == "tester" {
                vec!["test".to_owned()]
            } else {
                Vec::new()
            },
            ..Descriptor::example(name)
        }
    }

    /// What the buildpack of that name comes to: its first letters say it.
    fn ran(name: &str) -> Ran {
        let mut plan = BuildPlan::default();
        let verdict = match name.split('-').next().unwrap() {
            "no" => Verdict::Declined,
            "fails" => Verdict::Failed {
                exit: 1,
                tail: Vec::new(),
            },
            "provides" => {
                plan.provides.push(Provide {
                    name: "x".to_owned(),
                });
                Verdict::Passed
            }
            "requires" => {
                plan.requires.push(Require {
                    name: "x".to_owned(),
                    ..Require::default()
                });
                Verdict::Passed
            }
            _ => Verdict::Passed,
        };
        Ran {
            verdict,
            plan,
            output: Vec::new(),
        }
    }

    /// `a b?` is a group; gives who takes the app, or `20` or `21`, and each batch that was run.
    fn check(order: &[&str], expected: &str, batches: &[&str]) {
        let names = order.iter().flat_map(|group| group.split(' '));
        let names: std::collections::BTreeSet<&str> =
            names.map(|name| name.trim_end_matches('?')).collect();
        let buildpacks: Vec<Descriptor> = names.into_iter().map(descriptor).collect();
        let member = |word: &str| Member {
            id: word.trim_end_matches('?').parse().unwrap(),
            version: None,
            optional: word.ends_with('?'),
            exec_env: Vec::new(),
        };
        let group = |line: &&str| Group {
            members: line.split(' ').map(member).collect(),
        };
        let order: Vec<Group> = order.iter().map(group).collect();
        let purpose = Purpose {
            base: &Base::default(),
            exec_env: &ExecEnv::default(),
        };
        let mut ran_batches = Vec::new();
        let groups = expand(&order, &buildpacks).unwrap();
        let detected = detect::<()>(groups, purpose, &mut |batch| {
            let ids: Vec<&str> = batch.iter().map(|one| one.id.as_str()).collect();
            ran_batches.push(ids.join(" "));
            Ok(ids.into_iter().map(ran).collect())
        });
        let actual = match detected {
            Ok(detected) => detected
                .buildpacks
                .iter()
                .map(|one| one.id.as_str())
                .collect::<Vec<_>>()
                .join(" "),
            Err(Refused::NothingFits(_)) => "20".to_owned(),
            Err(Refused::Failed(_)) => "21".to_owned(),
            Err(Refused::Run(())) => "not run".to_owned(),
        };
        assert_eq!(actual, expected);
        assert_eq!(ran_batches, batches);
    }

    #[test]
    fn rule_9_who_is_meant_for_another_exec_env_is_not_asked_and_keeps_nobody_from_passing() {
        check(&["tester yes"], "yes", &["yes"]);
        check(&["tester"], "20", &[]);
    }

    #[test]
    fn rule_14_an_error_is_21_where_a_required_member_kept_its_group_from_passing() {
        check(&["fails"], "21", &["fails"]);
        check(&["no"], "20", &["no"]);
        check(&["fails? no"], "21", &["fails no"]);
        check(&["fails?"], "20", &["fails"]);
        check(&["fails? yes"], "yes", &["fails yes"]);
        check(&["fails", "no"], "21", &["fails", "no"]);
        check(&["fails", "yes"], "yes", &["fails", "yes"]);
    }

    #[test]
    fn rule_16_one_must_pass_and_the_plans_must_fit() {
        check(&["no? no-b?"], "20", &["no no-b"]);
        check(&["requires provides"], "20", &["requires provides"]);
        check(&["fails? requires"], "20", &["fails requires"]);
        check(
            &["provides requires? yes"],
            "provides requires yes",
            &["provides requires yes"],
        );
    }

    #[test]
    fn rule_17_each_is_run_once_and_those_of_a_group_together() {
        check(
            &["yes no", "yes yes-b no-b", "yes yes-b"],
            "yes yes-b",
            &["yes no", "yes-b no-b"],
        );
    }

    #[test]
    fn what_everybody_said_is_kept_for_an_explanation() {
        let (yes, no, requires) = (descriptor("yes"), descriptor("no"), descriptor("requires"));
        let component = |descriptor, optional| Component {
            descriptor,
            optional,
        };
        let groups = vec![
            vec![component(&no, false)],
            vec![component(&requires, true), component(&yes, false)],
        ];
        let purpose = Purpose {
            base: &Base::default(),
            exec_env: &ExecEnv::default(),
        };
        let run = &mut |batch: &[&Descriptor]| {
            Ok::<_, ()>(batch.iter().map(|one| ran(one.id.as_str())).collect())
        };
        let detected = detect(groups, purpose, run).unwrap();
        assert_eq!(detected.before[0].members[0].verdict, Verdict::Declined);
        assert_eq!(detected.members[0].verdict, Verdict::Passed);
        let conflict = Conflict::Requires {
            buildpack: requires.id.clone(),
            name: "x".to_owned(),
        };
        assert_eq!(detected.dropped, [conflict]);
    }
}
