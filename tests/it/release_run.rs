//! Releases, config, rollbacks and one-offs, as an operator types them.

use serde_json::Value;

use crate::support::servers::Memcached;
use crate::support::tools::have;
use crate::support::wait;
use crate::support::world::World;

/// The ledger, oldest first.
fn releases(world: &World) -> Vec<Value> {
    let mut all = world.slug(&["releases", "--json"]).json()["releases"]
        .as_array()
        .unwrap()
        .clone();
    all.reverse();
    all
}

/// Each release: its version and state.
fn states(world: &World) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    releases(world)
        .iter()
        .map(|release| (text(&release["record"]["version"]), text(&release["state"])))
        .collect()
}

fn succeeded(versions: &[&str]) -> Vec<(String, String)> {
    versions
        .iter()
        .map(|version| ((*version).to_owned(), "succeeded".to_owned()))
        .collect()
}

/// What a one-off of the current release says.
#[track_caller]
fn says(world: &World, script: &str) -> String {
    world.slug(&["run", "--", "sh", "-c", script]).ok()
}

#[test]
fn a_rollback_brings_back_the_slug_and_the_config() {
    let world = World::new();
    let (old, new) = (world.greeter("old"), world.greeter("new"));
    assert_eq!(world.slug(&["release", &old]).ok(), "v1");
    assert_eq!(world.slug(&["config", "set", "NAME=Ada"]).ok(), "v2");
    assert_eq!(world.slug(&["release", &new]).ok(), "v3");
    assert_eq!(
        world.slug(&["config", "set", "NAME=Grace", "MORE=1"]).ok(),
        "v4"
    );
    assert_eq!(
        says(&world, "cat greeting; echo \" $NAME $MORE\""),
        "new Grace 1"
    );
    assert_eq!(world.slug(&["rollback", "v2"]).ok(), "v5");
    assert_eq!(
        says(&world, "cat greeting; echo \" $NAME $MORE $SLUG_RELEASE\""),
        "old Ada  v5"
    );
    let ledger = releases(&world);
    assert_eq!(ledger[4]["record"]["slug"], ledger[1]["record"]["slug"]);
    assert_eq!(ledger[4]["record"]["config"], ledger[1]["record"]["config"]);
    assert_eq!(states(&world), succeeded(&["v1", "v2", "v3", "v4", "v5"]));
}

#[test]
fn the_same_slug_and_config_are_no_new_release() {
    let world = World::new();
    let slug = world.greeter("hello");
    world.slug(&["release", &slug]).ok();
    world.slug(&["config", "set", "NAME=Ada"]).ok();
    world.slug(&["release", &slug]).code(0).says("v2");
    world
        .slug(&["config", "set", "NAME=Ada"])
        .code(0)
        .says("v2");
    world
        .slug(&["config", "unset", "NOT_THERE"])
        .code(0)
        .says("v2");
    assert_eq!(states(&world), succeeded(&["v1", "v2"]));
}

#[test]
fn a_slug_file_is_released_on_a_host_that_never_built_it() {
    let (builder, host) = (World::new(), World::new());
    let app = builder.app(
        "app",
        &[("Procfile", "web: sleep 1\n"), ("word", "carried")],
    );
    let file = host.path("app.slug");
    let built = builder
        .slug(&["build", app.to_str().unwrap(), "-o", file.to_str().unwrap()])
        .ok();
    assert_eq!(host.slug(&["release", file.to_str().unwrap()]).ok(), "v1");
    assert_eq!(says(&host, "cat word"), "carried");
    assert_eq!(releases(&host)[0]["record"]["slug"], built.as_str());
}

#[test]
fn a_failed_release_command_fails_the_release_and_changes_nothing() {
    let world = World::new();
    world.slug(&["release", &world.greeter("good")]).ok();
    let procfile = "release: sh -c 'echo out of cheese; exit 3'\nweb: /usr/bin/python3 serve\n";
    let broken = world.greeter_with("broken", &[("Procfile", procfile)]);
    world
        .slug(&["release", &broken])
        .code(1)
        .says("out of cheese")
        .says("v2")
        .says("3");
    assert_eq!(states(&world)[1], ("v2".to_owned(), "failed".to_owned()));
    assert_eq!(
        says(&world, "cat greeting; echo \" $SLUG_RELEASE\""),
        "good v1"
    );
    world
        .slug(&["releases", "show", "v2"])
        .code(0)
        .says("out of cheese");
    world.slug(&["rollback", "v2"]).code(3).says("v2");
    assert_eq!(states(&world).len(), 2, "a refused rollback is no release");
}

