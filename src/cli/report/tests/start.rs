//! What `slug start` cannot do.

use expect_test::{Expect, expect};
use slug::run::formation::types_of;
use slug::run::start::{BadStart, StartError};

use super::*;

#[test]
fn of_a_start_that_is_none() {
    let bad = types_of("[]", std::iter::empty(), None).unwrap_err();
    check!(
        [
            BadStart::NoType {
                wanted: parsed("wep"),
                has: vec![parsed("web"), parsed("worker")],
            },
            BadStart::Release,
            BadStart::NotMeant(parsed("worker")),
            BadStart::TooMany {
                process_type: parsed("web"),
                count: 101,
            },
            BadStart::Ports(parsed("web")),
            BadStart::Nothing,
            BadStart::Formation(bad),
        ],
        expect![[r#"
            error: the Procfile has no process type `wep`
            unchanged: nothing was started
            hint: it has web, worker
            [exit 2]

            error: `release` is the release command: it runs when a release is made, and `slug start` makes none
            unchanged: nothing was started
            hint: to run it once by hand, copy its command into the shell
            [exit 2]

            error: `worker` has a number of instances, but is not among the types to start
            unchanged: nothing was started
            hint: name `worker` too, or leave its number out
            [exit 2]

            error: 101 instances of `web` are more than 100
            unchanged: nothing was started
            hint: the ports of one more would be those of the next type
            [exit 2]

            error: the ports of `web` would be above 65535
            unchanged: nothing was started
            hint: begin lower: `--port 5000`
            [exit 2]

            error: nothing is to be started
            unchanged: nothing was started
            hint: the Procfile has no process but `release`, or each has the number 0
            [exit 2]

            error: the slug's label `slug.process` is wrong: invalid type: sequence, expected a map at line 1 column 0
            unchanged: nothing was started
            hint: correct [process] in slug.toml
            [exit 2]

        "#]],
        [
            BadStart::NoType { .. },
            BadStart::Release,
            BadStart::NotMeant(_),
            BadStart::TooMany { .. },
            BadStart::Ports(_),
            BadStart::Nothing,
            BadStart::Formation(_),
        ]
    );
}

#[test]
fn of_a_start_that_could_not_go_on() {
    check!(
        [StartError("wait for its processes", refused())],
        expect![[r#"
            error: could not wait for its processes: permission denied
            hint: every process that was running has been ended
            [exit 1]

        "#]],
        [StartError(..)]
    );
}
