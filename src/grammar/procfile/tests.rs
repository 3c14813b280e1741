//! What a Procfile says, and what it is refused for.

use super::*;

fn check(text: &str, entries: &[(&str, &str)], problems: &[&str], warnings: usize) {
    let parsed = parse(text);
    let got: Vec<_> = parsed
        .entries
        .iter()
        .map(|entry| (entry.name.as_str(), entry.command.as_str()))
        .collect();
    assert_eq!(got, entries, "{text:?}");
    let got: Vec<_> = parsed
        .problems
        .iter()
        .map(|problem| format!("{}:{}", problem.line, problem.column))
        .collect();
    assert_eq!(got, problems, "{text:?}: {:?}", parsed.problems);
    assert_eq!(
        parsed.warnings.len(),
        warnings,
        "{text:?}: {:?}",
        parsed.warnings
    );
}

#[test]
fn what_every_tool_reads_alike_is_read() {
    check(
        "# c\n\n  # c: x\nweb: run # tail\n",
        &[("web", "run # tail")],
        &[],
        0,
    );
    check("web:run", &[("web", "run")], &[], 0);
    check("web: run  \t", &[("web", "run")], &[], 0);
    check("a-b: x\n2: y", &[("a-b", "x"), ("2", "y")], &[], 0);
    check(
        "web: echo a:b \u{2028} c",
        &[("web", "echo a:b \u{2028} c")],
        &[],
        0,
    );
    check(
        &format!("{}: x", "a".repeat(63)),
        &[(&"a".repeat(63), "x")],
        &[],
        0,
    );
}

#[test]
fn what_some_tool_reads_otherwise_is_warned_about() {
    check("\u{feff}web: run", &[("web", "run")], &[], 1);
    check(
        "web: run\r\nworker: x\r\n",
        &[("web", "run"), ("worker", "x")],
        &[],
        1,
    );
    check("  web: run", &[("web", "run")], &[], 1);
    check(
        "Web: run\na_b: run",
        &[("Web", "run"), ("a_b", "run")],
        &[],
        2,
    );
}

#[test]
fn whatever_is_not_an_entry_is_refused_with_its_place() {
    check("web : run", &[], &["1:4"], 0);
    check("web run", &[], &["1:1"], 0);
    check("web:\nworker:   ", &[], &["1:5", "2:8"], 0);
    check("web: a\nweb: b", &[("web", "a")], &["2:1"], 0);
    check("web: a \\\n  b", &[], &["1:8", "2:3"], 0);
    check(
        "<<<<<<< HEAD\nweb: a\n=======\nweb: b\n>>>>>>> x",
        &[("web", "a")],
        &["1:1", "3:1", "4:1", "5:1"],
        0,
    );
    check(
        "wéb: x\na.b: x\n\"web\": x\n-a: x",
        &[],
        &["1:2", "2:2", "3:1", "4:1"],
        0,
    );
    check("web: a\0b\nworker: \u{fffd}", &[], &["1:7", "2:9"], 0);
    check("web: a\rworker: b", &[], &["1:7"], 0);
    check(&format!("{}: x", "a".repeat(64)), &[], &["1:1"], 0);
    check("", &[], &["1:1"], 0);
    check("# only\n", &[], &["1:1"], 0);
}

#[test]
fn a_problem_shows_its_line_and_marks_its_column() {
    let parsed = parse("ok: x\n  web run");
    let shown = parsed.problems[0].of_file("Procfile");
    assert_eq!(
        shown,
        "Procfile:2:3: no colon (expected `name: command`)\n  |   web run\n  |   ^"
    );
}
