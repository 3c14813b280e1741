//! The image that a slug is, unpacked, and the SBOMs in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::world::World;

/// An unpacked `app.slug`.
pub(crate) struct Image {
    folder: PathBuf,
    manifest: Value,
    config: Value,
}

impl Image {
    /// Builds the app with the buildpack into `app.slug`, and unpacks it.
    pub(crate) fn build(world: &World, buildpack: &str) -> Self {
        let output = ["--compression", "gzip", "-o", "app.slug"];
        let arguments = [
            &["build", "--quiet", "app", "--buildpack", buildpack],
            &output[..],
        ];
        world.slug(&arguments.concat()).ok();
        let folder = world.path("image");
        let _ = fs::remove_dir_all(&folder); // an earlier one may be there
        untar(&world.path("app.slug"), &folder);
        let index = fs::read(folder.join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let mut image = Self {
            folder,
            manifest: Value::Null,
            config: Value::Null,
        };
        image.manifest = image.document(&index["manifests"][0]);
        image.config = image.document(&image.manifest["config"]);
        image
    }

    fn blob(&self, descriptor: &Value) -> PathBuf {
        let digest = descriptor["digest"].as_str().unwrap();
        let digest = digest.strip_prefix("sha256:").unwrap();
        self.folder.join("blobs/sha256").join(digest)
    }

    fn document(&self, descriptor: &Value) -> Value {
        serde_json::from_slice(&fs::read(self.blob(descriptor)).unwrap()).unwrap()
    }

    pub(crate) fn label(&self, key: &str) -> Value {
        let text = self.config["config"]["Labels"][key].as_str().unwrap();
        serde_json::from_str(text).unwrap()
    }

    /// What lies in the SBOM layer, by path below `layers/sbom`. The layer is described as lifecycle describes it.
    pub(crate) fn sboms(&self) -> Vec<(String, String)> {
        let held = self.label("slug.layers");
        let mut held = held.as_array().unwrap().iter();
        let place = held.position(|layer| layer["holds"]["kind"] == "sbom");
        let sha = place.map(|place| json!({ "sha": self.config["rootfs"]["diff_ids"][place] }));
        let metadata = self.label("io.buildpacks.lifecycle.metadata");
        assert_eq!(metadata.get("sbom"), sha.as_ref());
        let Some(place) = place else {
            return Vec::new();
        };
        let history = &self.config["history"][place]["created_by"];
        assert_eq!(history, "Software Bill-of-Materials");
        let layer = self.folder.join("sbom");
        untar(&self.blob(&self.manifest["layers"][place]), &layer);
        let mut found = Vec::new();
        texts_below(&layer.join("layers/sbom"), "", &mut found);
        found.sort();
        found
    }
}

/// Each file with its text, without the newline at its end.
fn texts_below(folder: &Path, above: &str, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{above}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            texts_below(&path, &format!("{name}/"), found);
        } else {
            let text = fs::read_to_string(&path).unwrap();
            found.push((name, text.trim_end().to_owned()));
        }
    }
}

fn untar(archive: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let mut tar = Command::new("tar");
    let status = tar.arg("-xf").arg(archive).arg("-C").arg(to).status();
    assert!(status.unwrap().success());
}
