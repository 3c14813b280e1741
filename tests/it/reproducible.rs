//! The same source is the same slug, whoever builds it; others read it as the same tree; what did not change is kept.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::run::Run;
use crate::support::tools;
use crate::support::tools::have;
use crate::support::world::World;

/// Only programs of the distribution: two users of one machine then find the same interpreters.
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

#[test]
fn two_folders_umasks_time_zones_locales_and_users_make_one_slug() {
    let mut one = World::new();
    one.set_env("PATH", SYSTEM_PATH);
    let app = system_flask(&one, "app");

    let mut other = World::unprivileged();
    for (key, value) in [
        ("PATH", SYSTEM_PATH),
        ("TZ", "Pacific/Chatham"),
        ("LC_ALL", "tr_TR.UTF-8"),
        ("LANG", "tr_TR.UTF-8"),
        ("USER", "somebody-else"),
        ("LOGNAME", "somebody-else"),
        ("PYTHONHASHSEED", "7"),
    ] {
        other.set_env(key, value);
    }
    let other_app = system_flask(&other, "some/where/else/with a space");
    shut(&other_app);

    // The strict one is root's, where there is a root: whose buildpacks run as another user.
    let first = build_under(&one, "077", &app);
    let again = build_under(&other, "002", &other_app);
    assert_eq!(again.ok(), first.ok(), "{}{}", first.story(), again.story());
}

fn build_under(world: &World, umask: &str, app: &Path) -> Run {
    let script = format!("umask {umask} && exec slug build \"$1\"");
    let path = format!("{}:{SYSTEM_PATH}", world.binary_folder().display());
    let args = ["-c", &script, "sh", app.to_str().unwrap()];
    world.program("sh", &args).env("PATH", path).run()
}

/// The Flask app, for the Python that the distribution has.
fn system_flask(world: &World, folder: &str) -> PathBuf {
    let app = world.real_app_at("flask", folder);
    let version = tools::done(std::process::Command::new("/usr/bin/python3").args([
        "-c",
        "import sys; print(f'{sys.version_info[0]}.{sys.version_info[1]}')",
    ]));
    world.write(&format!("{folder}/.python-version"), version);
    app
}

/// Nothing for group and others, as a checkout under umask 077 has it.
fn shut(path: &Path) {
    let executable = fs::metadata(path).unwrap().permissions().mode() & 0o100;
    let mode = if path.is_dir() {
        0o700
    } else {
        0o600 | executable
    };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            shut(&entry.unwrap().path());
        }
    }
}

#[test]
fn the_digest_does_not_depend_on_the_compression() {
    let world = World::new();
    let app = world.app(
        "app",
        &[
            ("Procfile", "web: sleep 1\n"),
            ("data", &"some text ".repeat(1000)),
        ],
    );
    let build = |how: &str| {
        world
            .slug(&["build", app.to_str().unwrap(), "--compression", how])
            .ok()
    };
    assert_eq!(build("zstd"), build("gzip"));
}

/// Prints each file below the folders: kind, path, exec bit, digest or target.
const LISTING: &str = r#"
import hashlib, os, stat, sys
root = sys.argv[1]
for top in sys.argv[2:]:
    for parent, folders, files in os.walk(root + top):
        folders.sort()
        for name in sorted(files + [f for f in folders if os.path.islink(os.path.join(parent, f))]):
            path = os.path.join(parent, name)
            if os.path.islink(path):
                print("link", path.removeprefix(root), os.readlink(path))
            else:
                executable = bool(os.stat(path).st_mode & stat.S_IXUSR)
                print("file", path.removeprefix(root), executable, hashlib.sha256(open(path, "rb").read()).hexdigest())
        for name in folders:
            print("folder", os.path.join(parent, name).removeprefix(root))
"#;

/// The tree that a process of the current release sees.
fn tree_inside(world: &World) -> String {
    let arguments = [
        "run",
        "--",
        "/usr/bin/python3",
        "-c",
        LISTING,
        "",
        "/workspace",
        "/layers",
    ];
    let tree = world.slug(&arguments).ok();
    assert!(tree.lines().count() > 100, "{tree}");
    tree
}

fn tree_at(world: &World, root: &Path) -> String {
    let arguments = [
        "-c",
        LISTING,
        root.to_str().unwrap(),
        "/workspace",
        "/layers",
    ];
    world.program("/usr/bin/python3", &arguments).run().ok()
}

#[track_caller]
fn same_tree(ours: &str, theirs: &str) {
    let lines = |tree: &str| -> BTreeSet<String> { tree.lines().map(str::to_owned).collect() };
    let (ours, theirs) = (lines(ours), lines(theirs));
    let differ: Vec<_> = ours.symmetric_difference(&theirs).take(10).collect();
    assert!(differ.is_empty(), "{differ:#?}");
}

#[test]
fn skopeo_copies_a_slug_and_finds_its_layers() {
    if !have(&["skopeo"]) {
        return;
    }
    let world = World::new();
    let file = world.slug_file("plain");
    let archive = format!("oci-archive:{}", file.display());
    let inspected: Value = world.program("skopeo", &["inspect", &archive]).run().json();
    assert_eq!(
        (&inspected["Os"], &inspected["Architecture"]),
        (&"linux".into(), &architecture().into())
    );
    let config: Value = world
        .program("skopeo", &["inspect", "--config", &archive])
        .run()
        .json();
    assert_eq!(
        config["rootfs"]["diff_ids"].as_array().unwrap().len(),
        inspected["Layers"].as_array().unwrap().len()
    );
    let to = format!("oci:{}:plain", world.path("copied").display());
    world
        .program("skopeo", &["--insecure-policy", "copy", &archive, &to])
        .run()
        .ok();
}

fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    }
}

