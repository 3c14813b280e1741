//! Each row of the two tables of `spec/procfile.md`.

use std::collections::BTreeSet;

use super::Difference;
use super::of_env_file;
use super::of_procfile;

const PAGE: &str = include_str!("../../../spec/procfile.md");

/// Each row: a JSON string, and what is said of it.
fn check(heading: &str, read: impl Fn(&[u8]) -> Vec<Difference>) {
    let (_, table) = PAGE.split_once(heading).unwrap();
    let table = table.split("\n## ").next().unwrap();
    let rows = table.lines().filter_map(|line| {
        let (input, said) = line.strip_prefix("| `` ")?.split_once(" `` | ")?;
        Some((input, said.strip_suffix(" |")?))
    });
    let mut count = 0;
    for (input, expected) in rows {
        let text: String = serde_json::from_str(input).unwrap();
        let said: Vec<String> = read(text.as_bytes())
            .iter()
            .map(|one| format!("{}:{} {}", one.line, one.column, one.text()))
            .collect();
        let said = if said.is_empty() {
            "nobody".to_owned()
        } else {
            said.join("<br>")
        };
        assert_eq!(said, expected, "{input}");
        count += 1;
    }
    assert!(count > 30, "{count} rows");
}

#[test]
fn who_reads_a_procfile_otherwise() {
    let variables = BTreeSet::from(["HOST".to_owned()]);
    check("## How other tools read a Procfile\n", |bytes| {
        of_procfile(bytes, &variables)
    });
}

#[test]
fn who_reads_an_env_file_otherwise() {
    check("## How other tools read a .env\n", of_env_file);
}

/// Nothing of a value or of what may be a part of one.
#[test]
fn no_difference_says_a_secret() {
    for input in [
        "A=s3cret # c",
        "A=s3cret#s3cret",
        "A='s3cret\ns3cret=s3cret'",
        "A=\"s3cret\ns3cret: s3cret\"",
        "s3cret",
        "s3cret s3cret=s3cret",
        "A=x\u{2028}s3cret=s3cret",
        "{\"s3cret\": \"s3cret\"}",
        "A=it's s3cret",
        "export  s3-cret=s3cret",
        "A=x\rs3cret=s3cret",
    ] {
        let said = format!("{:?}", of_env_file(input.as_bytes()));
        assert!(!said.contains("cret"), "{input:?}: {said}");
    }
}
