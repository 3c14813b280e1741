//! Resolution as lifecycle decides it: the cases of its `phase/detector_test.go`
//! ("Resolve") as data, and what lies between them.

use super::*;

/// Resolves a group written as `A? provides:a,b requires:c or …`, one line a member; says `A C | a<A: 1, …` or the conflicts.
/// `?` marks an optional member.
fn resolved(group: &[&str]) -> String {
    let parsed: Vec<(BuildpackId, bool, BuildPlan)> =
        group.iter().map(|line| member(line)).collect();
    let candidates: Vec<Candidate<'_>> = parsed
        .iter()
        .map(|(id, optional, plan)| Candidate {
            id,
            optional: *optional,
            plan,
        })
        .collect();
    match resolve(&candidates) {
        Ok(resolved) => shown(&resolved, &candidates),
        Err(conflicts) => format!("{conflicts:?}"),
    }
}

fn member(line: &str) -> (BuildpackId, bool, BuildPlan) {
    let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut choices: Vec<Alternative> = rest.split(" or ").map(choice).collect();
    let Alternative { provides, requires } = choices.remove(0);
    let plan = BuildPlan {
        provides,
        requires,
        alternatives: choices,
    };
    (
        name.trim_end_matches('?').parse().unwrap(),
        name.ends_with('?'),
        plan,
    )
}

fn choice(text: &str) -> Alternative {
    let mut choice = Alternative::default();
    for word in text.split_whitespace() {
        let (kind, names) = word.split_once(':').unwrap();
        for name in names.split(',').map(str::to_owned) {
            match kind {
                "provides" => choice.provides.push(Provide { name }),
                _ => choice.requires.push(Require {
                    name,
                    ..Require::default()
                }),
            }
        }
    }
    choice
}

fn shown(resolved: &Resolved, candidates: &[Candidate<'_>]) -> String {
    let members: Vec<_> = resolved
        .members
        .iter()
        .map(|place| candidates[*place].id.as_str())
        .collect();
    let entry = |entry: &Entry| {
        let providers: Vec<_> = entry.providers.iter().map(BuildpackId::as_str).collect();
        format!(
            "{}<{}: {}",
            entry.name,
            providers.join(""),
            entry.requires.len()
        )
    };
    let entries: Vec<_> = resolved.entries.iter().map(entry).collect();
    format!("{} | {}", members.join(" "), entries.join(", "))
}

/// A case of lifecycle: its line, the members that passed, what it comes to.
const CASES: &[(u32, &[&str], &str)] = &[
    (
        1294,
        &[
            "A provides:dep1,dep2 requires:dep2",
            "C provides:dep1,dep2",
            "D provides:dep2 requires:dep1,dep2",
            "B requires:dep1,dep2",
        ],
        "A C D B | dep1<AC: 2, dep2<ACD: 3",
    ),
    (
        1395, // A did not pass
        &["B requires:dep1", "C provides:dep1 requires:dep1"],
        r#"[Requires { buildpack: BuildpackId("B"), name: "dep1" }]"#,
    ),
    (
        1452, // C did not pass
        &["A provides:dep1 requires:dep1", "B provides:dep1"],
        r#"[Provides { buildpack: BuildpackId("B"), name: "dep1" }]"#,
    ),
    (
        1509,
        &[
            "A? requires:dep-missing",
            "B provides:dep-present requires:dep-present",
            "C? provides:dep-missing",
        ],
        "B | dep-present<B: 1",
    ),
    (
        1583, // sixteen tries: D has no choice that fits and goes in the last of them
        &[
            "A? provides:dep2-missing or provides:dep1-present",
            "B? requires:dep3-missing or requires:dep1-present",
            "C provides:dep5-missing requires:dep4-missing or provides:dep6-present requires:dep6-present",
            "D? provides:dep8-missing requires:dep7-missing or provides:dep10-missing requires:dep9-missing",
        ],
        "A B C | dep1-present<A: 1, dep6-present<C: 1",
    ),
];

#[test]
fn rules_22_to_27_lifecycles_cases() {
    for (line, group, expected) in CASES {
        assert_eq!(resolved(group), *expected, "detector_test.go:{line}");
    }
}

#[test]
fn rule_22_the_first_buildpacks_choice_varies_slowest() {
    let group = ["A provides:x or provides:y", "B requires:y or requires:x"];
    assert_eq!(resolved(&group), "A B | x<A: 1");
}

#[test]
fn rule_23_a_buildpack_provides_to_itself_and_a_plan_may_be_empty() {
    assert_eq!(resolved(&["A provides:x requires:x", "B"]), "A B | x<A: 1");
    assert_eq!(
        resolved(&["A requires:x provides:x", "B requires:x"]),
        "A B | x<A: 2"
    );
}

#[test]
fn rule_24_optional_members_in_conflict_are_dropped_to_a_fixpoint() {
    // Dropping B leaves A's offer unused, which drops A.
    assert_eq!(
        resolved(&["A? provides:a", "B? requires:a,missing", "C"]),
        "C | "
    );
    // A member that is required may not lose its provider in a later round.
    assert_eq!(
        resolved(&["A? provides:a requires:missing", "B requires:a"]),
        r#"[Requires { buildpack: BuildpackId("B"), name: "a" }]"#
    );
}

#[test]
fn rule_25_an_optional_member_is_optional_in_its_last_choice_only() {
    // Its first choice fails the trial, so that its second is tried before it is dropped.
    let group = ["A provides:y requires:y", "B? requires:x or requires:y"];
    assert_eq!(resolved(&group), "A B | y<A: 2");
    // It is dropped in the trial of its last choice, though others have choices left.
    let group = [
        "A? requires:x or requires:y",
        "B provides:z requires:z or provides:w requires:w",
    ];
    assert_eq!(resolved(&group), "B | z<B: 1");
}

#[test]
fn rule_26_nobody_left_is_no_group_and_several_may_provide_and_require_one_name() {
    assert_eq!(
        resolved(&["A? provides:a", "B? requires:a,missing"]),
        "[NobodyLeft]"
    );
    assert_eq!(
        resolved(&[
            "A provides:x",
            "B provides:x",
            "C requires:x",
            "D requires:x"
        ]),
        "A B C D | x<AB: 2"
    );
}

#[test]
fn rule_27_an_entry_has_the_requires_of_its_name_with_their_metadata() {
    let mut wants = choice("requires:x");
    wants.requires[0]
        .metadata
        .insert("version".to_owned(), toml::Value::from("3"));
    let gives = BuildPlan {
        provides: choice("provides:x").provides,
        ..BuildPlan::default()
    };
    let wants = BuildPlan {
        requires: wants.requires,
        ..BuildPlan::default()
    };
    let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
    let candidate = |id, plan| Candidate {
        id,
        optional: false,
        plan,
    };
    let resolved = resolve(&[candidate(&a, &gives), candidate(&b, &wants)]).unwrap();
    assert_eq!(resolved.entries[0].providers, [a]);
    assert_eq!(resolved.entries[0].requires, wants.requires);
}

#[test]
fn combinations_have_a_limit() {
    let choices = ["requires:missing"; 10].join(" or ");
    let line = format!("A {choices}");
    let group: Vec<&str> = std::iter::repeat_n(line.as_str(), 6).collect();
    assert_eq!(resolved(&group), "[TooManyTrials]");
}
