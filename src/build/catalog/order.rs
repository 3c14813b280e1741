//! Which buildpacks are tried, and who says so. The first that says anything
//! wins: `--order` or `--buildpack`, the groups of project.toml, the list of `.buildpacks`
//! or of app.json, the built-ins.
//! `--pre` and `--post`, else those of project.toml, are put around whichever it is.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::listed::{File, checked};
use super::{Listed, RawListed, Reference};
use crate::build::heroku;
use crate::build::project_toml::ProjectToml;
use crate::build::{BuildError, BuildRequest, BuiltIns};
use crate::buildpack::ExecEnv;
use crate::buildpack::classic;
use crate::buildpack::order::{Group, Member};
use crate::layer::TomlError;
use crate::layer::toml_file::{self, TOML_BYTES_MAX};
use crate::sys::fs::read_if_present;

/// What is tried, before any of it is looked for.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// The groups.
    pub(super) groups: Vec<Vec<Listed>>,
    /// Before the members of each.
    pub(super) pre: Vec<Listed>,
    /// After them.
    pub(super) post: Vec<Listed>,
}

/// Chooses. What is meant for another execution environment counts as not written.
pub(super) fn choose(request: &BuildRequest, project: &ProjectToml) -> Result<Chosen, BuildError> {
    let order = &request.order;
    let meant = |listed: &[Listed]| -> Vec<Listed> {
        let meant = listed
            .iter()
            .filter(|listed| listed.is_meant_for(&request.exec_env));
        meant.cloned().collect()
    };
    let named = |references: &[Reference]| -> Vec<Listed> {
        references.iter().map(Listed::named).collect()
    };
    let or_project = |references: &[Reference], project: &[Listed]| -> Vec<Listed> {
        if references.is_empty() {
            meant(project)
        } else {
            named(references)
        }
    };
    let group = or_project(&order.buildpacks, &project.group);
    let groups = match &order.file {
        Some(file) => {
            let groups = read_file(file, &request.built_ins)?;
            groups.iter().map(|group| meant(group)).collect()
        }
        None if !group.is_empty() => vec![group],
        None => {
            let listed = heroku::buildpacks(&request.source, &request.built_ins)?;
            if listed.is_empty() {
                built_in(&request.built_ins)?
            } else {
                vec![named(&listed)]
            }
        }
    };
    Ok(Chosen {
        groups,
        pre: or_project(&order.pre, &project.pre),
        post: or_project(&order.post, &project.post),
    })
}

/// Leaves out the members of a composite that are meant for another execution environment (rule 9).
pub(super) fn keep_meant(order: &mut [Group], exec_env: &ExecEnv) {
    for group in order {
        group
            .members
            .retain(|member| exec_env.is_among(&member.exec_env));
    }
}

/// `pre` and `post` around a group; one whose id the group has already is left out (rule 21).
pub(super) fn wrap(group: Vec<Member>, pre: &[Member], post: &[Member]) -> Group {
    // Classic ones share one id.
    let is_new = |member: &&Member| {
        member.id.as_str() == classic::ID || !group.iter().any(|own| own.id == member.id)
    };
    let members = |added: &[Member]| added.iter().filter(is_new).cloned().collect::<Vec<_>>();
    let (pre, post) = (members(pre), members(post));
    Group {
        members: [pre, group, post].concat(),
    }
}

/// `order.toml` as builders have it; a member may also be a `uri`.
#[derive(Deserialize)]
struct OrderFile {
    #[serde(default)]
    order: Vec<Spanned<RawGroup>>,
    #[serde(rename = "order-extensions")]
    extensions: Option<Spanned<toml::Value>>,
}

#[derive(Deserialize)]
struct RawGroup {
    #[serde(default)]
    group: Vec<Spanned<RawListed>>,
}

fn read_file(path: &Path, built_ins: &BuiltIns) -> Result<Vec<Vec<Listed>>, BuildError> {
    let bytes = read_if_present(path, TOML_BYTES_MAX)?
        .ok_or_else(|| BuildError::NoOrderFile(path.to_owned()))?;
    let read: OrderFile = toml_file::parse_bytes(&bytes, path)?;
    let file = File {
        path,
        text: &String::from_utf8_lossy(&bytes),
        is_built_in: &|id| built_ins.has(id),
    };
    Ok(groups_of(read, file)?)
}

fn groups_of(read: OrderFile, file: File<'_>) -> Result<Vec<Vec<Listed>>, TomlError> {
    if let Some(extensions) = read.extensions {
        return Err(file.wrong(
            &extensions,
            "image extensions change images, and slug builds without one (leave `[[order-extensions]]` out)",
        ));
    }
    if read.order.is_empty() {
        let message = "an order without a group (expected `[[order]]` and `[[order.group]]`)";
        return Err(toml_file::wrong(
            file.text,
            file.path,
            0,
            message.to_owned(),
        ));
    }
    let group = |group: Spanned<RawGroup>| {
        if group.get_ref().group.is_empty() {
            return Err(file.wrong(
                &group,
                "a group without a buildpack (expected `[[order.group]]`)",
            ));
        }
        let members = group.into_inner().group.into_iter();
        members.map(|member| checked(member, file)).collect()
    };
    read.order.into_iter().map(group).collect()
}

fn built_in(built_ins: &BuiltIns) -> Result<Vec<Vec<Listed>>, BuildError> {
    let listed = |(id, optional): &(&str, bool)| {
        let no_such = |_| BuildError::NoSuchBuildpack((*id).to_owned());
        let reference = Reference::Id {
            id: id.parse().map_err(no_such)?,
            version: None,
        };
        Ok(Listed {
            optional: *optional,
            ..Listed::named(&reference)
        })
    };
    let group = |members: &&[(&str, bool)]| members.iter().map(listed).collect();
    built_ins.order.iter().map(group).collect()
}
