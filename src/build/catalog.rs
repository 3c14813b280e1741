//! The buildpacks of a build: the built-ins, laid out as any buildpack is, and
//! the folders that the user named.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::classic::{Classics, short_name};
use super::site::{BUILDPACKS, SLUG};
use super::{BuildError, BuildRequest, BuiltIns, Reference};
use crate::archive::AppFolder;
use crate::buildpack::author::BuiltIn;
use crate::buildpack::classic;
use crate::buildpack::descriptor::Descriptor;
use crate::buildpack::order::{Group, Member};
use crate::ident::{BuildpackId, Digest};
use crate::layer::toml_file;
use crate::sys::At as _;
use crate::sys::fs::{create_dir_durable, random_hex, remove_tree, write_unsynced};

/// All buildpacks that a build may use, and the order in which it tries them.
#[derive(Debug)]
pub(super) struct Catalog {
    /// The named ones first: they win over a built-in of the same id.
    pub(super) buildpacks: Vec<Descriptor>,
    /// The groups.
    pub(super) order: Vec<Group>,
    built_ins: PathBuf,
    /// Where the classic ones lie beside what runs them.
    classic: Option<PathBuf>,
}

/// Where a composite's parts are: `package.toml` beside its descriptor.
#[derive(Default, Deserialize)]
struct Package {
    #[serde(default)]
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    uri: Option<String>,
}