#[test]
fn the_release_command_has_the_new_slug_and_the_new_config() {
    let world = World::new();
    world.slug(&["config", "set", "NAME=Ada"]).ok();
    let procfile = "release: sh -c 'cat greeting; echo \" $NAME $SLUG_RELEASE\"'\nweb: /usr/bin/python3 serve\n";
    let slug = world.greeter_with("hello", &[("Procfile", procfile)]);
    world.slug(&["release", &slug]).code(0).says("hello Ada v2");
    world
        .slug(&["config", "set", "NAME=Grace"])
        .code(0)
        .says("hello Grace v3");
    world.slug(&["rollback", "v2"]).code(0).says("hello Ada v4");
}

#[test]
fn a_required_config_var_must_be_there_before_a_release() {
    let world = World::new();
    let contract =
        "[env.DATABASE_URL]\nrequired = true\nsecret = true\ndescription = \"where the data is\"\n";
    let slug = world.greeter_with("hello", &[("slug.toml", contract)]);
    world
        .slug(&["release", &slug])
        .code(3)
        .says("DATABASE_URL")
        .says("where the data is");
    assert_eq!(states(&world), []);
    world
        .slug(&["config", "set", "DATABASE_URL=postgres://there"])
        .ok();
    assert_eq!(world.slug(&["release", &slug]).ok(), "v2");
    world
        .slug(&["config", "unset", "DATABASE_URL"])
        .code(3)
        .says("DATABASE_URL");
    assert_eq!(says(&world, "echo $DATABASE_URL"), "postgres://there");
}

#[test]
fn a_dry_run_says_each_effect_and_has_none() {
    let world = World::new();
    let (old, new) = (world.greeter("old"), world.greeter("new"));
    world.slug(&["release", &old]).ok();
    world.slug(&["config", "set", "NAME=Ada"]).ok();
    world.slug(&["release", "-n", &new]).code(0).says("v3");
    world
        .slug(&["config", "set", "-n", "NAME=Grace", "MORE=1"])
        .code(0)
        .says("v3")
        .says("MORE")
        .says_not("Grace");
    world
        .slug(&["config", "unset", "-n", "NAME"])
        .code(0)
        .says("NAME");
    world.slug(&["rollback", "-n", "v1"]).code(0).says("v3");
    world.slug(&["gc", "-n"]).code(0);
    assert_eq!(states(&world), succeeded(&["v1", "v2"]));
    assert_eq!(
        says(&world, "cat greeting; echo \" $NAME$MORE\""),
        "old Ada"
    );
}

#[test]
fn a_diff_names_files_processes_and_keys_but_no_value() {
    let world = World::new();
    let old = world.greeter("old");
    let new = world.greeter_with(
        "new",
        &[
            ("Procfile", "web: /usr/bin/python3 serve\nworker: sleep 1\n"),
            ("added", "1"),
        ],
    );
    world.slug(&["release", &old]).ok();
    world.slug(&["config", "set", "NAME=hidden-value"]).ok();
    world.slug(&["release", &new]).ok();
    let diff = world.slug(&["diff", "v1", "v3"]);
    diff.code(0)
        .says("greeting")
        .says("added")
        .says("worker")
        .says("NAME")
        .says_not("hidden-value")
        .says_not("serve ");
    world
        .slug(&["config", "diff", "v1", "v2"])
        .code(0)
        .says("NAME")
        .says_not("hidden-value");
    world.slug(&["diff", "v2", "v2"]).code(0);
}

