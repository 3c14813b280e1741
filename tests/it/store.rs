//! The store under many hands, a killer, and a vandal.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::support::world::World;
use crate::support::world::app_of;

/// The records of the app, oldest first.
fn records(world: &World) -> Vec<PathBuf> {
    let folder = world
        .store()
        .join("apps")
        .join(app_of(world.folder()))
        .join("releases");
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let is_record = |path: &PathBuf| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .strip_suffix(".json")
            .is_some_and(|name| !name.contains('.'))
    };
    all.retain(is_record);
    all.sort();
    all
}

/// Every version in the ledger, oldest first.
fn versions(world: &World) -> Vec<String> {
    let json = world.slug(&["releases", "--json"]).json();
    let all = json["releases"].as_array().unwrap();
    all.iter()
        .rev()
        .map(|release| release["record"]["version"].as_str().unwrap().to_owned())
        .collect()
}

fn numbered(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("v{number}")).collect()
}

#[test]
fn many_releases_at_once_get_gapless_numbers_and_lose_no_change() {
    let world = World::new();
    world.slug(&["release", &world.greeter("hello")]).ok();
    thread::scope(|scope| {
        for number in 0..12 {
            let world = &world;
            scope.spawn(move || {
                world
                    .slug(&["config", "set", &format!("KEY_{number}={number}")])
                    .ok()
            });
        }
    });
    assert_eq!(versions(&world), numbered(13));
    let config = world.slug(&["config"]).ok();
    for number in 0..12 {
        assert!(
            config.contains(&format!("KEY_{number}")),
            "KEY_{number} in\n{config}"
        );
    }
    world.slug(&["verify"]).code(0);
}

#[test]
fn a_kill_at_any_instant_leaves_the_old_state_or_the_new() {
    let world = World::new();
    let slugs = [world.greeter("one"), world.greeter("two")];
    world.slug(&["release", &slugs[0]]).ok();
    for round in 0..40_u64 {
        let set = format!("ROUND=number-{round}");
        let commands = [
            &["release", &slugs[usize::from(round % 4 != 0)]][..],
            &["config", "set", &set],
        ];
        let mut command = world.command(commands[usize::from(round % 2 == 0)]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Spread over the whole life of the command, which takes some tens of milliseconds.
        thread::sleep(Duration::from_micros(round * 1_500));
        child.kill().unwrap();
        child.wait().unwrap();
        world.slug(&["verify"]).code(0);
    }
    // Nothing is stuck: no lock, no half of a record, no half of a slug.
    world.slug(&["config", "set", "LAST=1"]).ok();
    let all = versions(&world);
    assert_eq!(all, numbered(all.len()));
    assert_eq!(
        world
            .slug(&["run", "--", "sh", "-c", "echo $LAST; cat greeting | wc -w"])
            .ok(),
        "1\n1"
    );
}

#[test]
fn a_build_that_is_killed_leaves_a_store_in_which_the_next_one_works() {
    let world = World::new();
    let app = world.real_app("plain");
    let build = ["build", app.to_str().unwrap()];
    for delay in [5, 50, 150, 400, 900, 1_600] {
        let mut command = world.command(&build);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        crate::support::processes::none_left(world.folder(), &[], Duration::from_secs(20));
    }
    let digest = world.slug(&build).ok();
    let clean = World::new();
    let same_app = clean.real_app("plain");
    assert_eq!(
        clean.slug(&["build", same_app.to_str().unwrap()]).ok(),
        digest,
        "as if nothing had been killed"
    );
    world.slug(&["verify"]).code(0);
}

/// A ledger of three releases of one slug.
fn three_releases() -> World {
    let world = World::new();
    world.slug(&["release", &world.greeter("hello")]).ok();
    world.slug(&["config", "set", "A=1"]).ok();
    world.slug(&["config", "set", "B=2"]).ok();
    world.slug(&["verify"]).code(0);
    assert_eq!(records(&world).len(), 3);
    world
}

#[test]
fn verify_names_a_changed_record() {
    let world = three_releases();
    let record = &records(&world)[1];
    let text = fs::read_to_string(record).unwrap();
    let changed =
        text.replacen("\"by\":\"", "\"by\":\"x", 1)
            .replacen("\"by\": \"", "\"by\": \"x", 1);
    assert_ne!(changed, text);
    fs::remove_file(record).unwrap();
    fs::write(record, changed).unwrap();
    world.slug(&["verify"]).code(3).says("v2");
}

#[test]
fn verify_names_a_missing_record() {
    let world = three_releases();
    fs::remove_file(&records(&world)[1]).unwrap();
    world.slug(&["verify"]).code(3).says("v2");
}

#[test]
fn verify_names_records_in_another_order() {
    let world = three_releases();
    let all = records(&world);
    let aside = world.path("aside");
    fs::rename(&all[1], &aside).unwrap();
    fs::rename(&all[2], &all[1]).unwrap();
    fs::rename(&aside, &all[2]).unwrap();
    let verify = world.slug(&["verify"]);
    verify.code(3).says("v2").says("v3");
}

#[test]
fn verify_names_a_changed_blob() {
    let world = three_releases();
    let blobs = world.store().join("blobs/sha256");
    let largest = fs::read_dir(blobs)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let largest = largest
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&largest).unwrap();
    fs::write(&largest, bytes).unwrap();
    let name = largest.file_name().unwrap().to_str().unwrap();
    world.slug(&["verify"]).code(3).says(&name[..8]);
}

#[test]
fn gc_keeps_what_an_eligible_release_needs_and_frees_the_rest() {
    let world = World::new();
    let slugs: Vec<_> = ["one", "two", "three", "four"]
        .map(|greeting| world.greeter(greeting))
        .into();
    for slug in &slugs {
        world.slug(&["release", slug]).ok();
        world.slug(&["run", "--", "true"]).ok(); // unpacks it
    }
    let plan = world.slug(&["gc", "-n", "--keep", "2"]);
    plan.code(0);
    let before = blobs(&world);
    world.slug(&["gc", "--keep", "2"]).code(0);
    assert!(blobs(&world) < before, "{}", plan.story());
    world.slug(&["verify"]).code(0);
    // Kept: the current release and the two before it.
    assert_eq!(world.slug(&["rollback", "v3"]).ok(), "v5");
    assert_eq!(world.slug(&["run", "--", "cat", "greeting"]).ok(), "three");
    world.slug(&["rollback", "v1"]).code(3).says("v1");
    // A collected slug is back with the next build of the same source.
    assert_eq!(world.greeter("one"), slugs[0]);
    assert_eq!(world.slug(&["rollback", "v1"]).ok(), "v6");
}

fn blobs(world: &World) -> usize {
    fs::read_dir(world.store().join("blobs/sha256"))
        .unwrap()
        .count()
}
