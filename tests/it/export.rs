//! `slug export`: what the real readers of the files get out of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::support::tools;
use crate::support::world::World;

/// What a careless exporter breaks on.
const HOSTILE: &str = "a b'c\"d\\e$HOME%n%%;#f ;g #h `i` $(j) é";

/// The arguments that `slug up` should be given.
fn expected(store: &Path) -> Vec<String> {
    let store = store.to_str().unwrap();
    let words = [
        "up",
        "--app",
        "shop",
        "--store",
        store,
        "--listen",
        "127.0.0.1:8080",
    ];
    words.map(str::to_owned).to_vec()
}

/// Exports into `out` of a world whose store has that name; gives the store.
#[track_caller]
fn export(world: &World, manager: &str, name: &str, more: &[&str]) -> PathBuf {
    let store = world.path(name);
    let mut arguments = vec!["export", manager, "out", "--app", "shop", "--store"];
    arguments.push(store.to_str().unwrap());
    arguments.extend(more);
    world.slug(&arguments).ok();
    store
}

fn read(world: &World, file: &str) -> String {
    fs::read_to_string(world.path("out").join(file)).unwrap()
}

/// systemd itself reads the unit without a word.
#[test]
fn systemd_accepts_the_unit_whatever_the_store_is_called() {
    if !tools::have(&["systemd-analyze"]) {
        return;
    }
    for name in ["store", HOSTILE, "line\nend"] {
        let world = World::new();
        export(&world, "systemd", name, &["--user", "root"]);
        let unit = world.path("out/slug-shop.service");
        let verify = ["verify", "--man=no", unit.to_str().unwrap()];
        let run = world.program("systemd-analyze", &verify).run();
        run.code(0);
        let about_it = |line: &&str| line.contains("slug-shop");
        let said = run.stderr();
        let said: Vec<&str> = said.lines().filter(about_it).collect();
        assert!(said.is_empty(), "{name:?}: {said:?}");
    }
}

#[test]
fn a_line_that_systemd_does_not_know_is_found_by_the_test_above() {
    if !tools::have(&["systemd-analyze"]) {
        return;
    }
    let world = World::new();
    export(&world, "systemd", "store", &[]);
    let unit = world.path("out/slug-shop.service");
    let text = fs::read_to_string(&unit).unwrap();
    fs::write(&unit, text.replace("WatchdogSec", "WatchdogSecs")).unwrap();
    let verify = ["verify", "--man=no", unit.to_str().unwrap()];
    let run = world.program("systemd-analyze", &verify).run();
    run.says("slug-shop").says("WatchdogSecs");
}

/// A unit is read by everybody: what config vars hold is not in it, nor in any other file.
#[test]
fn no_file_holds_a_config_value() {
    for manager in ["systemd", "runit", "s6", "supervisord"] {
        let world = World::new();
        let set = ["config", "set", "--app", "shop", "TOKEN=canary-5ee7"];
        world.slug(&set).ok();
        let run = world.slug(&["export", manager, "--app", "shop", "-n"]);
        run.code(0).says_not("canary").says("slug-shop");
        assert!(!world.path("slug-shop.service").exists());
    }
}

