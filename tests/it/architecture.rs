//! Who may use whom.

use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the rooms that it may use. A room without a line fails.
const MAY_USE: &[(&str, &[&str])] = &[
    ("ident", &[]),
    ("sys", &["ident"]),
    ("logs", &["ident", "sys"]),
    ("grammar", &["ident"]),
    ("export", &["ident"]),
    ("layer", &["ident", "sys"]),
    ("buildpack", &["ident", "sys", "logs", "layer"]),
    ("store", &["ident", "sys"]),
    ("archive", &["ident", "sys", "layer", "buildpack", "store"]),
    (
        "build",
        &[
            "ident",
            "sys",
            "logs",
            "layer",
            "buildpack",
            "store",
            "archive",
        ],
    ),
    (
        "workshop",
        &["ident", "sys", "layer", "buildpack", "store", "build"],
    ),
    (
        "lifecycle",
        &["ident", "sys", "layer", "buildpack", "archive"],
    ),
    (
        "release",
        &[
            "ident",
            "sys",
            "logs",
            "layer",
            "buildpack",
            "store",
            "archive",
        ],
    ),
    (
        "run",
        &[
            "ident",
            "sys",
            "logs",
            "layer",
            "buildpack",
            "store",
            "archive",
            "release",
        ],
    ),
    ("router", &["ident", "sys", "logs"]),
    ("buildpacks", &["ident", "grammar", "layer", "buildpack"]),
];

/// No room, and not in the program: what the tests of every room may use.
const OF_TESTS: &str = "fuzz";

#[test]
fn a_room_uses_only_the_rooms_below_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut rooms: Vec<(String, PathBuf)> = folders(&root.join("src"));
    rooms.retain(|(name, _)| name != "cli"); // the compiler holds the wall: `cli` is another crate
    rooms.push(("buildpacks".to_owned(), root.join("buildpacks")));
    let mut wrong = Vec::new();
    for (room, folder) in &rooms {
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| name == room) else {
            wrong.push(format!("the room `{room}` has no line in MAY_USE"));
            continue;
        };
        for file in rust_files(folder) {
            wrong.extend(wrong_uses(&file, room, allowed));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn wrong_uses(file: &Path, room: &str, allowed: &[&str]) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let mut wrong = Vec::new();
    let name = file.display();
    for slipping in ["use crate::{", "super::super::"] {
        if text.contains(slipping) {
            wrong.push(format!(
                "{name}: `{slipping}` hides what is used: one item or module a line"
            ));
        }
    }
    for (at, _) in text.match_indices("crate::") {
        let used = text[at + 7..]
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
            .unwrap();
        if used != room && used != OF_TESTS && !allowed.contains(&used) {
            wrong.push(format!("{name}: `{room}` must not use `{used}`"));
        }
    }
    wrong
}

fn folders(parent: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(parent)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.is_dir())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path))
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
