//! `expect.toml` as it is written from what was found.

use super::compare::Difference;
use super::expectation::{Environment, Expectation, Plan, Second};
use super::found::Found;

/// What is expected from now on: of a file that was there, the sections that differ; of none, all that was found.
pub fn updated(
    expected: Option<&Expectation>,
    found: &Found,
    differences: &[Difference],
) -> Expectation {
    let Some(expected) = expected else {
        return all_of(found);
    };
    let differs = |section: &str| {
        let mut keys = differences.iter().map(|difference| &difference.key);
        keys.any(|key| key == section || key.starts_with(&format!("{section}.")))
    };
    let Expectation {
        detect,
        build,
        output,
        given,
        plan,
        layers,
        processes,
        env,
        labels,
        second,
    } = found.as_expectation.clone();
    let mut new = expected.clone();
    new.detect = detect;
    new.build = build;
    debug_assert!(output.is_empty(), "texts are never found, only looked for");
    new.given = given;
    if differs("output") {
        new.output
            .retain(|text| found.output.contains(text.as_str()));
    }
    if differs("plan") {
        new.plan = plan;
    }
    if differs("layers") {
        new.layers = layers;
    }
    if differs("processes") {
        new.processes = processes;
    }
    if differs("env") {
        new.env = env.map(without_empty);
    }
    if differs("labels") {
        new.labels = labels;
    }
    if let (Some(new), Some(second)) = (&mut new.second, second) {
        if differs("second.kept") {
            new.kept = second.kept;
        }
        let missing = differences
            .iter()
            .filter(|difference| difference.key == "second.output");
        let missing: Vec<String> = missing.filter_map(|one| one.expected.clone()).collect();
        new.output
            .retain(|text| !missing.contains(&toml::Value::from(text.as_str()).to_string()));
    }
    new
}

/// Without what is empty: nobody wants to read that there are no labels.
fn all_of(found: &Found) -> Expectation {
    let mut all = found.as_expectation.clone();
    all.plan = all.plan.filter(|plan| *plan != Plan::default());
    all.layers = all.layers.filter(|layers| !layers.is_empty());
    all.processes = all.processes.filter(|processes| !processes.is_empty());
    all.labels = all.labels.filter(|labels| !labels.is_empty());
    all.env = all
        .env
        .map(without_empty)
        .filter(|env| *env != Environment::default());
    all.second = all.second.filter(|second| *second != Second::default());
    all
}

fn without_empty(env: Environment) -> Environment {
    let Environment {
        build,
        launch,
        process,
    } = env;
    Environment {
        build: build.filter(|env| !env.is_empty()),
        launch: launch.filter(|env| !env.is_empty()),
        process,
    }
}
