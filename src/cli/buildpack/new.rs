//! `slug buildpack new`: a buildpack that passes its own tests.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;
use slug::ident::BuildpackId;
use slug::sys::At as _;
use slug::sys::fs::write_unsynced;

use super::args::{Language, New};
use crate::cli::report::Failure;
use crate::cli::settings::Settings;

/// A file of the skeleton: where it goes, its text, whether it is a program.
type File = (&'static str, &'static str, bool);

const SHELL: &[File] = &[
    (
        "buildpack.toml",
        include_str!("skeleton/shell/buildpack.toml"),
        false,
    ),
    ("bin/detect", include_str!("skeleton/shell/detect"), true),
    ("bin/build", include_str!("skeleton/shell/build"), true),
];

const RUST: &[File] = &[
    (
        "buildpack.toml",
        include_str!("skeleton/rust/buildpack.toml"),
        false,
    ),
    (
        "Cargo.toml",
        include_str!("skeleton/rust/Cargo.toml"),
        false,
    ),
    ("package", include_str!("skeleton/rust/package"), true),
    ("src/main.rs", include_str!("skeleton/rust/main.rs"), false),
    (".gitignore", "/bin\n/target\n", false),
];

const TESTS: &[File] = &[
    ("tests/greets/app/greeting.txt", "hello\n", false),
    (
        "tests/greets/expect.toml",
        include_str!("skeleton/greets.expect.toml"),
        false,
    ),
    (
        "tests/declines/app/README.md",
        "An app that is for other buildpacks.\n",
        false,
    ),
    (
        "tests/declines/expect.toml",
        include_str!("skeleton/declines.expect.toml"),
        false,
    ),
];

pub(crate) fn run(settings: &Settings, typed: &New) -> Result<u8, Failure> {
    if typed.id.as_str().contains('_') {
        let why = format!(
            "the id `{}` has a `_`, which the specification does not allow",
            typed.id
        );
        return Err(Failure::usage(why)
            .unchanged("nothing was written")
            .hint("use letters, digits, `.`, `/` and `-`"));
    }
    let name = name_of(&typed.id);
    let typed_dir = typed.dir.as_deref().unwrap_or(Path::new(name));
    let dir = settings.absolute(typed_dir);
    refuse_taken(&dir)?;
    let files = match typed.language {
        Language::Shell => SHELL,
        Language::Rust => RUST,
    };
    for (path, text, is_program) in files.iter().chain(TESTS) {
        write(&dir.join(path), &filled(text, &typed.id), *is_program)?;
    }
    let shown = typed_dir.display();
    settings.ui.answer(
        &json!({ "schema": 1, "id": typed.id, "buildpack": dir }),
        |_| shown.to_string(),
    )?;
    settings.ui.say(&format!(
        "bin/detect and bin/build say what to change{}\nnext: slug buildpack test {shown}",
        match typed.language {
            Language::Shell => "",
            Language::Rust => ": both are src/main.rs, and ./package makes them",
        }
    ));
    Ok(0)
}

/// The last part of the id.
fn name_of(id: &BuildpackId) -> &str {
    let id = id.as_str();
    id.rsplit_once('/').map_or(id, |(_, name)| name)
}

pub(super) fn refuse_taken(dir: &Path) -> Result<(), Failure> {
    let is_free = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if is_free {
        return Ok(());
    }
    Err(
        Failure::usage(format!("`{}` is not an empty folder", dir.display()))
            .unchanged("nothing was written")
            .hint("name another folder"),
    )
}

fn filled(text: &str, id: &BuildpackId) -> String {
    // A crate's name has no dots and begins with a letter.
    let name = name_of(id).replace('.', "-");
    let package = format!("{name}-buildpack");
    let package = if package.starts_with(|first: char| first.is_ascii_alphabetic()) {
        package
    } else {
        format!("buildpack-{name}")
    };
    text.replace("@ID@", id.as_str())
        .replace("@NAME@", name_of(id))
        .replace("@FOLDER@", &id.folder())
        .replace("@CRATE@", &package)
}

fn write(path: &Path, text: &str, is_program: bool) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).at("create the folder", folder)?;
    let mode = if is_program { 0o755 } else { 0o644 };
    write_unsynced(path, text.as_bytes(), mode)?;
    if is_program {
        // The umask does not decide whether a program is one.
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).at("set the mode of", path)?;
    }
    Ok(())
}
