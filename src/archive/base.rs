//! What a slug's ELF files need from the host under it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::elf::{Elf, GlibcVersion};
use super::{Host, Slug};

/// What the ELF files of one layer need and provide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElfFacts {
    /// `NEEDED` names, each with the first path that wants it.
    pub needed: BTreeMap<String, String>,
    /// `SONAME`s, and the file names of all ELF files: what has no `SONAME` is found by its name.
    pub provided: BTreeSet<String>,
    /// The highest `GLIBC_x.y` that a file wants: `2.34`.
    pub glibc: Option<String>,
}

impl ElfFacts {
    /// Adds the file at `path` in the slug.
    pub(super) fn add(&mut self, path: &str, elf: Elf) {
        let Elf {
            needed,
            soname,
            wants,
            defines: _,
        } = elf;
        for name in needed {
            self.needed.entry(name).or_insert_with(|| path.to_owned());
        }
        self.provided.extend(soname);
        self.provided
            .extend(path.rsplit('/').next().map(str::to_owned));
        self.glibc = higher(self.glibc.take(), wants.map(|version| version.to_string()));
    }
}

/// What the slug's ELF files need from the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseNeeds {
    /// `SONAME`s that no file of the slug provides, sorted; each with a path in the slug that wants it.
    pub sonames: BTreeMap<String, String>,
    /// The highest `GLIBC_x.y` that a file wants: `2.34`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glibc: Option<String>,
}

impl BaseNeeds {
    /// Sums up the layers of a slug. What `built_on` lacks itself is left out: an optional module
    /// that the build could not use either (Python's `_tkinter` on a server) is no need.
    pub fn of<'a>(layers: impl IntoIterator<Item = &'a ElfFacts>, built_on: &Host) -> Self {
        let mut needs = Self::default();
        let mut provided = BTreeSet::new();
        for ElfFacts {
            needed,
            provided: more,
            glibc,
        } in layers
        {
            for (soname, path) in needed {
                needs
                    .sonames
                    .entry(soname.clone())
                    .or_insert_with(|| path.clone());
            }
            provided.extend(more);
            needs.glibc = higher(needs.glibc, glibc.clone());
        }
        needs
            .sonames
            .retain(|soname, _| !provided.contains(soname) && built_on.libraries.contains(soname));
        needs
    }
}

/// One thing that a slug needs and a host has not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseMismatch {
    /// Built for another system or other processors.
    #[error("it is built for {slug}, and this host is {host}")]
    Arch {
        /// The slug's: `linux/arm64`.
        slug: String,
        /// The host's.
        host: String,
    },
    /// The glibc is too old, or is none.
    #[error("it needs glibc {needed}, and this host has {}", host.as_deref().unwrap_or("none"))]
    Glibc {
        /// The slug's.
        needed: String,
        /// The host's.
        host: Option<String>,
    },
    /// A library is missing.
    #[error("`{wanted_by}` needs `{soname}`, which neither the slug nor this host has")]
    Library {
        /// What is missing.
        soname: String,
        /// A path in the slug that wants it.
        wanted_by: String,
    },
}

/// Can the slug run on that host? All that is missing, if not. The distro is not asked:
/// what matters of it are its libraries.
pub fn check_base(slug: &Slug, host: &Host) -> Result<(), Vec<BaseMismatch>> {
    let mut missing = Vec::new();
    let platform = |os: &str, arch: &str| format!("{os}/{arch}");
    let (built_for, this) = (
        platform(&slug.target.os, &slug.target.arch),
        platform(&host.target.os, &host.target.arch),
    );
    if built_for != this {
        missing.push(BaseMismatch::Arch {
            slug: built_for,
            host: this,
        });
    }
    if let Some(needed) = slug
        .base
        .glibc
        .as_ref()
        .filter(|needed| !at_least(host.glibc.as_deref(), needed))
    {
        missing.push(BaseMismatch::Glibc {
            needed: needed.clone(),
            host: host.glibc.clone(),
        });
    }
    let absent = slug
        .base
        .sonames
        .iter()
        .filter(|(soname, _)| !host.libraries.contains(*soname));
    missing.extend(absent.map(|(soname, wanted_by)| BaseMismatch::Library {
        soname: soname.clone(),
        wanted_by: wanted_by.clone(),
    }));
    if missing.is_empty() {
        Ok(())
    } else {
        Err(missing)
    }
}

