//! What the programs of a build begin with: an allow-list of the operator's
//! environment (rule 40), fixed where it could make two builds differ.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::source::SOURCE_DATE_EPOCH;
use crate::archive::Target;
use crate::buildpack::descriptor::{Base, Distro};
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

/// The operator's proxies, and what is the same in every build.
pub(super) fn base(operator: &Env, home: &Path) -> Env {
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
        let env = base(&operator, Path::new("/home/slug"));
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
}
