//! Where buildpacks come from, and which are tried.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use slug::ident::Digest;

use crate::support::buildpack::{TAKE_ALL, build_app, builders, buildpack, says, world_with_app};
use crate::support::package::{cnb, composite, files, gzip, layout, layout_with, tar, tar_of};

#[test]
fn a_buildpack_may_be_a_folder_an_archive_or_an_image_layout() {
    let world = world_with_app();
    says(&world, "folder");
    world.write("one.tgz", gzip(&tar_of(&files("./", "tgz"))));
    world.write("two.tar.gz", gzip(&tar_of(&files("forge-1.2/", "forge"))));
    world.write("three.tar", tar_of(&files("", "plain")));
    let layer = tar_of(&files("/cnb/buildpacks/test_image/1.0.0/", "image"));
    layout(&world, "layout", "test/image", "1.0.0", &[layer]);
    cnb(&world, "layout", "four.cnb");
    let url = format!("file://{}", world.path("four.cnb").display());
    for (reference, name) in [
        ("folder", "folder"),
        ("one.tgz", "tgz"),
        ("two.tar.gz", "forge"),
        ("three.tar", "plain"),
        ("layout", "image"),
        ("four.cnb", "image"),
        (&url, "image"),
    ] {
        for _ in ["unpacked", "kept"] {
            assert_eq!(
                builders(&build_app(&world, &["--buildpack", reference])),
                name
            );
        }
    }
}

#[test]
fn a_package_brings_all_its_buildpacks_and_is_the_one_that_its_label_names() {
    let world = world_with_app();
    let parts = [
        tar_of(&files("cnb/buildpacks/test_a/1.0.0/", "a")),
        tar_of(&files("/cnb/buildpacks/test_b/1.0.0/", "b")),
        tar_of(&composite("/cnb/buildpacks/test_all/2/", &["b", "a"])),
    ];
    layout(&world, "layout", "test/all", "2", &parts);
    assert_eq!(
        builders(&build_app(&world, &["--buildpack", "layout"])),
        "b a"
    );
    layout(&world, "other", "test/none", "2", &parts);
    build_app(&world, &["--buildpack", "other"])
        .code(2)
        .says("its label names `test/none@2`, and it does not hold that");
}

#[test]
fn a_package_is_checked_by_its_digests_and_kept_whole_or_not_at_all() {
    let world = world_with_app();
    let layer = tar_of(&files("/cnb/buildpacks/test_a/1.0.0/", "a"));
    layout(
        &world,
        "layout",
        "test/a",
        "1.0.0",
        std::slice::from_ref(&layer),
    );
    let blob = world.path(format!(
        "layout/blobs/sha256/{}",
        Digest::of(&gzip(&layer)).hex()
    ));
    let mut bytes = fs::read(&blob).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&blob, bytes).unwrap();
    build_app(&world, &["--buildpack", "layout"])
        .code(3)
        .says("the buildpack `")
        .says("is damaged");
    fs::remove_file(&blob).unwrap();
    let pipe = Command::new("mkfifo").arg(&blob).status().unwrap();
    assert!(pipe.success());
    build_app(&world, &["--buildpack", "layout"])
        .code(3)
        .says("not a regular file");
    fs::remove_file(&blob).unwrap();
    layout(&world, "layout", "test/a", "1.0.0", &[layer]);
    assert_eq!(
        builders(&build_app(&world, &["--buildpack", "layout"])),
        "a"
    );
}

#[test]
fn an_image_without_a_buildpack_and_an_archive_of_something_else_are_refused() {
    let world = world_with_app();
    let elsewhere = tar(&[("etc/passwd", 0o644, "root")]);
    layout(&world, "elsewhere", "test/a", "1", &[elsewhere]);
    layout_with(&world, "unlabelled", &serde_json::json!({}), &[]);
    world.write("text.tgz", "no archive");
    world.write("empty.tgz", gzip(&tar(&[("README", 0o644, "x")])));
    for (reference, code, expected) in [
        ("elsewhere", 3, "it does not lie below /cnb/buildpacks"),
        ("unlabelled", 3, "it is no buildpackage"),
        ("text.tgz", 3, "the buildpack `"),
        ("empty.tgz", 2, "it has no buildpack.toml"),
        ("app", 2, "it has no buildpack.toml"),
        ("none", 2, "is neither a folder or an archive"),
        ("docker://example.org/a", 2, "slug does not pull images"),
        ("urn:cnb:registry:a/b", 2, "slug does not pull images"),
        ("a/b@1", 1, "the buildpack `a/b@1` is not there"),
    ] {
        build_app(&world, &["--buildpack", reference])
            .code(code)
            .says(expected);
    }
}

#[test]
fn a_hostile_archive_leaves_nothing() {
    let world = world_with_app();
    world.write("canary", "alive");
    for (id, name, text, expected) in [
        ("traversal", "../../../canary", "dead", "goes up by `..`"),
        (
            "link",
            "bin/detect",
            "-> /usr/bin/true",
            "leads out of the archive",
        ),
        (
            "climbs",
            "bin/x",
            "-> ../../../../canary",
            "leads out of the archive",
        ),
        ("twice", "buildpack.toml", "x", "its name is there already"),
    ] {
        let mut all = files("", "hostile");
        all.retain(|(file, ..)| id != "link" || file != name);
        all.push((name.to_owned(), 0o644, text.to_owned()));
        world.write("hostile.tgz", gzip(&tar_of(&all)));
        build_app(&world, &["--buildpack", "hostile.tgz"])
            .code(3)
            .says(expected);
    }
    assert_eq!(fs::read_to_string(world.path("canary")).unwrap(), "alive");
    let kept = fs::read_dir(world.path("store/host/cache/buildpacks"))
        .or_else(|_| fs::read_dir(world.path("store/cache/buildpacks")));
    let left: Vec<_> = kept
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".lock")
        .collect();
    assert_eq!(left.len(), 1, "the built-ins alone: {left:?}");
}

