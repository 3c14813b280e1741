//! `slug start`: a Procfile where it lies.

use std::time::Duration;

use expect_test::expect;
use rustix::process::Signal;

use crate::support::processes;
use crate::support::start::lines_of;
use crate::support::wait;
use crate::support::world::World;

#[test]
fn a_folder_runs_as_it_lies_there_and_nothing_of_it_is_left() {
    let world = World::new();
    let procfile = "release: echo released\nweb: echo $PWD $PORT $DYNO $A; cat; echo end of stdin; exec sleep 1234\nworker: echo $PORT $SLUG_PROCESS; exec sleep 1234\n";
    let app = world.app("app", &[("Procfile", procfile), (".env", "A='b  c'\n")]);
    let mut started = world.start(&[app.to_str().unwrap()]);
    started.said.wait_for("end of stdin", wait::LONG);
    started.said.wait_for("5100 worker.1", wait::LONG);
    let before = processes::of(world.folder());
    assert_eq!(
        started.lines_of("web.1"),
        [
            format!("{} 5000 web.1 b c", app.display()),
            "end of stdin".to_owned()
        ]
    );
    started.signal(Signal::INT);
    assert_eq!(started.wait(wait::LONG).code(), Some(130));
    let said = started.said.text();
    assert!(!said.contains("released"), "{said}");
    assert!(said.contains("web.1 was ended by signal 15"), "{said}");
    processes::none_left(world.folder(), &before, Duration::ZERO);
    assert!(!world.store().exists(), "it made a store");
}

#[test]
fn the_shells_environment_is_there_and_env_files_win_over_it() {
    let world = World::new();
    let app = world.procfile("web: echo $A $B $C $D; echo $PYTHONUNBUFFERED\n");
    world.write("app/.env", "A=not read\n");
    world.write("one", "A=one\nB=one\n");
    world.write("two", "B=two\n");
    let run = world
        .invoke(&[
            "start",
            &app,
            "-e",
            "one",
            "--env",
            "two",
            "--exit-on",
            "web",
        ])
        .env("B", "shell")
        .env("C", "shell")
        .env("D", "é")
        .run();
    run.code(0);
    assert_eq!(lines_of(&run.stdout(), "web.1"), ["one two shell é", "1"]);
}

#[test]
fn the_first_port_is_typed_or_of_the_env_file_or_of_the_shell_or_5000() {
    let world = World::new();
    let app = world.procfile("release: true\nclock: true\nweb: echo $PORT\n");
    let check = |arguments: &[&str], shell: Option<&str>, expected: &str| {
        let mut all = vec!["start", &app, "web", "--exit-on", "any"];
        all.extend(arguments);
        let mut invocation = world.invoke(&all);
        if let Some(port) = shell {
            invocation = invocation.env("PORT", port);
        }
        let run = invocation.run();
        assert_eq!(
            lines_of(&run.stdout(), "web.1"),
            [expected],
            "{}",
            run.story()
        );
    };
    check(&[], None, "5100");
    check(&[], Some("7000"), "7100");
    world.write("app/.env", "PORT=6000\n");
    check(&[], Some("7000"), "6100");
    check(&["-p", "3000"], Some("7000"), "3100");
}

#[test]
fn as_many_run_as_are_asked_for_each_with_a_port_of_its_own() {
    let world = World::new();
    let app = world
        .procfile("web: echo at $PORT; exec sleep 1234\nworker: echo at $PORT; exec sleep 1234\n");
    world.write("app/slug.toml", "[process.worker]\ninstances = 2\n");
    let started = world.start(&[&app, "-m", "web=2"]);
    for line in [
        "web.1 | at 5000",
        "web.2 | at 5001",
        "worker.1 | at 5100",
        "worker.2 | at 5101",
    ] {
        started.said.wait_for(line, wait::LONG);
    }
    let run = world.slug(&["start", &app, "--formation", "all=0", "--exit-on", "any"]);
    run.code(2).says("nothing is to be started");
}

#[test]
fn the_first_word_is_a_type_of_the_procfile_here_or_a_folder() {
    let world = World::new();
    world.write("here/Procfile", "web: echo here; exit 4\nworker: exit 5\n");
    world.write("here/web/Procfile", "web: echo there; exit 6\n");
    world.write("here/other/Procfile", "web: exit 7\n");
    for (words, code) in [
        (&["web"][..], 4),
        (&["worker"], 5),
        (&[".", "worker"], 5),
        (&["./web"], 6),
        (&["other"], 7),
        (&["other", "web"], 7),
        (&["nowhere"], 2),
    ] {
        let mut all = vec!["start"];
        all.extend(words);
        all.extend(["--exit-on", "any"]);
        world.invoke(&all).dir(world.path("here")).run().code(code);
    }
}

