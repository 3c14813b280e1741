//! From a reference to a folder: what is fetched, unpacked or generated is kept
//! by digest, so that it is done once a host.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use sha2::Sha256;

use super::kept::Kept;
use super::listed::{Listed, What};
use super::order::{Chosen, wrap};
use super::{Reference, git};
use crate::archive::{ArchiveError, Package, host_target, unpack_foreign};
use crate::build::classic::{Classics, short_name};
use crate::build::{BuildError, BuildRequest, Event, artifacts};
use crate::buildpack::descriptor::Descriptor;
use crate::buildpack::order::{Group, Member};
use crate::ident::{BuildpackId, Digest};
use crate::layer::toml_file;
use crate::sys::At as _;
use crate::sys::fetch::{Artifact, FetchError, Source};
use crate::sys::fs::{read_if_present, write_unsynced};

/// In the folder of an unpacked buildpackage: which of its buildpacks it is for.
const MAIN: &str = "buildpackage.json";
/// An id and a version.
const MAIN_BYTES_MAX: u64 = 4096;

/// Opens what is listed, and remembers the descriptors of all of it.
pub(super) struct Resolver<'a> {
    request: &'a BuildRequest,
    kept: &'a Kept,
    /// This build's own folder, on the file system of what is kept.
    scratch: &'a Path,
    progress: &'a mut dyn FnMut(Event<'_>),
    buildpacks: Vec<Descriptor>,
    opened: BTreeSet<PathBuf>,
    classics: Classics,
    missing: Vec<FetchError>,
    warnings: Vec<String>,
    sources: Vec<(PathBuf, String)>,
}

/// What was opened.
pub(super) struct Found {
    /// All buildpacks, and parts of them.
    pub(super) buildpacks: Vec<Descriptor>,
    /// Those of Heroku's classic contract.
    pub(super) classics: Classics,
    /// What the user should know.
    pub(super) warnings: Vec<String>,
    /// Folders with what was fetched, and the reference that always gives it.
    pub(super) sources: Vec<(PathBuf, String)>,
}

/// The main buildpack of a buildpackage.
#[derive(Serialize, Deserialize)]
struct Main {
    id: BuildpackId,
    version: String,
}

/// Where a composite's parts are: `package.toml` beside its descriptor.
#[derive(Default, Deserialize)]
struct PackageToml {
    #[serde(default)]
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    uri: Option<String>,
}

/// A member, or none if it could not be had: what is missing is told at the end, all at once.
type Resolved = Result<Option<Member>, BuildError>;

