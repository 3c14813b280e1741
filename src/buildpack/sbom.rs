//! SBOM files that a build leaves beside its layers, and where the platform lays
//! them (Buildpack API, "Software-Bill-of-Materials"; rules 31, 39 and 50).
//! Their content is the buildpack's: nothing here reads it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::descriptor::Descriptor;
use crate::ident::{BuildpackId, LayerName};
use crate::layer::LayerTypes;
use crate::sys::fs::read_plain;
use crate::sys::{At as _, PathError};

/// The largest SBOM that is taken, in bytes.
pub const SBOM_BYTES_MAX: u64 = 64 << 20;

/// What an SBOM is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SbomFormat {
    /// `cdx`.
    CycloneDx,
    /// `spdx`.
    Spdx,
    /// `syft`.
    Syft,
}

/// What an SBOM describes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SbomSubject {
    /// `launch.sbom.…`: the app, beside its layers.
    Launch,
    /// `build.sbom.…`: what the build used, beside its layers.
    Build,
    /// `<layer>.sbom.…`.
    Layer(LayerName),
}

/// Where an SBOM is laid: `<layers>/sbom/<scope>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SbomScope {
    /// What is in the app's image.
    Launch,
    /// What the build used alone.
    Build,
    /// What the next build finds again.
    Cache,
}

/// One SBOM file of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sbom {
    /// In the buildpack's layers folder.
    pub file: PathBuf,
    /// What it describes.
    pub subject: SbomSubject,
    /// What it is written in.
    pub format: SbomFormat,
    /// Where it is laid: one place, and another if its layer is cached.
    pub scopes: Vec<SbomScope>,
}

/// The SBOMs of a build, and what its author should know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSboms {
    /// Sorted by file name.
    pub sboms: Vec<Sbom>,
    /// What was ignored.
    pub warnings: Vec<String>,
}

/// Why an SBOM cannot be taken.
#[derive(Debug, Error)]
pub enum SbomError {
    /// Its folder cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Its name ends in none of the known extensions.
    #[error("`{}` is no SBOM of a known format (expected `.sbom.cdx.json`, `.sbom.spdx.json` or `.sbom.syft.json`)", .0.display())]
    Extension(PathBuf),
    /// The buildpack does not say that it writes such ones.
    #[error("`{}` is of the type `{format}`, which `sbom-formats` in the buildpack.toml of `{buildpack}` does not list", file.display())]
    Undeclared {
        /// The file.
        file: PathBuf,
        /// Its type.
        format: SbomFormat,
        /// Whose.
        buildpack: BuildpackId,
    },
}

impl SbomError {
    /// The same, of a file that its buildpack knows by another path: below `inside` instead of below `host`.
    #[must_use]
    pub fn seen_at(self, host: &Path, inside: &Path) -> Self {
        let moved = |file: PathBuf| match file.strip_prefix(host) {
            Ok(below) => inside.join(below),
            Err(_) => file,
        };
        match self {
            Self::Path(error) => Self::Path(error.seen_at(host, inside)),
            Self::Extension(file) => Self::Extension(moved(file)),
            Self::Undeclared {
                file,
                format,
                buildpack,
            } => Self::Undeclared {
                file: moved(file),
                format,
                buildpack,
            },
        }
    }
}

impl SbomFormat {
    const ALL: [Self; 3] = [Self::CycloneDx, Self::Spdx, Self::Syft];

    /// As `sbom-formats` writes it.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::CycloneDx => "application/vnd.cyclonedx+json",
            Self::Spdx => "application/spdx+json",
            Self::Syft => "application/vnd.syft+json",
        }
    }

    /// The name of the file where it is laid.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::CycloneDx => "sbom.cdx.json",
            Self::Spdx => "sbom.spdx.json",
            Self::Syft => "sbom.syft.json",
        }
    }

    /// Does the descriptor list it? Parameters of a media type (`;version=1.4`) do not matter.
    fn is_declared_by(self, descriptor: &Descriptor) -> bool {
        let mut declared = descriptor.sbom_formats.iter();
        declared.any(|declared| {
            let essence = declared.split(';').next().unwrap_or_default();
            essence.trim().eq_ignore_ascii_case(self.media_type())
        })
    }
}

