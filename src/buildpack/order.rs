//! The order in which buildpacks are tried: groups, optional members, and
//! buildpacks that are themselves nothing but groups (rules 18 and 19). Pure.

use serde::Deserialize;
use thiserror::Error;

use super::descriptor::Descriptor;
use crate::ident::BuildpackId;

/// The most groups that an order may come to once its composites are expanded.
pub const GROUPS_MAX: usize = 10_000;

/// One group of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Group {
    /// Its members.
    #[serde(rename = "group", default)]
    pub members: Vec<Member>,
}

/// One member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// Who.
    pub id: BuildpackId,
    /// Which version; any if none.
    pub version: Option<String>,
    /// May be left out.
    #[serde(default)]
    pub optional: bool,
    /// The execution environments in which it is a member; all if none (rule 9, `order.group.exec-env`).
    #[serde(rename = "exec-env", default)]
    pub exec_env: Vec<String>,
}

/// A member of an expanded group: a component.
#[derive(Clone, Copy, Debug)]
pub struct Component<'a> {
    /// What it is.
    pub descriptor: &'a Descriptor,
    /// May be left out.
    pub optional: bool,
}

/// Why an order makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OrderError {
    /// It names a buildpack that is not there.
    #[error("the buildpack `{}` is not there{}", shown(id, version.as_deref()), named_by(by.as_ref()))]
    Unknown {
        /// Who.
        id: BuildpackId,
        /// Which version; any if none.
        version: Option<String>,
        /// The composite that names it; none if the user did.
        by: Option<BuildpackId>,
    },
    /// A composite contains itself.
    #[error("the buildpack `{}` contains itself: {}", path[0], path.iter().map(BuildpackId::as_str).collect::<Vec<_>>().join(" → "))]
    Cycle {
        /// From the composite back to it.
        path: Vec<BuildpackId>,
    },
    /// Two members of one group would have the same folder: `a/b` and `a_b` (rule 2).
    #[error("the buildpacks `{one}` and `{other}` of one group would both have the folder `{}`", one.folder())]
    SameFolder {
        /// Who came first.
        one: BuildpackId,
        /// Who came then.
        other: BuildpackId,
    },
    /// It comes to more groups than are tried.
    #[error("the order of buildpacks comes to more than {GROUPS_MAX} groups")]
    TooManyGroups,
}

fn shown(id: &BuildpackId, version: Option<&str>) -> String {
    version.map_or_else(|| id.to_string(), |version| format!("{id}@{version}"))
}

fn named_by(by: Option<&BuildpackId>) -> String {
    by.map_or_else(String::new, |by| format!(" (it is named by `{by}`)"))
}

/// A member that is not expanded yet, and the composites around it.
#[derive(Clone)]
struct Pending<'a> {
    member: &'a Member,
    within: Vec<&'a BuildpackId>,
}

/// All groups of components that an order comes to, in the order in which they are tried:
/// depth-first, left to right; an optional composite last without it. An id that is in a group already is not taken again.
pub fn expand<'a>(
    order: &'a [Group],
    buildpacks: &'a [Descriptor],
) -> Result<Vec<Vec<Component<'a>>>, OrderError> {
    let mut groups = Vec::new();
    for group in order {
        let pending = group
            .members
            .iter()
            .map(|member| Pending {
                member,
                within: Vec::new(),
            })
            .collect();
        expand_group(pending, Vec::new(), buildpacks, &mut groups)?;
    }
    Ok(groups)
}

fn expand_group<'a>(
    pending: Vec<Pending<'a>>,
    mut done: Vec<Component<'a>>,
    buildpacks: &'a [Descriptor],
    groups: &mut Vec<Vec<Component<'a>>>,
) -> Result<(), OrderError> {
    let mut pending = pending.into_iter();
    while let Some(next) = pending.next() {
        let Member { id, optional, .. } = next.member;
        if done.iter().any(|component| component.descriptor.id == *id) {
            continue;
        }
        let descriptor = find(&next, buildpacks)?;
        if !descriptor.is_composite() {
            own_folder(id, &done)?;
            done.push(Component {
                descriptor,
                optional: *optional,
            });
            continue;
        }
        let within = entered(&next, &descriptor.id)?;
        let rest: Vec<Pending<'a>> = pending.collect();
        for inner in &descriptor.order {
            let inner = inner.members.iter().map(|member| Pending {
                member,
                within: within.clone(),
            });
            expand_group(
                inner.chain(rest.iter().cloned()).collect(),
                done.clone(),
                buildpacks,
                groups,
            )?;
        }
        return if *optional {
            expand_group(rest, done, buildpacks, groups)
        } else {
            Ok(())
        };
    }
    if groups.len() >= GROUPS_MAX {
        return Err(OrderError::TooManyGroups);
    }
    groups.push(done);
    Ok(())
}

