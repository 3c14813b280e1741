//! Buildpacks that stand in for others: one that provides what an earlier one
//! would, one that requires what a later one would. They build nothing.

use std::fs;
use std::path::{Path, PathBuf};

use super::expectation::Given;
use crate::build::Reference;
use crate::buildpack::Api;
use crate::buildpack::plan::{BuildPlan, Provide};
use crate::sys::fs::write_unsynced;
use crate::sys::{At as _, PathError};

/// The ids of the two; none that anybody would give a buildpack.
const EARLIER: &str = "slug/stands-in-for-an-earlier-one";
const LATER: &str = "slug/stands-in-for-a-later-one";

/// The earlier and the later one, where something is given, in folders below `folder`.
pub(super) fn make(
    given: &Given,
    folder: &Path,
) -> Result<(Option<Reference>, Option<Reference>), PathError> {
    let provides = given
        .provides
        .iter()
        .map(|name| Provide { name: name.clone() });
    let earlier = BuildPlan {
        provides: provides.collect(),
        ..BuildPlan::default()
    };
    let later = BuildPlan {
        requires: given.requires.clone(),
        ..BuildPlan::default()
    };
    let made = |is_given: bool, id, plan| {
        is_given
            .then(|| write(&folder.join(name_of(id)), id, plan))
            .transpose()
    };
    Ok((
        made(!given.provides.is_empty(), EARLIER, &earlier)?,
        made(!given.requires.is_empty(), LATER, &later)?,
    ))
}

fn name_of(id: &str) -> String {
    id.replace('/', "_")
}

fn write(folder: &Path, id: &str, plan: &BuildPlan) -> Result<Reference, PathError> {
    fs::create_dir_all(folder.join("bin")).at("create the folder", folder)?;
    let api = Api::OURS;
    let descriptor = format!("api = \"{api}\"\n[buildpack]\nid = \"{id}\"\nversion = \"1.0.0\"\n");
    let text = toml::to_string(plan)
        .map_err(std::io::Error::other)
        .at("write", folder)?;
    for (name, text, mode) in [
        ("buildpack.toml", descriptor.as_str(), 0o644),
        ("plan.toml", text.as_str(), 0o644),
        (
            "bin/detect",
            "#!/bin/sh\nexec cp \"$CNB_BUILDPACK_DIR/plan.toml\" \"$CNB_BUILD_PLAN_PATH\"\n",
            0o755,
        ),
        ("bin/build", "#!/bin/sh\n", 0o755),
    ] {
        write_unsynced(&folder.join(name), text.as_bytes(), mode)?;
    }
    Ok(Reference::Path(PathBuf::from(folder)))
}