impl fmt::Display for SbomFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.media_type())
    }
}

impl SbomScope {
    /// The name of its folder.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Build => "build",
            Self::Cache => "cache",
        }
    }
}

impl Sbom {
    /// Its place below `<layers>/sbom/<scope>`: `<escaped id>[/<layer>]/sbom.cdx.json`.
    pub fn place(&self, buildpack: &BuildpackId) -> PathBuf {
        let mut place = PathBuf::from(buildpack.folder());
        if let SbomSubject::Layer(layer) = &self.subject {
            place.push(layer.as_str());
        }
        place.join(self.format.file_name())
    }

    /// Its bytes: a plain file of at most [`SBOM_BYTES_MAX`], no link.
    pub fn read(&self) -> Result<Vec<u8>, PathError> {
        Ok(read_plain(&self.file, SBOM_BYTES_MAX)?.unwrap_or_default())
    }
}

/// Does a build's layers folder hold SBOM files? Then its legacy `bom` arrays are its author's way from the old to the new.
pub fn has_files(folder: &Path) -> Result<bool, PathError> {
    Ok(!sbom_files(folder)?.is_empty())
}

/// The SBOM files of a build. `layers` are those that have a `<layer>.toml`; a file beside no layer is ignored, as lifecycle does.
pub fn read(
    folder: &Path,
    buildpack: &Descriptor,
    layers: &BTreeMap<LayerName, LayerTypes>,
) -> Result<ReadSboms, SbomError> {
    let mut read = ReadSboms::default();
    for name in sbom_files(folder)? {
        let file = folder.join(&name);
        let text = name.to_string_lossy();
        let (subject, _) = text.split_once(".sbom.").unwrap_or((&text, ""));
        let layer = layers.iter().find(|(layer, _)| layer.as_str() == subject);
        let (subject, scopes) = match (subject, layer) {
            ("launch", _) => (SbomSubject::Launch, vec![SbomScope::Launch]),
            ("build", _) => (SbomSubject::Build, vec![SbomScope::Build]),
            (_, Some((layer, types))) => (SbomSubject::Layer(layer.clone()), scopes_of(*types)),
            (_, None) => {
                let buildpack = &buildpack.id;
                read.warnings.push(format!(
                    "`{text}` of `{buildpack}` is ignored: there is no `{subject}.toml` beside it"
                ));
                continue;
            }
        };
        let format = SbomFormat::ALL
            .into_iter()
            .find(|format| text.ends_with(&format!(".{}", format.file_name())));
        let Some(format) = format else {
            return Err(SbomError::Extension(file));
        };
        if !format.is_declared_by(buildpack) {
            return Err(SbomError::Undeclared {
                file,
                format,
                buildpack: buildpack.id.clone(),
            });
        }
        read.sboms.push(Sbom {
            file,
            subject,
            format,
            scopes,
        });
    }
    Ok(read)
}

/// Rule 39. A layer that is for nothing counts as one for the build, as in lifecycle.
fn scopes_of(types: LayerTypes) -> Vec<SbomScope> {
    let LayerTypes {
        launch,
        build: _,
        cache,
    } = types;
    let mut scopes = vec![if launch {
        SbomScope::Launch
    } else {
        SbomScope::Build
    }];
    if cache {
        scopes.push(SbomScope::Cache);
    }
    scopes
}