#[test]
fn the_end_of_a_process_ends_all_only_if_that_was_asked_for() {
    let world = World::new();
    let app = world.procfile("web: sleep 1234 & wait\nonce: exit 3\nkilled: kill -9 $$\n");
    for (of, code) in [("once", 3), ("killed", 137), ("any", 3)] {
        let mut arguments = vec!["start", &app, "web", "once", "--exit-on", of];
        if of == "killed" {
            arguments[3] = "killed";
        }
        world.slug(&arguments).code(code);
    }
    let mut started = world.start(&[&app, "web", "once"]);
    started
        .said
        .wait_for("once.1 is started again in", wait::LONG);
    started.said.wait_for("it has ended 2 times", wait::LONG);
    assert!(!started.said.text().contains("web.1 exited"));
    assert_eq!(started.stop(), Some(143));
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_the_grace() {
    let world = World::new();
    let app = world
        .procfile("web: trap 'echo not yet' TERM; echo ready; while true; do sleep 0.1; done\n");
    let mut started = world.start(&[&app]);
    started.said.wait_for("| ready", wait::LONG);
    let before = processes::of(world.folder());
    started.signal(Signal::INT);
    started.said.wait_for("not yet", wait::LONG);
    started.signal(Signal::INT);
    assert_eq!(started.wait(Duration::from_secs(20)).code(), Some(130));
    processes::none_left(world.folder(), &before, Duration::ZERO);
}

#[test]
fn a_type_is_stopped_as_slug_toml_says() {
    let world = World::new();
    let app = world.procfile(
        "web: trap 'echo bye; exit 7' USR1; echo ready; while true; do sleep 0.05; done\n",
    );
    world.write("app/slug.toml", "[process.web]\nstop_signal = \"USR1\"\n");
    let mut started = world.start(&[&app]);
    started.said.wait_for("| ready", wait::LONG);
    assert_eq!(started.stop(), Some(143));
    assert_eq!(started.lines_of("web.1"), ["ready", "bye"]);
    assert!(started.said.text().contains("web.1 exited with code 7"));
}

#[test]
fn what_cannot_be_started_says_what_to_do() {
    let world = World::new();
    world.write("none/app.py", "");
    world.write("bad/Procfile", "web = run\n");
    world.write("good/Procfile", "web: true\nrelease: true\n");
    world.write("good/reserved", "HOME=/\n");
    let text = [
        &["start", "none"][..],
        &["start", "bad"],
        &["start", "good", "wep"],
        &["start", "good", "release"],
        &["start", "good", "-m", "web=101"],
        &["start", "good", "-p", "65500", "-m", "web=100"],
        &["start", "good", "--exit-on", "worker"],
        &["start", "good", "-e", "missing"],
        &["start", "good", "-e", "good/reserved"],
    ]
    .map(|arguments| {
        let run = world.slug(arguments);
        let said = run
            .stderr()
            .replace(world.folder().to_str().unwrap(), "[world]");
        format!("{said}[exit {}]\n\n", run.exit())
    });
    expect![[r#"
        error: there is no `[world]/none/Procfile`
        unchanged: nothing was started
        hint: write one: as there is `app.py`, perhaps `web: flask run --host 0.0.0.0 --port $PORT`
        [exit 1]

        error: `[world]/bad/Procfile` cannot be read
          Procfile:1:1: no colon (expected `name: command`)
            | web = run
            | ^
        unchanged: nothing was started
        hint: correct these lines; `slug check` reads the file as this does
        [exit 1]

        error: the Procfile has no process type `wep`
        unchanged: nothing was started
        hint: it has web
        [exit 2]

        error: `release` is the release command: it runs when a release is made, and `slug start` makes none
        unchanged: nothing was started
        hint: to run it once by hand, copy its command into the shell
        [exit 2]

        error: 101 instances of `web` are more than 100
        unchanged: nothing was started
        hint: the ports of one more would be those of the next type
        [exit 2]

        error: the ports of `web` would be above 65535
        unchanged: nothing was started
        hint: begin lower: `--port 5000`
        [exit 2]

        error: `--exit-on worker`: no such type is started
        unchanged: nothing was started
        hint: there is web; `any` is each of them
        [exit 2]

        error: could not read `[world]/missing`: No such file or directory (os error 2)
        unchanged: nothing was started
        hint: name a file that can be read, or `-` for standard input
        [exit 1]

        error: `[world]/good/reserved`, line 1: `HOME` is set by slug itself: a config var needs another name
        unchanged: nothing was started
        hint: give it another name, or leave it out
        [exit 1]

    "#]].assert_eq(&text.concat());
}

#[test]
fn a_program_that_cannot_be_executed_is_told_and_tried_again() {
    let world = World::new();
    let app = world.procfile("web: true\n");
    let run = world
        .invoke(&["start", &app, "--exit-on", "web"])
        .env("PATH", "/nonexistent")
        .run();
    run.code(127);
    run.says("web.1 could not be started: could not execute `bash`: No such file or directory");
}
