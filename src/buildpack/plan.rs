//! The build plan: what a detect offers and wants, how the offers of a group
//! are matched, and what a build is handed of it (rules 22-27 and 29).
//! Pure but for the reading of a file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::ident::BuildpackId;
use crate::layer::toml_file;
use crate::layer::toml_file::TomlError;
use crate::sys::fs::read_plain;

/// What a detect writes to its plan file: its first choice, then others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BuildPlan {
    /// Dependencies that this buildpack can provide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provides: Vec<Provide>,
    /// Dependencies that it needs, from itself or an earlier one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Require>,
    /// What else would do, best first.
    #[serde(default, rename = "or", skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Alternative>,
}

/// One choice of a build plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// As in the build plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provides: Vec<Provide>,
    /// As in the build plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Require>,
}

/// The name of something that a buildpack can provide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provide {
    /// Its name.
    pub name: String,
}

/// Something that a buildpack needs, and what it says about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Require {
    /// Its name.
    pub name: String,
    /// For the one that provides it; the platform reads `artifacts` alone.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub metadata: toml::Table,
}

/// What a build is handed: every require of each entry that it is to provide.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BuildpackPlan {
    /// In the order in which they were required.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<Require>,
}

/// A build plan as it may be written. No `flatten`: it would lose the places of errors.
#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    provides: Vec<Provide>,
    #[serde(default)]
    requires: Vec<RawRequire>,
    #[serde(default)]
    or: Vec<RawAlternative>,
}

/// One choice, with the key that was dropped from the contract.
#[derive(Deserialize)]
struct RawAlternative {
    #[serde(default)]
    provides: Vec<Provide>,
    #[serde(default)]
    requires: Vec<RawRequire>,
}

#[derive(Deserialize)]
struct RawRequire {
    name: String,
    version: Option<Spanned<toml::Value>>,
    #[serde(default)]
    metadata: toml::Table,
}

impl BuildPlan {
    /// Reads what a detect wrote; an empty file is an empty plan, a missing one too.
    pub fn read(path: &Path) -> Result<Self, TomlError> {
        let bytes = read_plain(path, toml_file::TOML_BYTES_MAX)?;
        Self::parse(&bytes.unwrap_or_default(), path)
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Self, TomlError> {
        let Raw {
            provides,
            requires,
            or,
        } = toml_file::parse_bytes(bytes, path)?;
        let wrong = |at: usize| {
            let message =
                "`version` is no key of a require: it belongs into its `metadata`".to_owned();
            toml_file::wrong(&String::from_utf8_lossy(bytes), path, at, message)
        };
        let take = |requires: Vec<RawRequire>| -> Result<Vec<Require>, TomlError> {
            requires
                .into_iter()
                .map(|raw| raw.checked().map_err(wrong))
                .collect()
        };
        let mut alternatives = Vec::new();
        for RawAlternative { provides, requires } in or {
            alternatives.push(Alternative {
                provides,
                requires: take(requires)?,
            });
        }
        Ok(Self {
            provides,
            requires: take(requires)?,
            alternatives,
        })
    }

    /// All choices, best first.
    pub fn choices(&self) -> Vec<Alternative> {
        let first = Alternative {
            provides: self.provides.clone(),
            requires: self.requires.clone(),
        };
        std::iter::once(first)
            .chain(self.alternatives.iter().cloned())
            .collect()
    }
}

impl RawRequire {
    /// Rule 15. The error is the place of the key's value.
    fn checked(self) -> Result<Require, usize> {
        match self.version {
            Some(version) => Err(version.span().start),
            None => Ok(Require {
                name: self.name,
                metadata: self.metadata,
            }),
        }
    }
}

/// A buildpack that passed detection, as the resolution sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Who.
    pub id: &'a BuildpackId,
    /// May be left out.
    pub optional: bool,
    /// What it offers and wants.
    pub plan: &'a BuildPlan,
}

/// A group whose plans fit together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    /// Those of the candidates that take part, by their place among them.
    pub members: Vec<usize>,
    /// What is to be provided, sorted by name.
    pub entries: Vec<Entry>,
    /// Why optional candidates do not take part.
    pub dropped: Vec<Conflict>,
}

/// A name, who provides it, and what is wanted of it (rule 27).
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// In group order.
    pub providers: Vec<BuildpackId>,
    /// In group order.
    pub requires: Vec<Require>,
}

