//! The files that pass from phase to phase (Platform API, "Data Format"):
//! order.toml, system.toml, group.toml, plan.toml, analyzed.toml.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::console::Console;
use super::failed::{FAILED, Failed, not_there, unreadable};
use crate::buildpack::descriptor::Descriptor;
use crate::buildpack::order::{Group, Member};
use crate::buildpack::plan::{Entry, Require};
use crate::buildpack::target::{Base, Distro};
use crate::ident::BuildpackId;
use crate::layer::TomlError;
use crate::layer::toml_file;
use crate::sys::At as _;
use crate::sys::PathError;

/// `order.toml`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct OrderToml {
    #[serde(default)]
    pub(super) order: Vec<Group>,
    #[serde(rename = "order-extensions", default)]
    pub(super) extensions: Vec<toml::Value>,
}

/// `system.toml`: what wraps each group (rule 21).
#[derive(Debug, Default, Deserialize)]
struct SystemToml {
    #[serde(default)]
    system: System,
}

/// The buildpacks before and behind each group.
#[derive(Debug, Default, Deserialize)]
pub(super) struct System {
    #[serde(default)]
    pre: SystemBuildpacks,
    #[serde(default)]
    post: SystemBuildpacks,
}

#[derive(Debug, Default, Deserialize)]
struct SystemBuildpacks {
    #[serde(default)]
    buildpacks: Vec<SystemBuildpack>,
}

#[derive(Debug, Deserialize)]
struct SystemBuildpack {
    id: BuildpackId,
    version: Option<String>,
}

/// `group.toml`: who takes the app.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct GroupToml {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) group: Vec<GroupMember>,
    #[serde(
        rename = "group-extensions",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) extensions: Vec<toml::Table>,
}

/// One of a group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct GroupMember {
    pub(super) id: BuildpackId,
    pub(super) version: String,
    /// As it is written: what is wrong with it is for the phase to say.
    #[serde(default)]
    pub(super) api: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) homepage: Option<String>,
}

/// `plan.toml`: who is to provide what.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct PlanToml {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    entries: Vec<PlanEntry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct PlanEntry {
    #[serde(default)]
    providers: Vec<Provider>,
    #[serde(default)]
    requires: Vec<Require>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Provider {
    id: BuildpackId,
    #[serde(default)]
    version: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    extension: bool,
}

/// What counts of `analyzed.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct AnalyzedToml {
    #[serde(default)]
    pub(super) metadata: AnalyzedMetadata,
    #[serde(rename = "run-image")]
    run_image: Option<RunImage>,
}

/// What the image of the last build says.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct AnalyzedMetadata {
    #[serde(default)]
    pub(super) buildpacks: Vec<BuildpackLayers>,
}

/// What is known of a buildpack's layers, from the last image or from the cache.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct BuildpackLayers {
    pub(super) key: String,
    #[serde(default)]
    pub(super) layers: std::collections::BTreeMap<String, KnownLayer>,
    #[serde(default)]
    pub(super) store: Option<toml::Table>,
}

/// One layer of the last build.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct KnownLayer {
    #[serde(default)]
    pub(super) sha: String,
    /// The buildpack's own: `metadata` in analyzed.toml, `data` in the cache.
    #[serde(alias = "data", default)]
    pub(super) metadata: Option<toml::Table>,
    #[serde(default)]
    pub(super) launch: bool,
    #[serde(default)]
    pub(super) build: bool,
    #[serde(default)]
    pub(super) cache: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct RunImage {
    target: Option<Target>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Target {
    #[serde(default)]
    os: String,
    #[serde(default)]
    arch: String,
    #[serde(rename = "arch-variant", default)]
    arch_variant: String,
    distro: Option<Distro>,
}

impl OrderToml {
    /// Reads the file, which must be there.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        required(path, "order")
    }
}

