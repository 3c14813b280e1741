//! What a buildpack made of an app: taken down while the build runs, since its
//! folders are gone afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::expectation::{Environment, Expectation, Layer, LayerType, Plan, Process, Variables};
use crate::build::Event;
use crate::buildpack::descriptor::Descriptor;
use crate::buildpack::launch::{Launch, Process as LaunchProcess};
use crate::buildpack::lint::{self, Finding, Written};
use crate::buildpack::plan::{Alternative, BuildPlan};
use crate::ident::{BuildpackId, LayerName, ProcessType};
use crate::layer::env::{apply_at_build, apply_at_launch};
use crate::layer::{Env, LayerEnv, LayerMetadata, LayerTypes, TomlError};
use crate::sys::{At as _, PathError};

/// More files than so are not written down one by one.
const FILES_LISTED_MAX: usize = 20;
/// Where the layers of all buildpacks lie, inside.
const LAYERS: &str = "/layers";

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// In the form of `expect.toml`.
    pub as_expectation: Expectation,
    /// The paths of the files of each layer.
    pub files: BTreeMap<LayerName, Vec<String>>,
    /// What the buildpack's programs said.
    pub output: String,
    /// What is wrong with what it wrote.
    pub findings: Vec<Finding>,
}

/// Hears the events of a build for one buildpack.
#[derive(Debug)]
pub struct Listener {
    buildpack: BuildpackId,
    /// Its `bin/build` is the one that runs.
    is_building: bool,
    output: Vec<u8>,
    found: Found,
    failed: Option<TomlError>,
}

impl Listener {
    /// Takes down what this buildpack does.
    pub fn new(buildpack: &BuildpackId) -> Self {
        Self {
            buildpack: buildpack.clone(),
            is_building: false,
            output: Vec::new(),
            found: Found::default(),
            failed: None,
        }
    }

    /// Hears one event.
    pub fn hear(&mut self, event: &Event<'_>) {
        match event {
            Event::DetectOutput {
                buildpack, output, ..
            } if **buildpack == self.buildpack => self.output.extend_from_slice(output),
            Event::Building { buildpack, .. } => self.is_building = **buildpack == self.buildpack,
            Event::Output { bytes, .. } if self.is_building => {
                self.output.extend_from_slice(bytes);
            }
            Event::Wrote { buildpack, what } if buildpack.id == self.buildpack => {
                // A wrong file is the build's own error too; an earlier one is the cause.
                if let Err(error) = self.look(buildpack, *what) {
                    self.failed.get_or_insert(error);
                }
            }
            _ => {}
        }
    }

    /// What was taken down; an error if a file of it cannot be read.
    pub fn finish(mut self) -> Result<Found, TomlError> {
        self.found.output = String::from_utf8_lossy(&self.output).into_owned();
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.found),
        }
    }

    fn look(&mut self, buildpack: &Descriptor, what: Written<'_>) -> Result<(), TomlError> {
        let formats = &buildpack.sbom_formats;
        let found = lint::written(what, buildpack.api, formats)?;
        self.found.findings.extend(found);
        match what {
            Written::Plan(path) => {
                let plan = BuildPlan::read(path)?;
                self.found.as_expectation.plan = Some(plan_of(&plan));
            }
            Written::Layers(folder) => self.look_at_layers(buildpack, folder)?,
        }
        Ok(())
    }

    fn look_at_layers(&mut self, buildpack: &Descriptor, folder: &Path) -> Result<(), TomlError> {
        let launch = Launch::read(&folder.join("launch.toml"), buildpack.api)?.launch;
        let mut layers = BTreeMap::new();
        let mut envs = Vec::new();
        for name in layer_names(folder)? {
            let path = folder.join(name.as_str());
            let metadata = LayerMetadata::read(&folder.join(format!("{name}.toml")))?;
            let metadata = metadata.unwrap_or_default();
            let mut files = Vec::new();
            if path.is_dir() {
                list(&path, "", &mut files)?;
                let inside = Path::new(LAYERS).join(buildpack.id.folder());
                let env = LayerEnv::read(&path, &inside.join(name.as_str()))?;
                envs.push((metadata.types(), env));
            }
            files.sort();
            layers.insert(name.clone(), layer_of(&metadata, &files));
            self.found.files.insert(name, files);
        }
        let found = &mut self.found.as_expectation;
        found.layers = Some(layers);
        found.env = Some(environment(&envs, &launch));
        found.labels = Some(
            launch
                .labels
                .into_iter()
                .map(|label| (label.key, label.value))
                .collect(),
        );
        let processes = launch.processes.into_iter();
        found.processes = Some(
            processes
                .map(|process| (process.process_type.clone(), process_of(process)))
                .collect(),
        );
        Ok(())
    }
}

