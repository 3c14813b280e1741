//! The environment of detects and builds: an allow-list and what the contract
//! adds (rules 12, 29, 40-43), fixed where it could make two builds differ.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::site::{LAYERS, PLATFORM};
use super::source::SOURCE_DATE_EPOCH;
use crate::archive::Target;
use crate::buildpack::Api;
use crate::buildpack::ExecEnv;
use crate::buildpack::descriptor::{Base, Descriptor, Distro};
use crate::layer::Env;
use crate::layer::env::{Delta, apply_user};

/// Where programs are looked for, before any layer.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What is taken over from the operator's environment (rule 40).
const PROXIES: [&str; 6] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// What all programs of one build have in common.
#[derive(Clone, Debug)]
pub(super) struct Environment {
    base: Env,
    user: Env,
    build_config: Delta,
    exec_env: ExecEnv,
    target: Base,
}

impl Environment {
    /// `user` is what buildpacks find in `<platform>/env`, `build_config` what they cannot refuse.
    pub(super) fn new(
        operator: &Env,
        home: &Path,
        user: Env,
        build_config: Delta,
        exec_env: ExecEnv,
        target: &Target,
    ) -> Self {
        let proxies = PROXIES.iter().filter_map(|name| {
            let value = operator.get(OsStr::new(name))?;
            Some((OsString::from(name), value.clone()))
        });
        let fixed = [
            ("PATH", PATH.to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("TZ", "UTC".to_owned()),
            ("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH.to_string()),
        ];
        let mut base: Env = proxies.collect();
        base.extend(fixed.map(|(name, value)| (name.into(), value.into())));
        base.insert("HOME".into(), home.into());
        Self {
            base,
            user,
            build_config,
            exec_env,
            target: base_of(target),
        }
    }

    /// The system that is built for.
    pub(super) fn target(&self) -> &Base {
        &self.target
    }

    /// Of `bin/detect`, with its plan at `plan`.
    pub(super) fn of_detect(&self, buildpack: &Descriptor, at: &Path, plan: &Path) -> Env {
        let mut own = vec![("CNB_BUILDPACK_DIR", at.to_owned())];
        if buildpack.api.has_argument_variables() {
            own.push(("CNB_PLATFORM_DIR", PathBuf::from(PLATFORM)));
            own.push(("CNB_BUILD_PLAN_PATH", plan.to_owned()));
        }
        self.finished(self.base.clone(), buildpack, own)
    }

    /// Of `bin/build`, with its plan at `plan`. `layers` applies those of earlier buildpacks.
    pub(super) fn of_build(
        &self,
        buildpack: &Descriptor,
        at: &Path,
        plan: &Path,
        layers: &dyn Fn(&mut Env),
    ) -> Env {
        let mut own = vec![("CNB_BUILDPACK_DIR", at.to_owned())];
        if buildpack.api.has_argument_variables() {
            own.push((
                "CNB_LAYERS_DIR",
                Path::new(LAYERS).join(buildpack.id.folder()),
            ));
            own.push(("CNB_PLATFORM_DIR", PathBuf::from(PLATFORM)));
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

fn base_of(target: &Target) -> Base {
    let Target {
        os,
        arch,
        distro_name,
        distro_version,
    } = target;
    Base {
        os: os.clone(),
        arch: arch.clone(),
        variant: String::new(),
        distro: Distro {
            name: distro_name.clone(),
            version: distro_version.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(operator: &[(&str, &str)], user: &[(&str, &str)]) -> Environment {
        let env = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect()
        };
        let target = Target {
            os: "linux".to_owned(),
            arch: "amd64".to_owned(),
            distro_name: "debian".to_owned(),
            distro_version: String::new(),
        };
        Environment::new(
            &env(operator),
            Path::new("/home/slug"),
            env(user),
            Delta::default(),
            ExecEnv::default(),
            &target,
        )
    }

    fn buildpack(api: &str, clear_env: bool) -> Descriptor {
        Descriptor {
            folder: "/".into(),
            api: api.parse().unwrap(),
            id: "a/b".parse().unwrap(),
            version: "1".to_owned(),
            homepage: None,
            clear_env,
            exec_env: Vec::new(),
            targets: Vec::new(),
            order: Vec::new(),
            host_programs: Vec::new(),
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
        let environment = environment(&[], &[]);
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
        let env = environment(&[], &[]).of_build(
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
    fn rule_40_nothing_of_the_operators_shell_but_its_proxies() {
        let environment = environment(
            &[
                ("http_proxy", "http://p"),
                ("EDITOR", "vi"),
                ("PATH", "/opt"),
            ],
            &[],
        );
        let env = environment.of_detect(&buildpack("0.7", false), Path::new("/b"), Path::new("/p"));
        let names: Vec<_> = env.keys().map(|name| name.to_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "CNB_BUILDPACK_DIR",
                "HOME",
                "LANG",
                "PATH",
                "SOURCE_DATE_EPOCH",
                "TZ",
                "http_proxy"
            ]
        );
        assert_eq!(env[OsStr::new("PATH")], PATH);
    }

    #[test]
    fn rule_42_the_users_variables_come_after_the_layers_unless_they_are_refused() {
        let environment = environment(
            &[],
            &[("A", "user"), ("PATH", "/user"), ("CNB_LAYERS_DIR", "x")],
        );
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
