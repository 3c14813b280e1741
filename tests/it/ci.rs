//! Builds in a CI system: cancelled, limited in time, with secrets, with events and marks in the log.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::support::buildpack::{TAKE_ALL, arguments, build, buildpack, layers};
use crate::support::processes;
use crate::support::run::Run;
use crate::support::wait;
use crate::support::world::World;

/// In the secret; no other text holds it.
const CANARY: &str = "canary-c1-5ee7d1";

fn as_both(test: impl Fn(&mut World)) {
    for mut world in [World::new(), World::unprivileged()] {
        world.app("app", &[("file", "one\n")]);
        test(&mut world);
    }
}

/// Starts a build, and returns once its output holds the text.
fn started(world: &World, arguments: &[&str], text: &str) -> (Child, PathBuf) {
    let log_path = world.path("build.log");
    let log = fs::File::create(&log_path).unwrap();
    let mut command = world.command(arguments);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    wait::until(wait::LONG, "the build runs", || {
        let said = fs::read_to_string(&log_path).unwrap();
        said.contains(text).then_some(())
    });
    (child, log_path)
}

fn send(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

/// The files under `folder` whose bytes or names hold `wanted`.
fn holding(folder: &Path, wanted: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(holding(&path, wanted));
        }
        let bytes = if kind.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        let is_in = |bytes: &[u8]| {
            bytes
                .windows(wanted.len())
                .any(|window| window == wanted.as_bytes())
        };
        if is_in(&bytes) || is_in(path.file_name().unwrap().as_encoded_bytes()) {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_build_that_is_asked_to_end_ends_with_all_that_it_started_and_leaves_the_cache() {
    use rustix::process::Signal;
    let script = r#"
        if [ ! -d "$1/deps" ]; then mkdir -p "$1/deps"; echo 1 > "$1/deps/a"; fi
        printf '[types]\nlaunch = true\ncache = true\n' > "$1/deps.toml"
        if [ -f hang ]; then
            trap '' TERM INT HUP
            echo ruined > "$1/deps/a"
            setsid sh -c 'trap "" TERM INT HUP; sleep 1000' & echo building; sleep 1000
        fi"#;
    as_both(|world| {
        buildpack(world, "one", TAKE_ALL, script);
        build(world, &["one"]);
        for (signal, exit) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
            world.write("app/hang", "");
            let (mut child, log) =
                started(world, &["build", "app", "--buildpack", "one"], "building\n");
            let before = processes::of(world.folder());
            send(&child, signal);
            let status = wait::exit_of(&mut child, wait::LONG).unwrap();
            assert_eq!(
                status.code(),
                Some(exit),
                "{}",
                fs::read_to_string(&log).unwrap()
            );
            processes::none_left(world.folder(), &before, wait::LONG);
            let scratch = world.store().join("cache/build");
            let work = fs::read_dir(scratch)
                .unwrap()
                .map(|app| app.unwrap().path().join("work"));
            let left: Vec<_> = work.flat_map(|work| fs::read_dir(work).unwrap()).collect();
            assert!(left.is_empty(), "{left:?}");
            fs::remove_file(world.path("app/hang")).unwrap();
            assert_eq!(layers(&build(world, &["one"]))[0], "deps: kept");
        }
    });
}

#[test]
fn a_build_that_waits_for_another_ends_at_once_when_it_is_asked_to() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    buildpack(&world, "slow", TAKE_ALL, "echo building; sleep 1000");
    let slow = ["build", "app", "--buildpack", "slow"];
    let (mut first, _) = started(&world, &slow, "building\n");
    let (mut second, log) = started(&world, &slow, "waiting");
    send(&second, rustix::process::Signal::TERM);
    let status = wait::exit_of(&mut second, wait::LONG).unwrap();
    assert_eq!(
        status.code(),
        Some(143),
        "{}",
        fs::read_to_string(log).unwrap()
    );
    send(&first, rustix::process::Signal::TERM);
    assert_eq!(
        wait::exit_of(&mut first, wait::LONG).unwrap().code(),
        Some(143)
    );
}