fn at_least(host: Option<&str>, needed: &str) -> bool {
    let version = |text: &str| text.parse::<GlibcVersion>().ok();
    match (host.and_then(version), version(needed)) {
        (Some(host), Some(needed)) => host >= needed,
        _ => false,
    }
}

fn higher(one: Option<String>, other: Option<String>) -> Option<String> {
    let version = |text: &String| text.parse::<GlibcVersion>().ok();
    if other.as_ref().and_then(version) > one.as_ref().and_then(version) {
        other
    } else {
        one
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{AppFolder, Target};

    fn facts(needed: &[(&str, &str)], provided: &[&str], glibc: Option<&str>) -> ElfFacts {
        ElfFacts {
            needed: needed
                .iter()
                .map(|(name, path)| ((*name).to_owned(), (*path).to_owned()))
                .collect(),
            provided: provided.iter().map(|name| (*name).to_owned()).collect(),
            glibc: glibc.map(str::to_owned),
        }
    }

    fn host(libraries: &[&str], glibc: Option<&str>) -> Host {
        let target = Target {
            os: "linux".to_owned(),
            arch: "amd64".to_owned(),
            distro_name: String::new(),
            distro_version: String::new(),
        };
        let libraries = libraries.iter().map(|name| (*name).to_owned()).collect();
        Host {
            target,
            libraries,
            glibc: glibc.map(str::to_owned),
        }
    }

    fn slug(base: BaseNeeds, arch: &str) -> Slug {
        let target = Target {
            arch: arch.to_owned(),
            ..host(&[], None).target
        };
        Slug {
            layers: Vec::new(),
            app: AppFolder::default(),
            processes: Vec::new(),
            buildpacks: Vec::new(),
            target,
            base,
            labels: BTreeMap::new(),
        }
    }

    #[test]
    fn needs_are_what_no_layer_provides_and_the_build_had() {
        let python = facts(
            &[("libc.so.6", "bin/python"), ("libtk.so", "lib/_tkinter.so")],
            &["libpython.so"],
            Some("2.4"),
        );
        let venv = facts(
            &[
                ("libpython.so", "x.so"),
                ("libpq.so.5", "pg.so"),
                ("libc.so.6", "x.so"),
            ],
            &[],
            Some("2.34"),
        );
        let needs = BaseNeeds::of(
            [&python, &venv],
            &host(&["libc.so.6", "libpq.so.5", "libpython.so"], None),
        );
        let sonames: Vec<_> = needs
            .sonames
            .iter()
            .map(|(soname, path)| format!("{soname} by {path}"))
            .collect();
        assert_eq!(sonames, ["libc.so.6 by bin/python", "libpq.so.5 by pg.so"]);
        assert_eq!(needs.glibc.as_deref(), Some("2.34"));
    }

    #[test]
    fn a_host_must_have_all_of_them() {
        let needs = BaseNeeds {
            sonames: facts(&[("libc.so.6", "a"), ("libpq.so.5", "b")], &[], None).needed,
            glibc: Some("2.34".to_owned()),
        };
        let amd64 = slug(needs, "amd64");
        assert_eq!(
            check_base(&amd64, &host(&["libc.so.6", "libpq.so.5"], Some("2.34"))),
            Ok(())
        );
        let missing = check_base(&amd64, &host(&["libc.so.6"], Some("2.4"))).unwrap_err();
        let missing: Vec<_> = missing.iter().map(BaseMismatch::to_string).collect();
        assert_eq!(
            missing,
            [
                "it needs glibc 2.34, and this host has 2.4",
                "`b` needs `libpq.so.5`, which neither the slug nor this host has"
            ]
        );
        let musl = check_base(&amd64, &host(&["libc.so.6", "libpq.so.5"], None)).unwrap_err();
        assert_eq!(
            musl,
            [BaseMismatch::Glibc {
                needed: "2.34".to_owned(),
                host: None
            }]
        );
        let other = check_base(&slug(BaseNeeds::default(), "arm64"), &host(&[], None)).unwrap_err();
        assert_eq!(
            other[0].to_string(),
            "it is built for linux/arm64, and this host is linux/amd64"
        );
    }
}
