//! Runs `bin/build` of each buildpack of the group, one after the other
//! (rules 28-38): restore, run, collect, and on to the next.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::artifacts::Fetched;
use super::cache::Cache;
use super::catalog::inside;
use super::context::Context;
use super::follow::Tail;
use super::layers::{Layer, build_environment, collect, seen, shown_to_later};
use super::restore::{Method, Restored, restore};
use super::sbom::{Kept, Sboms, legacy_warning};
use super::site::{Ended, Job, LAYERS, PLATFORM};
use super::{BuildError, Event, secrets};
use crate::buildpack::build_toml::BuildToml;
use crate::buildpack::descriptor::Descriptor;
use crate::buildpack::detection::Detected;
use crate::buildpack::launch::{Launch, Launched};
use crate::buildpack::lint::Written;
use crate::buildpack::plan::{BuildpackPlan, Remaining};
use crate::buildpack::store_toml::StoreToml;
use crate::ident::LayerName;
use crate::layer::LayerEnv;
use crate::layer::env::apply_at_build;
use crate::layer::toml_file;
use crate::sys::fs::remove_tree;
use crate::sys::sandbox::{Mount, Program, SandboxError};
use crate::sys::{At as _, PathError};

/// Where a build finds its plan, inside.
const PLAN: &str = "/cnb/plan";

/// What all builds of the group came to.
#[derive(Debug, Default)]
pub(super) struct Executed {
    /// Each buildpack, in group order.
    pub(super) by: Vec<BuiltBy>,
    /// Processes, labels, slices.
    pub(super) launched: Launched,
    /// What is in the slug, as its buildpacks say.
    pub(super) sboms: Sboms,
    /// What the user should know.
    pub(super) warnings: Vec<String>,
}

/// What one build came to.
#[derive(Debug)]
pub(super) struct BuiltBy {
    /// Whose.
    pub(super) buildpack: Descriptor,
    /// Its layers.
    pub(super) layers: BTreeMap<LayerName, Layer>,
    /// Its `store.toml`, as text.
    pub(super) store: Option<String>,
    /// The SBOMs of its layers that its next build finds again.
    pub(super) sboms: Kept,
}

/// What goes from one build to the next.
struct Line<'a> {
    context: &'a Context<'a>,
    cache: &'a Cache,
    fetched: &'a Fetched,
    method: Method,
    remaining: Remaining,
    earlier_layers: Vec<Mount>,
    earlier_environment: Vec<LayerEnv>,
    executed: Executed,
}