#[test]
fn a_signal_that_nohup_ignores_ends_no_build() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    let script = "echo building; while [ ! -e /workspace/on ]; do sleep 0.05; done";
    buildpack(&world, "slow", TAKE_ALL, script);
    // The buildpack goes on once the signal was sent.
    let sends = "trap '' HUP; slug build app --buildpack slow 2>log & pid=$!
        until grep -q building log; do kill -0 $pid || exit 9; sleep 0.05; done
        kill -HUP $pid; touch $(find store/cache/build -path '*/workspace/file' -printf '%h/on')
        wait $pid";
    world.program("bash", &["-c", sends]).run().ok();
}

#[test]
fn a_program_that_does_not_end_in_its_time_is_ended_and_its_last_lines_are_shown() {
    as_both(|world| {
        buildpack(
            world,
            "hangs",
            TAKE_ALL,
            "echo waiting for godot; sleep 1000",
        );
        world
            .slug(&[
                "build",
                "app",
                "--buildpack",
                "hangs",
                "--build-timeout",
                "1s",
            ])
            .code(51)
            .says("`test/hangs` did not end within 1s")
            .says("\n  waiting for godot\n");
        buildpack(world, "looks", "echo looking; sleep 1000", "exit 0");
        world
            .slug(&[
                "build",
                "-q",
                "app",
                "--buildpack",
                "looks",
                "--detect-timeout",
                "1s",
            ])
            .code(21)
            .says("test/looks")
            .says("did not end within 1s")
            .says("looking");
    });
}

#[test]
fn a_limit_that_is_no_duration_is_refused() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    world
        .slug(&["build", "app", "--build-timeout", "soon"])
        .code(2)
        .says("1h30m");
}

/// Builds with the secret from the environment, a file and standard input.
fn with_secrets(world: &World, buildpack: &str, more: &[&str]) -> Run {
    let file = world.write("key", format!("{CANARY}-file\n"));
    let file = format!("OF_FILE=@{}", file.display());
    let mut typed = vec!["build", "app", "--buildpack", buildpack];
    typed.extend([
        "--secret",
        "OF_ENV",
        "--secret",
        &file,
        "--secret",
        "OF_STDIN=-",
    ]);
    typed.extend(more);
    let stdin = format!("{CANARY}-stdin");
    world
        .invoke(&typed)
        .env("OF_ENV", format!("{CANARY}-env"))
        .stdin(stdin.as_bytes())
        .run()
}

#[test]
fn a_secret_is_read_by_a_buildpack_and_kept_nowhere() {
    let script = r#"
        cd /platform/secrets
        [ "$(cat OF_ENV)" = canary-c1-5ee7d1-env ] && [ "$(cat OF_STDIN)" = canary-c1-5ee7d1-stdin ]
        [ "$(cat OF_FILE)" = canary-c1-5ee7d1-file ] && [ "$(wc -l < OF_FILE)" = 1 ]
        [ "$(stat -c '%a %u' OF_ENV)" = "400 $(id -u)" ]
        if (echo x > OF_ENV) 2>/dev/null || (echo x > NEW) 2>/dev/null; then exit 9; fi
        if env | grep -q 'canar[y]' || [ -n "$(grep -las 'canar[y]' /proc/*/cmdline /proc/*/environ)" ]; then exit 8; fi
        cat OF_ENV OF_FILE >&2; head -c 8 OF_ENV; sleep 0.1; tail -c +9 OF_ENV; echo .
        cp OF_ENV "$HOME/.netrc"; cp OF_ENV /tmp/scratch
        mkdir -p "$1/throwaway" "$1/kept"; cp OF_ENV "$1/throwaway"; echo clean > "$1/kept/a"
        printf '[types]\nlaunch = true\ncache = true\n' > "$1/kept.toml"
        : > "$1/throwaway.toml""#;
    as_both(|world| {
        buildpack(world, "one", "[ ! -e /platform/secrets ]", script);
        for more in [&[][..], &["--json"], &["-v"]] {
            let run = with_secrets(world, "one", more);
            run.ok();
            run.says_not("canary")
                .says("[secret OF_ENV][secret OF_FILE]")
                .says("[secret OF_ENV].");
        }
        assert_eq!(holding(&world.store(), CANARY), Vec::<PathBuf>::new());
        assert_eq!(holding(&world.path("tmp"), CANARY), Vec::<PathBuf>::new());
    });
}

