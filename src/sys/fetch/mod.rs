//! Artifacts: fetched once per host, checked by SHA-256, kept by digest.
//!
//! Knows no buildpack: it is told what to get and from where, and answers
//! with a file or with everything that was tried. Order: what is kept here,
//! the mirror that the user named, the official download, then the package
//! registry through the operator's own client (`registry.rs`).

mod download;
mod registry;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use thiserror::Error;

use crate::ident::Digest;
use crate::sys::cancel::Cancel;
use crate::sys::fs::{create_dir_durable, sync_parent, temporary_beside};

pub use registry::{BadPackageUrl, PackageUrl};

/// The largest artifact whose publisher tells no size: a JDK is 0.2 GB, a toolchain with its targets 1 GB.
const ARTIFACT_BYTES_MAX: u64 = 2 << 30;

/// Something that a build needs from elsewhere: a runtime, a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// For people: `python`.
    pub name: String,
    /// For people: `3.12.14`.
    pub version: String,
    /// Without it the build cannot go on. `false`: the buildpack has another way, and says so.
    pub required: bool,
    /// For people: what they can do if it cannot be had, where the buildpack knows something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
    /// Where it is to be had, the official place first. Each has its own bytes.
    pub sources: Vec<Source>,
}

/// One place that has an artifact. At least one of `url` and `purl` is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The official download.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A package of a registry, `pkg:pypi/uv@0.12.5`, got by the registry's own client as the operator has set it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purl: Option<PackageUrl>,
    /// Of the file.
    pub sha256: Digest,
    /// Of the file, where the publisher tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

/// What the user's machine says about fetching.
#[derive(Clone, Debug, Default)]
pub struct FetchSettings {
    /// Where artifacts are kept: `<host>/cache/artifacts`.
    pub folder: PathBuf,
    /// `--mirror`: a URL or a folder that is asked first, for `<sha256>` and for the file's name.
    pub mirror: Option<String>,
    /// `--offline`: only what is kept here already, or lies in a mirror that is a folder.
    pub offline: bool,
    /// The operator's environment: the registries' clients run with it.
    pub env: BTreeMap<OsString, OsString>,
    /// Whether to stop asking.
    pub cancel: Cancel,
    /// A folder that was kept elsewhere, by digest: asked before all others for what it has.
    pub carried: Option<PathBuf>,
}

/// Gets artifacts.
#[derive(Debug)]
pub struct Fetcher {
    settings: FetchSettings,
}

/// An artifact could not be had.
#[derive(Debug, Error)]
#[error("{name} {version} could not be had")]
pub struct FetchError {
    /// The artifact's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Each place that was asked, and what it answered. No credentials of a URL.
    pub tried: Vec<(String, String)>,
    /// What the artifact says can be done instead.
    pub instead: Option<String>,
}

/// What happens during a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchProgress<'a> {
    /// This place is asked now.
    Asking(&'a str),
    /// So much is there.
    Bytes {
        /// So far.
        done: u64,
        /// If the other side tells.
        total: Option<u64>,
    },
    /// This place did not have it: the next one is asked.
    Failed {
        /// The place.
        place: &'a str,
        /// Its answer.
        why: &'a str,
    },
}

/// A place where the bytes of a source may be.
enum Place<'a> {
    File(PathBuf),
    Url(String),
    Package(&'a PackageUrl),
}

impl Place<'_> {
    /// For people and logs.
    fn shown(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Url(url) => redact(url),
            Self::Package(purl) => purl.to_string(),
        }
    }
}

impl Fetcher {
    /// Asks nobody yet.
    pub fn new(settings: FetchSettings) -> Self {
        Self { settings }
    }

    /// The file of one of the artifact's sources, if it is kept on this host. Its digest was checked when it was put there.
    pub fn have(&self, artifact: &Artifact) -> Option<PathBuf> {
        artifact.sources.iter().find_map(|source| {
            let path = self.kept(source);
            let size = path.metadata().ok().filter(fs::Metadata::is_file)?.len();
            source
                .size_bytes
                .is_none_or(|expected| expected == size)
                .then_some(path)
        })
    }

