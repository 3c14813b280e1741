//! A folder laid out as a builder image of lifecycle is, and `slug` under the names of lifecycle's programs in it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::support::run::{Invocation, Run};
use crate::support::world::World;

/// `cnb/lifecycle/{detector,builder,restorer,launcher}`, `cnb/process`, `cnb/buildpacks`, `workspace`, `layers`, `platform`.
/// Of a user without privilege: lifecycle's detector and builder refuse root.
pub(crate) struct Cnb {
    pub(crate) world: World,
    api: &'static str,
}

impl Cnb {
    pub(crate) fn new(api: &'static str) -> Self {
        let world = World::unprivileged();
        for folder in [
            "cnb/lifecycle",
            "cnb/process",
            "cnb/buildpacks",
            "workspace",
            "layers",
            "platform",
        ] {
            fs::create_dir_all(world.path(folder)).unwrap();
        }
        let cnb = Self { world, api };
        for program in ["detector", "builder", "restorer", "launcher"] {
            cnb.link(&format!("cnb/lifecycle/{program}"));
        }
        cnb.world.give_tree(&cnb.world.path("layers"));
        cnb.world.give_tree(&cnb.world.path("workspace"));
        cnb
    }

    /// `slug` by another name.
    pub(crate) fn link(&self, name: &str) {
        let slug = self.world.binary_folder().join("slug");
        std::os::unix::fs::symlink(slug, self.world.path(name)).unwrap();
    }

    pub(crate) fn write(&self, inside: &str, text: impl AsRef<[u8]>) -> PathBuf {
        self.world.write(inside, text)
    }

    pub(crate) fn read(&self, inside: &str) -> String {
        fs::read_to_string(self.world.path(inside)).unwrap()
    }

    pub(crate) fn exists(&self, inside: &str) -> bool {
        self.world.path(inside).symlink_metadata().is_ok()
    }

    /// A script of bash, as lifecycle's test data are.
    pub(crate) fn script(&self, inside: &str, script: &str) {
        let path = self.write(inside, format!("#!/usr/bin/env bash\n{script}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// `cnb/buildpacks/<id>/<version>` of that Buildpack API, with these of `bin/detect` and `bin/build`.
    pub(crate) fn buildpack(&self, id: &str, version: &str, api: &str, programs: &[(&str, &str)]) {
        self.buildpack_in("cnb/buildpacks", id, version, api, programs);
    }

    pub(crate) fn buildpack_in(
        &self,
        folder: &str,
        id: &str,
        version: &str,
        api: &str,
        programs: &[(&str, &str)],
    ) {
        let at = format!("{folder}/{}/{version}", id.replace('/', "_"));
        let descriptor =
            format!("api = \"{api}\"\n[buildpack]\nid = \"{id}\"\nversion = \"{version}\"\n");
        self.write(&format!("{at}/buildpack.toml"), descriptor);
        for (program, script) in programs {
            self.script(&format!("{at}/bin/{program}"), script);
        }
    }

    /// A program of lifecycle, with the folders of this one in the environment.
    pub(crate) fn program(&self, name: &str, arguments: &[&str]) -> Invocation {
        let program = self.world.path(name);
        let path = |inside: &str| self.world.path(inside);
        self.world
            .program(program.to_str().unwrap(), arguments)
            .env("CNB_PLATFORM_API", self.api)
            .env("CNB_APP_DIR", path("workspace"))
            .env("CNB_LAYERS_DIR", path("layers"))
            .env("CNB_PLATFORM_DIR", path("platform"))
            .env("CNB_BUILDPACKS_DIR", path("cnb/buildpacks"))
            .env("CNB_BUILD_CONFIG_DIR", path("cnb/build-config"))
            .env("CNB_SYSTEM_PATH", path("cnb/system.toml"))
    }

    #[track_caller]
    pub(crate) fn detect(&self, arguments: &[&str]) -> Run {
        self.program("cnb/lifecycle/detector", arguments).run()
    }

    #[track_caller]
    pub(crate) fn build(&self, arguments: &[&str]) -> Run {
        self.program("cnb/lifecycle/builder", arguments).run()
    }

    #[track_caller]
    pub(crate) fn restore(&self, arguments: &[&str]) -> Run {
        self.program("cnb/lifecycle/restorer", arguments).run()
    }

    /// The launcher, with what the test says of the environment.
    #[track_caller]
    pub(crate) fn launch(
        &self,
        name: &str,
        arguments: &[&str],
        env: &[(&str, &dyn AsRef<OsStr>)],
    ) -> Run {
        let mut invocation = self.program(name, arguments);
        for (name, value) in env {
            invocation = invocation.env(name, value.as_ref());
        }
        invocation.run()
    }

    /// An order.toml of one group: `id@version`, with `?` behind it if optional.
    pub(crate) fn order(&self, members: &[&str]) {
        let member = |member: &&str| {
            let (id, version) = member.trim_end_matches('?').split_once('@').unwrap();
            let optional = member.ends_with('?');
            format!(
                "[[order.group]]\nid = \"{id}\"\nversion = \"{version}\"\noptional = {optional}\n"
            )
        };
        let members: String = members.iter().map(member).collect();
        self.write("layers/order.toml", format!("[[order]]\n{members}"));
    }
}
