//! Env files, changed at random.

use super::env_file::parse;
use crate::fuzz::{fit_for_a_terminal, fuzz};

#[test]
fn any_env_file_is_read_or_refused() {
    fuzz("env_file", |input| match parse(input) {
        Ok(file) => {
            let mut keys: Vec<_> = file.vars.iter().map(|(key, _)| key).collect();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), file.vars.len(), "each key once");
        }
        Err(error) => fit_for_a_terminal(&error.to_string()),
    });
}
