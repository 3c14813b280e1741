//! `app.slug`: a slug as one file, an OCI image layout in an uncompressed tar
//! (image specification, "OCI Image Layout").

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use sha2::Sha256;

use crate::ident::Digest;
use crate::store::{BlobWriter, Store};
use crate::sys::At as _;
use crate::sys::fs::{read_if_present, sync_parent, temporary_beside};

use super::documents::{Descriptor, Index, Manifest, refuse, to_json};
use super::entry::{Entries, Entry};
use super::error::Refusal;
use super::image::{check_document, read_manifest};
use super::labels::slug_of;
use super::limits::{DOCUMENT_BYTES_MAX, LAYERS_MAX};
use super::tar_header::{BLOCK, Header, Kind};
use super::{ArchiveError, BadImage};

const LAYOUT_FILE: &str = "oci-layout";
const INDEX_FILE: &str = "index.json";
const BLOBS: &str = "blobs/sha256/";
/// What an image is called, for engines that want a name.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Manifest, config, layers: what one image can refer to.
const BLOBS_MAX: usize = LAYERS_MAX + 2;
/// One read of an archive on a disk.
const READ_BYTES: usize = 256 << 10;

/// `oci-layout`: says what the folder is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Layout {
    image_layout_version: String,
}

const LAYOUT_VERSION: &str = "1.0.0";

/// Writes the slug as one file that `skopeo copy oci-archive:FILE …` and `podman load` read: the same slug, the same bytes.
/// The blobs are checked on the way; a file that was there is replaced at the end, or stays.
pub fn export_archive(store: &Store, slug: &Digest, to: &Path) -> Result<(), ArchiveError> {
    let (mut descriptor, manifest) = read_manifest(store, slug)?;
    let mut blobs: BTreeMap<Digest, u64> = manifest
        .layers
        .iter()
        .chain([&manifest.config, &descriptor])
        .map(|blob| (blob.digest, blob.size))
        .collect();
    descriptor
        .annotations
        .0
        .insert(REF_NAME.to_owned(), format!("slug:{}", slug.short()));
    let layout = to_json(
        LAYOUT_FILE,
        &Layout {
            image_layout_version: LAYOUT_VERSION.to_owned(),
        },
    )?;
    let index = to_json(INDEX_FILE, &Index::new(descriptor))?;
    let temporary = temporary_beside(to);
    let file = File::options()
        .write(true)
        .create_new(true)
        .open(&temporary)
        .at("create", &temporary)?;
    let written = LayoutWriter {
        tar: BufWriter::with_capacity(READ_BYTES, file),
        path: to,
    }
    .all(store, &mut blobs, &layout, &index)
    .and_then(|()| Ok(fs::rename(&temporary, to).at("create", to)?));
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    Ok(sync_parent(to)?)
}

struct LayoutWriter<'a> {
    tar: BufWriter<File>,
    path: &'a Path,
}

impl LayoutWriter<'_> {
    fn all(
        mut self,
        store: &Store,
        blobs: &mut BTreeMap<Digest, u64>,
        layout: &[u8],
        index: &[u8],
    ) -> Result<(), ArchiveError> {
        self.folder("blobs/")?;
        self.folder(BLOBS)?;
        for (digest, size) in blobs {
            self.blob(store, digest, *size)?;
        }
        self.header(INDEX_FILE, Kind::File, index.len() as u64)?;
        self.put(index)?;
        self.pad(index.len() as u64)?;
        self.header(LAYOUT_FILE, Kind::File, layout.len() as u64)?;
        self.put(layout)?;
        self.pad(layout.len() as u64)?;
        self.put(&[0; 2 * BLOCK])?;
        let file = self
            .tar
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .at("write", self.path)?;
        Ok(file.sync_all().at("write", self.path)?)
    }

    fn blob(&mut self, store: &Store, digest: &Digest, size: u64) -> Result<(), ArchiveError> {
        let path = store.blob_path(digest);
        let mut blob = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ArchiveError::MissingBlob { digest: *digest });
            }
            opened => opened.at("open", &path)?,
        };
        let actual = blob.metadata().at("examine", &path)?.len();
        if actual != size {
            return Err(ArchiveError::Size {
                digest: *digest,
                expected: size,
                actual,
            });
        }
        self.header(&format!("{BLOBS}{}", digest.hex()), Kind::File, size)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let count = blob.read(&mut buffer).at("read", &path)?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            self.put(&buffer[..count])?;
        }
        match Digest::from_hasher(hash) {
            actual if actual == *digest => self.pad(size),
            actual => Err(ArchiveError::Damaged {
                what: "the blob",
                expected: *digest,
                actual,
            }),
        }
    }

    fn folder(&mut self, name: &str) -> Result<(), ArchiveError> {
        self.header(name, Kind::Folder, 0)
    }

    fn header(&mut self, name: &str, kind: Kind, size: u64) -> Result<(), ArchiveError> {
        let mode = if kind == Kind::Folder { 0o755 } else { 0o644 };
        let mut header = Vec::new();
        Header {
            name: name.as_bytes(),
            kind,
            mode,
            size,
            link: b"",
            attributes: &[],
        }
        .write(&mut header);
        self.put(&header)
    }

    fn pad(&mut self, size: u64) -> Result<(), ArchiveError> {
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        self.put(&[0; BLOCK][..usize::try_from(padding).unwrap_or_default()])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        Ok(self.tar.write_all(bytes).at("write", self.path)?)
    }
}

