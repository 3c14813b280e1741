//! Each reader against what the real tool read: `tests/dialects/readings.json`,
//! which `tests/dialects/record` writes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Reading;
use super::Tool;

const READINGS: &str = include_str!("../../../tests/dialects/readings.json");

/// The names and values, as the tool had them in its hands at the end: the last of each name, or all in order.
type Held = Option<Vec<(String, String)>>;

fn of_record(record: &Value, tool: &str) -> Held {
    let pair = |pair: &Value| {
        let text = |at: usize| pair[at].as_str().unwrap().to_owned();
        (text(0), text(1))
    };
    let list = record[tool].as_array()?;
    Some(list.iter().map(pair).collect())
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}

/// Compares what a tool held with what we say of it; `is_map`: order and earlier duplicates are lost.
fn check<T>(
    kind: &str,
    tool: &str,
    is_map: bool,
    read: impl Fn(&[u8]) -> Reading<T>,
    pair: fn(T) -> (String, String),
) -> usize {
    let records: Value = serde_json::from_str(READINGS).unwrap();
    let records = records[kind].as_array().unwrap();
    let settle = |held: Held| {
        if is_map {
            let map: Option<BTreeMap<_, _>> = held.map(|pairs| pairs.into_iter().collect());
            map.map(|map| map.into_iter().collect())
        } else {
            held
        }
    };
    for record in records {
        let input = bytes(record["input"].as_str().unwrap());
        let ours = read(&input).ok();
        let ours = ours.map(|list| list.into_iter().map(pair).collect());
        let shown = String::from_utf8_lossy(&input);
        assert_eq!(
            settle(ours),
            settle(of_record(record, tool)),
            "{tool} of {shown:?}"
        );
    }
    records.len()
}

/// The lists of a Procfile, but what is a map in the tool.
#[test]
fn procfiles_are_read_as_the_real_tools_read_them() {
    for (tool, name, is_map) in [
        (Tool::Foreman, "foreman", false),
        (Tool::Honcho, "honcho", false),
        (Tool::NodeForeman, "node-foreman", true),
        (Tool::HerokuCli, "heroku-cli", true),
        (Tool::HerokuClassic, "heroku-classic", false),
    ] {
        let count = check(
            "procfile",
            name,
            is_map,
            |bytes| tool.procfile(bytes),
            |process| (process.name, process.command),
        );
        assert!(count > 400);
    }
}

#[test]
fn env_files_are_read_as_the_real_tools_read_them() {
    for (tool, name) in [
        (Tool::Foreman, "foreman"),
        (Tool::Honcho, "honcho"),
        (Tool::NodeForeman, "node-foreman"),
    ] {
        let count = check(
            "env_file",
            name,
            true,
            |bytes| tool.env_file(bytes).unwrap(),
            |var| (var.name, var.value),
        );
        assert!(count > 400);
    }
}

/// The rows of the Procfile buildpack, which are its specification's: read, not recorded.
#[test]
fn the_procfile_buildpack_reads_by_its_specification() {
    let check = |text: &str, expect: Option<&[(&str, &str)]>| {
        let read = Tool::Cnb.procfile(text.as_bytes()).ok();
        let read = read.map(|list| list.into_iter().map(|one| (one.name, one.command)));
        let read = read.map(Iterator::collect::<Vec<_>>);
        let expect = expect.map(|list| {
            let owned = list
                .iter()
                .map(|(name, command)| ((*name).to_owned(), (*command).to_owned()));
            owned.collect()
        });
        assert_eq!(read, expect, "{text:?}");
    };
    let web = Some(&[("web", "run")][..]);
    for same in [
        "web: run",
        "web:run",
        "  web: run",
        "# c\n\n  # c: x\nweb: run\r\n",
        "Web:\trun",
        "web: a\nweb: run",
    ] {
        check(same, web);
    }
    check("web: run # tail  ", Some(&[("web", "run # tail  ")]));
    check("a_b: x\n2: y", Some(&[("a-b", "x"), ("2", "y")]));
    check("web: a\rw: b", Some(&[("web", "a\rw: b")]));
    check("web: a\u{2028}b\0", Some(&[("web", "a\u{2028}b\0")]));
    for refused in [
        "web : run",
        "web run",
        "\u{feff}web: run",
        "a.b: x",
        "a/b: x",
        "wéb: x",
        "\"web\": x",
        "-a: x",
        "a-: x",
        "web:",
        "web:   ",
        "web: a \\\n  b",
        "<<<<<<< HEAD",
        ": x",
    ] {
        check(refused, None);
    }
    let name = "a".repeat(63);
    check(&format!("{name}: x"), Some(&[(&name, "x")]));
    check(&format!("a{name}: x"), None);
    assert!(Tool::Cnb.procfile(b"web: \xff").is_err());
}