impl System {
    /// Reads system.toml; nothing if it is not there.
    pub(super) fn read(path: &Path, console: &mut Console<'_>) -> Result<Self, String> {
        let read: Option<SystemToml> = toml_file::read_following(path)
            .map_err(|error| format!("failed to read system file: {}", unreadable(&error)))?;
        if read.is_none() {
            console.debug(&format!(
                "No system buildpacks found at path \"{}\"",
                path.display()
            ));
        }
        Ok(read.unwrap_or_default().system)
    }

    /// Puts the buildpacks around each group that has not the same id already (rule 21).
    pub(super) fn around(&self, order: Vec<Group>, console: &mut Console<'_>) -> Vec<Group> {
        let missing = |buildpacks: &SystemBuildpacks, group: &Group| -> Vec<Member> {
            let is_there = |id: &BuildpackId| group.members.iter().any(|member| member.id == *id);
            let missing = buildpacks
                .buildpacks
                .iter()
                .filter(|one| !is_there(&one.id));
            missing
                .map(|SystemBuildpack { id, version }| Member {
                    id: id.clone(),
                    version: version.clone(),
                    optional: false,
                    exec_env: Vec::new(),
                })
                .collect()
        };
        let wrapped = order.into_iter().map(|group| {
            let (pre, post) = (missing(&self.pre, &group), missing(&self.post, &group));
            for (doing, added) in [("Prepending", &pre), ("Appending", &post)] {
                if !added.is_empty() {
                    let count = added.len();
                    console.debug(&format!("{doing} {count} system buildpack(s) to group"));
                }
            }
            Group {
                members: [pre, group.members, post].concat(),
            }
        });
        wrapped.collect()
    }
}

impl GroupToml {
    /// Reads the file, which must be there.
    pub(super) fn read(path: &Path) -> Result<Self, Failed> {
        required(path, "group").map_err(|why| named(&why))
    }

    /// Those that detection found.
    pub(super) fn of(buildpacks: &[Descriptor]) -> Self {
        let member = |buildpack: &Descriptor| GroupMember {
            id: buildpack.id.clone(),
            version: buildpack.version.clone(),
            api: buildpack.api.to_string(),
            homepage: buildpack.homepage.clone(),
        };
        Self {
            group: buildpacks.iter().map(member).collect(),
            extensions: Vec::new(),
        }
    }

    /// Refuses a member whose Buildpack API is not supported.
    pub(super) fn verify(&self) -> Result<(), Failed> {
        for member in &self.group {
            let parsed = member.api.parse::<crate::buildpack::Api>();
            parsed.map_err(|error| Failed::buildpack_api(&member.name(), &error))?;
        }
        Ok(())
    }
}

impl GroupMember {
    /// `id@version`.
    pub(super) fn name(&self) -> String {
        format!("{}@{}", self.id, self.version)
    }
}

impl PlanToml {
    /// Reads the file, which must be there.
    pub(super) fn read(path: &Path) -> Result<Self, Failed> {
        required(path, "plan").map_err(|why| named(&why))
    }

    /// What detection found.
    pub(super) fn of(entries: &[Entry], buildpacks: &[Descriptor]) -> Self {
        let version = |id: &BuildpackId| {
            let buildpack = buildpacks.iter().find(|buildpack| buildpack.id == *id);
            buildpack.map_or_else(String::new, |buildpack| buildpack.version.clone())
        };
        let entry = |entry: &Entry| PlanEntry {
            providers: entry
                .providers
                .iter()
                .map(|id| Provider {
                    id: id.clone(),
                    version: version(id),
                    extension: false,
                })
                .collect(),
            requires: entry.requires.clone(),
        };
        Self {
            entries: entries.iter().map(entry).collect(),
        }
    }

    /// The same, as the builds are handed it. All requires of an entry have one name.
    pub(super) fn entries(self) -> Vec<Entry> {
        let entry = |PlanEntry {
                         providers,
                         requires,
                     }| Entry {
            name: requires
                .first()
                .map_or_else(String::new, |require: &Require| require.name.clone()),
            providers: providers
                .into_iter()
                .filter(|provider: &Provider| !provider.extension)
                .map(|provider| provider.id)
                .collect(),
            requires,
        };
        self.entries.into_iter().map(entry).collect()
    }
}

