//! Archives and images with buildpacks, as others make them.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use slug::ident::Digest;

use crate::support::world::World;

/// A tar with these files: `name`, mode, content. `-> target` makes a link. Names are written as they are.
pub(crate) fn tar(files: &[(&str, u32, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, mode, text) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(*mode);
        header.set_mtime(0);
        let field = &mut header.as_old_mut().name;
        field[..name.len()].copy_from_slice(name.as_bytes());
        let body = match text.strip_prefix("-> ") {
            Some(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_link_name_literal(target).unwrap();
                ""
            }
            None => text,
        };
        header.set_size(body.len() as u64);
        header.set_cksum();
        archive.append(&header, body.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The files of a buildpack of the id `test/<name>` whose build says `<name> builds`; their names begin with `prefix`.
pub(crate) fn files(prefix: &str, name: &str) -> Vec<(String, u32, String)> {
    let descriptor =
        format!("api = \"0.10\"\n[buildpack]\nid = \"test/{name}\"\nversion = \"1.0.0\"\n");
    let build = format!("#!/bin/sh\necho {name} builds\n");
    [
        ("buildpack.toml", 0o644, descriptor),
        ("bin/detect", 0o755, "#!/bin/sh\nexit 0\n".to_owned()),
        ("bin/build", 0o755, build),
    ]
    .map(|(file, mode, text)| (format!("{prefix}{file}"), mode, text))
    .to_vec()
}

/// A composite `test/all` of these, without a package.toml.
pub(crate) fn composite(prefix: &str, parts: &[&str]) -> Vec<(String, u32, String)> {
    let members = parts
        .iter()
        .map(|part| format!("[[order.group]]\nid = \"test/{part}\"\nversion = \"1.0.0\"\n"));
    let members = members.collect::<Vec<_>>().concat();
    let text = format!(
        "api = \"0.10\"\n[buildpack]\nid = \"test/all\"\nversion = \"2\"\n[[order]]\n{members}"
    );
    vec![(format!("{prefix}buildpack.toml"), 0o644, text)]
}

pub(crate) fn tar_of(files: &[(String, u32, String)]) -> Vec<u8> {
    let files: Vec<(&str, u32, &str)> = files
        .iter()
        .map(|(name, mode, text)| (name.as_str(), *mode, text.as_str()))
        .collect();
    tar(&files)
}

/// Writes a buildpackage as an image layout into the folder `to`, each tar a gzipped layer, as `pack` does it:
/// Docker's media types, absolute names, no folders.
pub(crate) fn layout(world: &World, to: &str, id: &str, version: &str, layers: &[Vec<u8>]) {
    let label = json!({ "id": id, "version": version, "stacks": [{ "id": "*" }] }).to_string();
    layout_with(
        world,
        to,
        &json!({ "io.buildpacks.buildpackage.metadata": label }),
        layers,
    );
}

pub(crate) fn layout_with(world: &World, to: &str, labels: &serde_json::Value, layers: &[Vec<u8>]) {
    let put = |bytes: &[u8], media_type: &str| {
        let digest = Digest::of(bytes);
        world.write(&format!("{to}/blobs/sha256/{}", digest.hex()), bytes);
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    };
    let diff_ids: Vec<Digest> = layers.iter().map(|tar| Digest::of(tar)).collect();
    let blobs: Vec<_> = layers
        .iter()
        .map(|tar| {
            put(
                &gzip(tar),
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            )
        })
        .collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": "1980-01-01T00:00:01Z",
        "config": { "Labels": labels }, "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = put(
        config.to_string().as_bytes(),
        "application/vnd.docker.container.image.v1+json",
    );
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": blobs });
    let manifest_type = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = put(manifest.to_string().as_bytes(), manifest_type);
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    world.write(&format!("{to}/index.json"), index.to_string());
    world.write(
        &format!("{to}/oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    );
}

/// A `.cnb`: the layout in one tar, with absolute names.
pub(crate) fn cnb(world: &World, layout: &str, to: &str) {
    let mut files = Vec::new();
    collect(&world.path(layout), "", &mut files);
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        archive.append(&header, bytes.as_slice()).unwrap();
    }
    world.write(to, archive.into_inner().unwrap());
}

fn collect(folder: &Path, name: &str, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{name}/{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            collect(&entry.path(), &name, files);
        } else {
            files.push((name, fs::read(entry.path()).unwrap()));
        }
    }
}
