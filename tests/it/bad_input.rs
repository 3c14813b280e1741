//! Each bad input with its message and exit code, and what was there before as it was.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;

use expect_test::Expect;
use expect_test::expect;

use crate::support::address;
use crate::support::oci::Archive;
use crate::support::run::Run;
use crate::support::tools;
use crate::support::world::World;

/// Builds an app of these files, which must fail so.
#[track_caller]
fn build(files: &[(&str, &str)], code: i32, message: &Expect) {
    let world = World::new();
    let app = world.app("app", files);
    world
        .slug(&["build", app.to_str().unwrap()])
        .code(code)
        .stderr_is(message)
        .stdout_is(&expect![""]);
}

#[test]
fn no_buildpack_fits() {
    build(
        &[("README", "words")],
        20,
        &expect![[r#"
            error: no buildpack fits this app
              group 1: slug/python: not for this app
              group 2: slug/procfile: not for this app
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: slug knows an app by requirements.txt, pyproject.toml, uv.lock, app.py, manage.py or a Procfile
            hint: another buildpack can be named: `slug build --buildpack PATH`; `--explain` says what each of a group said
        "#]],
    );
}

#[test]
fn two_lock_files() {
    let project = "[project]\nname = \"app\"\nversion = \"1\"\nrequires-python = \">=3.11\"\n";
    let files = [
        ("app.py", ""),
        ("pyproject.toml", project),
        ("uv.lock", "version = 1\nrequires-python = \">=3.11\"\n"),
        ("poetry.lock", ""),
    ];
    build(
        &files,
        51,
        &expect![[r#"
        error: uv.lock and poetry.lock both lock the dependencies: delete the one that is not in use
        unchanged: no slug was made; the cache of earlier builds is as it was
        hint: `slug plan` shows each decision, and the file and line that made it
    "#]],
    );
}

#[test]
fn a_python_that_there_is_not() {
    let world = World::new();
    let app = world.app("app", &[("app.py", ""), (".python-version", "3.99\n")]);
    let built = world.slug(&["build", app.to_str().unwrap()]);
    built
        .code(51)
        .says(".python-version:1 asks for Python 3.99, which cannot be had")
        .says("The newest of each minor version: ");
}

#[test]
fn a_python_version_that_is_none() {
    build(
        &[("app.py", ""), (".python-version", "three\n")],
        51,
        &expect![[r#"
            error: .python-version:1: `three` is no version of CPython (expected `3.13`, `3.13.2`, or a range such as `>=3.11,<3.14`; PyPy, free-threaded builds and `system` are not supported)
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: `slug plan` shows each decision, and the file and line that made it
        "#]],
    );
}

#[test]
fn a_procfile_with_merge_markers() {
    let procfile = "web: sleep 1\n<<<<<<< HEAD\nworker: a\n=======\nworker: b\n>>>>>>> other\n";
    build(
        &[("Procfile", procfile)],
        51,
        &expect![[r#"
        error: Procfile:2:1: `<<<<<<<` is left over from a merge: settle it
          | <<<<<<< HEAD
          | ^
        Procfile:4:1: `=======` is left over from a merge: settle it
          | =======
          | ^
        Procfile:5:1: `worker` is already on line 3: one of the two must go
          | worker: b
          | ^
        Procfile:6:1: `>>>>>>>` is left over from a merge: settle it
          | >>>>>>> other
          | ^
        unchanged: no slug was made; the cache of earlier builds is as it was
        hint: `slug plan` shows each decision, and the file and line that made it
    "#]],
    );
}

#[test]
fn a_slug_toml_with_bad_syntax() {
    build(
        &[
            ("Procfile", "web: sleep 1\n"),
            ("slug.toml", "app = \"shop\"\n[process.web\n"),
        ],
        1,
        &expect![[r#"
            error: `[world]/app/slug.toml`, line 2, column 13: unclosed table, expected `]`
              [process.web
                          ^
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: correct the file, and build again
        "#]],
    );
}

#[test]
fn a_slug_toml_with_a_value_of_the_wrong_kind() {
    let slug_toml = "[process.web]\ninstances = \"two\"\n";
    build(
        &[("Procfile", "web: sleep 1\n"), ("slug.toml", slug_toml)],
        1,
        &expect![[r#"
            error: `[world]/app/slug.toml`, line 2, column 13: invalid type: string "two", expected u32
              instances = "two"
                          ^
            unchanged: no slug was made; the cache of earlier builds is as it was
            hint: correct the file, and build again
        "#]],
    );
}

#[test]
fn a_slug_toml_with_a_key_that_is_nearly_right() {
    let world = World::new();
    let files = [
        ("Procfile", "web: sleep 1\n"),
        ("slug.toml", "[process.web]\nread_within = \"5s\"\n"),
    ];
    let app = world.app("app", &files);
    let built = world.slug(&["build", app.to_str().unwrap()]);
    let warned = "slug.toml, line 2, column 1: the key `process.web.read_within` is unknown (did you mean `ready_within`?)";
    built.code(0).says(warned);
}

#[test]
fn a_requirement_that_does_not_exist() {
    let world = World::new();
    let app = world.app(
        "app",
        &[("app.py", ""), ("requirements.txt", "flask==999.0\n")],
    );
    world
        .slug(&["build", app.to_str().unwrap()])
        .code(51)
        .says("flask==999.0");
    world.slug(&["releases"]).code(0);
}

#[test]
fn a_lock_that_is_out_of_date() {
    let world = World::new();
    let app = world.real_app("uv");
    let project = app.join("pyproject.toml");
    let text = fs::read_to_string(&project).unwrap();
    fs::write(
        &project,
        text.replace(
            "\"uvicorn==0.54.0\"",
            "\"uvicorn==0.54.0\", \"click==8.5.1\"",
        ),
    )
    .unwrap();
    world
        .slug(&["build", app.to_str().unwrap()])
        .code(51)
        .says("uv.lock")
        .says("uv lock");
}

/// Releases a damaged copy of a good `app.slug`, which must be refused and leave nothing.
#[track_caller]
fn release_damaged(said: &str, damage: impl FnOnce(&mut Vec<u8>)) {
    let world = World::new();
    let file = good_slug_file(&world);
    let mut bytes = fs::read(&file).unwrap();
    damage(&mut bytes);
    fs::write(&file, bytes).unwrap();
    let host = World::new();
    let released = host.slug(&["release", file.to_str().unwrap()]);
    released.code(3).says(said).says_not("panicked");
    assert!(
        host.slug(&["releases", "--json"]).json()["releases"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    host.slug(&["verify"]).code(0);
}

fn good_slug_file(world: &World) -> std::path::PathBuf {
    let mut noise = String::new();
    for number in 0..4000_u32 {
        write!(noise, "{:x}", number.wrapping_mul(2_654_435_761)).unwrap();
    }
    let app = world.app("app", &[("Procfile", "web: sleep 1\n"), ("noise", &noise)]);
    let file = world.path("app.slug");
    world
        .slug(&["build", app.to_str().unwrap(), "-o", file.to_str().unwrap()])
        .ok();
    file
}

#[test]
fn a_truncated_slug_file() {
    release_damaged("or is not a slug", |bytes| bytes.truncate(bytes.len() / 2));
    release_damaged("or is not a slug", |bytes| bytes.truncate(700));
    release_damaged("or is not a slug", Vec::clear);
}

#[test]
fn a_slug_file_with_one_bit_flipped() {
    // In the middle of the largest blob, wherever the archive has put it.
    release_damaged("sha256:", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
    });
}

#[test]
fn a_slug_file_that_is_something_else() {
    release_damaged("or is not a slug", |bytes| {
        *bytes = b"#!/bin/sh\necho hello\n".repeat(100);
    });
}

#[test]
fn a_release_of_another_architecture() {
    let world = World::new();
    let file = good_slug_file(&world);
    let mut archive = Archive::read(&file);
    archive.change_config(|config| config["architecture"] = "s390x".into());
    archive.write(&file);
    world
        .slug(&["release", file.to_str().unwrap()])
        .code(3)
        .says("s390x");
    assert!(
        world.slug(&["releases", "--json"]).json()["releases"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_port_in_use() {
    let world = World::new();
    world.slug(&["release", &world.greeter("hello")]).ok();
    let taken = TcpListener::bind(address::free()).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    world
        .slug(&["up", "--listen", &address])
        .code(1)
        .says(&address)
        .says("in use");
    assert_eq!(crate::support::processes::of(world.folder()), []);
}

#[test]
fn a_release_that_is_not_there() {
    let world = World::new();
    world.slug(&["release", &world.greeter("hello")]).ok();
    let refused = world.slug(&["rollback", "v9"]);
    refused.stderr_is(&expect![[r#"
        error: shop has no release v9
        hint: the newest is v1; `slug releases` lists all
    "#]]);
    assert_ne!(refused.exit(), 0);
    world.slug(&["rollback", "nine"]).code(2);
    world.slug(&["releases", "show", "v9"]).code(1).says("v9");
    world
        .slug(&["release", "sha256:0123456789abcdef"])
        .code(1)
        .says("0123456789abcdef");
    world
        .slug(&["release", "no-such-file.slug"])
        .says("no-such-file.slug");
}

#[test]
fn a_command_that_is_wrong() {
    let world = World::new();
    world.slug(&["releases-all"]).code(2).says("release");
    world.slug(&["release"]).code(2);
    world
        .slug(&["build", "no-such-folder"])
        .says("no-such-folder");
    world
        .slug(&["config", "set", "NO_VALUE"])
        .code(2)
        .says("KEY=VALUE")
        // It may be a value that lost its key.
        .says_not("NO_VALUE");
}

/// Runs `slug` with a store that is mounted so.
#[track_caller]
fn on_a_store_mounted(world: &World, mount: &str, arguments: &str) -> Run {
    let script = format!("mount {mount} && exec slug {arguments}");
    let own: &[&str] = if tools::is_root() {
        &["--mount"]
    } else {
        &["--map-root-user", "--mount"]
    };
    world
        .program("unshare", &[own, &["sh", "-c", &script]].concat())
        .run()
}

#[test]
fn a_disk_that_is_full() {
    let world = World::new();
    good_slug_file(&world);
    let store = world.path("tiny");
    fs::create_dir(&store).unwrap();
    let mount = format!("-t tmpfs -o size=16k tmpfs {}", store.display());
    let run = on_a_store_mounted(&world, &mount, "release --store tiny app.slug");
    run.code(1).says("No space left");
}

#[test]
fn a_store_that_is_read_only() {
    let world = World::new();
    world.slug(&["release", &world.greeter("hello")]).ok();
    let store = world.store().display().to_string();
    let mount = format!("--bind {store} {store} && mount -o remount,bind,ro {store}");
    on_a_store_mounted(&world, &mount, "config set A=1")
        .code(1)
        .says("Read-only");
    assert_eq!(
        world.slug(&["releases", "--json"]).json()["releases"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
