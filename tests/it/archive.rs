//! What `archive` writes, as programs see it that slug's authors did not write:
//! skopeo, umoci and podman. And `app.slug` files as they come over bad lines.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
use serde_json::Value;
use slug::archive::{
    AppFolder, BaseNeeds, Compression, LayerKind, Modes, Slug, SlugBuildpack, SlugProcess, Tree,
    export_archive, host_target, import_archive, pack, read_image, unpack, write_image,
};
use slug::ident::Digest;
use slug::store::Store;

use crate::support::oci::Archive;
use crate::support::tools::{self, have};

/// A store, a slug of two layers in it, and its `app.slug`.
struct Place {
    folder: tempfile::TempDir,
    store: Store,
    slug: Digest,
}

impl Place {
    fn new(compression: Compression) -> Self {
        let folder = tempfile::tempdir().unwrap();
        make_app(&folder.path().join("app"));
        let root = folder.path().join("store");
        let store = Store::open(&root, &root.join("host")).unwrap();
        let packed = |to: &str, modes| {
            let tree = Tree {
                from: folder.path().join("app"),
                to: to.into(),
                modes,
            };
            pack(&store, &[tree], compression, &mut |_| {})
                .unwrap()
                .layer
        };
        let buildpack: slug::ident::BuildpackId = "slug/python".parse().unwrap();
        let kind = LayerKind::Buildpack {
            buildpack: buildpack.clone(),
            layer: "venv".parse().unwrap(),
        };
        let slug = Slug {
            layers: vec![
                (kind, packed("/layers/slug_python/venv", Modes::Kept)),
                (LayerKind::App, packed("/workspace", Modes::Normalized)),
            ],
            app: AppFolder::Workspace,
            processes: vec![SlugProcess {
                process_type: "web".parse().unwrap(),
                command: vec!["gunicorn".to_owned()],
                args: vec!["app:app".to_owned()],
                direct: true,
                working_dir: None,
                buildpack: buildpack.clone(),
                default: true,
            }],
            buildpacks: vec![SlugBuildpack {
                id: buildpack,
                version: "0.1.0".to_owned(),
                api: "0.10".to_owned(),
                homepage: None,
            }],
            target: host_target().unwrap(),
            base: BaseNeeds::default(),
            labels: BTreeMap::from([("slug.contract".to_owned(), "{}".to_owned())]),
        };
        let name = write_image(&store, &slug).unwrap();
        assert_eq!(read_image(&store, &name).unwrap(), slug);
        export_archive(&store, &name, &folder.path().join("app.slug")).unwrap();
        Self {
            folder,
            store,
            slug: name,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn archive(&self) -> String {
        format!("oci-archive:{}", self.path("app.slug").display())
    }

    /// The paths of all layers, unpacked by slug.
    fn tree(&self) -> BTreeMap<PathBuf, String> {
        let mut tree = BTreeMap::new();
        for (_, layer) in read_image(&self.store, &self.slug).unwrap().layers {
            tree.extend(listed(&unpack(&self.store, &layer, &mut |_| {}).unwrap()));
        }
        tree
    }

    /// An import into a fresh store, which stays empty when it fails.
    #[expect(
        clippy::panic_in_result_fn,
        reason = "what holds for every import is asserted in one place"
    )]
    fn import(&self, file: &Path) -> Result<Digest, String> {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path(), &root.path().join("host")).unwrap();
        let imported = import_archive(&store, file);
        let blobs = fs::read_dir(root.path().join("blobs/sha256")).map_or(0, Iterator::count);
        if let Ok(slug) = &imported {
            assert_eq!(
                read_image(&store, slug).unwrap(),
                read_image(&self.store, &self.slug).unwrap()
            );
        } else {
            assert_eq!(
                (blobs, store.slugs().unwrap().len()),
                (0, 0),
                "a refused file leaves nothing"
            );
        }
        imported.map_err(|error| error.to_string())
    }
}

/// Of the file with holes.
const SPARSE_BYTES: u64 = 64 << 20;