/// Answers so many requests with these bytes.
fn serve(bytes: Vec<u8>, requests: usize) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        for _ in 0..requests {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                bytes.len()
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&bytes).unwrap();
        }
    });
    (format!("http://{address}/buildpack.tgz"), server)
}

#[test]
fn an_archive_of_a_url_is_fetched_once_and_must_have_its_digest() {
    let world = world_with_app();
    let archive = gzip(&tar_of(&files("", "fetched")));
    let digest = Digest::of(&archive).hex();
    let (url, server) = serve(archive, 2);
    let wrong = format!("{url}#sha256={}", "0".repeat(64));
    build_app(&world, &["--buildpack", &wrong])
        .code(69)
        .says("its digest is sha256:");
    let right = format!("{url}#sha256={digest}");
    assert_eq!(
        builders(&build_app(&world, &["--buildpack", &right])),
        "fetched"
    );
    server.join().unwrap();
    let report = build_app(&world, &["--json", "--buildpack", &right]).json();
    let from = report["built"]["buildpacks"][0]["from"].as_str();
    assert_eq!(from, Some(right.as_str()));
    for more in [None, Some("--offline")] {
        let arguments: Vec<&str> = ["--buildpack", &right].into_iter().chain(more).collect();
        assert_eq!(builders(&build_app(&world, &arguments)), "fetched");
    }
    build_app(&world, &["--buildpack", &url])
        .code(2)
        .says("has no digest (expected `");
}

#[test]
fn offline_all_that_is_missing_is_listed_before_anything_runs() {
    let world = world_with_app();
    buildpack(&world, "runs", "touch /tmp/ran; echo it ran >&2", "exit 0");
    let (one, two) = ("1".repeat(64), "2".repeat(64));
    let order = format!(
        "[[order]]\n[[order.group]]\nuri = \"runs\"\n[[order.group]]\nuri = \"https://example.org/one.tgz#sha256={one}\"\n[[order]]\n[[order.group]]\nuri = \"https://example.org/two.git#main\"\n"
    );
    world.write("order.toml", order);
    let pre = format!("https://example.org/three.cnb#sha256={two}");
    build_app(
        &world,
        &["--offline", "--order", "order.toml", "--pre", &pre],
    )
    .code(69)
    .says("one.tgz")
    .says("https://example.org/two.git#main")
    .says("three.cnb")
    .says("not asked: offline")
    .says_not("it ran");
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@b"])
        .args(["-c", "init.defaultBranch=main", "-C"])
        .arg(folder)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_buildpack_of_a_git_repository_is_a_commit_and_offline_what_it_was_last() {
    let world = world_with_app();
    says(&world, "pack.git");
    world.write("pack.git/.gitattributes", "bin export-ignore\n");
    let repository = world.path("pack.git");
    git(&repository, &["init", "-q"]);
    git(&repository, &["add", "."]);
    git(&repository, &["commit", "-qm", "one"]);
    let first = git(&repository, &["rev-parse", "HEAD"]);
    git(&repository, &["tag", "v1"]);
    let url = format!("file://{}", repository.display());
    let branch = format!("{url}#main");
    let at = |reference: &str, more: &[&str]| {
        builders(&build_app(
            &world,
            &[&["--buildpack", reference], more].concat(),
        ))
    };
    assert_eq!(at(&branch, &[]), "pack.git");
    buildpack(&world, "pack.git", TAKE_ALL, "echo second builds");
    git(&repository, &["commit", "-qam", "two"]);
    assert_eq!(at(&branch, &["--offline"]), "pack.git");
    assert_eq!(at(&branch, &[]), "second");
    assert_eq!(at(&branch, &["--offline"]), "second");
    assert_eq!(at(&url, &[]), "second");
    let report = build_app(&world, &["--json", "--buildpack", &format!("{url}#v1")]).json();
    let from = report["built"]["buildpacks"][0]["from"].as_str();
    assert_eq!(from, Some(format!("{url}#{first}").as_str()));
    assert_eq!(at(&format!("{url}#{}", &first[..10]), &[]), "pack.git");
    fs::rename(&repository, world.path("gone.git")).unwrap();
    assert_eq!(at(&format!("{url}#{first}"), &[]), "pack.git");
    build_app(&world, &["--buildpack", &branch])
        .code(69)
        .says("does not");
}

#[test]
fn rule_5_a_composite_brings_the_parts_that_its_package_names() {
    let world = world_with_app();
    says(&world, "parts/a");
    world.write("parts/b.tgz", gzip(&tar_of(&files("", "b"))));
    for (name, _, text) in composite("all/", &["b", "a"]) {
        let text = text.replace("test/a\"", "test/parts/a\"");
        world.write(&name, text);
    }
    world.write(
        "all/package.toml",
        "[buildpack]\nuri = \".\"\n[[dependencies]]\nuri = \"../parts/a\"\n[[dependencies]]\nuri = \"../parts/b.tgz\"\n[[dependencies]]\nuri = \"docker://example.org/c\"\n[[dependencies]]\nuri = \"../all\"\n",
    );
    let built = build_app(&world, &["--buildpack", "all"]);
    assert_eq!(builders(&built), "b parts/a");
    built.says(
        "a part of `test/all` is left out: `docker://example.org/c` is an image of a registry",
    );
}