/// Why plans do not fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// A buildpack needs what neither it nor an earlier one provides.
    Requires {
        /// Who.
        buildpack: BuildpackId,
        /// What.
        name: String,
    },
    /// A buildpack provides what neither it nor a later one needs.
    Provides {
        /// Who.
        buildpack: BuildpackId,
        /// What.
        name: String,
    },
    /// All were optional, and none is left.
    NobodyLeft,
    /// More combinations of choices than are tried.
    TooManyTrials,
}

/// The most combinations of choices that are tried for one group.
pub const TRIALS_MAX: usize = 100_000;

/// Finds the first combination of choices that fits: the first buildpack's choice varies slowest
/// (rule 22). If none does, the conflicts of the first, which is what the buildpacks like best.
pub fn resolve(candidates: &[Candidate<'_>]) -> Result<Resolved, Vec<Conflict>> {
    let choices: Vec<Vec<Alternative>> = candidates
        .iter()
        .map(|candidate| candidate.plan.choices())
        .collect();
    let mut chosen = vec![0; candidates.len()];
    let mut first_conflicts = None;
    for _ in 0..TRIALS_MAX {
        match attempt(candidates, &choices, &chosen) {
            Ok(resolved) => return Ok(resolved),
            Err(conflicts) => {
                first_conflicts.get_or_insert(conflicts);
            }
        }
        if !next_combination(&mut chosen, &choices) {
            return Err(first_conflicts.unwrap_or_default());
        }
    }
    Err(vec![Conflict::TooManyTrials])
}

/// Counts on, the last buildpack fastest; false after the last combination.
fn next_combination(chosen: &mut [usize], choices: &[Vec<Alternative>]) -> bool {
    for (place, choices) in chosen.iter_mut().zip(choices).rev() {
        if *place + 1 < choices.len() {
            *place += 1;
            return true;
        }
        *place = 0;
    }
    false
}

/// One member of one trial.
#[derive(Clone, Copy)]
struct Member<'a> {
    place: usize,
    id: &'a BuildpackId,
    optional: bool,
    choice: &'a Alternative,
}

/// One trial: optional members in conflict are removed until none is left (rule 24). A member counts
/// as optional in its last choice only: before, a conflict means that its next choice is tried (rule 25).
fn attempt(
    candidates: &[Candidate<'_>],
    choices: &[Vec<Alternative>],
    chosen: &[usize],
) -> Result<Resolved, Vec<Conflict>> {
    let members = candidates.iter().zip(choices).zip(chosen).enumerate();
    let mut members: Vec<Member<'_>> = members
        .map(|(place, ((candidate, choices), chosen))| Member {
            place,
            id: candidate.id,
            optional: candidate.optional && chosen + 1 == choices.len(),
            choice: &choices[*chosen],
        })
        .collect();
    let mut dropped = Vec::new();
    loop {
        let matched = matched(&members);
        let conflicts: Vec<(usize, Conflict)> = matched
            .iter()
            .flat_map(|(name, offer)| offer.conflicts(name, &members))
            .collect();
        let is_required = |place: usize| {
            members
                .iter()
                .any(|member| member.place == place && !member.optional)
        };
        let fatal: Vec<Conflict> = conflicts
            .iter()
            .filter(|(place, _)| is_required(*place))
            .map(|(_, conflict)| conflict.clone())
            .collect();
        if !fatal.is_empty() {
            return Err(fatal);
        }
        if conflicts.is_empty() {
            return finish(&members, matched, dropped);
        }
        dropped.extend(conflicts.iter().map(|(_, conflict)| conflict.clone()));
        members.retain(|member| !conflicts.iter().any(|(place, _)| *place == member.place));
    }
}

fn finish(
    members: &[Member<'_>],
    matched: BTreeMap<&str, Offer>,
    dropped: Vec<Conflict>,
) -> Result<Resolved, Vec<Conflict>> {
    if members.is_empty() {
        return Err(vec![Conflict::NobodyLeft]);
    }
    let id = |place: &usize| {
        members
            .iter()
            .find(|member| member.place == *place)
            .map(|member| member.id.clone())
    };
    let entries = matched.into_iter().map(|(name, offer)| Entry {
        name: name.to_owned(),
        providers: offer.providers.iter().filter_map(id).collect(),
        requires: offer.requires,
    });
    Ok(Resolved {
        entries: entries.collect(),
        members: members.iter().map(|member| member.place).collect(),
        dropped,
    })
}

/// What is known of one name, in a walk over the members in order. Members are named by their place.
#[derive(Default)]
struct Offer {
    providers: Vec<usize>,
    requires: Vec<Require>,
    unused: Vec<usize>,
    unmet: Vec<usize>,
}

impl Offer {
    fn conflicts(&self, name: &str, members: &[Member<'_>]) -> Vec<(usize, Conflict)> {
        let id = |place: usize| {
            members
                .iter()
                .find(|member| member.place == place)
                .map(|member| member.id.clone())
        };
        let unmet = self.unmet.iter().filter_map(|place| {
            Some((
                *place,
                Conflict::Requires {
                    buildpack: id(*place)?,
                    name: name.to_owned(),
                },
            ))
        });
        let unused = self.unused.iter().filter_map(|place| {
            Some((
                *place,
                Conflict::Provides {
                    buildpack: id(*place)?,
                    name: name.to_owned(),
                },
            ))
        });
        unmet.chain(unused).collect()
    }
}

/// Matches requires to what was provided so far, by the same or an earlier member (rule 23).
fn matched<'a>(members: &[Member<'a>]) -> BTreeMap<&'a str, Offer> {
    let mut offers: BTreeMap<&str, Offer> = BTreeMap::new();
    for member in members {
        for provide in &member.choice.provides {
            offers
                .entry(&provide.name)
                .or_default()
                .unused
                .push(member.place);
        }
        for require in &member.choice.requires {
            let offer = offers.entry(&require.name).or_default();
            offer.providers.append(&mut offer.unused);
            if offer.providers.is_empty() {
                offer.unmet.push(member.place);
            } else {
                offer.requires.push(require.clone());
            }
        }
    }
    offers
}

