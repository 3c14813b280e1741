//! The apps of `tests/apps`, each built once for all tests that do not build it themselves.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::Mutex;
use std::sync::OnceLock;

use crate::support::tools;
use crate::support::world::World;

/// An app of `tests/apps`, built.
pub(crate) struct Built {
    /// The file `app.slug`.
    pub(crate) archive: PathBuf,
    pub(crate) digest: String,
}

/// The app, built by the first caller; the others wait for it. All apps share one store, hence one download of
/// each artifact.
pub(crate) fn built(name: &str) -> Arc<Built> {
    type Once = Arc<OnceLock<Arc<Built>>>;
    static APPS: LazyLock<Mutex<HashMap<String, Once>>> = LazyLock::new(Mutex::default);
    let once = APPS
        .lock()
        .unwrap()
        .entry(name.to_owned())
        .or_default()
        .clone();
    once.get_or_init(|| Arc::new(build(name))).clone()
}

fn build(name: &str) -> Built {
    // Lives as long as the tests; the folder of an earlier run is removed.
    static WORLD: LazyLock<World> =
        LazyLock::new(|| World::shared(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("built")));
    let source = WORLD.real_app(name);
    // A work tree of its own: git ignores the target folder that this lies in.
    tools::done(
        Command::new("git")
            .args(["init", "--quiet"])
            .current_dir(&source),
    );
    let archive = WORLD.path(format!("{name}.slug"));
    let arguments = [
        "build",
        source.to_str().unwrap(),
        "--app",
        name,
        "-o",
        archive.to_str().unwrap(),
    ];
    let digest = WORLD.slug(&arguments).ok();
    Built { archive, digest }
}

/// Copies the app to `to`, as a developer's checkout would have it.
pub(crate) fn copy(name: &str, to: &Path) {
    copy_tree(
        &Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/apps")
            .join(name),
        to,
    );
    if name == "uv" {
        // The lock file holds the address of the index that it was made with.
        tools::done(
            Command::new(tools::uv())
                .args(["lock", "--quiet", "--no-python-downloads"])
                .current_dir(to),
        );
    }
}

pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}