/// Runs all builds.
pub(super) fn execute(
    context: &Context<'_>,
    cache: &Cache,
    detected: &Detected,
    fetched: &Fetched,
    progress: &mut dyn FnMut(Event<'_>),
) -> Result<Executed, BuildError> {
    for name in fetched.names() {
        context.make_place(&Path::new("artifacts").join(name), false)?;
    }
    let mut line = Line {
        context,
        cache,
        fetched,
        method: if context.site.is_real() {
            Method::Copy
        } else {
            Method::Overlay
        },
        remaining: Remaining::new(detected.entries.clone()),
        earlier_layers: Vec::new(),
        earlier_environment: Vec::new(),
        executed: Executed::default(),
    };
    for buildpack in &detected.buildpacks {
        progress(Event::Building {
            buildpack: &buildpack.id,
            version: &buildpack.version,
        });
        line.build(buildpack, progress)?;
    }
    Ok(line.executed)
}

impl Line<'_> {
    fn build(
        &mut self,
        buildpack: &Descriptor,
        progress: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), BuildError> {
        let handed = self.remaining.of(&buildpack.id);
        let restored = self.run(buildpack, &handed, progress)?;
        progress(Event::Wrote {
            buildpack,
            what: Written::Layers(&restored.folder),
        });
        let inside = Path::new(LAYERS).join(buildpack.id.folder());
        let heard = self.hear(buildpack, &handed, &restored, progress);
        heard.map_err(|error| error.seen_at(&restored.folder, &inside))
    }

    /// Takes over what a build left: answers, layers, what the next one sees of them.
    fn hear(
        &mut self,
        buildpack: &Descriptor,
        handed: &BuildpackPlan,
        restored: &Restored,
        progress: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), BuildError> {
        let (context, cache, id, folder) =
            (self.context, self.cache, &buildpack.id, &restored.folder);
        if context.site.is_real() && Path::new(LAYERS).join("sbom").exists() {
            return Err(BuildError::SbomFolder(id.clone()));
        }
        let answer = self.meet(buildpack, handed, folder)?;
        let read = Launch::read(&folder.join("launch.toml"), buildpack.api)?;
        let mut warnings = read.warnings;
        let launch_bom = read.launch.bom.clone();
        let launch = read.launch.for_exec_env(&context.request.exec_env);
        warnings.extend(self.executed.launched.add(id, launch));
        let store = stored(&folder.join("store.toml"))?;
        let collected = collect(context, cache, buildpack, restored)?;
        let sboms = &mut self.executed.sboms;
        let (sboms, ignored) = sboms.add(folder, buildpack, &collected, &launch_bom)?;
        warnings.extend(ignored);
        let bom = [launch_bom, answer.bom].concat();
        warnings.extend(legacy_warning(folder, id, &bom)?);
        self.warn(warnings, progress);
        let layers = collected.layers;
        progress(Event::Layers {
            buildpack: id,
            layers: &seen(cache, &layers),
        });
        let shown = shown_to_later(context, cache, id, folder, &layers)?;
        self.earlier_layers.extend(shown);
        let environment = build_environment(cache, id, &layers)?;
        self.earlier_environment.extend(environment);
        self.executed.by.push(BuiltBy {
            buildpack: buildpack.clone(),
            layers,
            store,
            sboms,
        });
        Ok(())
    }

    fn warn(&mut self, warnings: Vec<String>, progress: &mut dyn FnMut(Event<'_>)) {
        for warning in &warnings {
            progress(Event::Warning(warning));
        }
        self.executed.warnings.extend(warnings);
    }

    /// `build.toml`: what was met is nobody's any more (rule 30).
    fn meet(
        &mut self,
        buildpack: &Descriptor,
        handed: &BuildpackPlan,
        folder: &Path,
    ) -> Result<BuildToml, BuildError> {
        let answer = BuildToml::read(&folder.join("build.toml"))?;
        if let Some(name) = answer.wrong_name(handed) {
            return Err(BuildError::Unmet {
                buildpack: buildpack.id.clone(),
                name: name.to_owned(),
            });
        }
        let unmet = answer.unmet.iter().map(|unmet| unmet.name.as_str());
        self.remaining.meet(handed, &unmet.collect::<Vec<_>>());
        Ok(answer)
    }

    /// Runs `bin/build`; where this machine has no overlays to give, with copies from then on.
    fn run(
        &mut self,
        buildpack: &Descriptor,
        handed: &BuildpackPlan,
        progress: &mut dyn FnMut(Event<'_>),
    ) -> Result<Restored, BuildError> {
        match self.try_run(buildpack, handed, progress) {
            Err(BuildError::Sandbox(SandboxError::Overlay { source, .. }))
                if self.method == Method::Overlay =>
            {
                let warning = format!(
                    "cached layers are copied for each build: this machine refuses overlays there ({source})"
                );
                self.warn(vec![warning], progress);
                self.method = Method::Copy;
                self.try_run(buildpack, handed, progress)
            }
            ran => ran,
        }
    }

    fn try_run(
        &self,
        buildpack: &Descriptor,
        handed: &BuildpackPlan,
        progress: &mut dyn FnMut(Event<'_>),
    ) -> Result<Restored, BuildError> {
        let context = self.context;
        let restored = restore(context, self.cache, &buildpack.id, self.method)?;
        let scratch = context.scratch.join("build").join(buildpack.id.folder());
        remove_tree(&scratch)?;
        let job = self.job(buildpack, handed, &restored, &scratch)?;
        let mut tail = Tail::default();
        let ended = context.site.run(job, &mut |stderr, bytes| {
            tail.push(bytes);
            progress(Event::Output { stderr, bytes });
        })?;
        remove_tree(&scratch)?;
        match ended {
            Ended::Exit(0) => Ok(restored),
            Ended::TimedOut => Err(BuildError::TimedOut {
                buildpack: buildpack.id.clone(),
                limit: context.request.limits.build,
                tail: tail.into_bytes(),
            }),
            Ended::Exit(exit) => Err(BuildError::BuildFailed {
                buildpack: buildpack.id.clone(),
                exit,
                tail: tail.into_bytes(),
            }),
        }
    }

    fn job<'b>(
        &self,
        buildpack: &'b Descriptor,
        handed: &BuildpackPlan,
        restored: &Restored,
        scratch: &Path,
    ) -> Result<Job<'b>, BuildError> {
        let context = self.context;
        let place = Path::new(PLAN).join(buildpack.id.folder());
        let (at, plan) = (inside(buildpack), place.join("plan.toml"));
        let layers = Path::new(LAYERS).join(buildpack.id.folder());
        let mut sees = context.seen_by(buildpack, true)?;
        sees.extend(self.fetched.seen_by(handed));
        sees.extend(self.earlier_layers.iter().cloned());
        sees.push(restored.mount(&buildpack.id));
        if let Some(secrets) = context.request.secrets.mount() {
            context.make_place(Path::new(secrets::FOLDER), true)?;
            sees.push(secrets);
        }
        sees.push(plan_folder(&scratch.join("plan"), place, handed)?);
        if context.site.is_real() {
            remove_tree(context.site.home())?;
        }
        for (name, to) in [
            ("home", context.site.home().to_owned()),
            ("tmp", PathBuf::from("/tmp")),
        ] {
            // On the disk: a wheel that is built may be larger than memory.
            let from = scratch.join(name);
            context.site.make_writable(&from)?;
            sees.push(Mount::Bind {
                from,
                to,
                read_only: false,
            });
        }
        let apply = |env: &mut _| apply_at_build(&self.earlier_environment, env);
        let program = Program {
            argv: vec![
                at.join("bin/build").into(),
                layers.into(),
                PLATFORM.into(),
                plan.clone().into(),
            ],
            env: context.environment.of_build(buildpack, &at, &plan, &apply),
            cwd: context.site.app.path().to_owned(),
        };
        Ok(Job {
            buildpack: &buildpack.id,
            program,
            sees,
            network: context.network(),
            limit: Some(context.request.limits.build),
        })
    }
}

/// `store.toml`, as text for the state.
fn stored(file: &Path) -> Result<Option<String>, BuildError> {
    let store = StoreToml::read(file)?.map(|store| toml::to_string(&store));
    Ok(store
        .transpose()
        .map_err(std::io::Error::other)
        .at("write", file)?)
}

fn plan_folder(folder: &Path, to: PathBuf, handed: &BuildpackPlan) -> Result<Mount, PathError> {
    fs::create_dir_all(folder).at("create the folder", folder)?;
    toml_file::write(&folder.join("plan.toml"), handed)?;
    Ok(Mount::Bind {
        from: folder.to_owned(),
        to,
        read_only: true,
    })
}