/// What is left to be provided, as one buildpack after the other builds (rules 29 and 30).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remaining(Vec<Entry>);

impl Remaining {
    /// Everything is left.
    pub fn new(entries: Vec<Entry>) -> Self {
        Self(entries)
    }

    /// What this buildpack is handed: every require of each entry that it provides.
    pub fn of(&self, buildpack: &BuildpackId) -> BuildpackPlan {
        let provided = self
            .0
            .iter()
            .filter(|entry| entry.providers.contains(buildpack));
        BuildpackPlan {
            entries: provided
                .flat_map(|entry| entry.requires.iter().cloned())
                .collect(),
        }
    }

    /// What it was handed and did not leave unmet vanishes for later ones.
    pub fn meet(&mut self, handed: &BuildpackPlan, unmet: &[&str]) {
        let met = |entry: &Entry| {
            handed
                .entries
                .iter()
                .any(|require| require.name == entry.name)
                && !unmet.contains(&entry.name.as_str())
        };
        self.0.retain(|entry| !met(entry));
    }
}

#[cfg(test)]
mod lifecycle_cases;
#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<BuildPlan, TomlError> {
        BuildPlan::parse(text.as_bytes(), Path::new("plan.toml"))
    }

    #[test]
    fn rule_15_a_version_beside_the_name_is_refused_also_in_an_alternative() {
        let error = parse("[[requires]]\nname = \"a\"\nversion = \"1\"\n").unwrap_err();
        let message = "`plan.toml`, line 3, column 11: `version` is no key of a require: it belongs into its `metadata`";
        assert_eq!(error.to_string(), message);
        let error = parse("[[or]]\n[[or.requires]]\nname = \"a\"\nversion = \"1\"\n").unwrap_err();
        assert!(error.to_string().contains("line 4"), "{error}");
    }

    #[test]
    fn rule_22_choices_are_the_top_and_then_each_or() {
        let plan =
            parse("[[provides]]\nname = \"a\"\n[[or]]\n[[or.provides]]\nname = \"b\"\n").unwrap();
        let names: Vec<_> = plan
            .choices()
            .iter()
            .map(|choice| choice.provides[0].name.clone())
            .collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(parse("").unwrap().choices(), [Alternative::default()]);
        assert_eq!(parse(&toml::to_string(&plan).unwrap()).unwrap(), plan);
    }

    #[test]
    fn rule_30_what_is_left_unmet_goes_to_the_next_provider() {
        let (one, two): (BuildpackId, BuildpackId) =
            ("one".parse().unwrap(), "two".parse().unwrap());
        let entry = |name: &str, providers: &[&BuildpackId]| Entry {
            name: name.to_owned(),
            providers: providers.iter().map(|id| (*id).clone()).collect(),
            requires: vec![
                Require {
                    name: name.to_owned(),
                    ..Require::default()
                };
                2
            ],
        };
        let mut left = Remaining::new(vec![
            entry("a", &[&one, &two]),
            entry("b", &[&one, &two]),
            entry("c", &[&two]),
        ]);
        let handed = left.of(&one);
        assert_eq!(handed.entries.len(), 4);
        left.meet(&handed, &["b"]);
        let names: Vec<_> = left
            .of(&two)
            .entries
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        assert_eq!(names, ["b", "b", "c", "c"]);
    }
}