#[test]
fn config_values_come_from_arguments_files_and_standard_input_exactly() {
    let world = World::new();
    let file = world.write("value", "two\nlines\n");
    let from_file = format!("FROM_FILE=@{}", file.display());
    world
        .invoke(&["config", "set", "PLAIN=a=b c", &from_file, "FROM_STDIN=-"])
        .stdin(b"\xff\x01 \n")
        .run()
        .ok();
    let value = |key: &str| {
        world
            .slug(&["config", "get", key])
            .code(0)
            .stdout_bytes()
            .to_vec()
    };
    // What a person typed or piped ends with a newline that is not meant; what a file holds is exact.
    assert_eq!(value("PLAIN").trim_ascii_end(), b"a=b c");
    assert_eq!(value("FROM_FILE").trim_ascii_end(), b"two\nlines");
    assert!(value("FROM_STDIN").starts_with(b"\xff\x01"));
    world
        .slug(&["config"])
        .code(0)
        .says("FROM_FILE")
        .says_not("lines");
    world
        .slug(&["config", "get", "NOT_THERE"])
        .code(1)
        .says("NOT_THERE");
    for key in [
        "PORT", "HOME", "DYNO", "TMPDIR", "SLUG_X", "CNB_X", "1A", "A-B",
    ] {
        let set = world.slug(&["config", "set", &format!("{key}=hidden-value")]);
        assert_ne!(set.exit(), 0, "{}", set.story());
        set.says(key).says_not("hidden-value");
    }
}

#[test]
fn an_env_file_is_imported_as_one_release() {
    let world = World::new();
    world.write(".env", "# comment\nexport A=1\nB=\"two words\"\nC='$A'\n");
    assert_eq!(world.slug(&["config", "import"]).ok(), "v1");
    world.slug(&["release", &world.greeter("hello")]).ok();
    assert_eq!(says(&world, "echo \"$A $B $C\""), "1 two words $A");
}