impl AnalyzedToml {
    /// Reads the file; nothing is known if it is not there.
    pub(super) fn read(path: &Path, console: &mut Console<'_>) -> Result<Self, Failed> {
        let read = toml_file::read_following(path).map_err(|error| {
            named(&format!(
                "failed to read analyzed file: {}",
                unreadable(&error)
            ))
        })?;
        if read.is_none() {
            console.warn(&format!(
                "No analyzed metadata found at path \"{}\"",
                path.display()
            ));
        }
        Ok(read.unwrap_or_default())
    }

    /// The system that the app will run on, as far as it is said.
    pub(super) fn base(&self) -> (Base, bool) {
        let target = self
            .run_image
            .as_ref()
            .and_then(|image| image.target.clone());
        let Target {
            os,
            arch,
            arch_variant,
            distro,
        } = target.unwrap_or_default();
        let has_distro = distro.is_some();
        let base = Base {
            os,
            arch,
            variant: arch_variant,
            distro: distro.unwrap_or_default(),
        };
        (base, has_distro)
    }
}

/// Writes a file of the platform, and its folder if it is not there.
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), PathError> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).at("create the folder", parent)?;
    }
    toml_file::write(path, value)
}

fn required<T: DeserializeOwned>(path: &Path, kind: &str) -> Result<T, String> {
    let read: Result<Option<T>, TomlError> = toml_file::read_following(path);
    let why = match read {
        Ok(Some(read)) => return Ok(read),
        Ok(None) => not_there(path),
        Err(error) => unreadable(&error),
    };
    Err(format!("failed to read {kind} file: {why}"))
}

/// An error that begins with `failed to` itself.
fn named(why: &str) -> Failed {
    Failed::because(FAILED, why.strip_prefix("failed to ").unwrap_or(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_21_system_buildpacks_wrap_each_group_unless_it_has_the_id() {
        let system: SystemToml = toml::from_str(
            "[system.pre]\n[[system.pre.buildpacks]]\nid = \"pre\"\nversion = \"1\"\noptional = true\n[[system.post.buildpacks]]\nid = \"post\"\n",
        )
        .unwrap();
        let order: OrderToml = toml::from_str(
            "[[order]]\n[[order.group]]\nid = \"a\"\n[[order]]\n[[order.group]]\nid = \"post\"\nversion = \"2\"\noptional = true\n",
        )
        .unwrap();
        let mut out = Vec::new();
        let wrapped = system
            .system
            .around(order.order, &mut Console::new(&mut out));
        let shown: Vec<Vec<String>> = wrapped
            .iter()
            .map(|group| {
                let shown = |member: &Member| {
                    format!("{}{}", member.id, if member.optional { "?" } else { "" })
                };
                group.members.iter().map(shown).collect()
            })
            .collect();
        assert_eq!(shown, [vec!["pre", "a", "post"], vec!["pre", "post?"]]);
    }

    #[test]
    fn rule_27_a_plan_is_read_as_it_is_written() {
        let text = "[[entries]]\n[[entries.providers]]\nid = \"a\"\nversion = \"1\"\n[[entries.providers]]\nid = \"e\"\nextension = true\n[[entries.requires]]\nname = \"x\"\n[entries.requires.metadata]\nk = \"v\"\n";
        let plan: PlanToml = toml::from_str(text).unwrap();
        let entries = plan.entries();
        assert_eq!(entries[0].name, "x");
        assert_eq!(entries[0].providers, ["a".parse().unwrap()]);
        assert_eq!(toml::to_string(&PlanToml::of(&[], &[])).unwrap(), "");
        let a = Descriptor::example("a");
        let written = toml::to_string(&PlanToml::of(&entries, &[a])).unwrap();
        let again: PlanToml = toml::from_str(&written).unwrap();
        assert_eq!(again.entries(), entries);
    }
}
