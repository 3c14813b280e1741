//! `--explain`: why a build came to what it came to.

use expect_test::expect;

use crate::support::buildpack::{TAKE_ALL, buildpack};
use crate::support::world::World;

/// A plan that a `bin/detect` writes.
fn plan(kind: &str, name: &str) -> String {
    format!(r#"printf '[[{kind}]]\nname = "{name}"\n' > "$2""#)
}

#[test]
fn a_detection_that_fails_says_which_group_came_closest_and_who_could_have_helped() {
    let world = World::new();
    world.app("app", &[("file", "")]);
    buildpack(&world, "wants", &plan("requires", "jdk"), "exit 0");
    buildpack(&world, "gives", &plan("provides", "jdk"), "exit 0");
    buildpack(&world, "no", "exit 100", "exit 0");
    buildpack(&world, "maybe", "exit 100", "exit 0");
    let group = |members: &[&str]| {
        let member = |name: &&str| {
            let (name, optional) = (name.trim_end_matches('?'), name.ends_with('?'));
            format!("[[order.group]]\nuri = \"{name}\"\noptional = {optional}\n")
        };
        format!(
            "[[order]]\n{}",
            members.iter().map(member).collect::<String>()
        )
    };
    let order = [
        group(&["gives", "no"]),
        group(&["wants", "maybe?", "gives?"]),
        group(&["no"]),
    ];
    world.write("order.toml", order.concat());
    let short = world.slug(&["build", "--order", "order.toml", "app"]);
    short.code(20).stderr_is(&expect![[r#"
        error: no buildpack fits this app
          group 1: test/no: not for this app
          group 2, which came closest: test/wants requires `jdk`, which nothing before it provides
          group 3: test/no: not for this app
        unchanged: no slug was made; the cache of earlier builds is as it was
        hint: slug knows an app by requirements.txt, pyproject.toml, uv.lock, app.py, manage.py or a Procfile
        hint: another buildpack can be named: `slug build --buildpack PATH`; `--explain` says what each of a group said
    "#]]);
    let long = world.slug(&["plan", "--explain", "--order", "order.toml", "app"]);
    long.code(20).stderr_is(&expect![[r#"
        explain: groups
          group 1: does not
            test/gives: passed
            test/no: not for this app
          group 2: does not; it came closest
            test/wants: passed
            test/maybe, optional: not for this app: left out
            test/gives, optional: passed
            test/wants requires `jdk`, which nothing before it provides; test/gives provides it, but does not stand before it in this group
          group 3: does not
            test/no: not for this app
        error: no buildpack fits this app
          group 1: test/no: not for this app
          group 2, which came closest: test/wants requires `jdk`, which nothing before it provides
          group 3: test/no: not for this app
        unchanged: no slug was made; the cache of earlier builds is as it was
        hint: slug knows an app by requirements.txt, pyproject.toml, uv.lock, app.py, manage.py or a Procfile
        hint: another buildpack can be named: `slug build --buildpack PATH`; `--explain` says what each of a group said
    "#]]);
}

const MAKES: &str = r#"
    if [ ! -d "$1/tool" ]; then
        mkdir -p "$1/tool/bin" "$1/tool/env" "$1/tool/env.build" "$1/tool/env.launch/web"
        printf a > "$1/tool/env/A.append"; printf b > "$1/tool/env.build/B"; printf c > "$1/tool/env.launch/web/C.default"
    fi
    printf '[types]\nlaunch = true\nbuild = true\ncache = true\n' > "$1/tool.toml"
    printf '[[processes]]\ntype = "web"\ncommand = ["one"]\n[[processes]]\ntype = "worker"\ncommand = ["one"]\n' > "$1/launch.toml""#;

/// An app and an order of three buildpacks, of which the last is left out.
fn three_buildpacks() -> World {
    let world = World::new();
    world.app("app", &[("file", "")]);
    world.write(
        "app/project.toml",
        "[_]\nschema-version = \"0.2\"\n[[io.buildpacks.build.env]]\nname = \"A\"\nvalue = \"secret-1\"\n[[io.buildpacks.build.env]]\nname = \"P\"\nvalue = \"secret-2\"\n",
    );
    world.write("config/env/B.append", "x");
    let wants = |name: &str| format!("{}; exit 0", plan("requires", name));
    buildpack(&world, "one", TAKE_ALL, MAKES);
    let web = r#"printf '[[processes]]\ntype = "web"\ncommand = ["two"]\n' > "$1/launch.toml""#;
    buildpack(&world, "two", TAKE_ALL, web);
    buildpack(&world, "three", &wants("nothing"), "exit 0");
    world.write(
        "order.toml",
        "[[order]]\n[[order.group]]\nuri = \"one\"\n[[order.group]]\nuri = \"two\"\n[[order.group]]\nuri = \"three\"\noptional = true\n",
    );
    world
}

#[test]
fn a_build_says_where_everything_came_from() {
    let world = three_buildpacks();
    let arguments = [
        "build",
        "--quiet",
        "--explain",
        "--order",
        "order.toml",
        "--env",
        "PATH=/secret-3",
        "--build-config",
        "config",
        "app",
    ];
    world.slug(&arguments).code(0);
    let built = world.slug(&arguments);
    let told = built.code(0).says_not("secret-").stderr();
    let told: Vec<&str> = told
        .lines()
        .filter(|line| !line.starts_with("  this machine's settings:"))
        .collect();
    expect![[r#"
        explain: groups
          group 1: takes the app
            test/one: passed
            test/two: passed
            test/three, optional: passed: left out, since its plan does not fit
            test/three requires `nothing`, which nothing before it provides; no other buildpack that was tried would provide it
        explain: environment of builds
          A
            appended to by test/one: tool/env/A
            set by project.toml
          B
            set by test/one: tool/env.build/B
            appended to by --build-config
          P
            set by project.toml
          PATH
            prepended to by test/one: tool/bin
            prepended to by --env
        explain: environment of processes
          A
            appended to by test/one: tool/env/A
          C
            set, if it is not, by test/one: tool/env.launch/web/C
          PATH
            prepended to by test/one: tool/bin
        explain: processes
          web: test/two, in place of test/one
          worker: test/one
        explain: layers
          layer test/one: tool (8.1 kB): kept (nobody wrote to it)
          layer app (3.0 kB): kept (nobody wrote to it)"#]].assert_eq(&told.join("\n"));
}

#[test]
fn a_build_says_it_to_programs_too() {
    let world = three_buildpacks();
    let json = world
        .slug(&[
            "build",
            "--json",
            "--explain",
            "--order",
            "order.toml",
            "app",
        ])
        .json();
    let explained = &json["explain"];
    assert_eq!(explained["processes"]["web"][1], "test/two");
    assert_eq!(explained["groups"][0]["members"][2]["dropped"], true);
    assert_eq!(
        explained["launch_environment"]["C"][0]["by"]["place"],
        "env.launch/web/C"
    );
}
