//! Names inside a layer: relative, canonical, of bounded length and depth.

use super::error::Refusal;
use super::limits::{DEPTH_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX};

/// Is this the one spelling of a path inside a layer? No `/` at either end.
pub(super) fn check_name(name: &[u8]) -> Result<(), Refusal> {
    if name.is_empty() {
        return Err(Refusal::EmptyName);
    }
    if name.starts_with(b"/") {
        return Err(Refusal::Absolute);
    }
    if name.len() > PATH_BYTES_MAX {
        return Err(Refusal::PathTooLong { bytes: name.len() });
    }
    let mut depth = 0;
    for component in name.split(|byte| *byte == b'/') {
        check_component(component)?;
        depth += 1;
    }
    if depth > DEPTH_MAX {
        return Err(Refusal::TooDeep { depth });
    }
    Ok(())
}

fn check_component(component: &[u8]) -> Result<(), Refusal> {
    match component {
        b"" | b"." => Err(Refusal::NotCanonical),
        b".." => Err(Refusal::DotDot),
        _ if component.contains(&0) => Err(Refusal::Nul),
        _ if component.len() > NAME_BYTES_MAX => Err(Refusal::NameTooLong {
            bytes: component.len(),
        }),
        _ if is_whiteout(component) => Err(Refusal::Whiteout),
        _ => Ok(()),
    }
}

/// In an image layer such a name deletes what lies below (OCI image specification, "Whiteouts"):
/// a container engine and `slug` would run different trees.
fn is_whiteout(component: &[u8]) -> bool {
    component.starts_with(b".wh.")
}
