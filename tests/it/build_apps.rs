//! The apps of `tests/apps`: each built, released, run, and asked over HTTP.

use std::collections::BTreeSet;
use std::thread;

use crate::support::servers::Memcached;
use crate::support::servers::Postgres;
use crate::support::tools::have;
use crate::support::world::World;

#[test]
fn flask_reads_its_config_and_counts_in_memcached() {
    if !have(&["memcached"]) {
        return;
    }
    let memcached = Memcached::start();
    let world = World::new();
    world
        .slug(&[
            "config",
            "set",
            "GREETING=Hi",
            &format!("MEMCACHED_URL={}", memcached.url()),
        ])
        .ok();
    world.release_real_app("flask");
    let mut up = world.up(&[]);
    assert_eq!(up.get("/").ok(), "Hi from v2\n");
    assert_eq!(up.get("/count").ok(), "1\n");
    assert_eq!(up.get("/count").ok(), "2\n");
    assert_eq!(memcached.value("count").as_deref(), Some("2"));
    assert!(up.stop().success(), "{}", up.story());
}

#[test]
fn django_migrates_when_released_and_serves_static_files_by_their_hashed_names() {
    if !have(&["memcached", "initdb", "postgres"]) {
        return;
    }
    let (postgres, memcached) = (Postgres::start(), Memcached::start());
    let world = World::new();
    let database = format!("DATABASE_URL={}", postgres.url());
    let cache = format!("MEMCACHED_URL={}", memcached.url());
    world
        .slug(&["config", "set", &database, &cache, "SECRET_KEY=not-one"])
        .ok();
    world.release_real_app("django");
    let up = world.up(&[]);

    let front = up.get("/").ok();
    let style = front
        .split('"')
        .find(|part| part.contains("/style."))
        .unwrap_or_else(|| panic!("{front}"));
    assert!(
        style.starts_with("/static/shop/style.") && style != "/static/shop/style.css",
        "{style}"
    );
    assert!(up.get(style).ok().contains("rebeccapurple"));

    assert_eq!(up.post("/items", "tea").ok(), r#"{"items": ["tea"]}"#);
    let added = world
        .slug(&["run", "--", "python", "manage.py", "add_item", "milk"])
        .ok();
    assert_eq!(added, "2 in the shop");
    assert_eq!(up.get("/items").ok(), r#"{"items": ["tea", "milk"]}"#);
    assert_eq!(up.get("/count").ok(), "1\n");
    assert_eq!(up.get("/count").ok(), "2\n");
}

#[test]
fn one_gevent_worker_holds_two_hundred_requests_open() {
    two_hundred_at_once("gevent");
}

#[test]
fn one_eventlet_worker_holds_two_hundred_requests_open() {
    two_hundred_at_once("eventlet");
}

fn two_hundred_at_once(app: &str) {
    let world = World::new();
    world.release_real_app(app);
    let up = world.up(&[]);
    let answers: BTreeSet<String> = thread::scope(|scope| {
        let asking: Vec<_> = (0..200)
            .map(|_| scope.spawn(|| up.get("/hold?200").ok()))
            .collect();
        asking
            .into_iter()
            .map(|answer| answer.join().unwrap())
            .collect()
    });
    let answers: Vec<_> = answers.into_iter().collect();
    assert!(
        matches!(&answers[..], [one] if one.starts_with("together in ")),
        "{answers:?}"
    );
}

#[test]
fn a_plain_script_runs_with_a_worker_and_a_clock_beside_it() {
    let world = World::new();
    world.release_real_app("plain");
    let mut up = world.up(&[]);
    assert_eq!(up.get("/").ok(), "plain v1\n");
    for line in ["worker worker.1 of v1 is working", "tick 1", "tick 2"] {
        up.said.wait_for(line, std::time::Duration::from_secs(30));
    }
    assert!(up.stop().success(), "{}", up.story());
    assert!(
        up.said.text().contains("worker has stopped"),
        "{}",
        up.story()
    );
}

#[test]
fn fastapi_is_installed_from_the_lock_of_uv() {
    let world = World::new();
    world.slug(&["config", "set", "GREETING=Hi"]).ok();
    world.release_real_app("uv");
    let up = world.up(&[]);
    assert_eq!(up.get("/").ok(), r#"{"greeting":"Hi","release":"v2"}"#);
}

#[test]
fn one_command_builds_releases_and_serves_a_folder() {
    let world = World::new();
    let app = world.real_app("flask");
    let up = world.up(&[app.to_str().unwrap()]);
    assert_eq!(up.get("/").ok(), "Hello from v1\n");
}

#[test]
fn up_of_a_folder_sets_what_its_env_file_says() {
    let world = World::new();
    let app = world.real_app("plain");
    std::fs::write(app.join(".env"), "GREETING=\"from the file\"\n").unwrap();
    let up = world.up(&[app.to_str().unwrap()]);
    let env: serde_json::Value = serde_json::from_str(&up.get("/env").ok()).unwrap();
    assert_eq!(env["GREETING"], "from the file");
    world
        .slug(&["run", "--", "ls", "-a", "/workspace"])
        .code(0)
        .says_not(".env");
}