impl<'a> Resolver<'a> {
    pub(super) fn new(
        request: &'a BuildRequest,
        kept: &'a Kept,
        scratch: &'a Path,
        progress: &'a mut dyn FnMut(Event<'_>),
    ) -> Self {
        Self {
            request,
            kept,
            scratch,
            progress,
            buildpacks: Vec::new(),
            opened: BTreeSet::new(),
            classics: Classics::default(),
            missing: Vec::new(),
            warnings: Vec::new(),
            sources: Vec::new(),
        }
    }

    /// The groups, with what goes around them.
    pub(super) fn order(&mut self, chosen: &Chosen) -> Result<Vec<Group>, BuildError> {
        let Chosen { groups, pre, post } = chosen;
        // Classic buildpacks run in the order in which they are opened.
        let pre = self.members(pre)?;
        let mut members = Vec::new();
        for group in groups {
            members.push(self.members(group)?);
        }
        let post = self.members(post)?;
        let wrapped = members.into_iter().map(|group| wrap(group, &pre, &post));
        Ok(wrapped.collect())
    }

    /// What was opened; an error if anything could not be had.
    pub(super) fn finish(self) -> Result<Found, BuildError> {
        if self.missing.is_empty() {
            return Ok(Found {
                buildpacks: self.buildpacks,
                classics: self.classics,
                warnings: self.warnings,
                sources: self.sources,
            });
        }
        Err(BuildError::Artifacts {
            missing: self.missing,
        })
    }

    fn members(&mut self, listed: &[Listed]) -> Result<Vec<Member>, BuildError> {
        let mut members = Vec::new();
        for listed in listed {
            let resolved = match &listed.what {
                What::Reference(reference) => self.reference(reference)?,
                What::Script(script) => {
                    let folder = script.folder(self.kept)?;
                    self.folder(&folder, script.id.as_str())?
                }
            };
            let Some(member) = resolved else { continue };
            if let Some(id) = listed.id.as_ref().filter(|id| **id != member.id) {
                return Err(BuildError::NotTheBuildpack {
                    reference: shown(listed),
                    expected: id.clone(),
                    found: member.id,
                });
            }
            members.push(Member {
                optional: listed.optional,
                ..member
            });
        }
        Ok(members)
    }

    fn reference(&mut self, reference: &Reference) -> Resolved {
        let name = reference.to_string();
        match reference {
            Reference::Id { id, version } => Ok(Some(member(id, version.as_deref()))),
            Reference::Path(path) if path.is_dir() => self.named_folder(path, &name),
            Reference::Path(path) if path.is_file() => {
                let found = self.archive(path, None, &name)?;
                self.opened_archive(&found, &name)
            }
            Reference::Path(_) => Err(BuildError::NoSuchBuildpack(name)),
            Reference::Archive { url, digest } => self.fetched(url, digest, &name),
            Reference::Git { url, revision } => {
                let checkout = git::Checkout {
                    request: self.request,
                    kept: self.kept,
                    scratch: self.scratch,
                };
                match checkout.get(url, revision.as_deref(), &name, self.progress)? {
                    Ok((folder, commit)) => {
                        let place = name.split('#').next().unwrap_or(&name);
                        self.sources
                            .push((folder.clone(), format!("{place}#{commit}")));
                        self.folder_at(&folder, &name, Some(&commit))
                    }
                    Err(missing) => Ok(self.is_missing(missing)),
                }
            }
        }
    }

    fn is_missing(&mut self, error: FetchError) -> Option<Member> {
        self.missing.push(error);
        None
    }

    /// A folder of the user's: a buildpack, or an image layout with some.
    fn named_folder(&mut self, path: &Path, name: &str) -> Resolved {
        let package =
            Package::open(path, &host_target()?.arch).map_err(|error| bad(name, error))?;
        match package {
            Some(package) => {
                let found = self.package(&package, &package.digest.hex(), name)?;
                self.opened_archive(&found, name)
            }
            None => self.folder(path, name),
        }
    }

    fn fetched(&mut self, url: &str, digest: &Digest, name: &str) -> Resolved {
        if let Some(found) = self.kept.get(&digest.hex())? {
            return self.opened_fetched(&found, name);
        }
        let source = Source {
            url: Some(url.to_owned()),
            purl: None,
            sha256: *digest,
            size_bytes: None,
        };
        let artifact = Artifact {
            name: "the buildpack".to_owned(),
            version: name.to_owned(),
            required: true,
            instead: None,
            sources: vec![source],
        };
        let fetcher = artifacts::fetcher(self.request);
        match artifacts::fetch_one(&fetcher, &artifact, self.progress) {
            Ok(file) => {
                let found = self.archive(&file, Some(digest), name)?;
                self.opened_fetched(&found, name)
            }
            Err(missing) => Ok(self.is_missing(missing)),
        }
    }

    fn opened_fetched(&mut self, folder: &Path, name: &str) -> Resolved {
        self.sources.push((folder.to_owned(), name.to_owned()));
        self.opened_archive(folder, name)
    }

    /// The folder in which the archive is unpacked. One that was fetched is known by its own digest, so that it
    /// is known without the file.
    fn archive(
        &mut self,
        file: &Path,
        digest: Option<&Digest>,
        name: &str,
    ) -> Result<PathBuf, BuildError> {
        let package =
            Package::open(file, &host_target()?.arch).map_err(|error| bad(name, error))?;
        if let Some(package) = package {
            let digest = digest.unwrap_or(&package.digest);
            return self.package(&package, &digest.hex(), name);
        }
        let digest = match digest {
            Some(digest) => *digest,
            None => digest_of(file)?,
        };
        self.kept.get_or_make(&digest.hex(), |to| {
            unpack_foreign(file, to).map_err(|error| bad(name, error))
        })
    }

    fn package(&self, package: &Package, key: &str, name: &str) -> Result<PathBuf, BuildError> {
        self.kept.get_or_make(key, |to| {
            package.unpack(to).map_err(|error| bad(name, error))?;
            let main = serde_json::json!({ "id": package.id, "version": package.version });
            Ok(write_unsynced(
                &to.join(MAIN),
                main.to_string().as_bytes(),
                0o644,
            )?)
        })
    }

    /// What was unpacked: a buildpackage, a buildpack, or a folder with nothing but one, as forges pack a repository.
    fn opened_archive(&mut self, folder: &Path, name: &str) -> Resolved {
        let main = folder.join(MAIN);
        if let Some(bytes) = read_if_present(&main, MAIN_BYTES_MAX)? {
            let read: Result<Main, _> = serde_json::from_slice(&bytes);
            let Main { id, version } = read.map_err(io::Error::from).at("read", &main)?;
            return self.all_of_package(folder, &id, &version, name);
        }
        if !is_buildpack(folder)
            && let Some(inner) = only_folder(folder)?
        {
            return self.folder(&inner, name);
        }
        self.folder(folder, name)
    }

    /// The main buildpack of a package, after all its parts.
    fn all_of_package(
        &mut self,
        folder: &Path,
        id: &BuildpackId,
        version: &str,
        name: &str,
    ) -> Resolved {
        let buildpacks = folder.join("cnb/buildpacks");
        for ids in folders_in(&buildpacks)? {
            for version in folders_in(&ids)? {
                self.folder(&version, name)?;
            }
        }
        let is_it = |one: &&Descriptor| {
            one.id == *id && one.version == version && one.folder.starts_with(&buildpacks)
        };
        if self.buildpacks.iter().any(|one| is_it(&one)) {
            return Ok(Some(member(id, Some(version))));
        }
        Err(BuildError::NotABuildpack {
            reference: name.to_owned(),
            why: format!("its label names `{id}@{version}`, and it does not hold that"),
        })
    }

    /// Reads the buildpack in a folder; a composite brings the parts that its `package.toml` names.
    fn folder(&mut self, path: &Path, name: &str) -> Resolved {
        self.folder_at(path, name, None)
    }

    /// Of a commit, where it is of one.
    fn folder_at(&mut self, path: &Path, name: &str, commit: Option<&str>) -> Resolved {
        let classic = self.classics.take(path, &short_name(name), commit)?;
        if classic.is_some() {
            return Ok(classic);
        }
        if !path.join("buildpack.toml").exists() {
            return Err(not_a_buildpack(path, name));
        }
        let descriptor = Descriptor::read(path)?;
        let found = member(&descriptor.id, Some(&descriptor.version));
        // By its real path: a part that names its own composite would go on with `..` for ever.
        let real = path.canonicalize().at("read", path)?;
        if !self.opened.insert(real) {
            return Ok(Some(found));
        }
        let is_composite = descriptor.is_composite();
        self.buildpacks.push(descriptor);
        if is_composite {
            self.parts(path, &found.id)?;
        }
        Ok(Some(found))
    }

    fn parts(&mut self, composite: &Path, id: &BuildpackId) -> Result<(), BuildError> {
        let path = composite.join("package.toml");
        let package: PackageToml = if path.is_file() {
            toml_file::read_following(&path)?.unwrap_or_default()
        } else {
            PackageToml::default()
        };
        let uris = package.dependencies.into_iter().filter_map(|part| part.uri);
        for uri in uris {
            let built_ins = self.request.built_ins;
            match Reference::parse(&uri, composite, &|id| built_ins.has(id)) {
                Ok(reference) => _ = self.reference(&reference)?,
                // Its order may never come to it, and another reference may bring it.
                Err(error) => {
                    let warning = format!("a part of `{id}` is left out: {error}");
                    (self.progress)(Event::Warning(&warning));
                    self.warnings.push(warning);
                }
            }
        }
        Ok(())
    }
}

