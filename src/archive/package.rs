//! A buildpackage: buildpacks as an OCI image (CNB distribution specification,
//! "Buildpackage"), in an image layout that is a folder or a tar of one (`.cnb`).
//!
//! Read as `pack` writes it and as `skopeo copy … oci-archive:` does; unlike a
//! slug's own documents, unknown keys are passed over. Every byte that is used
//! is checked by digest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::Digest as _;
use sha2::Sha256;

use crate::ident::{BuildpackId, Digest};
use crate::sys::At as _;
use crate::sys::fs::open_plain;

use super::documents::{INDEX_TYPE, MANIFEST_TYPE, refuse};
use super::entry::Entries;
use super::error::Refusal;
use super::foreign::{Compressed, Foreign, decoder, open_folder};
use super::limits::{DOCUMENT_BYTES_MAX, LAYERS_MAX};
use super::tar_header::Kind;
use super::{ArchiveError, BadImage};

/// Where the layers of a buildpackage put buildpacks: `<id>/<version>/` below it.
const BUILDPACKS: &str = "cnb/buildpacks";
const INDEX_FILE: &str = "index.json";
const LAYOUT_FILE: &str = "oci-layout";
/// What Docker calls a manifest (Image Manifest Version 2, Schema 2); `pack` writes these.
const DOCKER_MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX_TYPE: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The label that names the main buildpack.
pub(super) const PACKAGE_LABEL: &str = "io.buildpacks.buildpackage.metadata";
/// The label that an extension's image has instead.
const EXTENSION_LABEL: &str = "io.buildpacks.extension.layers";
/// One read of a blob.
const READ_BYTES: usize = 256 << 10;
/// An index in an index, and no deeper.
const INDEX_DEPTH_MAX: usize = 2;

/// A buildpackage, of which the documents are read and checked.
#[derive(Debug)]
pub struct Package {
    layout: Layout,
    /// Of its manifest: what is in it has no other name.
    pub digest: Digest,
    /// The buildpack that it is for; the others are parts of it.
    pub id: BuildpackId,
    /// Its version.
    pub version: String,
    layers: Vec<(Blob, Digest)>,
}

