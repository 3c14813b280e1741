use expect_test::expect;

use super::*;
use crate::run::launch::LaunchError;
use crate::run::up::ResumeError;
use crate::sys::takeover::TakeoverError;

/// What a user is told of each.
#[test]
fn each_reason_to_go_on_as_before_is_said_in_words() {
    let path = || PathBuf::from("/opt/slug");
    let program = |source| UpgradeError::Program {
        path: path(),
        source,
    };
    let rehearsal = |source| UpgradeError::Rehearsal {
        path: path(),
        source,
    };
    let io = || io::Error::from(io::ErrorKind::NotFound);
    let errors = [
        program(BadProgram::Io(io())),
        program(BadProgram::NotRegular),
        program(BadProgram::NotExecutable),
        program(BadProgram::Owner {
            owner: 7,
            own: 1000,
        }),
        program(BadProgram::Writable),
        program(BadProgram::NotElf),
        rehearsal(Refusal::Start(io())),
        rehearsal(Refusal::Silent),
        rehearsal(Refusal::Ended {
            how: "it ended with exit status: 1".to_owned(),
            said: String::new(),
        }),
        rehearsal(Refusal::Ended {
            how: "it was ended by signal 11".to_owned(),
            said: "stack overflow".to_owned(),
        }),
        rehearsal(Refusal::NoAnswer),
        UpgradeError::Stopping,
        UpgradeError::InProgress,
        UpgradeError::Pack(io()),
    ];
    let mut said: Vec<String> = errors.iter().map(|error| chain(error)).collect();
    let version: ReleaseVersion = "v7".parse().unwrap();
    let source = LaunchError::NoSlug(version);
    said.push(chain(&ResumeError::Release { version, source }));
    said.push(chain(&TakeoverError::Io(io())));
    said.push(chain(&TakeoverError::Garbled("a hole".to_owned())));
    expect![[r#"
        `/opt/slug` is refused: it could not be opened: entity not found
        `/opt/slug` is refused: it is not a regular file
        `/opt/slug` is refused: it is not executable
        `/opt/slug` is refused: it belongs to uid 7, and may belong to root or to uid 1000 alone
        `/opt/slug` is refused: everybody may write to it
        `/opt/slug` is refused: it is no program of slug: a script, or no program at all
        `/opt/slug` was tried and cannot take over: it could not be started: entity not found
        `/opt/slug` was tried and cannot take over: it did not answer within 10 s
        `/opt/slug` was tried and cannot take over: it ended with exit status: 1
        `/opt/slug` was tried and cannot take over: it was ended by signal 11: stack overflow
        `/opt/slug` was tried and cannot take over: it does not know how to take over: it is no slug, or one of before this was possible
        the supervisor is stopping
        an upgrade is in progress
        what the next program needs could not be put together: entity not found
        v7 could not be read: v7 has no slug yet: it holds config alone
        what the program before left could not be read: entity not found
        what the program before left is not understood: a hole"#]].assert_eq(&said.join("\n"));
}

#[test]
fn the_clock_of_the_state_is_that_of_instants() {
    let (before, instant) = (monotonic_ns(), std::time::Instant::now());
    let elapsed = u64::try_from(instant.elapsed().as_nanos()).unwrap();
    assert!(monotonic_ns() - before >= elapsed);
}