impl Catalog {
    /// Lays out the built-ins and reads all descriptors; `scratch` is a folder of this build's own.
    pub(super) fn read(request: &BuildRequest, scratch: &Path) -> Result<Self, BuildError> {
        let built_ins = lay_out(
            &request.built_ins,
            &request.store.host().join("cache/buildpacks"),
        )?;
        let mut buildpacks = Vec::new();
        let mut classics = Classics::default();
        let mut add = |references: &[Reference]| {
            let members = references
                .iter()
                .map(|reference| add_named(reference, &mut buildpacks, &mut classics));
            members.collect::<Result<Vec<Member>, BuildError>>()
        };
        let pre = add(&request.order.pre)?;
        let named = add(&request.order.buildpacks)?;
        let post = add(&request.order.post)?;
        for BuiltIn { id, .. } in request.built_ins.all {
            buildpacks.push(Descriptor::read(&folder_of(&built_ins, id))?);
        }
        let order = match &request.order.file {
            Some(file) => read_order(file)?,
            None if named.is_empty() => built_in_order(&request.built_ins)?,
            None => vec![Group { members: named }],
        };
        let order = order.into_iter().map(|group| wrap(group, &pre, &post));
        let mut order: Vec<Group> = order.collect();
        classics.settle(&mut order)?;
        let mut classic = None;
        if !classics.is_empty() {
            let folder = scratch.join("classic");
            classics.lay_out(&request.built_ins.classic, &folder)?;
            buildpacks.push(Descriptor::read(&folder)?);
            classic = Some(folder);
        }
        Ok(Self {
            buildpacks,
            order,
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

fn folder_of(built_ins: &Path, id: &str) -> PathBuf {
    built_ins.join(id.replace('/', "_"))
}

/// Writes the built-ins as folders, once for each set of descriptors: `bin/detect` and `bin/build` are links to where
/// a build shows the `slug` binary, so nothing here changes with the binary itself.
fn lay_out(built_ins: &BuiltIns, parent: &Path) -> Result<PathBuf, BuildError> {
    let descriptors: Vec<_> = built_ins
        .all
        .iter()
        .map(|built_in| (built_in.id, built_in.descriptor))
        .collect();
    let version = Digest::of(serde_json::json!(descriptors).to_string().as_bytes()).hex();
    let folder = parent.join(&version);
    if folder.is_dir() {
        return Ok(folder);
    }
    create_dir_durable(parent, 0o755)?;
    let temporary = parent.join(format!(".{}", random_hex()));
    for BuiltIn { id, descriptor, .. } in built_ins.all {
        let own = folder_of(&temporary, id);
        fs::create_dir_all(own.join("bin")).at("create the folder", &own)?;
        write_unsynced(&own.join("buildpack.toml"), descriptor.as_bytes(), 0o644)?;
        for program in ["bin/detect", "bin/build"] {
            let link = own.join(program);
            std::os::unix::fs::symlink(SLUG, &link).at("create the link", &link)?;
        }
    }
    let renamed = fs::rename(&temporary, &folder);
    if folder.is_dir() {
        remove_tree(&temporary)?; // another build was first, with the same bytes
        return Ok(folder);
    }
    renamed.at("create the folder", &folder)?;
    Ok(folder)
}

/// Reads a buildpack that the user named; a composite brings the parts that its `package.toml` names.
fn add_named(
    reference: &Reference,
    buildpacks: &mut Vec<Descriptor>,
    classics: &mut Classics,
) -> Result<Member, BuildError> {
    match reference {
        Reference::Id { id, version } => Ok(Member {
            id: id.clone(),
            version: version.clone(),
            optional: false,
        }),
        Reference::Path(path) if path.is_dir() => {
            let name = short_name(&reference.to_string());
            match classics.take(path, &name, None)? {
                Some(member) => Ok(member),
                None => add_folder(path, buildpacks),
            }
        }
        Reference::Path(_) | Reference::Archive { .. } | Reference::Git { .. } => {
            Err(BuildError::NoSuchBuildpack(reference.to_string()))
        }
    }
}

fn add_folder(path: &Path, buildpacks: &mut Vec<Descriptor>) -> Result<Member, BuildError> {
    let descriptor = Descriptor::read(path)?;
    let member = Member {
        id: descriptor.id.clone(),
        version: None,
        optional: false,
    };
    let is_composite = descriptor.is_composite();
    let is_known = buildpacks
        .iter()
        .any(|known| known.folder == descriptor.folder);
    if !is_known {
        buildpacks.push(descriptor);
    }
    if is_composite && !is_known {
        let package: Package =
            toml_file::read_following(&path.join("package.toml"))?.unwrap_or_default();
        for part in package
            .dependencies
            .iter()
            .filter_map(|part| local_folder(path, part.uri.as_deref()?))
        {
            add_folder(&part, buildpacks)?;
        }
    }
    Ok(member)
}

/// The folder that a URI names; none for an image or a registry's buildpack, which the order may not even use.
fn local_folder(composite: &Path, uri: &str) -> Option<PathBuf> {
    let path = uri.strip_prefix("file://").unwrap_or(uri);
    let folder = composite.join(path);
    (!path.contains(':') && folder.is_dir()).then_some(folder)
}

/// `--pre` and `--post` around a group; one whose id the group has already is left out (rule 21).
fn wrap(group: Group, pre: &[Member], post: &[Member]) -> Group {
    // Classic ones share one id.
    let is_new = |member: &&Member| {
        member.id.as_str() == classic::ID || !group.members.iter().any(|own| own.id == member.id)
    };
    let members = |added: &[Member]| added.iter().filter(is_new).cloned().collect::<Vec<_>>();
    let (pre, post) = (members(pre), members(post));
    Group {
        members: [pre, group.members.clone(), post].concat(),
    }
}

fn read_order(file: &Path) -> Result<Vec<Group>, BuildError> {
    #[derive(Deserialize)]
    struct OrderFile {
        order: Vec<Group>,
    }
    let read: Option<OrderFile> = toml_file::read_following(file)?;
    read.map(|file| file.order)
        .ok_or_else(|| BuildError::NoOrderFile(file.to_owned()))
}

fn built_in_order(built_ins: &BuiltIns) -> Result<Vec<Group>, BuildError> {
    let member = |(id, optional): &(&str, bool)| {
        let id: BuildpackId = id
            .parse()
            .map_err(|_| BuildError::NoSuchBuildpack((*id).to_owned()))?;
        Ok(Member {
            id,
            version: None,
            optional: *optional,
        })
    };
    let group = |members: &&[(&str, bool)]| {
        Ok(Group {
            members: members
                .iter()
                .map(member)
                .collect::<Result<_, BuildError>>()?,
        })
    };
    built_ins.order.iter().map(group).collect()
}
