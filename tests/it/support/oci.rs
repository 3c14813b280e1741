//! Tampering with an `app.slug`, as an OCI archive.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use serde_json::Value;
use slug::ident::Digest;

/// The files of an OCI archive.
pub(crate) struct Archive(BTreeMap<String, Vec<u8>>);

impl Archive {
    pub(crate) fn read(path: &Path) -> Self {
        let mut archive = tar::Archive::new(fs::File::open(path).unwrap());
        let mut files = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.header().entry_type().is_file() {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                files.insert(entry.path().unwrap().to_str().unwrap().to_owned(), bytes);
            }
        }
        Self(files)
    }

    pub(crate) fn write(&self, path: &Path) {
        let mut archive = tar::Builder::new(fs::File::create(path).unwrap());
        for (name, bytes) in &self.0 {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            archive
                .append_data(&mut header, name, bytes.as_slice())
                .unwrap();
        }
        archive.finish().unwrap();
    }

    /// Changes the image config; every digest above it is made to fit.
    pub(crate) fn change_config(&mut self, change: impl FnOnce(&mut Value)) {
        let mut index = self.json("index.json");
        let manifest_name = blob(&index["manifests"][0]["digest"]);
        let mut manifest = self.json(&manifest_name);
        let config_name = blob(&manifest["config"]["digest"]);
        let mut config = self.json(&config_name);
        change(&mut config);
        self.0.remove(&config_name);
        self.0.remove(&manifest_name);
        self.put(&config, &mut manifest["config"]);
        self.put(&manifest, &mut index["manifests"][0]);
        self.0
            .insert("index.json".to_owned(), index.to_string().into_bytes());
    }

    /// The image config.
    pub(crate) fn config(&self) -> Value {
        let manifest_name = blob(&self.json("index.json")["manifests"][0]["digest"]);
        self.json(&blob(&self.json(&manifest_name)["config"]["digest"]))
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.0[name]).unwrap()
    }

    fn put(&mut self, value: &Value, descriptor: &mut Value) {
        let bytes = value.to_string().into_bytes();
        let digest = Digest::of(&bytes).to_string();
        descriptor["size"] = bytes.len().into();
        descriptor["digest"] = digest.clone().into();
        self.0.insert(blob(&digest.into()), bytes);
    }
}

fn blob(digest: &Value) -> String {
    format!("blobs/{}", digest.as_str().unwrap().replace(':', "/"))
}
