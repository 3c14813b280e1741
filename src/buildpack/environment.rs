//! What a `bin/detect` and a `bin/build` find in their environment (rules 12,
//! 29 and 40-43). Pure; from what it begins is the platform's.

use std::path::{Path, PathBuf};

use super::Api;
use super::ExecEnv;
use super::descriptor::Descriptor;
use super::target::Base;
use crate::layer::Env;
use crate::layer::env::{Delta, apply_user};

/// What all programs of one build have in common.
#[derive(Clone, Debug)]
pub struct Environment {
    /// What they begin with: an allow-list of the platform's own environment (rule 40).
    pub base: Env,
    /// `<platform>/env`: the user's, which a buildpack may refuse (rule 42).
    pub user: Env,
    /// `<build-config>/env`: the operator's, which it may not (rule 43).
    pub build_config: Delta,
    /// What is built for.
    pub exec_env: ExecEnv,
    /// The system that is built for.
    pub target: Base,
    /// `<platform>`, as the programs see it.
    pub platform: PathBuf,
    /// `<layers>` of all buildpacks, as the programs see it.
    pub layers: PathBuf,
}

impl Environment {
    /// Of `bin/detect`, with its plan at `plan`.
    pub fn of_detect(&self, buildpack: &Descriptor, at: &Path, plan: &Path) -> Env {
        let mut own = vec![("CNB_BUILDPACK_DIR", at.to_owned())];
        if buildpack.api.has_argument_variables() {
            own.push(("CNB_PLATFORM_DIR", self.platform.clone()));
            own.push(("CNB_BUILD_PLAN_PATH", plan.to_owned()));
        }
        self.finished(self.base.clone(), buildpack, own)
    }

    /// Of `bin/build`, with its plan at `plan`. `layers` applies those of earlier buildpacks.
    pub fn of_build(
        &self,
        buildpack: &Descriptor,
        at: &Path,
        plan: &Path,
        layers: &dyn Fn(&mut Env),
    ) -> Env {
        let mut own = vec![("CNB_BUILDPACK_DIR", at.to_owned())];
        if buildpack.api.has_argument_variables() {
            own.push(("CNB_LAYERS_DIR", self.layers.join(buildpack.id.folder())));
            own.push(("CNB_PLATFORM_DIR", self.platform.clone()));
            own.push(("CNB_BP_PLAN_PATH", plan.to_owned()));
        }
        let mut env = self.base.clone();
        layers(&mut env);
        self.finished(env, buildpack, own)
    }

