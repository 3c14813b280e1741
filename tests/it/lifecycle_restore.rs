//! `slug` as lifecycle's restorer, with the cases of lifecycle's `acceptance/restorer_test.go` that need no image (typed anew).

use std::fs;
use std::path::Path;

use crate::support::cnb::Cnb;

/// A cache of lifecycle's: each layer a tar with the names of this world, and the metadata file.
fn cache(cnb: &Cnb, layers: &[(&str, &str, &str, bool)]) {
    let mut buildpacks = serde_json::Map::new();
    for (id, layer, content, is_good) in layers {
        let folder = cnb.world.path(format!("layers/{id}/{layer}"));
        let tar = tar_of(&folder, content);
        let sha = slug::ident::Digest::of(&tar).to_string();
        let tar = if *is_good {
            tar
        } else {
            b"digest-not-match".to_vec()
        };
        cnb.write(&format!("cache/committed/{sha}.tar"), tar);
        let entry = serde_json::json!({ "sha": sha, "data": { "version": "1" }, "build": false, "launch": false, "cache": true });
        let of = buildpacks
            .entry((*id).to_owned())
            .or_insert(serde_json::json!({}));
        of[*layer] = entry;
    }
    let buildpacks: Vec<_> = buildpacks
        .into_iter()
        .map(|(key, layers)| serde_json::json!({ "key": key, "version": "v1", "layers": layers }))
        .collect();
    let metadata = serde_json::json!({ "buildpacks": buildpacks }).to_string();
    cnb.write(
        "cache/committed/io.buildpacks.lifecycle.cache.metadata",
        metadata,
    );
}

/// As lifecycle writes it: absolute names, the folders around it too.
fn tar_of(folder: &Path, content: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut around: Vec<&Path> = folder
        .ancestors()
        .filter(|path| path.parent().is_some())
        .collect();
    around.reverse();
    let mut append = |path: &Path, kind: tar::EntryType, mode: u32, body: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(body.len() as u64);
        let name = path.to_str().unwrap().as_bytes();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
        header.set_cksum();
        tar.append(&header, body).unwrap();
    };
    for path in around {
        append(path, tar::EntryType::Directory, 0o755, b"");
    }
    append(
        &folder.join("data"),
        tar::EntryType::Regular,
        0o640,
        content.as_bytes(),
    );
    tar.into_inner().unwrap()
}

fn group(cnb: &Cnb, ids: &[&str]) {
    let member =
        |id: &&str| format!("[[group]]\nid = \"{id}\"\nversion = \"v1\"\napi = \"0.10\"\n");
    cnb.write(
        "layers/group.toml",
        ids.iter().map(member).collect::<String>(),
    );
    cnb.world.give_tree(&cnb.world.path("layers"));
}

#[test]
fn without_a_cache_it_says_so() {
    let cnb = Cnb::new("0.12");
    group(&cnb, &[]);
    cnb.restore(&[])
        .code(0)
        .says("No cached data will be used, no cache specified");
    cnb.restore(&["-cache-image", "some/image"])
        .code(3)
        .says("-cache-image");
    cnb.restore(&["-cache-dir", "no-such-folder"])
        .code(1)
        .says("no-such-folder");
    fs::remove_file(cnb.world.path("layers/group.toml")).unwrap();
    cnb.restore(&[]).code(1).says("failed to read group file");
}

#[test]
fn rule_47_cached_layers_come_back_if_they_are_what_they_were() {
    let cnb = Cnb::new("0.12");
    cache(
        &cnb,
        &[
            ("cacher_buildpack", "cached-layer", "cached-data\n", true),
            ("corrupted_buildpack", "corrupted-layer", "x", false),
            (
                "unused_buildpack",
                "cached-layer",
                "unused-cached-data\n",
                true,
            ),
        ],
    );
    group(
        &cnb,
        &[
            "some-buildpack-id",
            "cacher_buildpack",
            "corrupted_buildpack",
        ],
    );
    let cache = cnb.world.path("cache");
    let restored = cnb.restore(&["-cache-dir", cache.to_str().unwrap()]);
    restored
        .code(0)
        .says("Restoring data for \"cacher_buildpack:cached-layer\" from cache");
    restored.says("Skipping restore for layer corrupted_buildpack:corrupted-layer");
    assert_eq!(
        cnb.read("layers/cacher_buildpack/cached-layer/data"),
        "cached-data\n"
    );
    // Rule 46: without types; both or neither.
    assert_eq!(
        cnb.read("layers/cacher_buildpack/cached-layer.toml"),
        "[metadata]\nversion = \"1\"\n"
    );
    assert!(!cnb.exists("layers/corrupted_buildpack/corrupted-layer"));
    assert!(!cnb.exists("layers/corrupted_buildpack/corrupted-layer.toml"));
    assert!(!cnb.exists("layers/unused_buildpack"));
}

#[test]
fn rules_38_and_46_what_the_last_image_says_comes_back() {
    let cnb = Cnb::new("0.12");
    group(&cnb, &["some-buildpack-id"]);
    let analyzed = r#"
[[metadata.buildpacks]]
key = "some-buildpack-id"
version = "1"
[metadata.buildpacks.store.metadata]
kept = "yes"
[metadata.buildpacks.layers.launch-layer]
sha = "sha256:x"
launch = true
[metadata.buildpacks.layers.launch-layer.metadata]
key = "value"
[metadata.buildpacks.layers.launch-build-layer]
launch = true
build = true
[metadata.buildpacks.layers.launch-cache-layer]
launch = true
cache = true
"#;
    cnb.write("layers/analyzed.toml", analyzed);
    let restored = cnb.restore(&[]);
    restored
        .code(0)
        .says("Restoring metadata for \"some-buildpack-id:launch-layer\"");
    assert_eq!(
        cnb.read("layers/some-buildpack-id/launch-layer.toml"),
        "[metadata]\nkey = \"value\"\n"
    );
    assert_eq!(
        cnb.read("layers/some-buildpack-id/store.toml"),
        "[metadata]\nkept = \"yes\"\n"
    );
    assert!(!cnb.exists("layers/some-buildpack-id/launch-build-layer.toml"));
    assert!(!cnb.exists("layers/some-buildpack-id/launch-cache-layer.toml"));
    fs::remove_dir_all(cnb.world.path("layers/some-buildpack-id")).unwrap();
    cnb.restore(&["-skip-layers"])
        .code(0)
        .says("Skipping buildpack layer analysis");
    assert!(!cnb.exists("layers/some-buildpack-id/launch-layer.toml"));
}

#[test]
fn a_cache_cannot_write_outside_its_layer() {
    let cnb = Cnb::new("0.12");
    let outside = cnb.world.path("layers/stolen");
    let tar = tar_of(&outside, "x");
    let sha = slug::ident::Digest::of(&tar).to_string();
    cnb.write(&format!("cache/committed/{sha}.tar"), tar);
    let layer = serde_json::json!({ "sha": sha, "data": null, "cache": true });
    let metadata = serde_json::json!({ "buildpacks": [{ "key": "a", "version": "1", "layers": { "l": layer, "../up": layer } }] });
    cnb.write(
        "cache/committed/io.buildpacks.lifecycle.cache.metadata",
        metadata.to_string(),
    );
    group(&cnb, &["a"]);
    let cache = cnb.world.path("cache");
    cnb.restore(&["-cache-dir", cache.to_str().unwrap()])
        .code(42)
        .says("does not belong");
    assert!(!cnb.exists("layers/stolen"));
}
