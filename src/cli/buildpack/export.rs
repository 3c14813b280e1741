//! `slug buildpack export`: a built-in buildpack for other platforms.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::json;
use slug::archive::{host_target, write_package};
use slug::buildpack::author::BuiltIn;
use slug::buildpack::descriptor::Descriptor;
use slug::buildpacks::BUILT_IN;
use slug::store::Store;
use slug::sys::At as _;
use slug::sys::fs::write_unsynced;

use super::args::Export;
use super::new::refuse_taken;
use super::test::component;
use crate::cli::report::Failure;
use crate::cli::settings::Settings;
use crate::cli::ui::human_bytes;

pub(crate) fn run(settings: &Settings, typed: &Export) -> Result<u8, Failure> {
    let built_in = find(&typed.id)?;
    let to = settings.absolute(&typed.to);
    let program = Settings::program()?;
    let bytes = program.metadata().at("look at", &program)?.len();
    if to.extension().is_some_and(|extension| extension == "cnb") {
        let folder = tempfile::tempdir().at("create a folder in", &std::env::temp_dir())?;
        let buildpack = folder.path().join("buildpack");
        write_folder(built_in, &program, &buildpack)?;
        write_file(&component(&buildpack)?, &folder.path().join("store"), &to)?;
    } else {
        refuse_taken(&to)?;
        write_folder(built_in, &program, &to)?;
        component(&to)?;
    }
    settings.ui.say(&format!(
        "{} as a buildpack for {} (its programs are slug itself, {})",
        built_in.id,
        host_target()?.arch,
        human_bytes(bytes)
    ));
    let shown = typed.to.display().to_string();
    settings.ui.answer(
        &json!({ "schema": 1, "id": built_in.id, "buildpack": to }),
        |_| shown,
    )?;
    Ok(0)
}

/// By its id, or the last part of it.
fn find(id: &str) -> Result<&'static BuiltIn, Failure> {
    let is_it = |built_in: &&BuiltIn| built_in.id == id || built_in.name() == id;
    BUILT_IN.iter().find(is_it).ok_or_else(|| {
        let ids: Vec<&str> = BUILT_IN.iter().map(|built_in| built_in.id).collect();
        Failure::usage(format!("`{id}` is not a built-in buildpack"))
            .hint(format!("there are {}", ids.join(", ")))
    })
}

/// The two programs are one, which tells them apart by its name.
fn write_folder(built_in: &BuiltIn, program: &Path, to: &Path) -> Result<(), Failure> {
    let bin = to.join("bin");
    fs::create_dir_all(&bin).at("create the folder", &bin)?;
    write_unsynced(
        &to.join("buildpack.toml"),
        built_in.descriptor.as_bytes(),
        0o644,
    )?;
    let build = bin.join("build");
    fs::copy(program, &build).at("copy", program)?;
    fs::set_permissions(&build, fs::Permissions::from_mode(0o755)).at("set the mode of", &build)?;
    let detect = bin.join("detect");
    symlink("build", &detect).at("create the link", &detect)?;
    Ok(())
}

fn write_file(buildpack: &Descriptor, store: &Path, to: &Path) -> Result<(), Failure> {
    let store = Store::open(store, store)?;
    Ok(write_package(&store, buildpack, &host_target()?.arch, to)?)
}