/// The names `*.sbom.*.json` in a folder, sorted.
fn sbom_files(folder: &Path) -> Result<Vec<OsString>, PathError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).at("read", folder)? {
        let entry = entry.at("read", folder)?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let middle = text
            .split_once(".sbom.")
            .and_then(|(_, rest)| rest.strip_suffix(".json"));
        if middle.is_some() && !entry.file_type().at("look at", &entry.path())?.is_dir() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fs::write_unsynced;

    const ALL: &[&str] = &[
        "application/vnd.cyclonedx+json;version=1.4",
        "application/spdx+json",
        "Application/VND.syft+json",
    ];

    /// The places of these files, or what is wrong; `a` is a layer for launch and cache, `b` one for build, `c.d` one for nothing.
    fn check(files: &[&str], formats: &[&str], expected: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            write_unsynced(&folder.path().join(file), b"{}", 0o644).unwrap();
        }
        let mut descriptor = Descriptor::example("x/y");
        descriptor.sbom_formats = formats.iter().map(|text| (*text).to_owned()).collect();
        let types = |launch, build, cache| LayerTypes {
            launch,
            build,
            cache,
        };
        let layers = [
            ("a", types(true, false, true)),
            ("b", types(false, true, false)),
            ("c.d", types(false, false, false)),
        ];
        let layers = layers.map(|(name, types)| (name.parse().unwrap(), types));
        let actual = match read(folder.path(), &descriptor, &layers.into()) {
            Ok(read) => {
                let placed = read.sboms.iter().flat_map(|sbom| {
                    let place = |scope: &SbomScope| {
                        format!(
                            "{}/{}",
                            scope.folder(),
                            sbom.place(&descriptor.id).display()
                        )
                    };
                    sbom.scopes.iter().map(place).collect::<Vec<_>>()
                });
                placed.chain(read.warnings.clone()).collect()
            }
            Err(error) => vec![error.seen_at(folder.path(), Path::new("/l")).to_string()],
        };
        assert_eq!(actual, expected);
    }

    #[test]
    fn rule_39_each_sbom_has_its_place_by_what_its_layer_is_for() {
        let files = [
            "a.sbom.cdx.json",
            "b.sbom.spdx.json",
            "build.sbom.syft.json",
            "c.d.sbom.cdx.json",
            "launch.sbom.cdx.json",
            "other.json",
            "sbom.cdx.json",
        ];
        let expected = [
            "launch/x_y/a/sbom.cdx.json",
            "cache/x_y/a/sbom.cdx.json",
            "build/x_y/b/sbom.spdx.json",
            "build/x_y/sbom.syft.json",
            "build/x_y/c.d/sbom.cdx.json",
            "launch/x_y/sbom.cdx.json",
        ];
        check(&files, ALL, &expected);
    }

    #[test]
    fn rule_39_another_extension_is_refused() {
        let message = "`/l/a.sbom.xml.json` is no SBOM of a known format (expected `.sbom.cdx.json`, `.sbom.spdx.json` or `.sbom.syft.json`)";
        check(&["a.sbom.xml.json"], ALL, &[message]);
    }

    #[test]
    fn rule_39_a_format_that_the_descriptor_does_not_list_is_refused() {
        let message = "`/l/launch.sbom.cdx.json` is of the type `application/vnd.cyclonedx+json`, which `sbom-formats` in the buildpack.toml of `x/y` does not list";
        check(
            &["launch.sbom.cdx.json"],
            &["application/spdx+json"],
            &[message],
        );
    }

    #[test]
    fn rule_39_an_sbom_beside_no_layer_is_ignored_with_a_warning() {
        let message = "`none.sbom.zip.json` of `x/y` is ignored: there is no `none.toml` beside it";
        check(&["none.sbom.zip.json"], &[], &[message]);
    }

    #[test]
    fn rule_39_a_link_is_never_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("launch.sbom.cdx.json");
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        let mut descriptor = Descriptor::example("x/y");
        descriptor.sbom_formats = vec![ALL[0].to_owned()];
        let found = read(folder.path(), &descriptor, &BTreeMap::new()).unwrap();
        assert!(found.sboms[0].read().is_err());
        assert!(has_files(folder.path()).unwrap());
    }
}
