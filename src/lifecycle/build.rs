//! `builder`: runs each `bin/build` of group.toml, and says in
//! `<layers>/config/metadata.toml` what they came to.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::console::Console;
use super::descriptors;
use super::detect::environment;
use super::failed::{BUILD, BUILDPACK, Failed};
use super::files::{AnalyzedToml, GroupToml, PlanToml, write};
use super::inputs::Inputs;
use super::metadata::MetadataToml;
use crate::buildpack::bom::{self, LEGACY_FILE};
use crate::buildpack::build_toml::BuildToml;
use crate::buildpack::descriptor::Descriptor;
use crate::buildpack::environment::Environment;
use crate::buildpack::launch::{Launch, Launched};
use crate::buildpack::plan::{BuildpackPlan, Remaining};
use crate::buildpack::sbom::{self, SbomScope};
use crate::ident::LayerName;
use crate::layer::env::apply_at_build;
use crate::layer::{LayerEnv, LayerMetadata, LayerTypes, metadata, toml_file};
use crate::sys::At as _;
use crate::sys::fs::{remove_tree, write_unsynced};

/// What goes from one build to the next.
struct Line<'a> {
    inputs: &'a Inputs,
    environment: Environment,
    remaining: Remaining,
    layers: Vec<LayerEnv>,
    launched: Launched,
    legacy: BTreeMap<&'static str, Vec<Value>>,
}

fn wrong<'a>(why: impl Into<Box<dyn Error + 'a>>) -> Failed {
    Failed::new(BUILD, "build", why)
}

/// Builds.
pub(super) fn build(inputs: &Inputs, console: &mut Console<'_>) -> Result<(), Failed> {
    let group = GroupToml::read(&inputs.group)?;
    let plan = PlanToml::read(&inputs.plan)?;
    group.verify()?;
    let analyzed = AnalyzedToml::read(&inputs.analyzed, console)?;
    // What an earlier build laid there is not this one's (rule 31).
    remove_tree(&inputs.layers.join("sbom")).map_err(wrong)?;
    let mut line = Line {
        inputs,
        environment: environment(inputs, &analyzed, console)?,
        remaining: Remaining::new(plan.entries()),
        layers: Vec::new(),
        launched: Launched::default(),
        legacy: BTreeMap::new(),
    };
    for member in &group.group {
        console.debug(&format!("Running build for buildpack {}", member.name()));
        let (id, version) = (&member.id, &member.version);
        let buildpack = descriptors::read(&inputs.buildpacks, id, version, "build")
            .map_err(|failed| failed.or_code(BUILD))?;
        line.build(&buildpack, console)?;
    }
    if inputs.api.has_legacy_bom_file() {
        line.write_legacy()?;
    }
    let GroupToml { group, extensions } = group;
    let metadata = MetadataToml::of(group, extensions, line.launched, inputs.api);
    write(&MetadataToml::path(&inputs.layers), &metadata).map_err(wrong)
}

