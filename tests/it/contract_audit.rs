//! Every numbered rule of the contract (`spec/buildpack-api.md`) has a test that
//! says its number, and a line that says what `slug` does.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rules are numbered from one.
const RULES: u32 = 59;

/// The rules that the name of a test says: `rule_8_…`, `rules_41_and_42_…`, `rules_10_to_12_and_28_…`.
fn rules_of(name: &str) -> Vec<u32> {
    let Some(rest) = name
        .strip_prefix("rule_")
        .or_else(|| name.strip_prefix("rules_"))
    else {
        return Vec::new();
    };
    let mut rules: Vec<u32> = Vec::new();
    let mut is_range = false;
    for word in rest.split('_') {
        match (word, word.parse()) {
            ("and", _) => is_range = false,
            ("to", _) => is_range = true,
            (_, Ok(number)) if is_range => rules.extend(rules.last().unwrap() + 1..=number),
            (_, Ok(number)) => rules.push(number),
            _ => break,
        }
    }
    rules
}

/// The names of all tests below a folder: the function after each `#[test]`.
fn tests_below(folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let tests = text.split("#[test]").skip(1);
            let name = |test: &str| {
                let (_, rest) = test.split_once("fn ")?;
                Some(rest.split('(').next()?.to_owned())
            };
            names.extend(tests.filter_map(name));
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_names_of_rules_are_read() {
    for (name, expected) in [
        ("rule_8_a", &[8][..]),
        ("rules_41_and_42_later", &[41, 42]),
        ("rules_10_to_12_and_28_programs", &[10, 11, 12, 28]),
        ("rule_9", &[9]),
        ("other", &[]),
    ] {
        assert_eq!(rules_of(name), expected, "{name}");
    }
}

#[test]
fn every_rule_has_a_test_that_says_its_number() {
    let mut names = Vec::new();
    for folder in ["src", "buildpacks", "tests"] {
        tests_below(&root().join(folder), &mut names);
    }
    let tested: BTreeSet<u32> = names.iter().flat_map(|name| rules_of(name)).collect();
    let missing: Vec<u32> = (1..=RULES).filter(|rule| !tested.contains(rule)).collect();
    assert!(missing.is_empty(), "rules without a test: {missing:?}");
    let unknown: Vec<&u32> = tested.iter().filter(|rule| **rule > RULES).collect();
    assert!(unknown.is_empty(), "no such rules: {unknown:?}");
}

#[test]
fn every_rule_has_a_line_that_says_what_slug_does() {
    let text = fs::read_to_string(root().join("spec/buildpack-rules.md")).unwrap();
    let lines = text.lines().filter_map(|line| {
        let (number, _) = line.strip_prefix("| ")?.split_once(" |")?;
        number.parse().ok()
    });
    let said: Vec<u32> = lines.collect();
    let all: Vec<u32> = (1..=RULES).collect();
    assert_eq!(said, all, "one line for each rule, in order");
}
