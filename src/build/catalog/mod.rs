//! The buildpacks of a build: the built-ins, laid out as any buildpack is, and
//! those that the user, an order file or the app's project.toml names.
//!
//! What is listed ([`listed`]) is chosen ([`order`]) before anything is opened;
//! then each is resolved to a folder ([`resolve`]), which may fetch and unpack.

mod built_in;
mod git;
mod kept;
mod listed;
mod order;
mod reference;
mod resolve;
mod script;

use std::path::{Path, PathBuf};

use super::project_toml::ProjectToml;
use super::site::BUILDPACKS;
use super::{BuildError, BuildRequest, Event};
use crate::archive::AppFolder;
use crate::buildpack::descriptor::Descriptor;
use crate::buildpack::order::Group;

use kept::Kept;
use resolve::{Found, Resolver};

pub(super) use listed::{File, Listed, RawListed, checked};
pub use reference::{BadReference, Reference};

/// All buildpacks that a build may use, and the order in which it tries them.
#[derive(Debug)]
pub(super) struct Catalog {
    /// The named ones first: they win over a built-in of the same id.
    pub(super) buildpacks: Vec<Descriptor>,
    /// The groups.
    pub(super) order: Vec<Group>,
    /// What the author should know; each was also told as an event.
    pub(super) warnings: Vec<String>,
    sources: Vec<(PathBuf, String)>,
    built_ins: PathBuf,
    /// Where the classic ones lie beside what runs them.
    classic: Option<PathBuf>,
}

impl Catalog {
    /// Chooses, fetches, unpacks and reads. What cannot be had is all named in one error.
    pub(super) fn read(
        request: &BuildRequest,
        project: &ProjectToml,
        scratch: &Path,
        progress: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self, BuildError> {
        let kept = Kept::of(&request.store)?;
        let built_ins = built_in::lay_out(&request.built_ins, &kept)?;
        let chosen = order::choose(request, project)?;
        let mut resolver = Resolver::new(request, &kept, scratch, progress);
        let mut order = resolver.order(&chosen)?;
        let Found {
            mut buildpacks,
            mut classics,
            warnings,
            sources,
        } = resolver.finish()?;
        classics.settle(&mut order)?;
        let mut classic = None;
        if !classics.is_empty() {
            let folder = scratch.join("classic");
            classics.lay_out(&request.built_ins.classic, &folder)?;
            buildpacks.push(Descriptor::read(&folder)?);
            classic = Some(folder);
        }
        buildpacks.extend(built_in::read(&request.built_ins, &built_ins)?);
        for buildpack in &mut buildpacks {
            order::keep_meant(&mut buildpack.order, &request.exec_env);
        }
        Ok(Self {
            buildpacks,
            order,
            warnings,
            sources,
            built_ins,
            classic,
        })
    }

    /// Where the app lies in a build with these: classic buildpacks want it where Heroku has it.
    pub(super) fn app_folder(&self) -> AppFolder {
        if self.classic.is_some() {
            AppFolder::App
        } else {
            AppFolder::Workspace
        }
    }

    /// The reference that always gives this buildpack, where it was fetched: with its digest or its commit.
    pub(super) fn source_of(&self, buildpack: &Descriptor) -> Option<&str> {
        let is_in = |(folder, _): &&(PathBuf, String)| buildpack.folder.starts_with(folder);
        self.sources
            .iter()
            .find(is_in)
            .map(|(_, source)| source.as_str())
    }

    /// Is it a link to the `slug` binary, which it then needs to see?
    pub(super) fn is_built_in(&self, buildpack: &Descriptor) -> bool {
        buildpack.folder.starts_with(&self.built_ins)
            || self.classic.as_ref() == Some(&buildpack.folder)
    }
}

/// Where a buildpack lies inside. A version is any text: what could leave the folder is replaced.
pub(super) fn inside(buildpack: &Descriptor) -> PathBuf {
    let version = match buildpack.version.as_str() {
        "" | "." | ".." => "_".to_owned(),
        version => version.replace(['/', '\0'], "_"),
    };
    Path::new(BUILDPACKS)
        .join(buildpack.id.folder())
        .join(version)
}