/// Every kind of thing that an app may hold.
fn make_app(app: &Path) {
    let file = |name: &str, content: &[u8], mode: u32| {
        let path = app.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    file("app.py", b"print('hello')\n", 0o644);
    file("bin/run", b"#!/bin/sh\n", 0o755);
    file("empty", b"", 0o644);
    file(
        "large",
        &(0..2_500_000_u32)
            .flat_map(u32::to_le_bytes)
            .collect::<Vec<_>>(),
        0o644,
    );
    file(
        &format!("{}/{}", "d".repeat(120), "f".repeat(150)),
        b"deep",
        0o644,
    );
    file("caf\u{e9}/e\u{301}", b"names", 0o644);
    file("with space\nand line", b"names", 0o644);
    fs::hard_link(app.join("bin/run"), app.join("bin/run-again")).unwrap();
    symlink("../app.py", app.join("bin/link")).unwrap();
    symlink(
        "/layers/slug_python/venv/".to_owned() + &"x".repeat(120),
        app.join("long-link"),
    )
    .unwrap();
    // A name that is no UTF-8, one as long as a name can be, and a path longer than `PATH_MAX` allows to be said at once.
    fs::write(app.join(OsStr::from_bytes(b"latin-\xe9\xff\n")), b"names").unwrap();
    file(&"n".repeat(255), b"names", 0o644);
    let deepest = vec!["p".repeat(250); 12].join("/");
    file(&format!("{deepest}/file"), b"deep", 0o644);
    // Ends in a hole, and has one in its middle.
    let sparse = fs::File::create(app.join("sparse")).unwrap();
    sparse.write_all_at(b"middle", 20 << 20).unwrap();
    sparse.set_len(SPARSE_BYTES).unwrap();
    for (name, value) in [
        ("user.mime_type", &b"text/x-python"[..]),
        ("user.any", b"\0=\n\xff"),
    ] {
        for path in ["app.py", "bin"] {
            lsetxattr(app.join(path), name, value, XattrFlags::empty()).unwrap();
        }
    }
    for path in ["", "bin"] {
        fs::set_permissions(app.join(path), Permissions::from_mode(0o755)).unwrap();
    }
}

/// Path → kind, mode, links, time, content, attributes.
fn listed(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut tree = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let (mode, time) = (metadata.permissions().mode(), metadata.mtime());
            let what = if metadata.is_dir() {
                folders.push(path.clone());
                format!("{mode:o} {time} {}", attributes(&path))
            } else if metadata.is_symlink() {
                format!(
                    "link {}",
                    fs::read_link(&path)
                        .unwrap()
                        .as_os_str()
                        .as_bytes()
                        .escape_ascii()
                )
            } else {
                format!(
                    "{mode:o} {time} {} {} {}",
                    metadata.nlink(),
                    Digest::of(&fs::read(&path).unwrap()),
                    attributes(&path)
                )
            };
            tree.insert(path.strip_prefix(root).unwrap().to_owned(), what);
        }
    }
    tree
}