    /// The file, named by its SHA-256 in hex: kept already, or got now.
    pub fn fetch(
        &self,
        artifact: &Artifact,
        progress: &mut dyn FnMut(FetchProgress<'_>),
    ) -> Result<PathBuf, FetchError> {
        if let Some(path) = self.have(artifact) {
            return Ok(path);
        }
        let mut tried = Vec::new();
        for (source, place) in self.places(artifact) {
            if self.settings.cancel.signal().is_some() {
                break;
            }
            let shown = place.shown();
            progress(FetchProgress::Asking(&shown));
            match self.get(source, &place, progress) {
                Ok(path) => return Ok(path),
                Err(why) => {
                    progress(FetchProgress::Failed {
                        place: &shown,
                        why: &why,
                    });
                    tried.push((shown, why));
                }
            }
        }
        Err(FetchError {
            name: artifact.name.clone(),
            version: artifact.version.clone(),
            tried,
            instead: artifact.instead.clone(),
        })
    }

    fn kept(&self, source: &Source) -> PathBuf {
        self.settings.folder.join(source.sha256.hex())
    }

    /// Everywhere, in the order of asking: the mirror for every source, then each source's own places.
    fn places<'a>(&self, artifact: &'a Artifact) -> Vec<(&'a Source, Place<'a>)> {
        let mirrored = artifact.sources.iter().flat_map(|source| {
            self.mirrored(source)
                .into_iter()
                .map(move |place| (source, place))
        });
        let urls = artifact
            .sources
            .iter()
            .filter_map(|source| Some((source, Place::Url(source.url.clone()?))));
        let packages = artifact
            .sources
            .iter()
            .filter_map(|source| Some((source, Place::Package(source.purl.as_ref()?))));
        let carried = artifact.sources.iter().filter_map(|source| {
            let path = self.settings.carried.as_ref()?.join(source.sha256.hex());
            path.is_file().then_some((source, Place::File(path)))
        });
        carried
            .chain(mirrored)
            .chain(urls)
            .chain(packages)
            .collect()
    }

    fn mirrored<'a>(&self, source: &Source) -> Vec<Place<'a>> {
        let Some(mirror) = &self.settings.mirror else {
            return Vec::new();
        };
        let path = source
            .url
            .as_deref()
            .and_then(|url| url.split(['?', '#']).next());
        let name = path
            .and_then(|path| path.rsplit('/').next())
            .filter(|name| !name.is_empty());
        let names = [Some(source.sha256.hex()), name.map(str::to_owned)]
            .into_iter()
            .flatten();
        if mirror.starts_with("http://") || mirror.starts_with("https://") {
            names
                .map(|name| Place::Url(format!("{}/{name}", mirror.trim_end_matches('/'))))
                .collect()
        } else {
            let folder = Path::new(mirror.strip_prefix("file://").unwrap_or(mirror));
            names
                .map(|name| Place::File(folder.join(name.replace("%2B", "+"))))
                .collect()
        }
    }

    /// The kept file, or why this place does not give it.
    fn get(
        &self,
        source: &Source,
        place: &Place<'_>,
        progress: &mut dyn FnMut(FetchProgress<'_>),
    ) -> Result<PathBuf, String> {
        match place {
            Place::File(path) => {
                let file = File::open(path).map_err(|error| error.to_string())?;
                let total = file.metadata().ok().map(|metadata| metadata.len());
                self.keep(source, file, total, progress)
                    .map_err(|error| error.to_string())
            }
            Place::Url(_) | Place::Package(_) if self.settings.offline => {
                Err("not asked: offline".to_owned())
            }
            Place::Url(url) => {
                download::get(url, |body, total| self.keep(source, body, total, progress))
            }
            Place::Package(purl) => registry::get(purl, &self.settings.env, |path| {
                self.keep(source, File::open(path)?, None, progress)
            }),
        }
    }

    /// Puts the bytes beside their place and, if they are the right ones, renames them into it:
    /// of several at once the last wins, with the same bytes.
    fn keep(
        &self,
        source: &Source,
        body: impl Read,
        total: Option<u64>,
        progress: &mut dyn FnMut(FetchProgress<'_>),
    ) -> io::Result<PathBuf> {
        let kept = self.kept(source);
        create_dir_durable(&self.settings.folder, 0o755).map_err(|error| error.source)?;
        let temporary = temporary_beside(&kept);
        let body = Cancellable {
            body,
            cancel: &self.settings.cancel,
        };
        let written = write_checked(source, body, total, &temporary, progress)
            // Buildpacks that read it run as other users.
            .and_then(|()| fs::set_permissions(&temporary, fs::Permissions::from_mode(0o644)));
        if let Err(error) = written.and_then(|()| fs::rename(&temporary, &kept)) {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        sync_parent(&kept).map_err(|error| error.source)?;
        Ok(kept)
    }
}

/// A body that ends with an error once the work is asked to end.
struct Cancellable<'a, R> {
    body: R,
    cancel: &'a Cancel,
}

impl<R: Read> Read for Cancellable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.signal().is_some() {
            // Of the kind that is not tried again.
            return Err(wrong("interrupted".to_owned()));
        }
        self.body.read(buffer)
    }
}

