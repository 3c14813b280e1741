//! Procfiles, changed at random.

use super::grammar::parse;
use crate::fuzz::{fit_for_a_terminal, fuzz};

#[test]
fn any_procfile_is_read_or_refused() {
    fuzz("procfile", |input| {
        let parsed = parse(&String::from_utf8_lossy(input));
        for remark in parsed.warnings.iter().chain(&parsed.problems) {
            fit_for_a_terminal(&remark.to_string());
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