#[test]
fn a_build_that_would_keep_a_secret_is_refused_with_its_place() {
    let keep = |what: &str| format!("s=$(cat /platform/secrets/OF_ENV); cd \"$1\"; {what}");
    let layer = r#"mkdir -p deps/a; printf '[types]\nlaunch = true\n' > deps.toml"#;
    let cases = [
        (
            format!("{layer}; echo \"t=$s\" > deps/a/.npmrc"),
            "/layers/test_leaks/deps/a/.npmrc",
        ),
        (
            format!("{layer}; ln -s \"/x/$s\" deps/link"),
            "/layers/test_leaks/deps/link",
        ),
        (
            format!("{layer}; touch \"deps/a/$s\""),
            "/layers/test_leaks/deps/a",
        ),
        (
            r#"mkdir c; echo "$s" > c/f; printf '[types]\ncache = true\n' > c.toml"#.to_owned(),
            "/layers/test_leaks/c/f",
        ),
        (
            r#"printf '[metadata]\nt = "%s"\n' "$s" > store.toml"#.to_owned(),
            "/layers/test_leaks/store.toml",
        ),
        (
            r#"printf '[[labels]]\nkey = "t"\nvalue = "%s"\n' "$s" > launch.toml"#.to_owned(),
            "/layers/test_leaks/launch.toml",
        ),
        (
            "echo \"$s\" > /workspace/.env.production".to_owned(),
            "/workspace/.env.production",
        ),
    ];
    let world = World::new();
    world.app("app", &[("file", "")]);
    for (what, place) in cases {
        buildpack(&world, "leaks", TAKE_ALL, &keep(&what));
        let run = with_secrets(&world, "leaks", &[]);
        run.code(3)
            .says(&format!("`{place}` holds the secret OF_ENV"))
            .says_not("canary");
        assert_eq!(
            holding(&world.store(), CANARY),
            Vec::<PathBuf>::new(),
            "{place}"
        );
    }
    // What cannot be read is shown with its line.
    buildpack(
        &world,
        "leaks",
        TAKE_ALL,
        &keep("echo \"wrong $s\" > launch.toml; exit 0"),
    );
    with_secrets(&world, "leaks", &[])
        .code(1)
        .says("launch.toml")
        .says_not("canary");
}

#[test]
fn a_secret_is_never_typed() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    let refused = |typed: &[&str]| {
        let mut arguments = vec!["build", "app"];
        arguments.extend(typed);
        world
            .slug(&arguments)
            .code(2)
            .says_not(CANARY)
            .says_not("hunter2-typed");
    };
    refused(&["--secret", "TOKEN=hunter2-typed"]);
    refused(&["--secret", "hunter2-typed"]);
    refused(&["--secret", "NOT_SET"]);
    refused(&["--secret", "TOKEN=@nowhere"]);
    refused(&["--secret", "A=-", "--secret", "B=-"]);
}

#[test]
fn with_json_all_that_is_said_is_events() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    let script = "printf 'one\\ntw'; sleep 0.1; printf 'o\\n'; echo err >&2; printf unfinished";
    buildpack(&world, "one", TAKE_ALL, script);
    let run = world.slug(&arguments(&["one"]));
    run.ok();
    let events = run.events();
    assert!(events.iter().all(|event| event["schema"] == 1));
    let named = |name: &str| -> Vec<_> {
        events
            .iter()
            .filter(|event| event["event"] == name)
            .cloned()
            .collect()
    };
    assert_eq!(named("building")[0]["buildpack"], "test/one");
    let mut lines: Vec<_> = named("output")
        .iter()
        .map(|event| {
            format!(
                "{} {}",
                event["stream"].as_str().unwrap(),
                event["line"].as_str().unwrap()
            )
        })
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "stderr err",
            "stdout one",
            "stdout two",
            "stdout unfinished"
        ]
    );
    assert_eq!(named("layer")[0]["layer"]["name"], "app");
    assert_eq!(run.json()["built"]["buildpacks"][0]["id"], "test/one");

    buildpack(&world, "fails", TAKE_ALL, "echo why; exit 7");
    let run = world.slug(&arguments(&["fails"]));
    run.code(51);
    let last = run.events().pop().unwrap();
    assert_eq!(
        (last["event"].as_str(), last["exit"].as_i64()),
        (Some("error"), Some(51))
    );
    assert_eq!(last["detail"], "why\n");
}

