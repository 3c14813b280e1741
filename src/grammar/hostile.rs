//! Procfiles and env files, changed at random.

use super::env_file;
use super::procfile;
use crate::fuzz::fit_for_a_terminal;
use crate::fuzz::fuzz;

#[test]
fn any_procfile_is_read_or_refused() {
    fuzz("procfile", |input| {
        let parsed = procfile::parse(&String::from_utf8_lossy(input));
        for remark in parsed.warnings.iter().chain(&parsed.problems) {
            fit_for_a_terminal(&remark.of_file("Procfile"));
        }
        for entry in parsed.entries {
            assert!(!entry.name.is_empty() && !entry.command.trim().is_empty());
            assert!(
                !entry.command.contains(['\n', '\r', '\0']),
                "{:?}",
                entry.command
            );
        }
    });
}

#[test]
fn any_env_file_is_read_or_refused() {
    fuzz("env_file", |input| match env_file::parse(input) {
        Ok(file) => {
            let mut names: Vec<_> = file.vars.iter().map(|var| &var.name).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), file.vars.len(), "each name once");
            for var in &file.vars {
                assert!(!var.value.contains(&0), "{var:?}");
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                fit_for_a_terminal(&problem.of_file(".env"));
            }
        }
    });
}
