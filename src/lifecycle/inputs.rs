//! What a phase is given: by a flag, else by a variable, else by default
//! (Platform API, "Inputs").

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::Call;
use super::Phase;
use super::failed::{ARGUMENTS, Failed};
use super::flags::is_true;
use super::platform_api::PlatformApi;
use crate::buildpack::ExecEnv;
use crate::layer::Env;

/// The inputs of all phases. Every path is absolute.
#[derive(Clone, Debug)]
pub(super) struct Inputs {
    pub(super) api: PlatformApi,
    pub(super) analyzed: PathBuf,
    pub(super) app: PathBuf,
    pub(super) build_config: PathBuf,
    pub(super) buildpacks: PathBuf,
    pub(super) cache: Option<PathBuf>,
    pub(super) group: PathBuf,
    pub(super) layers: PathBuf,
    pub(super) order: PathBuf,
    pub(super) plan: PathBuf,
    pub(super) platform: PathBuf,
    pub(super) system: PathBuf,
    pub(super) exec_env: ExecEnv,
    pub(super) log_level: String,
    pub(super) skip_layers: bool,
    /// Whom a restorer that runs as root is to be.
    pub(super) owner: Option<(u32, u32)>,
    /// The environment of the program itself.
    pub(super) env: Env,
}

/// Where values are looked for.
struct Given<'a> {
    flags: &'a BTreeMap<&'static str, OsString>,
    env: &'a Env,
    cwd: &'a Path,
}

impl Inputs {
    /// Decides each; refuses what needs an image or a registry.
    pub(super) fn resolve(
        phase: Phase,
        api: PlatformApi,
        flags: &BTreeMap<&'static str, OsString>,
        call: &Call,
    ) -> Result<Self, Failed> {
        let given = Given {
            flags,
            env: &call.env,
            cwd: &call.cwd,
        };
        if phase == Phase::Restore {
            given.refuse_images()?;
        }
        let layers = given.path("layers", "CNB_LAYERS_DIR", Path::new("/layers"));
        let below =
            |flag: &str, variable: &str, name: &str| given.path(flag, variable, &layers.join(name));
        let mut order = below("order", "CNB_ORDER_PATH", "order.toml");
        if given.text("order", "CNB_ORDER_PATH").is_none() && !order.exists() {
            order = PathBuf::from("/cnb/order.toml");
        }
        let skips = given.is_on("skip-layers", "CNB_SKIP_LAYERS")
            || given.is_on("skip-layers", "CNB_SKIP_RESTORE");
        let text = |flag, variable, default: &str| {
            let text = given.text(flag, variable);
            text.map_or_else(
                || default.to_owned(),
                |text| text.to_string_lossy().into_owned(),
            )
        };
        let exec_env = text("exec-env", "CNB_EXEC_ENV", ExecEnv::PRODUCTION);
        Ok(Self {
            api,
            analyzed: below("analyzed", "CNB_ANALYZED_PATH", "analyzed.toml"),
            app: given.path("app", "CNB_APP_DIR", Path::new("/workspace")),
            build_config: given.path(
                "build-config",
                "CNB_BUILD_CONFIG_DIR",
                Path::new("/cnb/build-config"),
            ),
            buildpacks: given.path(
                "buildpacks",
                "CNB_BUILDPACKS_DIR",
                Path::new("/cnb/buildpacks"),
            ),
            cache: given
                .text("cache-dir", "CNB_CACHE_DIR")
                .map(|folder| call.cwd.join(folder)),
            group: below("group", "CNB_GROUP_PATH", "group.toml"),
            plan: below("plan", "CNB_PLAN_PATH", "plan.toml"),
            platform: given.path("platform", "CNB_PLATFORM_DIR", Path::new("/platform")),
            system: given.path("system", "CNB_SYSTEM_PATH", Path::new("/cnb/system.toml")),
            exec_env: exec_env
                .parse()
                .map_err(|error| Failed::new(ARGUMENTS, "resolve inputs", error))?,
            log_level: text("log-level", "CNB_LOG_LEVEL", "info"),
            skip_layers: skips,
            owner: given.owner()?,
            env: call.env.clone(),
            layers,
            order,
        })
    }
}