impl Line<'_> {
    fn build(&mut self, buildpack: &Descriptor, console: &mut Console<'_>) -> Result<(), Failed> {
        let folder = self.inputs.layers.join(buildpack.id.folder());
        fs::create_dir_all(&folder)
            .at("create the folder", &folder)
            .map_err(wrong)?;
        let handed = self.remaining.of(&buildpack.id);
        console.flush();
        self.run(buildpack, &handed)?;
        let types = self.collect(&folder)?;
        let answer = BuildToml::read(&folder.join("build.toml")).map_err(wrong)?;
        if let Some(name) = answer.wrong_name(&handed) {
            let why = if name.is_empty() {
                "unmet.name is required".to_owned()
            } else {
                format!("unmet.name '{name}' must match a requested dependency")
            };
            return Err(wrong(why));
        }
        let unmet: Vec<&str> = answer
            .unmet
            .iter()
            .map(|unmet| unmet.name.as_str())
            .collect();
        self.remaining.meet(&handed, &unmet);
        self.lay_sboms(&folder, buildpack, &types, console)?;
        let read = Launch::read(&folder.join("launch.toml"), buildpack.api).map_err(wrong)?;
        let boms = [("build", &answer.bom), ("launch", &read.launch.bom)];
        for (scope, bom) in boms {
            let entries = bom::legacy_json(bom, buildpack);
            self.legacy.entry(scope).or_default().extend(entries);
        }
        let warnings = self.launched.add(&buildpack.id, read.launch);
        for warning in read.warnings.iter().chain(&warnings) {
            console.warn(warning);
        }
        Ok(())
    }

    /// Runs `bin/build` (rules 28 and 29).
    fn run(&self, buildpack: &Descriptor, handed: &BuildpackPlan) -> Result<(), Failed> {
        let prefix = format!("{}-", buildpack.id.folder());
        let own = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir()
            .map_err(wrong)?;
        let plan = own.path().join("plan.toml");
        toml_file::write(&plan, handed).map_err(wrong)?;
        let apply = |env: &mut _| apply_at_build(&self.layers, env);
        let at = &buildpack.folder;
        let status = Command::new(at.join("bin/build"))
            .arg(self.inputs.layers.join(buildpack.id.folder()))
            .arg(&self.inputs.platform)
            .arg(&plan)
            .env_clear()
            .envs(self.environment.of_build(buildpack, at, &plan, &apply))
            .current_dir(&self.inputs.app)
            .stdin(Stdio::null())
            .stdout(std::io::stdout())
            .stderr(std::io::stdout()) // as lifecycle does
            .status();
        let status = status.map_err(|error| {
            let program = at.join("bin/build");
            Failed::new(
                BUILDPACK,
                "build",
                format!("run {}: {error}", program.display()),
            )
        })?;
        if status.success() {
            return Ok(());
        }
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "unknown end".to_owned(),
        };
        Err(Failed::new(BUILDPACK, "build", how))
    }

    /// What each layer is for; those for nothing are put aside, those for the build count from now on (rules 32 and 41).
    fn collect(&mut self, folder: &Path) -> Result<BTreeMap<LayerName, LayerTypes>, Failed> {
        let mut types = BTreeMap::new();
        for (name, file) in metadata::files(folder).map_err(wrong)? {
            let name: LayerName = name.parse().map_err(wrong)?;
            let read = LayerMetadata::read(&file)
                .map_err(wrong)?
                .unwrap_or_default();
            let layer = folder.join(name.as_str());
            if !read.types().any() {
                metadata::put_aside(&layer).map_err(wrong)?;
            }
            if read.types().build && layer.is_dir() {
                self.layers
                    .push(LayerEnv::read(&layer, &layer).map_err(wrong)?);
            }
            types.insert(name, read.types());
        }
        Ok(types)
    }

    /// Copies SBOM files to `<layers>/sbom` (rule 39).
    fn lay_sboms(
        &self,
        folder: &Path,
        buildpack: &Descriptor,
        types: &BTreeMap<LayerName, LayerTypes>,
        console: &mut Console<'_>,
    ) -> Result<(), Failed> {
        let read = sbom::read(folder, buildpack, types).map_err(wrong)?;
        for warning in &read.warnings {
            console.warn(warning);
        }
        if !self.inputs.api.has_sbom_files() {
            return Ok(());
        }
        for sbom in &read.sboms {
            let bytes = sbom.read().map_err(wrong)?;
            for scope in &sbom.scopes {
                let to = self.scope(*scope).join(sbom.place(&buildpack.id));
                write_below(&to, &bytes)?;
            }
        }
        Ok(())
    }

    fn scope(&self, scope: SbomScope) -> std::path::PathBuf {
        self.inputs.layers.join("sbom").join(scope.folder())
    }

    /// The `bom` tables of all buildpacks, as one file for each scope; `null` if there are none, as in lifecycle.
    fn write_legacy(&self) -> Result<(), Failed> {
        for (name, scope) in [("build", SbomScope::Build), ("launch", SbomScope::Launch)] {
            let entries = self.legacy.get(name).filter(|entries| !entries.is_empty());
            let text = entries.map_or(Value::Null, |entries| Value::from(entries.clone()));
            let to = self.scope(scope).join(LEGACY_FILE);
            write_below(&to, text.to_string().as_bytes())?;
        }
        Ok(())
    }
}

fn write_below(file: &Path, bytes: &[u8]) -> Result<(), Failed> {
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)
            .at("create the folder", parent)
            .map_err(wrong)?;
    }
    write_unsynced(file, bytes, 0o644).map_err(wrong)
}
