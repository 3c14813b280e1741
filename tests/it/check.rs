//! `slug check`, and the one reading of `Procfile` and `.env` by every command.

use std::process::Command;

use expect_test::expect;
use serde_json::Value;

use crate::support::tools;
use crate::support::world::World;

const SECRET: &str = "s3cret-5ee7";

#[test]
fn a_folder_that_all_tools_read_alike_is_fine() {
    let world = World::new();
    let files = [
        ("Procfile", "web: python app.py\nrelease: true\n"),
        (".env", "GREETING=hello\n# words\nNAME='a b'\n"),
        (
            "slug.toml",
            "app = \"shop\"\n[process.web]\ninstances = 2\n",
        ),
        ("project.toml", "[_]\nschema-version = \"0.2\"\n"),
    ];
    let app = world.app("app", &files);
    world
        .slug(&["check", app.to_str().unwrap()])
        .code(0)
        .stdout_is(&expect![[r#"
            Procfile: 2 processes (web, release)
            .env: 2 variables (GREETING, NAME)
            0 errors, 0 warnings
        "#]])
        .stderr_is(&expect![""]);
}

#[test]
fn each_file_is_read_to_its_end_and_each_problem_has_its_place() {
    let world = World::new();
    let files = [
        ("Procfile", "web: run\nworker run\nweb: again\n"),
        (".env", "A=\"open\nB=2\n"),
        ("slug.toml", "[process.wbe]\ninstances = -1\n"),
        (
            "project.toml",
            "[_]\nschema-version = \"0.2\"\n[io.buildpacks]\nincluded = []\n",
        ),
    ];
    let app = world.app("app", &files);
    let run = world.slug(&["check", app.to_str().unwrap()]);
    run.code(1)
        .says(".env:1:3: error: the quote that opens here is never closed\n  | A=…\n  |   ^\n")
        .says("Procfile:2:1: error: no colon (expected `name: command`)\n  | worker run\n  | ^\n")
        .says("Procfile:3:1: error: `web` is already on line 1: one of the two must go")
        .says("slug.toml:2:13: error: ")
        .says("slug.toml:1:10: warning: the Procfile has no process `wbe` (did you mean `web`?)")
        .says("project.toml:4:1: warning: the key `io.buildpacks.included` is unknown (did you mean `include`?)");
}

#[test]
fn a_warning_alone_is_no_failure_and_json_names_the_tools() {
    let world = World::new();
    let app = world.app(
        "app",
        &[("Procfile", "my_web: run\n"), (".env", "PORT=1\n")],
    );
    let run = world.slug(&["check", "--json", app.to_str().unwrap()]);
    let answer: Value = serde_json::from_str(&run.ok()).unwrap();
    assert_eq!(answer["schema"], 1);
    assert_eq!(
        (&answer["errors"], &answer["warnings"]),
        (&0.into(), &2.into())
    );
    let [reserved, renamed] = answer["findings"].as_array().unwrap().as_slice() else {
        panic!("{answer}");
    };
    assert_eq!(reserved["file"], ".env");
    assert!(reserved["text"].as_str().unwrap().contains("`PORT`"));
    assert_eq!(renamed["tools"], serde_json::json!(["cnb"]));
    assert_eq!(
        (&renamed["line"], &renamed["column"]),
        (&1.into(), &1.into())
    );
    assert_eq!(answer["processes"], serde_json::json!(["my_web"]));
}

#[test]
fn no_value_of_an_env_file_is_said_by_any_reader_of_it() {
    let world = World::new();
    for wrong in [
        format!("A={SECRET} # c\n"),
        format!("A=\"{SECRET}\n{SECRET}={SECRET}\n"),
        format!("A=\"{SECRET}\\q\"\n"),
        format!("{SECRET}\n{SECRET}={SECRET}\n"),
        format!("A='{SECRET}' {SECRET}\n"),
        format!("A={SECRET}\rB={SECRET}\n"),
        format!("{{\"{SECRET}\": \"{SECRET}\"}}\n"),
    ] {
        let app = world.app("app", &[("Procfile", "web: run\n"), (".env", &wrong)]);
        for arguments in [
            &["check", "-v", app.to_str().unwrap()][..],
            &["check", "--json", app.to_str().unwrap()],
        ] {
            world.slug(arguments).says_not("cret");
        }
        let file = app.join(".env");
        let file = file.to_str().unwrap();
        world
            .slug(&["config", "import", "-n", file])
            .says_not("cret");
    }
}

#[test]
fn a_folder_with_none_of_the_files_or_a_pipe_for_one() {
    let world = World::new();
    let app = world.app("app", &[("README", "")]);
    world
        .slug(&["check", app.to_str().unwrap()])
        .code(0)
        .stdout_is(&expect![[r#"
            0 errors, 0 warnings
        "#]]);
    tools::done(Command::new("mkfifo").arg(app.join("Procfile")));
    world
        .slug(&["check", app.to_str().unwrap()])
        .code(1)
        .says("is not a file");
    world
        .slug(&["check", "no-such-folder"])
        .code(2)
        .says("there is no source at");
}

#[test]
fn an_env_file_that_is_none_changes_no_config() {
    let world = World::new();
    world.write(".env", "A=1\nnonsense\nB=\"x\\q\"\nPORT=1\n");
    world
        .slug(&["config", "import", "--app", "shop"])
        .code(1)
        .says(".env:2:1: no `=`")
        .says(".env:3:5: unknown escape")
        .says("unchanged: no config var was changed");
    world.write(".env", "A=1\nPORT=1\n");
    world
        .slug(&["config", "import", "--app", "shop"])
        .code(1)
        .says("line 2: `PORT` is set by slug itself");
    world.slug(&["releases", "--app", "shop"]).says_not("v1");
}
