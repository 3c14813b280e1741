//! Which words a process is started with, as lifecycle decides it: the cases of
//! its `launch/process_test.go` and `launch/launcher_test.go`, as data.

use super::tests::{argv_of, process};
use super::*;

/// Its line, the type, the user's arguments, the words.
type Case = (
    u32,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const CASES: &[Case] = &[
    (
        106,
        "fixed",
        &["user-arg1", "user-arg2"],
        &["some-command", "always-arg", "user-arg1", "user-arg2"],
    ),
    (
        118,
        "fixed",
        &[],
        &["some-command", "always-arg", "overridable-arg"],
    ),
    (
        137,
        "bare",
        &["user-arg1", "user-arg1"],
        &["some-command", "user-arg1", "user-arg1"],
    ),
    (149, "bare", &[], &["some-command", "overridable-arg"]),
    (
        167,
        "older",
        &["user-arg1", "user-arg1"],
        &[
            "some-command",
            "some-arg1",
            "some-arg2",
            "user-arg1",
            "user-arg1",
        ],
    ),
    (
        248,
        "older",
        &[],
        &["some-command", "some-arg1", "some-arg2"],
    ),
];

fn processes() -> Vec<SlugProcess> {
    let of = |buildpack: &str, process: SlugProcess| SlugProcess {
        buildpack: buildpack.parse().unwrap(),
        ..process
    };
    let direct = |name, command: &[&str], args: &[&str]| process(name, command, args, true);
    vec![
        of(
            "newer",
            direct(
                "fixed",
                &["some-command", "always-arg"],
                &["overridable-arg"],
            ),
        ),
        of(
            "newer",
            direct("bare", &["some-command"], &["overridable-arg"]),
        ),
        of(
            "older",
            direct("older", &["some-command"], &["some-arg1", "some-arg2"]),
        ),
        of("newer", direct("empty", &[], &["some-arg"])),
    ]
}

fn argv(command: &Command) -> Result<Vec<String>, LaunchError> {
    let api = |id: &str, api: &str| (id.to_owned(), api.to_owned());
    argv_of(
        processes(),
        &[api("older", "0.8"), api("newer", "0.9")],
        command,
    )
}

fn of_type(name: &str, user: &[&str]) -> Command {
    let user = user.iter().map(OsString::from).collect();
    Command::Type(Some(name.parse().unwrap()), user)
}

#[test]
fn rule_52_lifecycles_cases_of_arguments() {
    for (line, name, user, expected) in CASES {
        let argv = argv(&of_type(name, user)).unwrap();
        assert_eq!(argv, *expected, "process_test.go:{line}");
    }
}

#[test]
fn rule_51_lifecycles_cases_of_selection() {
    let user = ["user-command", "user-arg1", "user-arg2"];
    let direct = Command::Direct(user.iter().map(OsString::from).collect());
    assert_eq!(argv(&direct).unwrap(), user, "process_test.go:70");
    let nothing = Command::Type(None, Vec::new());
    assert!(
        matches!(argv(&nothing), Err(LaunchError::NoDefault { .. })),
        "process_test.go:93"
    );
    let missing = of_type("missing-type", &["user-arg1"]);
    assert!(
        matches!(argv(&missing), Err(LaunchError::NoType { .. })),
        "process_test.go:186"
    );
}

#[test]
fn rule_59_an_empty_command_is_an_error() {
    let empty = argv(&of_type("empty", &["user-arg1"]));
    assert!(
        matches!(empty, Err(LaunchError::EmptyCommand(_))),
        "launcher_test.go:146: {empty:?}"
    );
}
