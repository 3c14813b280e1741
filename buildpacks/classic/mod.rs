//! Heroku's classic buildpacks (Dev Center, "Buildpack API"): runs those that
//! the platform laid beside this one, one after the other, and says in the
//! words of the Cloud Native contract what came of it.
//!
//! | Heroku | here |
//! |---|---|
//! | `BUILD_DIR`, and `HOME` of build and process | the app's folder, which the platform puts at `/app` |
//! | `CACHE_DIR` | the layer `cache` |
//! | `ENV_DIR` | `<platform>/env` |
//! | `export`, for buildpacks that are not classic | the layer `export` |
//! | `.profile.d/*.sh` | the layer `profile`, whose script sources them |
//! | `default_process_types`, `Procfile` | processes that bash starts |
//!
//! All are one member of the group: a later one may only detect what an earlier
//! one compiled, they share `CACHE_DIR`, and the last one's release counts.

mod environment;
mod launch;
mod pack;
mod release;
mod stack;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::buildpack::author::At as _;
use crate::buildpack::author::BuildContext;
use crate::buildpack::author::BuiltIn;
use crate::buildpack::author::DetectContext;
use crate::buildpack::author::Detected;
use crate::buildpack::author::Evidence;
use crate::buildpack::author::Failure;
use crate::buildpack::author::LayerTypes;
use crate::buildpack::author::PlanMetadata;
use crate::buildpack::author::read_text;
use crate::buildpack::classic::FILE;
use crate::buildpack::classic::ID;
use crate::buildpack::classic::Packs;

use pack::Placed;
use release::Release;

/// The buildpack.
pub(super) const BUILT_IN: BuiltIn = BuiltIn {
    id: ID,
    descriptor: include_str!("buildpack.toml"),
    detect,
    build,
};

/// The key of the plan's notes that has the stack.
const STACK: &str = "stack";

/// The environment of a program.
type Env = BTreeMap<OsString, OsString>;

/// The first one decides here: whether a later one fits may depend on what earlier ones make.
fn detect(context: &DetectContext) -> Result<Detected, Failure> {
    let folder = own_folder(&context.env)?;
    let packs = read_packs(&folder)?;
    let stack = match stack::stack(&context.platform.join("env")) {
        Ok(stack) => stack,
        Err(problem) => return Ok(Detected::Yes(Box::new(with_problem(problem)))),
    };
    let env = environment::of_packs(&context.env, &context.platform, &context.app, &stack.name)?;
    let mut evidence = vec![stack.evidence];
    for (number, pack) in packs.packs.iter().enumerate() {
        let mut what = format!("classic buildpack {}", pack.name);
        if number == 0 {
            let placed = Placed::new(pack, folder.join(&pack.folder));
            let Some(said) = placed.detect(&context.app, &env)? else {
                return Ok(Detected::No);
            };
            what = format!("{what}: {said}");
        }
        evidence.push(Evidence {
            what,
            file: None,
            line: None,
        });
    }
    let resolved = toml::Table::from_iter([(STACK.to_owned(), stack.name.into())]);
    Ok(Detected::Yes(Box::new(PlanMetadata {
        evidence,
        resolved,
        ..PlanMetadata::default()
    })))
}

fn with_problem(problem: String) -> PlanMetadata {
    PlanMetadata {
        problems: vec![problem],
        ..PlanMetadata::default()
    }
}

fn build(context: &BuildContext) -> Result<(), Failure> {
    let folder = own_folder(&context.env)?;
    let packs = read_packs(&folder)?;
    let stack = context
        .plan
        .resolved
        .get(STACK)
        .and_then(|name| name.as_str());
    let stack = stack.ok_or_else(|| Failure("the plan names no stack".to_owned()))?;
    let base = environment::of_packs(&context.env, &context.platform, &context.app, stack)?;
    let placed = pack::place(&packs, &folder, &workplace(context)?)?;
    let cache = context.layer("cache");
    let types = LayerTypes {
        cache: true,
        ..LayerTypes::default()
    };
    fs::create_dir_all(&cache.dir).at("create the folder", &cache.dir)?;
    cache.describe(types, toml::Table::new())?;
    let dirs = pack::Dirs {
        build: &context.app,
        cache: &cache.dir,
        env: &context.platform.join("env"),
    };
    let env = compile_all(&placed, &dirs, &base)?;
    environment::export(context, &base, &env)?;
    let release = last_release(&placed, &context.app, &base)?;
    launch::write(context, &release, &packs)
}

/// Each finds what those before it made, and what they exported.
fn compile_all(placed: &[Placed<'_>], dirs: &pack::Dirs<'_>, base: &Env) -> Result<Env, Failure> {
    let mut env = base.clone();
    for pack in placed {
        let said = pack.detect(dirs.build, &env)?;
        let said = said.ok_or_else(|| {
            Failure(format!(
                "{} does not fit this app: its `bin/detect` failed, and all {} of the list must fit",
                pack.name(),
                placed.len()
            ))
        })?;
        pack::say(&format!("-----> {said} app detected"));
        pack.compile(dirs, &env)?;
        env = pack.exported(env)?;
    }
    Ok(env)
}

/// That of the last one that has any. It does not see what `export` says, as on Heroku.
fn last_release(placed: &[Placed<'_>], app: &Path, base: &Env) -> Result<Release, Failure> {
    let last = placed.iter().rev().find(|pack| pack.has_release());
    let Some(last) = last else {
        return Ok(Release::default());
    };
    let text = last.release(app, base)?;
    let release = Release::parse(&text).map_err(|why| {
        Failure(format!(
            "what `bin/release` of {} says cannot be read: {why}",
            last.name()
        ))
    })?;
    for addon in &release.addons {
        pack::say(&format!(
            "note: {} asks for the add-on `{addon}`, which slug does not make: set its config vars with `slug config set`",
            last.name()
        ));
    }
    Ok(release)
}

fn own_folder(env: &Env) -> Result<PathBuf, Failure> {
    let folder = env.get(OsStr::new("CNB_BUILDPACK_DIR"));
    folder
        .map(PathBuf::from)
        .ok_or_else(|| Failure("CNB_BUILDPACK_DIR is not set".to_owned()))
}

fn read_packs(folder: &Path) -> Result<Packs, Failure> {
    let path = folder.join(FILE);
    let text = read_text(&path)?.unwrap_or_default();
    let packs: Packs =
        toml::from_str(&text).map_err(|error| Failure(format!("`{}`: {error}", path.display())))?;
    if packs.packs.is_empty() {
        return Err(Failure(format!("`{}` names no pack", path.display())));
    }
    Ok(packs)
}

/// Where the packs may write: the home of the build is empty at its start and gone after it.
fn workplace(context: &BuildContext) -> Result<PathBuf, Failure> {
    let home = context.env("HOME").map(PathBuf::from);
    home.ok_or_else(|| Failure("HOME is not set".to_owned()))
}