#[test]
fn podman_loads_a_slug_and_unpacks_the_same_tree() {
    if !have(&["podman"])
        || (!tools::is_root() && !tools::skip("podman mounts an image only for root"))
    {
        return;
    }
    let world = World::new();
    let file = world.slug_file("plain");
    world.slug(&["release", file.to_str().unwrap()]).ok();
    let (root, run_root) = (world.path("podman"), world.path("podman-run"));
    let podman = |arguments: &[&str]| {
        let own = [
            "--root",
            root.to_str().unwrap(),
            "--runroot",
            run_root.to_str().unwrap(),
            "--storage-driver",
            "vfs",
        ];
        world
            .program("podman", &[&own, arguments].concat())
            .run()
            .ok()
    };
    podman(&["load", "--input", file.to_str().unwrap()]);
    let image = podman(&["images", "--quiet", "--no-trunc"]);
    let digest = world.slug(&["inspect", "--json"]).json()["slug"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        image, digest,
        "what podman shows as the image's id is the slug's name"
    );
    let mounted = podman(&["image", "mount", &image]);
    same_tree(&tree_inside(&world), &tree_at(&world, Path::new(&mounted)));
    podman(&["image", "unmount", &image]);
}

#[test]
fn umoci_unpacks_a_gzip_slug_to_the_same_tree() {
    if !have(&["skopeo", "umoci"]) {
        return;
    }
    let world = World::new();
    let app = world.real_app("plain");
    let file = world.path("app.slug");
    let build = [
        "build",
        app.to_str().unwrap(),
        "--compression",
        "gzip",
        "-o",
        file.to_str().unwrap(),
    ];
    let digest = world.slug(&build).ok();
    world.slug(&["release", &digest]).ok();
    let layout = world.path("layout");
    let to = format!("oci:{}:app", layout.display());
    let archive = format!("oci-archive:{}", file.display());
    world
        .program("skopeo", &["--insecure-policy", "copy", &archive, &to])
        .run()
        .ok();
    let bundle = world.path("bundle");
    let image = format!("{}:app", layout.display());
    let rootless: &[&str] = if tools::is_root() {
        &[]
    } else {
        &["--rootless"]
    };
    let unpack = [
        &["unpack", "--image", &image],
        rootless,
        &[bundle.to_str().unwrap()],
    ]
    .concat();
    world.program("umoci", &unpack).run().ok();
    same_tree(
        &tree_inside(&world),
        &tree_at(&world, &bundle.join("rootfs")),
    );
}

/// Every blob of the store, with what changes when a file is written anew.
fn blobs(world: &World) -> BTreeSet<(PathBuf, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let all = fs::read_dir(world.store().join("blobs/sha256")).unwrap();
    all.map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::metadata(path).unwrap().ino()))
        .collect()
}

/// The layers of a slug: what each holds, and its digest.
fn layers(world: &World, slug: &str) -> Vec<(String, String)> {
    let inspected = world.slug(&["inspect", slug, "--json"]).json();
    let layer = |layer: &Value| {
        (
            layer["holds"].to_string(),
            layer["layer"]["diff_id"].to_string(),
        )
    };
    inspected["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(layer)
        .collect()
}

#[test]
fn a_rebuild_without_a_change_touches_no_network_and_writes_no_blob() {
    let world = World::new();
    let app = world.real_app("flask");
    let digest = world.slug(&["build", app.to_str().unwrap()]).ok();
    let before = blobs(&world);
    // In a network namespace in which there is nothing to reach.
    let alone: &[&str] = if tools::is_root() {
        &["--net"]
    } else {
        &["--map-current-user", "--net"]
    };
    let again = world
        .program(
            "unshare",
            &[alone, &["slug", "build", app.to_str().unwrap()]].concat(),
        )
        .run();
    assert_eq!(again.ok(), digest, "{}", again.story());
    assert_eq!(blobs(&world), before, "{}", again.story());
}

#[test]
fn a_change_of_one_line_makes_the_app_layer_anew_and_no_other() {
    let world = World::new();
    let app = world.real_app("flask");
    let old = world.slug(&["build", app.to_str().unwrap()]).ok();
    let code = app.join("app.py");
    let text = fs::read_to_string(&code).unwrap();
    fs::write(&code, text.replace("'Hello'", "'Good morning'")).unwrap();
    let new = world.slug(&["build", app.to_str().unwrap()]).ok();
    assert_ne!(new, old);
    let (old, new) = (layers(&world, &old), layers(&world, &new));
    let changed: Vec<_> = old
        .iter()
        .zip(&new)
        .filter(|(old, new)| old != new)
        .collect();
    assert_eq!((old.len(), changed.len()), (new.len(), 1), "{changed:?}");
    assert!(changed[0].0.0.to_lowercase().contains("app"), "{changed:?}");
}

#[test]
fn a_source_in_git_is_what_git_tracks_or_would() {
    let world = World::new();
    let app = world.app(
        "app",
        &[
            ("Procfile", "web: sleep 1\n"),
            (".gitignore", "ignored\n"),
            ("tracked", "1"),
        ],
    );
    world.write("app/ignored", "no part");
    world.write("app/untracked", "part");
    world
        .program("git", &["init", "--quiet"])
        .dir(&app)
        .run()
        .ok();
    world
        .program("git", &["add", "Procfile", "tracked", ".gitignore"])
        .dir(&app)
        .run()
        .ok();
    let digest = world.slug(&["build", app.to_str().unwrap()]).ok();
    world.slug(&["release", &digest]).ok();
    let listed = world.slug(&["run", "--", "ls", "-A", "/workspace"]).ok();
    assert_eq!(
        listed.split_whitespace().collect::<Vec<_>>(),
        [".gitignore", "Procfile", "tracked", "untracked"]
    );
}