fn member(id: &BuildpackId, version: Option<&str>) -> Member {
    Member {
        id: id.clone(),
        version: version.map(str::to_owned),
        optional: false,
        exec_env: Vec::new(),
    }
}

fn shown(listed: &Listed) -> String {
    match &listed.what {
        What::Reference(reference) => reference.to_string(),
        What::Script(script) => script.id.to_string(),
    }
}

pub(super) fn bad(reference: &str, source: ArchiveError) -> BuildError {
    BuildError::BuildpackArchive {
        reference: reference.to_owned(),
        source,
    }
}

/// What a folder is instead.
fn not_a_buildpack(path: &Path, name: &str) -> BuildError {
    let why = if path.join("extension.toml").exists() {
        "it is an image extension, which changes images; slug builds without one"
    } else {
        "it has no buildpack.toml"
    };
    BuildError::NotABuildpack {
        reference: name.to_owned(),
        why: why.to_owned(),
    }
}

fn is_buildpack(folder: &Path) -> bool {
    ["buildpack.toml", "extension.toml", "bin"]
        .iter()
        .any(|name| folder.join(name).exists())
}

fn only_folder(folder: &Path) -> Result<Option<PathBuf>, BuildError> {
    let mut entries = fs::read_dir(folder).at("list", folder)?;
    let (Some(first), None) = (entries.next(), entries.next()) else {
        return Ok(None);
    };
    let first = first.at("list", folder)?.path();
    Ok(is_folder(&first).then_some(first))
}

/// The folders in a folder, sorted; no links to any.
fn folders_in(folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).at("list", folder)? {
        folders.push(entry.at("list", folder)?.path());
    }
    folders.retain(|path| is_folder(path));
    folders.sort();
    Ok(folders)
}

fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}

fn digest_of(path: &Path) -> Result<Digest, BuildError> {
    let mut file = fs::File::open(path).at("open", path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        let count = file.read(&mut buffer).at("read", path)?;
        if count == 0 {
            return Ok(Digest::from_hasher(hasher));
        }
        hasher.update(&buffer[..count]);
    }
}