/// Where the files of an image layout are.
#[derive(Debug)]
enum Layout {
    Folder(PathBuf),
    /// A tar: for each file its first byte and its size.
    Tar {
        path: PathBuf,
        files: BTreeMap<Vec<u8>, (u64, u64)>,
    },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Blob {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    size: u64,
    platform: Option<Platform>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Blob>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Blob,
    layers: Vec<Blob>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    config: Execution,
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
struct Execution {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct PackageLabel {
    id: BuildpackId,
    version: String,
}

impl Package {
    /// Reads the package for Linux on `architecture` in that folder or file; none if it is no image layout.
    pub fn open(path: &Path, architecture: &str) -> Result<Option<Self>, ArchiveError> {
        match Layout::open(path)? {
            Some(layout) => Self::read(layout, architecture).map(Some),
            None => Ok(None),
        }
    }

    fn read(layout: Layout, architecture: &str) -> Result<Self, ArchiveError> {
        let index = layout.document(INDEX_FILE, None)?;
        let index: Index = parse(INDEX_FILE, &index)?;
        let found = find_manifest(&layout, &index, architecture, INDEX_DEPTH_MAX)?;
        let named = format!("the manifest {}", found.digest);
        let manifest: Manifest = parse(&named, &layout.blob_document(&found)?)?;
        let config: Config = parse("the config", &layout.blob_document(&manifest.config)?)?;
        let labels = config.config.labels.unwrap_or_default();
        let says = |why: &str| refuse(named.clone(), BadImage::Says(why.to_owned()));
        if labels.contains_key(EXTENSION_LABEL) {
            return Err(says(
                "it is an image extension, which changes images; slug builds without one",
            ));
        }
        let label = labels.get(PACKAGE_LABEL).ok_or_else(|| {
            says(&format!(
                "it has no label `{PACKAGE_LABEL}`: it is no buildpackage"
            ))
        })?;
        let PackageLabel { id, version } = parse(PACKAGE_LABEL, label.as_bytes())?;
        let diff_ids = config.rootfs.diff_ids;
        if manifest.layers.len() != diff_ids.len() || diff_ids.len() > LAYERS_MAX {
            return Err(says("its layers are not those of its config, or too many"));
        }
        Ok(Self {
            layout,
            digest: found.digest,
            id,
            version,
            layers: manifest.layers.into_iter().zip(diff_ids).collect(),
        })
    }

    /// Unpacks all its buildpacks into the empty folder `to`, as `cnb/buildpacks/<id>/<version>/`. A failure leaves
    /// files behind, and the caller removes the folder.
    pub fn unpack(&self, to: &Path) -> Result<(), ArchiveError> {
        let root = open_folder(to)?;
        let mut unpacking = Foreign::new(&root, to, Some(BUILDPACKS));
        for (layer, diff_id) in &self.layers {
            self.unpack_layer(layer, diff_id, &mut unpacking)?;
        }
        unpacking.finish()
    }

    fn unpack_layer(
        &self,
        layer: &Blob,
        diff_id: &Digest,
        unpacking: &mut Foreign<'_>,
    ) -> Result<(), ArchiveError> {
        let media_type = &layer.media_type;
        let compression = match media_type.rsplit(['.', '+']).next() {
            Some("tar") => Compressed::Not,
            Some("gzip") => Compressed::Gzip,
            Some("zstd") => Compressed::Zstd,
            _ => {
                let why = format!("it is of the type `{}`", media_type.escape_debug());
                let what = format!("the layer {}", layer.digest);
                return Err(refuse(what, BadImage::Says(why)));
            }
        };
        let path = self.layout.path();
        let mut blob = Hashing::new(self.layout.open_blob(layer)?);
        let buffered = BufReader::with_capacity(READ_BYTES, &mut blob);
        let mut tar = Hashing::new(decoder(compression, buffered).at("read", path)?);
        let taken = unpacking.take(BufReader::with_capacity(READ_BYTES, &mut tar));
        // What is refused is not decompressed any further: it may be a bomb.
        let tar = taken.and_then(|()| Ok(tar.finish().at("read", path)?));
        // A damaged blob explains all that follows from it, so it comes first.
        let blob = blob.finish().at("read", path)?;
        blob.check("the blob", &layer.digest)?;
        tar?.check("the layer", diff_id)
    }
}

/// The manifest for this kind of machine, or one that says nothing of machines.
fn find_manifest(
    layout: &Layout,
    index: &Index,
    architecture: &str,
    depth: usize,
) -> Result<Blob, ArchiveError> {
    let fits = |blob: &Blob| {
        blob.platform
            .as_ref()
            .is_none_or(|platform| platform.os == "linux" && platform.architecture == architecture)
    };
    for blob in index.manifests.iter().filter(|blob| fits(blob)) {
        match blob.media_type.as_str() {
            MANIFEST_TYPE | DOCKER_MANIFEST_TYPE => return Ok(blob.clone()),
            INDEX_TYPE | DOCKER_INDEX_TYPE if depth > 1 => {
                let name = format!("the index {}", blob.digest);
                let inner: Index = parse(&name, &layout.blob_document(blob)?)?;
                return find_manifest(layout, &inner, architecture, depth - 1);
            }
            _ => {}
        }
    }
    let platforms = index
        .manifests
        .iter()
        .filter_map(|blob| blob.platform.as_ref());
    let platforms: Vec<String> = platforms
        .map(|platform| format!("{}/{}", platform.os, platform.architecture))
        .collect();
    let why = format!(
        "it has no image for linux/{architecture} ({})",
        if platforms.is_empty() {
            "none at all".to_owned()
        } else {
            platforms.join(", ")
        }
        .escape_debug()
    );
    Err(refuse(INDEX_FILE.to_owned(), BadImage::Says(why)))
}

fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, ArchiveError> {
    serde_json::from_slice(bytes).map_err(|error| refuse(what.to_owned(), BadImage::Json(error)))
}

/// The bytes of a file, and how many there are.
type Sized = (Box<dyn Read>, u64);

impl Layout {
    fn open(path: &Path) -> Result<Option<Self>, ArchiveError> {
        if path.is_dir() {
            let is_layout = path.join(LAYOUT_FILE).is_file();
            return Ok(is_layout.then(|| Self::Folder(path.to_owned())));
        }
        let file = File::open(path).at("open", path)?;
        let mut file = BufReader::with_capacity(READ_BYTES, file);
        let is_tar = file.fill_buf().at("read", path)?.get(257..262) == Some(b"ustar");
        if !is_tar {
            return Ok(None);
        }
        let mut files = BTreeMap::new();
        let mut entries = Entries::of_others(file);
        while let Some(entry) = entries.next()? {
            if entry.kind != Kind::File {
                continue;
            }
            let name = entry.name.clone();
            if files
                .insert(entry.name, (entries.position(), entry.size))
                .is_some()
            {
                let why = Refusal::Repeated;
                return Err(ArchiveError::Refused { entry: name, why });
            }
        }
        let is_layout = files.contains_key(LAYOUT_FILE.as_bytes());
        Ok(is_layout.then(|| Self::Tar {
            path: path.to_owned(),
            files,
        }))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Tar { path, .. } => path,
        }
    }

    /// A file of the layout and its size.
    fn open_file(&self, name: &str) -> Result<Option<Sized>, ArchiveError> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                let file = match open_plain(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    opened => opened.at("open", &path)?,
                };
                let size = file.metadata().at("examine", &path)?.len();
                Ok(Some((Box::new(file), size)))
            }
            Self::Tar { path, files } => {
                let Some((first, size)) = files.get(name.as_bytes()) else {
                    return Ok(None);
                };
                let mut file = File::open(path).at("open", path)?;
                file.seek(SeekFrom::Start(*first)).at("read", path)?;
                Ok(Some((Box::new(file.take(*size)), *size)))
            }
        }
    }

    fn open_blob(&self, blob: &Blob) -> Result<Box<dyn Read>, ArchiveError> {
        let Blob { digest, size, .. } = blob;
        let name = format!("blobs/sha256/{}", digest.hex());
        let missing = ArchiveError::MissingBlob { digest: *digest };
        let (file, actual) = self.open_file(&name)?.ok_or(missing)?;
        if actual == *size {
            return Ok(file);
        }
        Err(ArchiveError::Size {
            digest: *digest,
            expected: *size,
            actual,
        })
    }

    fn blob_document(&self, blob: &Blob) -> Result<Vec<u8>, ArchiveError> {
        self.document(&format!("blobs/sha256/{}", blob.digest.hex()), Some(blob))
    }

    /// A small file, with the digest that the blob says.
    fn document(&self, name: &str, blob: Option<&Blob>) -> Result<Vec<u8>, ArchiveError> {
        let says = |why: String| refuse(name.to_owned(), BadImage::Says(why));
        let file = if let Some(blob) = blob {
            self.open_blob(blob)?
        } else {
            let found = self.open_file(name)?;
            found.ok_or_else(|| says("it is missing".to_owned()))?.0
        };
        let mut bytes = Vec::new();
        file.take(DOCUMENT_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .at("read", self.path())?;
        if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(says(format!("it has more than {DOCUMENT_BYTES_MAX} bytes")));
        }
        if let Some(blob) = blob {
            Hash(Digest::of(&bytes)).check("the blob", &blob.digest)?;
        }
        Ok(bytes)
    }
}

/// What was read, hashed.
struct Hashing<R> {
    from: R,
    hash: Sha256,
}

struct Hash(Digest);

impl<R: Read> Hashing<R> {
    fn new(from: R) -> Self {
        let hash = Sha256::new();
        Self { from, hash }
    }

    /// The digest of all there is to read.
    fn finish(mut self) -> io::Result<Hash> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(Hash(Digest::from_hasher(self.hash)))
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(into)?;
        self.hash.update(&into[..count]);
        Ok(count)
    }
}

impl Hash {
    fn check(self, what: &'static str, expected: &Digest) -> Result<(), ArchiveError> {
        let Self(actual) = self;
        if actual == *expected {
            return Ok(());
        }
        Err(ArchiveError::Damaged {
            what,
            expected: *expected,
            actual,
        })
    }
}
