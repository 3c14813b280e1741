//! The words of a process's command: what is fixed, what is default, what a
//! user adds (rule 52).

use std::ffi::OsString;

/// What a user's arguments do to the default ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserArguments {
    /// Take their place (processes of Buildpack API 0.9 and later).
    Replace,
    /// Come after them.
    Append,
}

/// The command, which nobody replaces, and then the arguments.
pub fn words(
    command: &[String],
    defaults: &[String],
    user: &[OsString],
    how: UserArguments,
) -> Vec<OsString> {
    let defaults = match how {
        UserArguments::Replace if !user.is_empty() => &[],
        _ => defaults,
    };
    let fixed = command.iter().chain(defaults).map(OsString::from);
    fixed.chain(user.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_52_the_command_stays_and_the_default_arguments_are_replaced_since_0_9() {
        let check = |user: &[&str], how, expected: &[&str]| {
            let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
            let (command, defaults): (Vec<String>, Vec<String>) =
                (owned(&["serve", "--fixed"]), owned(&["--default"]));
            let user: Vec<OsString> = user.iter().map(OsString::from).collect();
            assert_eq!(words(&command, &defaults, &user, how), expected);
        };
        for how in [UserArguments::Replace, UserArguments::Append] {
            check(&[], how, &["serve", "--fixed", "--default"]);
        }
        check(&["a"], UserArguments::Replace, &["serve", "--fixed", "a"]);
        check(
            &["a"],
            UserArguments::Append,
            &["serve", "--fixed", "--default", "a"],
        );
    }
}
