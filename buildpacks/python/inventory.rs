//! What can be had by official download: `CPython` by python-build-standalone, and uv.
//! `inventory.toml` is the data; this file only reads it.

use std::str::FromStr as _;

use pep440_rs::Version;
use serde::Deserialize;

use crate::buildpack::author::Artifact;
use crate::buildpack::author::Failure;
use crate::buildpack::author::Source;
use crate::ident::Digest;

/// The inventory, for one architecture.
#[derive(Debug)]
pub(super) struct Inventory {
    /// `CPython`, newest first.
    pub(super) pythons: Vec<Official>,
    /// uv; none for an architecture that has no official build.
    pub(super) uv: Artifact,
}

/// An official build of `CPython`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Official {
    pub(super) version: Version,
    pub(super) url: String,
    pub(super) sha256: Digest,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    python_url: String,
    uv: Uv,
    python: Vec<Python>,
}

#[derive(Deserialize)]
struct Uv {
    version: String,
    source: Vec<UvSource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct UvSource {
    arch: String,
    url: Option<String>,
    purl: Option<String>,
    sha256: String,
    size_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Python {
    version: String,
    build: String,
    flavor: String,
    x86_64: String,
    aarch64: String,
}

impl Inventory {
    /// The part of the inventory for an architecture by its CNB name; an unknown one has nothing.
    pub(super) fn read(arch: &str) -> Result<Self, Failure> {
        Self::parse(include_str!("inventory.toml"), arch)
            .map_err(|why| Failure(format!("buildpacks/python/inventory.toml: {why}")))
    }

    fn parse(text: &str, arch: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let arch = match arch {
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            other => other,
        };
        let mut pythons = Vec::new();
        for python in &file.python {
            let sha256 = match arch {
                "x86_64" => &python.x86_64,
                "aarch64" => &python.aarch64,
                _ => continue,
            };
            let fields = [
                ("build", python.build.as_str()),
                ("version", &python.version),
                ("arch", arch),
                ("flavor", &python.flavor),
            ];
            let url = fields
                .iter()
                .fold(file.python_url.clone(), |url, (name, value)| {
                    url.replace(&format!("{{{name}}}"), value)
                });
            let version = Version::from_str(&python.version).map_err(|error| error.to_string())?;
            pythons.push(Official {
                version,
                url,
                sha256: digest(sha256)?,
            });
        }
        pythons.sort_by(|one, other| other.version.cmp(&one.version));
        let mut sources = Vec::new();
        for source in file
            .uv
            .source
            .into_iter()
            .filter(|source| source.arch == arch)
        {
            let purl = source
                .purl
                .map(|purl| purl.parse().map_err(|error| format!("{error}")))
                .transpose()?;
            sources.push(Source {
                url: source.url,
                purl,
                sha256: digest(&source.sha256)?,
                size_bytes: source.size_bytes,
            });
        }
        let uv = Artifact {
            name: "uv".to_owned(),
            version: file.uv.version,
            required: true,
            instead: None,
            sources,
        };
        Ok(Self { pythons, uv })
    }
}

fn digest(hex: &str) -> Result<Digest, String> {
    Digest::from_hex(hex).map_err(|error| error.to_string())
}

impl Official {
    /// What the platform shall fetch; it has to be had unless there is something else to take.
    pub(super) fn artifact(&self, instead: Option<String>) -> Artifact {
        let source = Source {
            url: Some(self.url.clone()),
            purl: None,
            sha256: self.sha256,
            size_bytes: None,
        };
        Artifact {
            name: "python".to_owned(),
            version: self.version.to_string(),
            required: instead.is_some(),
            instead,
            sources: vec![source],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inventory_is_whole_for_both_architectures() {
        for (arch, in_url) in [
            ("amd64", "x86_64-unknown-linux-gnu"),
            ("arm64", "aarch64-unknown-linux-gnu"),
        ] {
            let inventory = Inventory::read(arch).unwrap();
            assert!(inventory.pythons.len() > 70);
            assert!(
                inventory
                    .pythons
                    .is_sorted_by(|one, other| one.version > other.version),
                "one entry a version"
            );
            for python in &inventory.pythons {
                assert!(
                    python.url.contains(in_url) && !python.url.contains('{'),
                    "{}",
                    python.url
                );
            }
            assert_eq!(inventory.uv.sources.len(), 2);
        }
        assert!(Inventory::read("riscv64").unwrap().pythons.is_empty());
    }
}