/// Those of the namespace `user`.
fn attributes(path: &Path) -> String {
    let mut list = [0; 1000];
    let length = llistxattr(path, &mut list[..]).unwrap();
    let mut shown: Vec<_> = list[..length].split(|byte| *byte == 0).collect();
    shown.retain(|name| name.starts_with(b"user."));
    shown.sort_unstable();
    let one = |name: &[u8]| {
        let mut value = [0; 100];
        let length = lgetxattr(path, name, &mut value[..]).unwrap();
        format!("{}={}", name.escape_ascii(), value[..length].escape_ascii())
    };
    shown.into_iter().map(one).collect::<Vec<_>>().join(" ")
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn skopeo_reads_and_copies_what_archive_writes() {
    if !have(&["skopeo"]) {
        return;
    }
    for compression in [Compression::Zstd, Compression::Gzip] {
        let place = Place::new(compression);
        let slug = read_image(&place.store, &place.slug).unwrap();
        let inspected: Value =
            serde_json::from_str(&run("skopeo", &["inspect", &place.archive()])).unwrap();
        let layers: Vec<_> = slug
            .layers
            .iter()
            .map(|(_, layer)| layer.digest.to_string())
            .collect();
        assert_eq!(inspected["Layers"], serde_json::json!(layers));
        assert_eq!(inspected["Labels"]["slug.schema"], "1");
        let copied = place.path("copied.slug");
        let to = format!("oci-archive:{}", copied.display());
        run(
            "skopeo",
            &["--insecure-policy", "copy", &place.archive(), &to],
        );
        assert_eq!(place.import(&copied), Ok(place.slug));
    }
}

#[test]
fn umoci_unpacks_the_same_tree_from_gzip() {
    if !have(&["skopeo", "umoci"]) {
        return;
    }
    let place = Place::new(Compression::Gzip);
    let layout = format!("{}:slug", place.path("layout").display());
    run(
        "skopeo",
        &[
            "--insecure-policy",
            "copy",
            &place.archive(),
            &format!("oci:{layout}"),
        ],
    );
    let bundle = place.path("bundle");
    let rootless: &[&str] = if tools::is_root() {
        &[]
    } else {
        &["--rootless"]
    };
    run(
        "umoci",
        &[
            &["unpack", "--image", &layout],
            rootless,
            &[bundle.to_str().unwrap()],
        ]
        .concat(),
    );
    assert_eq!(listed(&bundle.join("rootfs")), place.tree());
}

#[test]
fn podman_loads_it_under_its_name_and_unpacks_the_same_tree() {
    if !have(&["podman"])
        || (!tools::is_root() && !tools::skip("podman mounts an image only for root"))
    {
        return;
    }
    let place = Place::new(Compression::Zstd);
    let [root, run_root] =
        ["podman", "podman-run"].map(|name| place.path(name).display().to_string());
    let podman = |arguments: &[&str]| {
        run(
            "podman",
            &[
                &[
                    "--root",
                    &root,
                    "--runroot",
                    &run_root,
                    "--storage-driver",
                    "vfs",
                ],
                arguments,
            ]
            .concat(),
        )
    };
    podman(&["load", "--input", place.path("app.slug").to_str().unwrap()]);
    assert_eq!(
        podman(&["images", "--quiet", "--no-trunc"]),
        place.slug.to_string()
    );
    let mounted = podman(&["image", "mount", &place.slug.hex()]);
    assert_eq!(listed(Path::new(&mounted)), place.tree());
    podman(&["image", "unmount", &place.slug.hex()]);
}

#[test]
fn tar_unpacks_the_same_tree_with_attributes() {
    if !have(&["tar", "zstd"]) {
        return;
    }
    let place = Place::new(Compression::Zstd);
    let out = place.path("tar");
    fs::create_dir(&out).unwrap();
    for (_, layer) in read_image(&place.store, &place.slug).unwrap().layers {
        let blob = place.store.blob_path(&layer.digest).display().to_string();
        let options = ["--zstd", "--xattrs", "--xattrs-include=user.*", "-C"];
        let arguments = [&options[..], &[out.to_str().unwrap(), "-xpf", &blob]].concat();
        run("tar", &arguments);
    }
    assert_eq!(listed(&out), place.tree());
}

#[test]
fn holes_take_no_room_when_they_are_unpacked() {
    let place = Place::new(Compression::Zstd);
    let (_, layer) = &read_image(&place.store, &place.slug).unwrap().layers[0];
    assert!(layer.tar_bytes > SPARSE_BYTES && layer.size_bytes < SPARSE_BYTES / 4);
    let unpacked = unpack(&place.store, layer, &mut |_| {}).unwrap();
    let sparse = unpacked
        .join("layers/slug_python/venv/sparse")
        .metadata()
        .unwrap();
    assert_eq!(sparse.len(), SPARSE_BYTES);
    assert!(
        sparse.blocks() * 512 < 1 << 20,
        "{} blocks",
        sparse.blocks()
    );
}

/// 9 GiB: more than the eleven octal digits of a header can say, and than 32 bits. All of it a hole but its ends.
#[test]
#[ignore = "hashes 18 GiB: half a minute of a processor"]
fn a_file_of_nine_gib_comes_back_in_little_memory_and_no_room() {
    let size = 9_u64 << 30;
    let folder = tempfile::tempdir().unwrap();
    let from = fs::File::create(folder.path().join("large")).unwrap();
    from.write_all_at(b"end", size - 3).unwrap();
    from.write_all_at(b"begin", 0).unwrap();
    let root = folder.path().join("store");
    let store = Store::open(&root, &root.join("host")).unwrap();
    let tree = Tree {
        from: folder.path().join("large"),
        to: "/layers/a/b/large".into(),
        modes: Modes::Kept,
    };
    let layer = pack(&store, &[tree], Compression::Zstd, &mut |_| {})
        .unwrap()
        .layer;
    assert!(layer.size_bytes < 4 << 20, "{} bytes", layer.size_bytes);
    let blob = store.blob_path(&layer.digest).display().to_string();
    let listing = run("tar", &["--zstd", "-tvf", &blob]);
    assert!(
        listing.contains(&format!(" {size} 1980-01-01")),
        "{listing}"
    );
    let unpacked = unpack(&store, &layer, &mut |_| {})
        .unwrap()
        .join("layers/a/b/large");
    let found = unpacked.metadata().unwrap();
    assert_eq!(found.len(), size);
    assert!(found.blocks() * 512 < 1 << 20, "{} blocks", found.blocks());
    let mut end = [0; 4];
    fs::File::open(&unpacked)
        .unwrap()
        .read_exact_at(&mut end, size - 4)
        .unwrap();
    assert_eq!(&end, b"\0end");
}

#[test]
fn an_export_is_the_same_file_each_time_and_replaces_nothing_when_it_fails() {
    let place = Place::new(Compression::Zstd);
    let again = place.path("again.slug");
    export_archive(&place.store, &place.slug, &again).unwrap();
    assert!(fs::read(place.path("app.slug")).unwrap() == fs::read(&again).unwrap());
    let layer = read_image(&place.store, &place.slug).unwrap().layers[0]
        .1
        .clone();
    let mut blob = fs::read(place.store.blob_path(&layer.digest)).unwrap();
    blob[1000] ^= 1;
    fs::write(place.store.blob_path(&layer.digest), blob).unwrap();
    let error = export_archive(&place.store, &place.slug, &again)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(&format!("the blob {} is damaged", layer.digest)),
        "{error}"
    );
    assert!(fs::read(place.path("app.slug")).unwrap() == fs::read(&again).unwrap());
    let temporary = |entry: std::io::Result<fs::DirEntry>| {
        entry.unwrap().file_name().as_bytes().starts_with(b".tmp")
    };
    assert!(!fs::read_dir(place.folder.path()).unwrap().any(temporary));
}

