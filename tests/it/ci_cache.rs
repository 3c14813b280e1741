//! `--cache-dir`: the cache that a CI system carries from machine to machine.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use slug::ident::Digest;

use crate::support::buildpack::{TAKE_ALL, buildpack, layers};
use crate::support::world::World;

/// A launch layer, one for later buildpacks alone, one that each build adds to, and one that is not cached.
const CACHES: &str = r#"
    if [ ! -d "$1/deps" ]; then
        mkdir -p "$1/deps/sub"; echo 1 > "$1/deps/a"; ln "$1/deps/a" "$1/deps/hard"; ln -s a "$1/deps/link"
        chmod 640 "$1/deps/a"; chmod 700 "$1/deps/sub"
        mkdir "$1/tool"; echo tool > "$1/tool/t"; mkdir "$1/once"; echo once > "$1/once/o"; mkdir "$1/pool"
    fi
    echo "a $(cat "$1/deps/a") $(stat -c '%a %h' "$1/deps/a") $(readlink "$1/deps/link") $(stat -c %a "$1/deps/sub")"
    echo "tool $(cat "$1/tool/t") pool $(ls "$1/pool" | wc -l) store $(cat "$1/store.toml" 2>/dev/null | tr -d '\n ')"
    : > "$1/pool/$(ls "$1/pool" | wc -l)"
    printf '[types]\nlaunch = true\ncache = true\n' > "$1/deps.toml"
    printf '[types]\nbuild = true\ncache = true\n' > "$1/tool.toml"
    printf '[types]\ncache = true\n' > "$1/pool.toml"
    printf '[types]\nlaunch = true\n' > "$1/once.toml"
    printf '[metadata]\nn = 1\n' > "$1/store.toml""#;

fn as_both(test: impl Fn(&World)) {
    for world in [World::new(), World::unprivileged()] {
        world.app("app", &[("file", "one\n")]);
        buildpack(&world, "one", TAKE_ALL, CACHES);
        test(&world);
    }
}

/// Builds with the cache folder, in the store of that name: another machine each. The report, and what was said.
#[track_caller]
fn on_machine(world: &World, store: &str, cache: &str) -> (Value, String) {
    let store = world.path(store);
    let (store, cache) = (store.to_str().unwrap(), world.path(cache));
    let cache = cache.to_str().unwrap();
    let run = world.slug(&[
        "build",
        "--json",
        "app",
        "--buildpack",
        "one",
        "--store",
        store,
        "--cache-dir",
        cache,
    ]);
    (run.json()["built"].clone(), run.stderr())
}

/// Carries a folder as a CI system may: by an archive that keeps neither owners, times, links nor attributes.
fn carry(world: &World, from: &str, to: &str) {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &to);
            } else {
                fs::write(to, fs::read(entry.path()).unwrap()).unwrap();
            }
        }
    }
    copy(&world.path(from), &world.path(to));
    world.give_tree(&world.path(to));
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let all = entries.map(|path| {
        if path.is_dir() {
            files(&path)
        } else {
            vec![path]
        }
    });
    all.flatten().collect()
}

#[test]
fn another_machine_begins_with_what_the_first_one_left() {
    as_both(|world| {
        let (first, _) = on_machine(world, "store-1", "cache");
        carry(world, "cache", "carried");
        let (second, said) = on_machine(world, "store-2", "carried");
        assert!(said.contains("a 1 640 2 a 700\n"), "{said}");
        assert!(
            said.contains("tool tool pool 1 store [metadata]n=1\n"),
            "{said}"
        );
        let kept = [
            "deps: kept",
            "once: kept",
            "pool: changed (written)",
            "tool: kept",
            "app: kept",
        ];
        let mut shown = layers(&second);
        shown.sort();
        let mut expected = kept.to_vec();
        expected.sort_unstable();
        assert_eq!(shown, expected);
        assert_eq!(first["slug"], second["slug"]);
        // And a third machine has what the second one added.
        carry(world, "carried", "carried-on");
        let (_, said) = on_machine(world, "store-3", "carried-on");
        assert!(said.contains("pool 2 "), "{said}");
    });
}

#[test]
fn the_machine_that_wrote_the_folder_reads_nothing_of_it() {
    let world = World::new();
    world.app("app", &[("file", "one\n")]);
    buildpack(&world, "one", TAKE_ALL, CACHES);
    on_machine(&world, "store", "cache");
    for blob in files(&world.path("cache/blobs")) {
        fs::write(blob, "damaged").unwrap();
    }
    let (built, said) = on_machine(&world, "store", "cache");
    assert!(layers(&built).contains(&"deps: kept".to_owned()), "{said}");
    assert!(!said.contains("warning"), "{said}");
}