/// Takes a slug from such a file into the store. Every digest and size is checked while it is read;
/// a file that is refused leaves nothing in the store: no blob has its name before all are right.
pub fn import_archive(store: &Store, from: &Path) -> Result<Digest, ArchiveError> {
    let file = File::open(from).at("open", from)?;
    let bytes = file.metadata().at("examine", from)?.len();
    let mut entries = Entries::new(BufReader::with_capacity(READ_BYTES, file), bytes);
    let mut image = Incoming::default();
    // Until the slug is named, nothing says that a blob which was there already is needed.
    let _held = store.hold()?;
    while let Some(entry) = entries.next()? {
        image.take(store, &entry, &mut entries)?;
    }
    image.finish(store)
}

/// What of an image was read so far.
#[derive(Default)]
struct Incoming {
    layout: Option<Vec<u8>>,
    index: Option<Vec<u8>>,
    blobs: BTreeMap<Digest, IncomingBlob>,
}

struct IncomingBlob {
    writer: BlobWriter,
    size: u64,
}

type ArchiveEntries = Entries<BufReader<File>>;

impl Incoming {
    fn take(
        &mut self,
        store: &Store,
        entry: &Entry,
        entries: &mut ArchiveEntries,
    ) -> Result<(), ArchiveError> {
        let refused = |why| ArchiveError::Refused {
            entry: entry.name.clone(),
            why,
        };
        match (entry.kind, entry.name.as_slice()) {
            (Kind::Folder, b"blobs" | b"blobs/sha256") => Ok(()),
            (Kind::File, b"oci-layout") => {
                once(&mut self.layout, document(entry, entries)?).map_err(refused)
            }
            (Kind::File, b"index.json") => {
                once(&mut self.index, document(entry, entries)?).map_err(refused)
            }
            (Kind::File, name) => {
                let hex = name
                    .strip_prefix(BLOBS.as_bytes())
                    .and_then(|hex| std::str::from_utf8(hex).ok());
                let digest = hex.and_then(|hex| Digest::from_hex(hex).ok());
                self.blob(
                    store,
                    digest.ok_or_else(|| refused(Refusal::NotOfLayout))?,
                    entry,
                    entries,
                )
            }
            _ => Err(refused(Refusal::NotOfLayout)),
        }
    }

    fn blob(
        &mut self,
        store: &Store,
        digest: Digest,
        entry: &Entry,
        entries: &mut ArchiveEntries,
    ) -> Result<(), ArchiveError> {
        let refused = |why| ArchiveError::Refused {
            entry: entry.name.clone(),
            why,
        };
        if self.blobs.contains_key(&digest) {
            return Err(refused(Refusal::Repeated));
        }
        if self.blobs.len() == BLOBS_MAX {
            return Err(refused(Refusal::TooManyBlobs));
        }
        let mut writer = store.create_blob()?;
        let mut hash = Sha256::new();
        loop {
            let bytes = entries.body()?;
            if bytes.is_empty() {
                break;
            }
            hash.update(bytes);
            writer.write_all(bytes).at("write", writer.path())?;
            let count = bytes.len();
            entries.consume(count);
        }
        let actual = Digest::from_hasher(hash);
        if actual != digest {
            return Err(refused(Refusal::OtherDigest { actual }));
        }
        self.blobs.insert(
            digest,
            IncomingBlob {
                writer,
                size: entry.size,
            },
        );
        Ok(())
    }

