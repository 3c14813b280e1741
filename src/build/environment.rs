//! What the programs of a build begin with: an allow-list of the operator's
//! environment (rule 40), fixed where it could make two builds differ.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::source::SOURCE_DATE_EPOCH;
use crate::archive::Target;
use crate::buildpack::target::{Base, Distro};
use crate::layer::Env;

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

/// What systems were known by before there were targets.
const STACK: &str = "CNB_STACK_ID";

/// The operator's proxies, and what is the same in every build. A stack is promised before Buildpack API 0.10, and
/// buildpacks of then end without one: the operator's, else what the system is known by.
pub(super) fn base(operator: &Env, home: &Path, target: &Base) -> Env {
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
    let stack = operator.get(OsStr::new(STACK)).cloned();
    let stack = stack.or_else(|| target.stack_id().map(OsString::from));
    base.extend(stack.map(|stack| (STACK.into(), stack)));
    base
}

/// The system that is built for.
pub(super) fn target(target: &Target) -> Base {
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

    #[test]
    fn rule_40_nothing_of_the_operators_shell_but_its_proxies() {
        let operator = [
            ("http_proxy", "http://p"),
            ("EDITOR", "vi"),
            ("PATH", "/opt"),
        ];
        let operator: Env = operator
            .map(|(name, value)| (name.into(), value.into()))
            .into();
        let env = base(&operator, Path::new("/home/slug"), &Base::default());
        let names: Vec<_> = env.keys().map(|name| name.to_str().unwrap()).collect();
        assert_eq!(
            names,
            [
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
    fn rule_40_a_stack_is_the_operators_or_what_the_system_is_known_by() {
        let check = |operator: Option<&str>, distro: (&str, &str), expected: Option<&str>| {
            let operator = operator.map(|stack| (STACK.into(), stack.into()));
            let target = Base {
                distro: Distro {
                    name: distro.0.to_owned(),
                    version: distro.1.to_owned(),
                },
                ..Base::default()
            };
            let env = base(&operator.into_iter().collect(), Path::new("/"), &target);
            let stack = env
                .get(OsStr::new(STACK))
                .map(|stack| stack.to_str().unwrap());
            assert_eq!(stack, expected);
        };
        check(
            None,
            ("ubuntu", "24.04"),
            Some("io.buildpacks.stacks.noble"),
        );
        check(None, ("debian", "13"), Some("debian-13"));
        check(None, ("arch", ""), Some("arch"));
        check(None, ("", ""), None);
        check(Some("heroku-24"), ("ubuntu", "24.04"), Some("heroku-24"));
    }
}