#[test]
fn a_damaged_file_is_refused_by_entry_wherever_the_damage_is() {
    let place = Place::new(Compression::Zstd);
    let whole = fs::read(place.path("app.slug")).unwrap();
    assert_eq!(place.import(&place.path("app.slug")), Ok(place.slug));
    let file = place.path("damaged.slug");
    let step = whole.len() / 40;
    for at in (0..whole.len()).step_by(step) {
        fs::write(&file, &whole[..at]).unwrap();
        assert!(place.import(&file).is_err(), "cut at {at}");
        let mut flipped = whole.clone();
        flipped[at] ^= 0x40;
        fs::write(&file, &flipped).unwrap();
        let message = place.import(&file).expect_err("one bit is another");
        assert!(message.starts_with("entry `"), "{message}");
    }
    fs::write(&file, [&whole[..], b"more"].concat()).unwrap();
    assert!(
        place
            .import(&file)
            .unwrap_err()
            .contains("data after the end")
    );
    let gzipped = [b"\x1f\x8b\x08".to_vec(), vec![1; 2000]].concat();
    fs::write(&file, gzipped).unwrap();
    assert!(
        place
            .import(&file)
            .unwrap_err()
            .contains("its header's checksum is wrong")
    );
}

#[test]
fn a_config_that_says_other_than_slug_would_is_refused() {
    let place = Place::new(Compression::Zstd);
    let check = |change: fn(&mut Value), expected: &str| {
        let mut archive = Archive::read(&place.path("app.slug"));
        archive.change_config(change);
        let file = place.path("changed.slug");
        archive.write(&file);
        let message = place.import(&file).unwrap_err();
        assert!(
            message.contains(expected),
            "`{message}` should say `{expected}`"
        );
    };
    check(
        |config| config["config"]["Labels"]["slug.schema"] = "2".into(),
        "its schema is `2`, and this slug reads 1",
    );
    check(
        |config| config["config"]["Labels"] = Value::Null,
        "it is an image but no slug",
    );
    check(
        |config| config["config"]["User"] = "root".into(),
        "unknown field `User`",
    );
    check(
        |config| config["config"]["WorkingDir"] = "/etc".into(),
        "its app is at `/etc`, where no slug has it",
    );
    check(
        |config| config["config"]["WorkingDir"] = "/app".into(),
        "it is not written as slug writes it",
    );
    check(
        |config| config["created"] = "2026-01-01T00:00:00Z".into(),
        "it is not written as slug writes it",
    );
    check(
        |config| config["rootfs"]["diff_ids"] = Value::Array(Vec::new()),
        "it has 2 layers, 0 digests of layers",
    );
    check(
        |config| config["config"]["Labels"]["slug.base"] = "{}".into(),
        "the label `slug.base`",
    );
    check(
        |config| config["config"]["Labels"]["slug.layers"] = "[".into(),
        "the label `slug.layers`: EOF",
    );
    check(
        |config| config["config"]["Labels"]["other"] = 7.into(),
        "invalid type",
    );
}