    fn finish(mut self, store: &Store) -> Result<Digest, ArchiveError> {
        let layout = self.layout.take().ok_or_else(|| lacking(LAYOUT_FILE))?;
        check_layout(&layout).map_err(|why| refuse(LAYOUT_FILE.to_owned(), why))?;
        let index = self.index.take().ok_or_else(|| lacking(INDEX_FILE))?;
        let descriptor = Index::parse(&index).map_err(|why| refuse(INDEX_FILE.to_owned(), why))?;
        let manifest = Manifest::parse(&self.document(&descriptor)?)
            .map_err(|why| refuse(format!("the manifest {}", descriptor.digest), why))?;
        let slug = manifest.config.digest;
        slug_of(&self.document(&manifest.config)?, &manifest)
            .map_err(|why| refuse(format!("the slug {slug}"), why))?;
        let wanted = manifest
            .layers
            .iter()
            .chain([&manifest.config, &descriptor]);
        self.put(wanted)?;
        store.put_slug(&slug, &descriptor.digest, descriptor.size)?;
        Ok(slug)
    }

    /// A blob that was read, as the bytes of a document.
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ArchiveError> {
        let missing = ArchiveError::MissingBlob {
            digest: descriptor.digest,
        };
        let Some(blob) = self.blobs.get(&descriptor.digest) else {
            return Err(missing);
        };
        check_size(descriptor.digest, descriptor.size, blob.size)?;
        if blob.size > DOCUMENT_BYTES_MAX {
            let why = BadImage::Says(format!("it has more than {DOCUMENT_BYTES_MAX} bytes"));
            return Err(refuse(format!("the document {}", descriptor.digest), why));
        }
        let bytes = read_if_present(blob.writer.path(), DOCUMENT_BYTES_MAX)?.ok_or(missing)?;
        check_document(&bytes, descriptor)?;
        Ok(bytes)
    }

    /// Gives all blobs their names, when all that the image refers to are there, and nothing else is.
    fn put<'a>(mut self, wanted: impl Iterator<Item = &'a Descriptor>) -> Result<(), ArchiveError> {
        let mut ready = Vec::new();
        let mut sizes = BTreeMap::new();
        for Descriptor { digest, size, .. } in wanted {
            if let Some(said) = sizes.insert(*digest, *size) {
                // The same layer twice, as two empty ones are.
                check_size(*digest, *size, said)?;
                continue;
            }
            let blob = self
                .blobs
                .remove(digest)
                .ok_or(ArchiveError::MissingBlob { digest: *digest })?;
            check_size(*digest, *size, blob.size)?;
            ready.push(blob.writer);
        }
        if let Some(digest) = self.blobs.keys().next() {
            let entry = format!("{BLOBS}{}", digest.hex()).into_bytes();
            return Err(ArchiveError::Refused {
                entry,
                why: Refusal::Unreferenced,
            });
        }
        for writer in ready {
            writer.finish()?;
        }
        Ok(())
    }
}

fn check_size(digest: Digest, expected: u64, actual: u64) -> Result<(), ArchiveError> {
    if expected == actual {
        Ok(())
    } else {
        Err(ArchiveError::Size {
            digest,
            expected,
            actual,
        })
    }
}

fn check_layout(bytes: &[u8]) -> Result<(), BadImage> {
    let Layout {
        image_layout_version,
    } = serde_json::from_slice(bytes)?;
    if image_layout_version == LAYOUT_VERSION {
        return Ok(());
    }
    Err(BadImage::Says(format!(
        "its version is `{}`, not `{LAYOUT_VERSION}`",
        image_layout_version.escape_debug()
    )))
}

fn lacking(file: &str) -> ArchiveError {
    refuse(file.to_owned(), BadImage::Says("it is missing".to_owned()))
}

/// The bytes of a small file.
fn document(entry: &Entry, entries: &mut ArchiveEntries) -> Result<Vec<u8>, ArchiveError> {
    if entry.size > DOCUMENT_BYTES_MAX {
        let why = Refusal::LongDocument { size: entry.size };
        return Err(ArchiveError::Refused {
            entry: entry.name.clone(),
            why,
        });
    }
    let mut document = Vec::new();
    loop {
        let bytes = entries.body()?;
        if bytes.is_empty() {
            return Ok(document);
        }
        document.extend_from_slice(bytes);
        let count = bytes.len();
        entries.consume(count);
    }
}

fn once(place: &mut Option<Vec<u8>>, value: Vec<u8>) -> Result<(), Refusal> {
    if place.replace(value).is_some() {
        Err(Refusal::Repeated)
    } else {
        Ok(())
    }
}