fn own_folder(id: &BuildpackId, done: &[Component<'_>]) -> Result<(), OrderError> {
    let folder = id.folder();
    let mut others = done.iter().map(|component| &component.descriptor.id);
    match others.find(|other| other.folder() == folder) {
        Some(one) => Err(OrderError::SameFolder {
            one: one.clone(),
            other: id.clone(),
        }),
        None => Ok(()),
    }
}

fn find<'a>(
    pending: &Pending<'a>,
    buildpacks: &'a [Descriptor],
) -> Result<&'a Descriptor, OrderError> {
    let Member { id, version, .. } = pending.member;
    let is_it = |descriptor: &&Descriptor| {
        descriptor.id == *id
            && version
                .as_ref()
                .is_none_or(|version| descriptor.version == *version)
    };
    buildpacks
        .iter()
        .find(is_it)
        .ok_or_else(|| OrderError::Unknown {
            id: id.clone(),
            version: version.clone(),
            by: pending.within.last().map(|by| (*by).clone()),
        })
}

/// The composites around the members of this one; an error if it is among them itself.
fn entered<'a>(
    pending: &Pending<'a>,
    id: &'a BuildpackId,
) -> Result<Vec<&'a BuildpackId>, OrderError> {
    let mut within = pending.within.clone();
    let begins = within.iter().position(|outer| *outer == id);
    within.push(id);
    match begins {
        Some(begins) => Err(OrderError::Cycle {
            path: within[begins..].iter().map(|id| (*id).clone()).collect(),
        }),
        None => Ok(within),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a b? (…)`: `name = group | group` makes a composite; every other name is a component.
    fn check(order: &[&str], composites: &[(&str, &[&str])], expected: &[&str]) {
        let actual = match expand(&groups(order), &buildpacks(order, composites)) {
            Ok(groups) => groups.iter().map(|group| shown_group(group)).collect(),
            Err(error) => vec![error.to_string()],
        };
        assert_eq!(actual, expected);
    }

    fn groups(order: &[&str]) -> Vec<Group> {
        let member = |word: &str| Member {
            id: word.trim_end_matches('?').parse().unwrap(),
            version: None,
            optional: word.ends_with('?'),
            exec_env: Vec::new(),
        };
        order
            .iter()
            .map(|line| Group {
                members: line.split(' ').map(member).collect(),
            })
            .collect()
    }

    fn buildpacks(order: &[&str], composites: &[(&str, &[&str])]) -> Vec<Descriptor> {
        let lines = order
            .iter()
            .chain(composites.iter().flat_map(|(_, lines)| lines.iter()));
        let names = lines
            .flat_map(|line| line.split(' '))
            .map(|word| word.trim_end_matches('?'));
        let component = |name: &str| {
            !composites.iter().any(|(composite, _)| *composite == name) && name != "unknown"
        };
        let components = names
            .filter(|name| component(name))
            .map(|name| descriptor(name, &[]));
        components
            .chain(
                composites
                    .iter()
                    .map(|(name, lines)| descriptor(name, lines)),
            )
            .collect()
    }

    fn descriptor(name: &str, order: &[&str]) -> Descriptor {
        Descriptor {
            order: groups(order),
            ..Descriptor::example(name)
        }
    }

    fn shown_group(group: &[Component<'_>]) -> String {
        let shown = |component: &Component<'_>| {
            format!(
                "{}{}",
                component.descriptor.id,
                if component.optional { "?" } else { "" }
            )
        };
        group.iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn rule_18_expansion_is_depth_first_and_left_to_right() {
        // lifecycle's order: E and F are composites, one within the other.
        check(
            &["A E B", "C"],
            &[("E", &["D F", "G"]), ("F", &["H", "I"])],
            &["A D H B", "A D I B", "A G B", "C"],
        );
    }

    #[test]
    fn rule_18_an_optional_composite_is_last_left_out() {
        check(
            &["A E? B"],
            &[("E", &["C", "D"])],
            &["A C B", "A D B", "A B"],
        );
    }

    #[test]
    fn rule_18_a_composite_that_contains_itself_is_refused() {
        check(
            &["E"],
            &[("E", &["A F"]), ("F", &["E"])],
            &["the buildpack `E` contains itself: E → F → E"],
        );
        check(&["E E"], &[("E", &["A"])], &["A"]);
    }

    #[test]
    fn rule_19_the_first_of_an_id_wins() {
        check(&["A E A?"], &[("E", &["A B"])], &["A B"]);
    }

    #[test]
    fn rule_2_two_of_one_folder_are_refused() {
        check(
            &["a/b x a_b"],
            &[],
            &["the buildpacks `a/b` and `a_b` of one group would both have the folder `a_b`"],
        );
    }

    #[test]
    fn a_buildpack_that_is_not_there_is_named_with_who_wants_it() {
        check(
            &["E"],
            &[("E", &["unknown"])],
            &["the buildpack `unknown` is not there (it is named by `E`)"],
        );
    }

    #[test]
    fn groups_have_a_limit() {
        let lines: Vec<String> = (0..10).map(|number| format!("x{number}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let names = ["A", "B", "C", "D", "E"];
        let composites: Vec<(&str, &[&str])> =
            names.iter().map(|name| (*name, lines.as_slice())).collect();
        check(
            &["A B C D E"],
            &composites,
            &["the order of buildpacks comes to more than 10000 groups"],
        );
    }
}