    /// The user's, unless the buildpack refuses them; then the operator's; the contract's own last, so that they win.
    fn finished(&self, mut env: Env, buildpack: &Descriptor, own: Vec<(&str, PathBuf)>) -> Env {
        if !buildpack.clear_env {
            apply_user(&self.user, &mut env);
        }
        self.build_config.apply(&mut env);
        env.extend(
            own.into_iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
        env.extend(self.target_variables(buildpack.api));
        env
    }

    /// What is not known is not set; libcnb wants all four of os, arch and distro.
    fn target_variables(&self, api: Api) -> Env {
        let Base {
            os,
            arch,
            variant,
            distro,
        } = &self.target;
        let mut variables = Vec::new();
        if api.has_targets() {
            variables.extend([
                ("CNB_TARGET_OS", os.as_str()),
                ("CNB_TARGET_ARCH", arch),
                ("CNB_TARGET_ARCH_VARIANT", variant),
                ("CNB_TARGET_DISTRO_NAME", &distro.name),
                ("CNB_TARGET_DISTRO_VERSION", &distro.version),
            ]);
        }
        if api.has_exec_env() {
            variables.push(("CNB_EXEC_ENV", self.exec_env.as_str()));
        }
        let known = variables.into_iter().filter(|(_, value)| !value.is_empty());
        known
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::buildpack::target::Distro;

    const PATH: &str = "/usr/bin:/bin";

    fn environment(user: &[(&str, &str)]) -> Environment {
        let env = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect()
        };
        Environment {
            base: env(&[("PATH", PATH)]),
            user: env(user),
            build_config: Delta::default(),
            exec_env: ExecEnv::default(),
            target: Base {
                os: "linux".to_owned(),
                arch: "amd64".to_owned(),
                variant: String::new(),
                distro: Distro {
                    name: "debian".to_owned(),
                    version: String::new(),
                },
            },
            platform: "/platform".into(),
            layers: "/layers".into(),
        }
    }

    fn buildpack(api: &str, clear_env: bool) -> Descriptor {
        Descriptor {
            api: api.parse().unwrap(),
            clear_env,
            ..Descriptor::example("a/b")
        }
    }

    fn names(env: &Env) -> Vec<&str> {
        env.keys()
            .map(|name| name.to_str().unwrap())
            .filter(|name| name.starts_with("CNB_"))
            .collect()
    }

    #[test]
    fn rule_12_a_detect_is_told_what_its_api_knows() {
        let environment = environment(&[]);
        let check = |api: &str, expected: &[&str]| {
            let env =
                environment.of_detect(&buildpack(api, false), Path::new("/b"), Path::new("/p"));
            assert_eq!(names(&env), expected, "{api}");
        };
        check("0.7", &["CNB_BUILDPACK_DIR"]);
        check(
            "0.8",
            &[
                "CNB_BUILDPACK_DIR",
                "CNB_BUILD_PLAN_PATH",
                "CNB_PLATFORM_DIR",
            ],
        );
        let targets = ["CNB_TARGET_ARCH", "CNB_TARGET_DISTRO_NAME", "CNB_TARGET_OS"];
        check(
            "0.10",
            &[
                &[
                    "CNB_BUILDPACK_DIR",
                    "CNB_BUILD_PLAN_PATH",
                    "CNB_PLATFORM_DIR",
                ],
                &targets[..],
            ]
            .concat(),
        );
        let all = [
            "CNB_BUILDPACK_DIR",
            "CNB_BUILD_PLAN_PATH",
            "CNB_EXEC_ENV",
            "CNB_PLATFORM_DIR",
        ];
        check("0.12", &[&all[..], &targets[..]].concat());
    }

    #[test]
    fn rule_29_a_build_is_told_where_its_layers_and_its_plan_are() {
        let env = environment(&[]).of_build(
            &buildpack("0.9", false),
            Path::new("/b"),
            Path::new("/p"),
            &|_| {},
        );
        assert_eq!(
            names(&env),
            [
                "CNB_BP_PLAN_PATH",
                "CNB_BUILDPACK_DIR",
                "CNB_LAYERS_DIR",
                "CNB_PLATFORM_DIR"
            ]
        );
        assert_eq!(env[OsStr::new("CNB_LAYERS_DIR")], "/layers/a_b");
    }

    #[test]
    fn rule_42_the_users_variables_come_after_the_layers_unless_they_are_refused() {
        let environment = environment(&[("A", "user"), ("PATH", "/user"), ("CNB_LAYERS_DIR", "x")]);
        let layers = |env: &mut Env| drop(env.insert("A".into(), "layer".into()));
        let build = |clear_env| {
            environment.of_build(
                &buildpack("0.10", clear_env),
                Path::new("/b"),
                Path::new("/p"),
                &layers,
            )
        };
        assert_eq!(build(false)[OsStr::new("A")], "user");
        assert_eq!(
            build(false)[OsStr::new("PATH")],
            OsStr::new(&format!("/user:{PATH}"))
        );
        assert_eq!(build(false)[OsStr::new("CNB_LAYERS_DIR")], "/layers/a_b");
        assert_eq!(build(true)[OsStr::new("A")], "layer");
        assert_eq!(build(true)[OsStr::new("PATH")], PATH);
    }
}
