//! Systems: what a buildpack asks of one, and what one is (rules 6 and 7).

use std::fmt;

use serde::Deserialize;

use super::api::Api;

/// What a buildpack asks of a system; what it leaves out does not matter to it (rule 6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct TargetPattern {
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// `amd64`.
    #[serde(default)]
    pub arch: String,
    /// `v8`; the specification writes `variant`, lifecycle reads `arch-variant`.
    #[serde(default, alias = "arch-variant")]
    pub variant: String,
    /// If there are any, the system must be one of them.
    #[serde(default)]
    pub distros: Vec<Distro>,
}

/// A distribution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Distro {
    /// `ID` of os-release.
    #[serde(default)]
    pub name: String,
    /// `VERSION_ID` of os-release.
    #[serde(default)]
    pub version: String,
}

/// The system that is built for; what is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// `linux`.
    pub os: String,
    /// `amd64`.
    pub arch: String,
    /// `v8`.
    pub variant: String,
    /// Its distribution.
    pub distro: Distro,
}

/// `[[stacks]]`, which stood for systems before there were targets.
#[derive(Deserialize)]
pub(super) struct Stack {
    pub(super) id: String,
}

impl TargetPattern {
    /// Is it that system?
    pub fn matches(&self, base: &Base) -> bool {
        let Self {
            os,
            arch,
            variant,
            distros,
        } = self;
        let fits =
            |wanted: &str, given: &str| wanted.is_empty() || given.is_empty() || wanted == given;
        let distro_fits = |distro: &Distro| {
            !base.distro.name.is_empty()
                && fits(&distro.name, &base.distro.name)
                && fits(&distro.version, &base.distro.version)
        };
        fits(os, &base.os)
            && fits(arch, &base.arch)
            && fits(variant, &base.variant)
            && (distros.is_empty() || distros.iter().any(distro_fits))
    }
}

impl fmt::Display for TargetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            os,
            arch,
            variant,
            distros,
        } = self;
        let parts = [os, arch, variant]
            .into_iter()
            .filter(|part| !part.is_empty());
        f.write_str(&parts.map(String::as_str).collect::<Vec<_>>().join("/"))?;
        for (number, distro) in distros.iter().enumerate() {
            write!(f, "{}{distro}", if number == 0 { " " } else { ", " })?;
        }
        Ok(())
    }
}

impl Base {
    /// The stack that buildpacks of before targets know a system by: that of the builders of its time for an Ubuntu with a
    /// long support, else its own name. None where the system is not known.
    pub fn stack_id(&self) -> Option<String> {
        let Distro { name, version } = &self.distro;
        let known = match (name.as_str(), version.as_str()) {
            ("", _) => return None,
            ("ubuntu", "18.04") => Some("bionic"),
            ("ubuntu", "20.04") => Some("focal"),
            ("ubuntu", "22.04") => Some("jammy"),
            ("ubuntu", "24.04") => Some("noble"),
            _ => None,
        };
        let own = || {
            [name.as_str(), version]
                .join("-")
                .trim_end_matches('-')
                .to_owned()
        };
        Some(known.map_or_else(own, |codename| format!("io.buildpacks.stacks.{codename}")))
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            os,
            arch,
            variant: _,
            distro,
        } = self;
        write!(f, "{os}/{arch} {distro}")
    }
}

impl fmt::Display for Distro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, version } = self;
        write!(
            f,
            "{name}{}{version}",
            if version.is_empty() { "" } else { " " }
        )
    }
}

/// Rule 7: one old stack stands for a system; anything else with a `bin/build` is for Linux.
pub(super) fn inferred_targets(api: Api, stacks: &[Stack]) -> Vec<TargetPattern> {
    const BIONIC: &str = "io.buildpacks.stacks.bionic";
    let bionic =
        stacks.iter().any(|stack| stack.id == BIONIC) && (api.has_targets() || stacks.len() == 1);
    let linux = TargetPattern {
        os: "linux".to_owned(),
        ..TargetPattern::default()
    };
    if stacks.iter().any(|stack| stack.id == "*") {
        return Vec::new();
    }
    if !bionic {
        return vec![linux];
    }
    let distro = Distro {
        name: "ubuntu".to_owned(),
        version: "18.04".to_owned(),
    };
    vec![TargetPattern {
        arch: "amd64".to_owned(),
        distros: vec![distro],
        ..linux
    }]
}