impl Given<'_> {
    /// An empty value is none.
    fn text(&self, flag: &str, variable: &str) -> Option<&OsString> {
        let flag = self.flags.get(flag);
        flag.or_else(|| self.env.get(OsStr::new(variable)))
            .filter(|text| !text.is_empty())
    }

    fn path(&self, flag: &str, variable: &str, default: &Path) -> PathBuf {
        let path = self.text(flag, variable);
        self.cwd.join(path.map_or(default, Path::new))
    }

    fn is_on(&self, flag: &str, variable: &str) -> bool {
        let text = self.text(flag, variable);
        text.is_some_and(|text| is_true(text) == Some(true))
    }

    /// `-uid` and `-gid`; none if they are not given, or 0.
    fn owner(&self) -> Result<Option<(u32, u32)>, Failed> {
        let number = |flag: &str, variable: &str| {
            let Some(text) = self.text(flag, variable) else {
                return Ok(0);
            };
            let number = text.to_str().and_then(|text| text.parse().ok());
            number.ok_or_else(|| {
                let why = format!("-{flag} is a number, not {}", text.to_string_lossy());
                Failed::new(ARGUMENTS, "resolve inputs", why)
            })
        };
        let (uid, gid): (u32, u32) = (
            number("uid", "CNB_USER_ID")?,
            number("gid", "CNB_GROUP_ID")?,
        );
        Ok((uid != 0).then_some((uid, gid)))
    }

    /// What lifecycle's restorer does with images, `slug` has no use for: said, instead of done without.
    fn refuse_images(&self) -> Result<(), Failed> {
        let about_images = [
            ("build-image", "CNB_BUILD_IMAGE"),
            ("cache-image", "CNB_CACHE_IMAGE"),
            ("daemon", "CNB_USE_DAEMON"),
            ("layout", "CNB_USE_LAYOUT"),
        ];
        for (flag, variable) in about_images {
            let value = self.text(flag, variable);
            if value.is_some_and(|value| is_true(value) != Some(false)) {
                let why = format!(
                    "-{flag} ({variable}) is about images in a registry, a daemon or a layout, which slug does not read; a cache is a folder: -cache-dir"
                );
                return Err(Failed::new(ARGUMENTS, "resolve inputs", why));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(flags: &[(&'static str, &str)], env: &[(&str, &str)]) -> Result<Inputs, Failed> {
        let flags = flags.iter().map(|(name, value)| (*name, value.into()));
        let env = env.iter().map(|(name, value)| (name.into(), value.into()));
        let call = Call {
            arguments: Vec::new(),
            env: env.collect(),
            cwd: "/here".into(),
        };
        Inputs::resolve(
            Phase::Restore,
            PlatformApi::minor(15),
            &flags.collect(),
            &call,
        )
    }

    #[test]
    fn a_flag_wins_over_a_variable_and_that_over_the_default() {
        let inputs = resolve(&[], &[]).unwrap();
        assert_eq!(inputs.app, Path::new("/workspace"));
        assert_eq!(inputs.plan, Path::new("/layers/plan.toml"));
        assert_eq!(inputs.order, Path::new("/cnb/order.toml"));
        let env = [
            ("CNB_APP_DIR", "app"),
            ("CNB_LAYERS_DIR", "/l"),
            ("CNB_GROUP_PATH", ""),
        ];
        let inputs = resolve(&[], &env).unwrap();
        assert_eq!(inputs.app, Path::new("/here/app"));
        assert_eq!(inputs.group, Path::new("/l/group.toml"));
        let inputs = resolve(&[("layers", "/flag")], &env).unwrap();
        assert_eq!(inputs.group, Path::new("/flag/group.toml"));
    }

    #[test]
    fn what_is_about_images_is_refused() {
        assert_eq!(
            resolve(&[("cache-image", "r/i")], &[]).unwrap_err().code,
            ARGUMENTS
        );
        assert!(resolve(&[], &[("CNB_USE_DAEMON", "true")]).is_err());
        assert!(resolve(&[("daemon", "false")], &[]).is_ok());
        assert_eq!(resolve(&[("uid", "me")], &[]).unwrap_err().code, ARGUMENTS);
    }
}