#[test]
fn what_is_damaged_is_said_and_made_anew() {
    let world = World::new();
    world.app("app", &[("file", "one\n")]);
    buildpack(&world, "one", TAKE_ALL, CACHES);
    let (first, _) = on_machine(&world, "store", "cache");
    let damage = |name: &str, change: &dyn Fn(&Path)| {
        carry(&world, "cache", name);
        for file in files(&world.path(name).join("blobs")) {
            change(&file);
        }
        let (built, said) = on_machine(&world, &format!("store-{name}"), name);
        assert!(
            said.contains("warning: `deps` of test/one is not taken from the cache"),
            "{said}"
        );
        assert!(said.contains("pool 0 "), "{said}");
        assert_eq!(built["slug"], first["slug"]);
        // It was written whole again.
        carry(&world, name, &format!("{name}-again"));
        let (_, said) = on_machine(
            &world,
            &format!("store-{name}-again"),
            &format!("{name}-again"),
        );
        assert!(
            !said.contains("warning") && said.contains("pool 1 "),
            "{said}"
        );
    };
    damage("truncated", &|file| {
        let bytes = fs::read(file).unwrap();
        fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
    });
    damage("flipped", &|file| {
        let mut bytes = fs::read(file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file, bytes).unwrap();
    });
    damage("partial", &|file| fs::remove_file(file).unwrap());

    for (name, text) in [
        ("empty", ""),
        ("changed", "{\"schema\":1}"),
        ("newer", "{\"schema\":2}"),
    ] {
        carry(&world, "cache", name);
        let manifest = files(&world.path(name).join("apps")).remove(0);
        fs::write(&manifest, text).unwrap();
        let (_, said) = on_machine(&world, &format!("store-{name}"), name);
        assert!(
            said.contains("is not used") && said.contains("pool 0 "),
            "{said}"
        );
    }
    // A field that says something else than what was written.
    carry(&world, "cache", "edited");
    let manifest = files(&world.path("edited/apps")).remove(0);
    let text = fs::read_to_string(&manifest)
        .unwrap()
        .replace("n = 1", "n = 2");
    fs::write(&manifest, text).unwrap();
    let (_, said) = on_machine(&world, "store-edited", "edited");
    assert!(
        said.contains("it is damaged") && said.contains("pool 0 "),
        "{said}"
    );
}

/// Changes the manifest of the cache folder as somebody does who may write it: its own digest is made to fit.
fn forge(world: &World, cache: &str, change: impl FnOnce(&mut Value)) {
    let path = files(&world.path(cache).join("apps")).remove(0);
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest["cache"]);
    let digest = Digest::of(manifest["cache"].to_string().as_bytes());
    manifest["digest"] = digest.to_string().into();
    fs::write(&path, manifest.to_string()).unwrap();
}

/// What somebody makes of what is carried.
type Forgery<'a> = &'a dyn Fn(&mut Value);

#[test]
fn a_forged_manifest_leads_to_no_folder_of_the_host() {
    as_both(|world| {
        let (first, _) = on_machine(world, "store", "cache");
        let victim = world.write("victim/deps/a", "precious");
        let owner = |path: &Path| fs::metadata(path).unwrap().uid();
        let owned_by = owner(&victim);
        let up = "/..".repeat(32);
        let outside = format!("{up}{}", world.path("victim").display());
        let forgeries: [(&str, Forgery); 3] = [
            ("place", &|cache| {
                for content in cache["contents"].as_array_mut().unwrap() {
                    content["at"] = format!("{outside}/deps").into();
                }
            }),
            ("roots", &|cache| {
                cache["contents"] = Value::Array(Vec::new());
                cache["state"]["buildpacks"]["test/one"]["layers"]["deps"]["roots"] =
                    vec![outside.trim_start_matches('/')].into();
            }),
            ("sboms", &|cache| {
                cache["contents"] = Value::Array(Vec::new());
                cache["state"]["buildpacks"]["test/one"]["sboms"] = outside.as_str().into();
            }),
        ];
        for (name, forgery) in forgeries {
            carry(world, "cache", name);
            forge(world, name, forgery);
            let (built, said) = on_machine(world, &format!("store-{name}"), name);
            assert!(said.contains("pool 0 "), "{name}: {said}");
            assert_eq!(built["slug"], first["slug"], "{name}");
            assert_eq!(fs::read_to_string(&victim).unwrap(), "precious", "{name}");
            assert_eq!(owner(&victim), owned_by, "{name}");
        }
    });
}

#[test]
fn the_folder_does_not_grow_with_each_build() {
    let world = World::new();
    world.app("app", &[("file", "one\n")]);
    buildpack(&world, "one", TAKE_ALL, CACHES);
    let counts: Vec<usize> = (0..4)
        .map(|_| {
            on_machine(&world, "store", "cache");
            files(&world.path("cache")).len()
        })
        .collect();
    assert_eq!(counts, [counts[0]; 4]);
}

#[test]
fn a_folder_that_cannot_be_written_costs_the_cache_and_not_the_slug() {
    let world = World::new();
    world.app("app", &[("file", "one\n")]);
    buildpack(&world, "one", TAKE_ALL, CACHES);
    world.write("cache/apps", "a file stands in the way");
    let (built, said) = on_machine(&world, "store", "cache");
    assert!(
        built["slug"].is_string() && said.contains("warning: the cache folder"),
        "{said}"
    );
}

#[test]
fn what_is_no_file_in_the_folder_is_said_and_waited_for_by_nobody() {
    as_both(|world| {
        on_machine(world, "first", "cache");
        for (name, place) in [("m", "apps"), ("b", "blobs/sha256")] {
            carry(world, "cache", name);
            for path in files(&world.path(name).join(place)) {
                fs::remove_file(&path).unwrap();
                let mode = rustix::fs::Mode::from_raw_mode(0o666);
                rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)
                    .unwrap();
            }
            world.give_tree(&world.path(name));
            let (_, said) = on_machine(world, &format!("of-{name}"), name);
            assert!(said.contains("not a regular file"), "{said}");
        }
    });
}