fn layer_names(folder: &Path) -> Result<Vec<LayerName>, PathError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).at("read", folder)? {
        let file = entry.at("read", folder)?.file_name();
        let stem = file.to_str().and_then(|name| name.strip_suffix(".toml"));
        // The names of the contract's own files are no names of layers.
        names.extend(stem.and_then(|stem| stem.parse().ok()));
    }
    names.sort();
    Ok(names)
}

/// The paths of all that is no folder, below `path`.
fn list(folder: &Path, path: &str, files: &mut Vec<String>) -> Result<(), PathError> {
    for entry in fs::read_dir(folder).at("read", folder)? {
        let entry = entry.at("read", folder)?;
        let name = entry.file_name();
        let below = format!("{path}{}", name.to_string_lossy());
        if entry.file_type().at("look at", &entry.path())?.is_dir() {
            list(&entry.path(), &format!("{below}/"), files)?;
        } else {
            files.push(below);
        }
    }
    Ok(())
}

fn plan_of(plan: &BuildPlan) -> Plan {
    let choice = |choice: &Alternative| Plan {
        provides: choice.provides.iter().map(|one| one.name.clone()).collect(),
        requires: choice.requires.clone(),
        or: Vec::new(),
    };
    let choices = plan.choices();
    let mut choices = choices.iter().map(choice);
    let first = choices.next().unwrap_or_default();
    Plan {
        or: choices.collect(),
        ..first
    }
}

fn layer_of(metadata: &LayerMetadata, files: &[String]) -> Layer {
    let LayerTypes {
        launch,
        build,
        cache,
    } = metadata.types();
    let types = [
        (launch, LayerType::Launch),
        (build, LayerType::Build),
        (cache, LayerType::Cache),
    ];
    let types = types.into_iter().filter(|(is_set, _)| *is_set);
    Layer {
        types: Some(types.map(|(_, kind)| kind).collect()),
        files: Some(listed(files)),
        metadata: Some(metadata.metadata.clone()).filter(|metadata| !metadata.is_empty()),
    }
}

/// Each file, or of many the first parts of their paths.
fn listed(files: &[String]) -> Vec<String> {
    if files.len() <= FILES_LISTED_MAX {
        return files.to_vec();
    }
    let mut tops: Vec<String> = files
        .iter()
        .map(|file| match file.split_once('/') {
            Some((top, _)) => format!("{top}/**"),
            None => file.clone(),
        })
        .collect();
    tops.dedup();
    tops
}

fn process_of(process: LaunchProcess) -> Process {
    let LaunchProcess {
        process_type: _,
        command,
        args,
        direct,
        default,
        working_dir,
        exec_env,
    } = process;
    Process {
        command,
        args,
        default,
        shell: !direct,
        working_dir,
        exec_env,
    }
}

fn environment(layers: &[(LayerTypes, LayerEnv)], launch: &Launch) -> Environment {
    let empty = || Env::from([("PATH".into(), "$PATH".into())]);
    let mut at_build = empty();
    let for_build = layers.iter().filter(|(types, _)| types.build);
    apply_at_build(for_build.map(|(_, env)| env), &mut at_build);
    let for_launch: Vec<&LayerEnv> = layers
        .iter()
        .filter(|(types, _)| types.launch)
        .map(|(_, env)| env)
        .collect();
    let of = |process: Option<&ProcessType>| {
        let mut env = empty();
        apply_at_launch([for_launch.iter().copied()], process, &mut env);
        variables(&env)
    };
    let every = of(None);
    let types = launch.processes.iter().map(|process| &process.process_type);
    let own: BTreeMap<ProcessType, Variables> = types
        .map(|process| (process.clone(), of(Some(process))))
        .filter(|(_, env)| *env != every)
        .collect();
    Environment {
        build: Some(variables(&at_build)),
        launch: Some(every),
        process: Some(own).filter(|own| !own.is_empty()),
    }
}

/// What differs from the environment that there was before.
fn variables(env: &Env) -> Variables {
    let changed = env
        .iter()
        .filter(|(name, value)| !(*name == "PATH" && *value == "$PATH"));
    changed
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .collect()
}
