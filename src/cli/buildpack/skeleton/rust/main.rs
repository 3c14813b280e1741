//! A buildpack: takes apps with a `greeting.txt`, and gives them a `greet` process.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;

use libcnb::build::{BuildContext, BuildResult, BuildResultBuilder};
use libcnb::data::build_plan::BuildPlanBuilder;
use libcnb::data::layer_name;
use libcnb::data::launch::{LaunchBuilder, ProcessBuilder};
use libcnb::data::process_type;
use libcnb::detect::{DetectContext, DetectResult, DetectResultBuilder};
use libcnb::generic::{GenericMetadata, GenericPlatform};
use libcnb::layer::{
    CachedLayerDefinition, InvalidMetadataAction, LayerState, RestoredLayerAction,
};
use libcnb::layer_env::{LayerEnv, ModificationBehavior, Scope};
use libcnb::{Buildpack, Error, buildpack_main};
use serde::{Deserialize, Serialize};

struct Greeter;

/// What is remembered of the layer until the next build.
#[derive(Serialize, Deserialize)]
struct GreeterLayer {
    version: String,
}

const VERSION: &str = "1";

impl Buildpack for Greeter {
    type Platform = GenericPlatform;
    type Metadata = GenericMetadata;
    type Error = io::Error;

    fn detect(&self, context: DetectContext<Self>) -> libcnb::Result<DetectResult, io::Error> {
        if !context.app_dir.join("greeting.txt").is_file() {
            return DetectResultBuilder::fail().build();
        }
        // What this buildpack can provide, and that it is wanted: a later buildpack may require it too.
        let plan = BuildPlanBuilder::new().provides("greeter").requires("greeter");
        DetectResultBuilder::pass().build_plan(plan.build()).build()
    }

    fn build(&self, context: BuildContext<Self>) -> libcnb::Result<BuildResult, io::Error> {
        let layer = context.cached_layer(
            layer_name!("greeter"),
            CachedLayerDefinition {
                build: false,
                launch: true,
                invalid_metadata_action: &|_| InvalidMetadataAction::DeleteLayer,
                restored_layer_action: &|metadata: &GreeterLayer, _| {
                    if metadata.version == VERSION {
                        RestoredLayerAction::KeepLayer
                    } else {
                        RestoredLayerAction::DeleteLayer
                    }
                },
            },
        )?;
        match layer.state {
            LayerState::Restored { .. } => println!("greeter {VERSION}: kept"),
            LayerState::Empty { .. } => {
                println!("greeter {VERSION}: made");
                let bin = layer.path().join("bin");
                let program = bin.join("greet");
                let script = "#!/bin/sh\necho \"$GREETER: $(cat greeting.txt)\"\n";
                fs::create_dir_all(&bin)
                    .and_then(|()| fs::write(&program, script))
                    .and_then(|()| fs::set_permissions(&program, Permissions::from_mode(0o755)))
                    .map_err(Error::BuildpackError)?;
                layer.write_env(LayerEnv::new().chainable_insert(
                    Scope::Launch,
                    ModificationBehavior::Default,
                    "GREETER",
                    "says",
                ))?;
                layer.write_metadata(GreeterLayer {
                    version: VERSION.to_owned(),
                })?;
            }
        }
        let greet = ProcessBuilder::new(process_type!("greet"), ["greet"])
            .default(true)
            .build();
        let launch = LaunchBuilder::new().process(greet).build();
        BuildResultBuilder::new().launch(launch).build()
    }
}

buildpack_main!(Greeter);
