//! The buildpacks of a folder `<id>/<version>`, as far as an order names them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::failed::{DETECT, FAILED, Failed};
use crate::buildpack::descriptor::Descriptor;
use crate::buildpack::order::{Group, Member};
use crate::ident::BuildpackId;

/// Where the buildpack lies.
fn folder(buildpacks: &Path, id: &BuildpackId, version: &str) -> PathBuf {
    buildpacks.join(id.folder()).join(version)
}

/// Reads one. It is known by its place, whatever its file says.
pub(super) fn read(
    buildpacks: &Path,
    id: &BuildpackId,
    version: &str,
    doing: &str,
) -> Result<Descriptor, Failed> {
    if version.contains(['/', '\0']) || version == ".." {
        let why = format!("the version of {id} is no name of a folder: {version:?}");
        return Err(Failed::new(FAILED, doing, why));
    }
    let folder = folder(buildpacks, id, version);
    let read = Descriptor::read_description(&folder);
    let mut descriptor =
        read.map_err(|error| Failed::descriptor(doing, &format!("{id}@{version}"), &error))?;
    id.clone_into(&mut descriptor.id);
    version.clone_into(&mut descriptor.version);
    Ok(descriptor)
}

/// All that an order names, and what composites of these name.
pub(super) fn of_order(buildpacks: &Path, order: &[Group]) -> Result<Vec<Descriptor>, Failed> {
    let mut known = BTreeSet::new();
    let mut found: Vec<Descriptor> = Vec::new();
    let mut named: Vec<(Member, bool)> = members(order, true);
    while let Some((member, is_top)) = named.pop() {
        let Member { id, version, .. } = member;
        let version = version.unwrap_or_default();
        if !known.insert((id.clone(), version.clone())) {
            continue;
        }
        let doing = if is_top {
            "initialize detector"
        } else {
            "detect"
        };
        let read = read(buildpacks, &id, &version, doing);
        let read = read.map_err(|failed| failed.or_code(if is_top { FAILED } else { DETECT }))?;
        named.extend(members(&read.order, false));
        found.push(read);
    }
    Ok(found)
}

fn members(order: &[Group], is_top: bool) -> Vec<(Member, bool)> {
    let members = order.iter().flat_map(|group| group.members.iter().cloned());
    members.map(|member| (member, is_top)).collect()
}