/// The run script, with a program in slug's place that says its arguments.
#[test]
fn a_shell_gives_slug_the_words_of_a_run_script() {
    for (manager, name) in [
        ("runit", HOSTILE),
        ("s6", HOSTILE),
        ("runit", "line\nend"),
        ("s6", "-n\t"),
    ] {
        let world = World::new();
        let store = export(&world, manager, name, &[]);
        let script = world.path("out/slug-shop/run");
        assert_eq!(
            fs::metadata(&script).unwrap().permissions().mode() & 0o777,
            0o755
        );
        let text = fs::read_to_string(&script).unwrap();
        let binary = format!("'{}'", env!("CARGO_BIN_EXE_slug"));
        let speaks = world.write("speaks", "#!/bin/sh\nprintf '%s\\0' \"$@\"\n");
        fs::set_permissions(&speaks, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(text.contains(&format!("exec {binary} ")), "{text}");
        fs::write(&script, text.replace(&binary, speaks.to_str().unwrap())).unwrap();
        let said = tools::done(&mut Command::new(&script));
        let said = String::from_utf8(said).unwrap();
        let words: Vec<&str> = said.trim_end_matches('\0').split('\0').collect();
        assert_eq!(words, expected(&store), "{manager} {name:?}");
    }
}

#[test]
fn a_user_is_changed_to_by_the_managers_own_program() {
    let world = World::new();
    export(&world, "runit", "store", &["--user", "deploy"]);
    assert!(read(&world, "slug-shop/run").contains("\nexec chpst -u deploy '/"));
    let world = World::new();
    export(&world, "s6", "store", &["--user", "deploy"]);
    assert!(read(&world, "slug-shop/run").contains("\nexec s6-setuidgid deploy '/"));
    // 30 s of drain, 30 s of grace, and a margin.
    assert_eq!(read(&world, "slug-shop/timeout-kill"), "75000\n");
    for bad in ["a b", "x;y", "-u"] {
        let user = format!("--user={bad}");
        world
            .slug(&["export", "s6", "out", "--app", "shop", &user])
            .code(2)
            .says("cannot be the name of a user");
    }
}

/// supervisord's own parser, from its package.
#[test]
fn supervisord_reads_the_words_of_its_command() {
    for name in ["store", HOSTILE] {
        let world = World::new();
        let store = export(&world, "supervisord", name, &[]);
        let part = world.path("out/slug-shop.conf");
        let whole = format!("[supervisord]\n[include]\nfiles = {}\n", part.display());
        let whole = world.write("supervisord.conf", whole);
        let script = "import json, shlex, sys\nfrom supervisor.options import ServerOptions\n\
                      o = ServerOptions(); o.realize(['-c', sys.argv[1]])\n\
                      p = o.process_group_configs[0].process_configs[0]\n\
                      print(json.dumps([p.name, p.stopwaitsecs, p.autorestart.__name__, *shlex.split(p.command)]))\n";
        let said = tools::done(
            Command::new(supervisor())
                .args(["-W", "ignore", "-c", script])
                .arg(whole),
        );
        let read: Vec<serde_json::Value> = serde_json::from_slice(&said).unwrap();
        let settings = serde_json::json!(["slug-shop", 75, "RestartUnconditionally"]);
        assert_eq!(read[..3], *settings.as_array().unwrap());
        assert_eq!(read[3], env!("CARGO_BIN_EXE_slug"));
        let words: Vec<&str> = read[4..]
            .iter()
            .map(|word| word.as_str().unwrap())
            .collect();
        assert_eq!(words, expected(&store), "{name:?}");
    }
    let world = World::new();
    world
        .slug(&[
            "export",
            "supervisord",
            "out",
            "--app",
            "shop",
            "--store",
            "line\nend",
        ])
        .code(1)
        .says("control character");
}

/// The python of a virtual environment with supervisor, made once.
fn supervisor() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("supervisor-4.3.0");
        let python = venv.join("bin/python");
        if !venv.join("bin/supervisord").exists() {
            let make = ["-m", "venv"];
            tools::done(Command::new("/usr/bin/python3").args(make).arg(&venv));
            let quiet = ["-m", "pip", "--quiet", "--disable-pip-version-check"];
            let install = ["install", "supervisor==4.3.0", "setuptools<81"];
            tools::done(Command::new(&python).args(quiet).args(install));
        }
        python
    })
}

#[test]
fn what_is_there_is_not_written_over_unless_it_is_said() {
    let world = World::new();
    world.write("out/slug-shop/log/run", "mine");
    let arguments = ["export", "runit", "out", "--app", "shop"];
    world
        .slug(&arguments)
        .code(3)
        .says("slug-shop/log/run")
        .says("unchanged: no file was written");
    assert!(!world.path("out/slug-shop/run").exists());
    world
        .slug(&[&arguments[..], &["--force"]].concat())
        .code(0)
        .says("slug-shop/log/run");
    assert!(read(&world, "slug-shop/log/run").contains("svlogd"));
}

#[test]
fn compose_is_refused_with_the_reason() {
    let world = World::new();
    world
        .slug(&["export", "compose", "out", "--app", "shop"])
        .code(3)
        .says("an image without a base")
        .says("slug export systemd");
}

/// As in the unit: no new privileges, and the socket of a manager. The app is served from its sandbox.
#[test]
fn slug_up_runs_under_what_the_unit_takes_away() {
    if !tools::have(&["setpriv"]) {
        return;
    }
    let world = World::new();
    world.slug(&["release", &world.greeter("hello")]).ok();
    let slug = env!("CARGO_BIN_EXE_slug");
    let run = world.program("setpriv", &["--no-new-privs", slug, "run", "--", "true"]);
    run.run().code(0);
}