#[test]
fn a_one_off_passes_on_its_exit_code_its_input_and_its_arguments() {
    let world = World::new();
    let procfile = "web: /usr/bin/python3 serve\nshout: tr a-z A-Z\nsay: echo said\n";
    world
        .slug(&[
            "release",
            &world.greeter_with("hello", &[("Procfile", procfile)]),
        ])
        .ok();
    world.slug(&["run", "--", "sh", "-c", "exit 7"]).code(7);
    world
        .slug(&["run", "--", "sh", "-c", "kill -TERM $$"])
        .code(143);
    world
        .slug(&["run", "--", "sh", "-c", "kill -KILL $$"])
        .code(137);
    world
        .slug(&["run", "--", "no-such-program"])
        .code(127)
        .says("no-such-program");
    world
        .slug(&["run", "--", "./greeting"])
        .code(126)
        .says("greeting");
    world
        .slug(&["run", "no-such-type"])
        .code(125)
        .says("no-such-type")
        .says("shout");
    assert_eq!(
        world.invoke(&["run", "shout"]).stdin(b"hello").run().ok(),
        "HELLO"
    );
    assert_eq!(world.slug(&["run", "say"]).ok(), "said");
    let run = world.slug(&["run", "--", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!(run.ok(), "out");
    assert!(run.stderr().contains("err\n"), "{}", run.story());
}

#[test]
fn one_offs_are_in_the_ledger_with_who_what_and_exit() {
    let world = World::new();
    world.slug(&["release", &world.greeter("hello")]).ok();
    world.slug(&["run", "--", "sh", "-c", "exit 7"]).code(7);
    let shown = world.slug(&["releases", "show", "v1", "--json"]).json();
    let ran = &shown["release"]["ran"][0];
    assert_eq!(ran["exit"], 7, "{shown:#}");
    assert!(
        ran["by"].as_str().is_some_and(|by| !by.is_empty()),
        "{shown:#}"
    );
}

#[test]
fn a_process_gets_its_environment_and_nothing_of_the_shell() {
    let mut world = World::new();
    world.set_env("OPERATORS_OWN", "leaked");
    world.set_env("LD_LIBRARY_PATH", "/leaked");
    world.slug(&["config", "set", "NAME=Ada"]).ok();
    let digest = world.greeter("hello");
    world.slug(&["release", &digest]).ok();
    let environment = says(&world, "env | sort");
    assert!(!environment.contains("leaked"), "{environment}");
    for line in [
        "NAME=Ada",
        "SLUG_APP=shop-",
        "SLUG_RELEASE=v2",
        "DYNO=run.",
        "SLUG_PROCESS=run.",
        "SLUG_RELEASED_AT=2",
    ] {
        assert!(
            environment.lines().any(|found| found.starts_with(line)),
            "{line} in\n{environment}"
        );
    }
    assert!(
        environment.contains(&format!("SLUG_DIGEST={digest}")),
        "{environment}"
    );
    assert!(
        !environment.contains("PORT="),
        "only web has a port\n{environment}"
    );
    assert_eq!(
        says(&world, "umask; pwd; ls /proc/self/fd | wc -l"),
        "0022\n/workspace\n4"
    );
}

#[test]
fn another_memcached_is_swapped_in_by_config_set_with_the_same_slug() {
    if !have(&["memcached"]) {
        return;
    }
    let (first, second) = (Memcached::start(), Memcached::start());
    let world = World::new();
    let digest = world.release_real_app("flask");
    world
        .slug(&["config", "set", &format!("MEMCACHED_URL={}", first.url())])
        .ok();
    let up = world.up(&[]);
    assert_eq!(
        (up.get("/count").ok(), up.get("/count").ok()),
        ("1\n".to_owned(), "2\n".to_owned())
    );

    assert_eq!(
        world
            .slug(&["config", "set", &format!("MEMCACHED_URL={}", second.url())])
            .ok(),
        "v3"
    );
    assert_eq!(up.get("/count").ok(), "1\n");
    assert_eq!(
        (
            first.value("count").as_deref(),
            second.value("count").as_deref()
        ),
        (Some("2"), Some("1"))
    );
    for release in releases(&world) {
        assert_eq!(release["record"]["slug"], digest.as_str());
    }

    world.slug(&["rollback", "v2"]).ok();
    assert_eq!(up.get("/count").ok(), "3\n");
    assert_eq!(first.value("count").as_deref(), Some("3"));
}

#[test]
fn a_scale_a_restart_and_the_list_of_processes() {
    let world = World::new();
    let files = [
        (
            "Procfile",
            "web: /usr/bin/python3 serve\nworker: sh -c 'echo $DYNO works; sleep 1000'\n",
        ),
        ("slug.toml", "[process.worker]\ninstances = 0\n"),
    ];
    world
        .slug(&["release", &world.greeter_with("hello", &files)])
        .ok();
    let up = world.up(&[]);
    world
        .slug(&["ps"])
        .code(0)
        .says("web.1")
        .says_not("worker.1");
    world
        .slug(&["scale", "-n", "worker=2"])
        .code(0)
        .says("worker");
    world.slug(&["ps"]).code(0).says_not("worker.1");
    world.slug(&["scale", "worker=2"]).code(0);
    up.said.wait_for("worker.1 works", wait::LONG);
    up.said.wait_for("worker.2 works", wait::LONG);
    world
        .slug(&["ps"])
        .code(0)
        .says("web.1")
        .says("worker.1")
        .says("worker.2");
    world
        .slug(&["logs", "worker"])
        .code(0)
        .says("worker.1 works")
        .says_not("greeter is listening");
    world.slug(&["restart", "web"]).code(0);
    up.wait_for_answer("/", "hello you v1");
    world.slug(&["scale", "worker=0"]).code(0);
    // They get their grace.
    wait::until(wait::LONG, "the end of the workers", || {
        (!world.slug(&["ps"]).ok().contains("worker.")).then_some(())
    });
    world.slug(&["ps"]).code(0).says("web.1");
}

#[test]
fn commands_for_a_supervisor_say_when_none_is_up() {
    let world = World::new();
    world.slug(&["release", &world.greeter("hello")]).ok();
    for command in [&["ps"][..], &["restart"], &["stop"]] {
        world.slug(command).code(1).says("slug up");
    }
    // A formation is kept for the next start.
    world.slug(&["scale", "web=2"]).code(0).says("next start");
}