fn write_checked(
    source: &Source,
    mut body: impl Read,
    total: Option<u64>,
    to: &Path,
    progress: &mut dyn FnMut(FetchProgress<'_>),
) -> io::Result<()> {
    let bytes_max = source.size_bytes.unwrap_or(ARTIFACT_BYTES_MAX);
    let mut file = File::create_new(to)?;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    let mut done = 0;
    loop {
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        done += count as u64;
        if done > bytes_max {
            return Err(wrong(format!("larger than {bytes_max} bytes")));
        }
        hasher.update(&buffer[..count]);
        file.write_all(&buffer[..count])?;
        progress(FetchProgress::Bytes {
            done,
            total: total.or(source.size_bytes),
        });
    }
    let got = Digest::from_hasher(hasher);
    if got != source.sha256 {
        return Err(wrong(format!(
            "its digest is {got}, expected {}",
            source.sha256
        )));
    }
    file.sync_all()
}

/// The bytes are not the right ones: asking again gives the same.
fn wrong(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The URL without user, password and query: what may be printed.
fn redact(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.split_once("://") {
        None => url.to_owned(),
        Some((scheme, rest)) => {
            let (authority, path) = rest
                .split_once('/')
                .map_or((rest, String::new()), |(host, path)| {
                    (host, format!("/{path}"))
                });
            let host = authority
                .rsplit_once('@')
                .map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: &[u8] = b"the bytes of an artifact";

    fn artifact(url: Option<String>) -> Artifact {
        let source = Source {
            url,
            purl: None,
            sha256: Digest::of(BYTES),
            size_bytes: None,
        };
        Artifact {
            name: "tool".to_owned(),
            version: "1".to_owned(),
            required: true,
            instead: None,
            sources: vec![source],
        }
    }

    fn fetcher(folder: &Path, mirror: Option<&Path>, offline: bool) -> Fetcher {
        let mirror = mirror.map(|path| path.display().to_string());
        Fetcher::new(FetchSettings {
            folder: folder.join("kept"),
            mirror,
            offline,
            env: BTreeMap::new(),
            ..FetchSettings::default()
        })
    }

    fn put(path: &Path, bytes: &[u8]) {
        File::create(path).unwrap().write_all(bytes).unwrap();
    }

    #[test]
    fn a_mirror_folder_is_asked_for_the_digest_and_for_the_name() {
        for name in [Digest::of(BYTES).hex(), "tool+1.tar.gz".to_owned()] {
            let folder = tempfile::tempdir().unwrap();
            put(&folder.path().join(&name), BYTES);
            let fetcher = fetcher(folder.path(), Some(folder.path()), true);
            let artifact = artifact(Some("https://example.invalid/tool%2B1.tar.gz".to_owned()));
            assert_eq!(fetcher.have(&artifact), None);
            let path = fetcher.fetch(&artifact, &mut |_| ()).unwrap();
            assert_eq!(fs::read(&path).unwrap(), BYTES);
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o644
            );
            assert_eq!(fetcher.have(&artifact), Some(path));
        }
    }

    #[test]
    fn wrong_bytes_are_refused_and_leave_nothing() {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("tool"), b"other bytes");
        let fetcher = fetcher(folder.path(), Some(folder.path()), true);
        let error = fetcher.fetch(
            &artifact(Some("https://u:secret@h.invalid/tool?t=secret".to_owned())),
            &mut |_| (),
        );
        let FetchError { tried, .. } = error.unwrap_err();
        let text = format!("{tried:?}");
        assert_eq!(tried.len(), 3, "{text}");
        assert!(tried[1].1.contains("its digest is sha256:"), "{text}");
        assert_eq!(
            tried[2],
            (
                "https://h.invalid/tool".to_owned(),
                "not asked: offline".to_owned()
            )
        );
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(fs::read_dir(folder.path().join("kept")).unwrap().count(), 0);
    }

    #[test]
    fn an_artifact_ends_at_its_stated_size() {
        let folder = tempfile::tempdir().unwrap();
        let mut artifact = artifact(None);
        put(&folder.path().join(Digest::of(BYTES).hex()), BYTES);
        let fetcher = fetcher(folder.path(), Some(folder.path()), true);
        artifact.sources[0].size_bytes = Some(BYTES.len() as u64 - 1);
        assert!(
            fetcher.fetch(&artifact, &mut |_| ()).unwrap_err().tried[0]
                .1
                .contains("larger than 23 bytes")
        );
        artifact.sources[0].size_bytes = Some(BYTES.len() as u64);
        fetcher.fetch(&artifact, &mut |_| ()).unwrap();
    }

    #[test]
    fn a_download_that_breaks_off_is_asked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            for part in [&BYTES[..5], BYTES] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).unwrap();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    BYTES.len()
                );
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(part).unwrap();
            }
        });
        let artifact = artifact(Some(format!("http://127.0.0.1:{port}/tool")));
        let path = fetcher(folder.path(), None, false)
            .fetch(&artifact, &mut |_| ())
            .unwrap();
        assert_eq!(fs::read(path).unwrap(), BYTES);
        server.join().unwrap();
    }
}
