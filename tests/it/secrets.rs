//! A config value is shown by `config get` and by nothing else.

use std::fs;
use std::path::Path;

use crate::support::processes;
use crate::support::run::Run;
use crate::support::world::World;

/// In every config var; no other text holds it.
const CANARY: &str = "canary-5ee7d1";

#[track_caller]
fn holds_no_canary(run: &Run) {
    run.says_not(CANARY);
}

#[test]
fn no_value_is_said_logged_stored_or_passed_as_an_argument() {
    let world = World::new();
    let contract = "[env.TOKEN]\nrequired = true\nsecret = true\n";
    let old = world.greeter_with("old", &[("slug.toml", contract)]);
    let new = world.greeter_with("new", &[("slug.toml", contract)]);
    let failing = "release: sh -c 'exit 3'\nweb: /usr/bin/python3 serve\n";
    let failing = world.greeter_with("failing", &[("slug.toml", contract), ("Procfile", failing)]);
    let file = world.write("value", format!("{CANARY}\nsecond line"));

    let mut said = Vec::new();
    let token = format!("TOKEN=@{}", file.display());
    let set = world
        .invoke(&["config", "set", &token, "NAME=-", "-v"])
        .stdin(CANARY.as_bytes());
    said.push(set.run());
    said.push(world.slug(&["release", "-v", &old]));
    let up = world.up(&["-v"]);
    let env_file = world.write(".env", format!("IMPORTED={CANARY}\n"));
    for arguments in [
        &["config", "import", env_file.to_str().unwrap()][..],
        &[
            "config",
            "set",
            "-n",
            &token,
            &format!("NEW=@{}", file.display()),
        ],
        &["release", "-n", &new],
        &["release", "-v", &new],
        &["config", "unset", "-n", "NAME"],
        &["config"],
        &["config", "--json"],
        &["config", "diff", "v1", "v3"],
        &["diff", "v1", "v3"],
        &["diff", "--json", "v2", "v4"],
        &["rollback", "-n", "v2"],
        &["releases", "--json"],
        &["releases", "show", "v3", "--json"],
        &["inspect", "--json"],
        &["ps", "--json"],
        &["logs"],
        &["verify", "-v"],
        &["gc", "-n", "-v"],
        // Errors.
        &["release", &failing],
        &["config", "set", &format!("1BAD={CANARY}")],
        &["config", "set", &format!("PORT={CANARY}")],
        &["config", "unset", "TOKEN"],
        &["run", "--", "no-such-program"],
    ] {
        let typed = arguments.iter().any(|argument| argument.contains(CANARY));
        let run = world.slug(arguments);
        assert!(!typed || run.exit() != 0, "{}", run.story());
        said.push(run);
    }
    said.iter().for_each(holds_no_canary);
    assert!(!up.said.text().contains(CANARY), "{}", up.story());
    for process in processes::of(world.folder()) {
        assert!(!process.command.contains(CANARY), "{process:?}");
    }
    assert_eq!(
        files_with(&world.store(), CANARY.as_bytes()),
        Vec::<String>::new()
    );
    assert!(
        world
            .slug(&["config", "get", "TOKEN"])
            .ok()
            .starts_with(CANARY)
    );
    let answer = up.get("/").ok();
    assert!(answer.contains(CANARY), "the app itself has it: {answer}");
}

/// The files under `folder` whose bytes or names hold `wanted`.
fn files_with(folder: &Path, wanted: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(files_with(&path, wanted));
        } else if kind.is_file()
            && fs::read(&path)
                .unwrap()
                .windows(wanted.len())
                .any(|window| window == wanted)
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn the_key_that_opens_config_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    world.slug(&["config", "set", "NAME=Ada"]).ok();
    let identities = named(&world.store(), "identity");
    assert_eq!(identities.len(), 1, "{identities:?}");
    let mode = fs::metadata(&identities[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

fn named(folder: &Path, name: &str) -> Vec<std::path::PathBuf> {
    let entries: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let deeper = entries
        .iter()
        .filter(|path| path.is_dir())
        .flat_map(|path| named(path, name));
    let here = entries
        .iter()
        .filter(|path| path.file_name().is_some_and(|found| found == name))
        .cloned();
    here.chain(deeper).collect()
}