#[test]
fn on_github_no_output_of_a_buildpack_is_a_command() {
    let world = World::new();
    world.app("app", &[("file", ""), ("slug.toml", "unknown = 1\n")]);
    let script = "echo '::error::injected'; echo '::endgroup::'; printf '::add-mask::x'";
    for (name, end) in [("good", ""), ("bad", "; exit 7")] {
        buildpack(&world, name, TAKE_ALL, &format!("{script}{end}"));
        let run = world
            .invoke(&["build", "app", "--buildpack", name])
            .env("GITHUB_ACTIONS", "true")
            .run();
        let commands = github_commands(&run.stderr());
        let known = ["warning", "group", "endgroup", "error"];
        let names: Vec<&str> = commands
            .iter()
            .map(|command| command.split([' ', ':']).next().unwrap())
            .collect();
        assert!(
            names.iter().all(|name| known.contains(name)),
            "{commands:?}\n{}",
            run.story()
        );
        assert!(
            names.contains(&"warning") && names.contains(&"group"),
            "{}",
            run.story()
        );
        assert_eq!(names.contains(&"error"), name == "bad", "{}", run.story());
        let groups = |wanted: &str| names.iter().filter(|name| **name == wanted).count();
        assert_eq!(groups("group"), groups("endgroup"), "{}", run.story());
        assert!(commands.iter().all(|command| !command.contains("injected")));
        run.says("::error::injected"); // as text
    }
}

/// What GitHub's runner would do: commands of a log in the order of their lines, without those that are stopped.
fn github_commands(log: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut stopped: Option<String> = None;
    for line in log.split(['\n', '\r']) {
        let Some(command) = line.trim_start().strip_prefix("::") else {
            continue;
        };
        match &stopped {
            Some(token) if command == format!("{token}::") => stopped = None,
            Some(_) => {}
            None => match command.strip_prefix("stop-commands::") {
                Some(token) => stopped = Some(token.to_owned()),
                None => commands.push(command.to_owned()),
            },
        }
    }
    assert_eq!(stopped, None, "commands stay off");
    commands
}

#[test]
fn on_gitlab_each_buildpack_has_a_section() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    buildpack(&world, "one", TAKE_ALL, "echo x");
    let run = world
        .invoke(&["build", "app", "--buildpack", "one"])
        .env("GITLAB_CI", "true")
        .run();
    run.ok();
    let said = run.stderr();
    let names = |mark: &str| -> Vec<String> {
        let parts = said.split(mark).skip(1);
        parts
            .map(|part| part.split([':', '\r']).nth(1).unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("section_start:"), names("section_end:"));
    assert_eq!(names("section_start:").len(), 1);
}

#[test]
fn offline_all_that_is_missing_is_named_before_a_build_runs_and_nothing_is_reached() {
    as_both(|world| {
        let artifact = |name: &str| {
            let digest = slug::ident::Digest::of(name.as_bytes());
            format!(
                "[[requires.metadata.artifacts]]\nname = \"{name}\"\nversion = \"1\"\nrequired = true\n\
                 [[requires.metadata.artifacts.sources]]\nurl = \"https://example.invalid/{name}\"\nsha256 = \"{digest}\"\n"
            )
        };
        let plan = "[[provides]]\nname = \"x\"\n[[requires]]\nname = \"x\"\n".to_owned();
        let plan = plan + &artifact("first") + &artifact("second");
        let detect = format!("cat > \"$2\" <<'END'\n{plan}END");
        buildpack(world, "needs", &detect, "echo building");
        world
            .slug(&["build", "app", "--offline", "--buildpack", "needs"])
            .code(69)
            .says("first 1")
            .says("second 1")
            .says_not("building");
        // `lo` is all that there is.
        let alone = "[ \"$(tail -n +3 /proc/net/dev | wc -l)\" = 1 ]";
        buildpack(world, "alone", alone, alone);
        world
            .slug(&["build", "app", "--offline", "--buildpack", "alone"])
            .ok();
    });
}
