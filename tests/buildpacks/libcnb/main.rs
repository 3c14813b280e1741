//! A buildpack that knows nothing of slug: all its talk with the platform goes through `libcnb`. One program: `bin/detect`,
//! `bin/build` and the exec.d program `bin/greet`, told apart by the name it is called by.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a buildpack talks to whoever watches the build, and makes files of its own"
)]

use std::collections::HashMap;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use libcnb::Buildpack;
use libcnb::Error;
use libcnb::build::{BuildContext, BuildResult, BuildResultBuilder};
use libcnb::data::build_plan::{BuildPlanBuilder, Require};
use libcnb::data::launch::{Label, LaunchBuilder, ProcessBuilder};
use libcnb::data::sbom::SbomFormat;
use libcnb::data::store::Store;
use libcnb::data::{exec_d_program_output_key, layer_name, process_type};
use libcnb::detect::{DetectContext, DetectResult, DetectResultBuilder};
use libcnb::exec_d::write_exec_d_program_output;
use libcnb::generic::GenericPlatform;
use libcnb::layer::{
    CachedLayerDefinition, InvalidMetadataAction, LayerRef, LayerState, RestoredLayerAction,
    UncachedLayerDefinition,
};
use libcnb::layer_env::{LayerEnv, ModificationBehavior, Scope};
use libcnb::sbom::Sbom;
use serde::{Deserialize, Serialize};
use toml::Table;

const SBOM: &[u8] = br#"{"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1}"#;

struct Stranger;

/// `[metadata]` of its buildpack.toml.
#[derive(Deserialize)]
struct Metadata {
    greeting: String,
}

/// What it asks of itself in the build plan, and keeps of its tool's layer.
#[derive(Debug, Serialize, Deserialize)]
struct Tool {
    version: String,
}

impl Buildpack for Stranger {
    type Platform = GenericPlatform;
    type Metadata = Metadata;
    type Error = io::Error;

    /// Takes apps with a `tool-version`; refuses to decide where that is empty.
    fn detect(&self, context: DetectContext<Self>) -> libcnb::Result<DetectResult, io::Error> {
        let Ok(version) = fs::read_to_string(context.app_dir.join("tool-version")) else {
            return DetectResultBuilder::fail().build();
        };
        let version = version.trim().to_owned();
        if version.is_empty() {
            return Err(Error::BuildpackError(io::Error::other("no version")));
        }
        let mut require = Require::new("tool");
        require.metadata(Tool { version }).map_err(not_toml)?;
        let plan = BuildPlanBuilder::new().provides("tool").requires(require);
        DetectResultBuilder::pass().build_plan(plan.build()).build()
    }

    fn build(&self, context: BuildContext<Self>) -> libcnb::Result<BuildResult, io::Error> {
        let tool = &context.buildpack_plan.entries[0];
        let Tool { version } = tool.metadata().map_err(not_toml)?;
        make_tool(&context, &version)?;
        let greet = context.uncached_layer(
            layer_name!("greet"),
            UncachedLayerDefinition {
                build: false,
                launch: true,
            },
        )?;
        greet.write_exec_d_programs([("greet", context.buildpack_dir.join("bin/greet"))])?;
        let (os, arch) = (&context.target.os, &context.target.arch);
        println!("libcnb: for {os}/{arch}");
        let web = ProcessBuilder::new(process_type!("web"), ["tool"])
            .args(["and", "more"])
            .default(true)
            .build();
        let label = Label {
            key: "org.example.tool".to_owned(),
            value: version,
        };
        BuildResultBuilder::new()
            .launch(LaunchBuilder::new().process(web).label(label).build())
            .store(builds_before(&context))
            .launch_sbom(Sbom::from_bytes(SbomFormat::CycloneDxJson, SBOM))
            .build_sbom(Sbom::from_bytes(SbomFormat::SpdxJson, b"{}".as_slice()))
            .build()
    }
}

/// The cached layer: made again only for another version.
fn make_tool(context: &BuildContext<Stranger>, version: &str) -> libcnb::Result<(), io::Error> {
    let layer = context.cached_layer(
        layer_name!("tool"),
        CachedLayerDefinition {
            build: true,
            launch: true,
            invalid_metadata_action: &|_| InvalidMetadataAction::DeleteLayer,
            restored_layer_action: &|kept: &Tool, _| {
                if kept.version == version {
                    RestoredLayerAction::KeepLayer
                } else {
                    RestoredLayerAction::DeleteLayer
                }
            },
        },
    )?;
    match &layer.state {
        LayerState::Restored { .. } => println!("libcnb: tool {version} kept"),
        LayerState::Empty { cause } => {
            println!("libcnb: tool {version} made ({cause:?})");
            fill_tool(
                &layer,
                version,
                &context.buildpack_descriptor.metadata.greeting,
            )?;
        }
    }
    Ok(())
}

fn fill_tool<M, R>(
    layer: &LayerRef<Stranger, M, R>,
    version: &str,
    greeting: &str,
) -> libcnb::Result<(), io::Error> {
    let program = layer.path().join("bin/tool");
    let script = format!("#!/bin/sh\necho \"$GREETING $NAME from tool {version}: $*\"\n");
    write_program(&program, &script).map_err(Error::BuildpackError)?;
    layer.write_metadata(Tool {
        version: version.to_owned(),
    })?;
    layer.write_env(
        LayerEnv::new()
            .chainable_insert(Scope::All, ModificationBehavior::Default, "NAME", "nobody")
            .chainable_insert(
                Scope::Launch,
                ModificationBehavior::Override,
                "GREETING",
                greeting,
            ),
    )?;
    layer.write_sboms(&[Sbom::from_bytes(SbomFormat::CycloneDxJson, SBOM)])
}

/// `store.toml` counts the builds.
fn builds_before(context: &BuildContext<Stranger>) -> Store {
    let before = context.store.as_ref();
    let before = before.and_then(|store| store.metadata.get("builds")?.as_integer());
    let builds = before.unwrap_or(0) + 1;
    println!("libcnb: build {builds}");
    Store {
        metadata: Table::from_iter([("builds".to_owned(), builds.into())]),
    }
}

fn write_program(path: &Path, script: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, script)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn not_toml(error: impl std::error::Error + Send + Sync + 'static) -> Error<io::Error> {
    Error::BuildpackError(io::Error::other(error))
}

fn main() {
    let called = env::args_os().next().unwrap_or_default();
    if Path::new(&called).file_name() == Some(OsStr::new("greet")) {
        let name = env::var("WHO").unwrap_or_else(|_| "stranger".to_owned());
        write_exec_d_program_output(HashMap::from([(exec_d_program_output_key!("NAME"), name)]));
    } else {
        libcnb::libcnb_runtime(&Stranger);
    }
}
