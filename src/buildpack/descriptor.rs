//! `buildpack.toml` (rules 2-9): read leniently, since descriptors in the wild
//! are, and with the differences between specification and lifecycle taken as
//! lifecycle takes them.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;
use toml::Spanned;

use super::api::{Api, BadApi};
use super::exec_env::ExecEnv;
use super::order::Group;
use super::target::{Base, Stack, TargetPattern, inferred_targets};
use crate::ident::BuildpackId;
use crate::layer::TomlError;
use crate::layer::toml_file;

/// A buildpack, as its folder says.
#[derive(Clone, Debug, PartialEq)]
pub struct Descriptor {
    /// Its folder, on this machine.
    pub folder: PathBuf,
    /// The contract that it expects.
    pub api: Api,
    /// Its id.
    pub id: BuildpackId,
    /// Its version, as it writes it.
    pub version: String,
    /// Where to read about it.
    pub homepage: Option<String>,
    /// It does not want the user's variables in its environment (rule 42).
    pub clear_env: bool,
    /// The execution environments it is meant for; all if none (rule 9).
    pub exec_env: Vec<String>,
    /// The media types of the SBOM files that it writes (rule 39).
    pub sbom_formats: Vec<String>,
    /// The systems it is meant for; all if none.
    pub targets: Vec<TargetPattern>,
    /// Groups of other buildpacks, if it is nothing but these.
    pub order: Vec<Group>,
    /// `[metadata.slug] host-programs`: programs of the host that it may fall back to, such as `python3.*`.
    pub host_programs: Vec<String>,
}

/// Why a folder is no buildpack.
#[derive(Debug, Error)]
pub enum DescriptorError {
    /// It has no `buildpack.toml`.
    #[error("`{}` has no buildpack.toml", .0.display())]
    Missing(PathBuf),
    /// The file is wrong.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// Another version of the contract (exit code 12 in lifecycle).
    #[error("`{}`: {source}", path.display())]
    Api {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BadApi,
    },
    /// A component without `bin/detect` or `bin/build`.
    #[error("the buildpack `{id}` has no {program}")]
    NoProgram {
        /// Whose.
        id: BuildpackId,
        /// `bin/detect` or `bin/build`.
        program: &'static str,
    },
}

#[derive(Deserialize)]
struct Raw {
    api: Spanned<String>,
    buildpack: RawBuildpack,
    #[serde(default)]
    order: Vec<Group>,
    #[serde(default)]
    targets: Vec<TargetPattern>,
    #[serde(default)]
    stacks: Vec<Stack>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize)]
struct RawBuildpack {
    id: BuildpackId,
    version: String,
    homepage: Option<String>,
    #[serde(rename = "clear-env", default)]
    clear_env: bool,
    #[serde(rename = "exec-env", default)]
    exec_env: Vec<toml::Value>,
    #[serde(rename = "sbom-formats", default)]
    sbom_formats: Vec<String>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    slug: SlugMetadata,
}

#[derive(Default, Deserialize)]
struct SlugMetadata {
    #[serde(rename = "host-programs", default)]
    host_programs: Vec<String>,
}

impl Descriptor {
    /// Reads the buildpack in that folder. Its programs may be links that lead somewhere only inside the sandbox.
    pub fn read(folder: &Path) -> Result<Self, DescriptorError> {
        let descriptor = Self::read_description(folder)?;
        if descriptor.order.is_empty() {
            for program in ["bin/detect", "bin/build"] {
                if folder.join(program).symlink_metadata().is_err() {
                    return Err(DescriptorError::NoProgram {
                        id: descriptor.id,
                        program,
                    });
                }
            }
        }
        Ok(descriptor)
    }

    /// Reads what the folder says of itself, whether its programs are there or not.
    pub fn read_description(folder: &Path) -> Result<Self, DescriptorError> {
        let path = folder.join("buildpack.toml");
        let raw: Raw = toml_file::read_following(&path)?
            .ok_or_else(|| DescriptorError::Missing(folder.to_owned()))?;
        Self::checked(raw, folder, &path)
    }

    fn checked(raw: Raw, folder: &Path, path: &Path) -> Result<Self, DescriptorError> {
        let Raw {
            api,
            buildpack,
            order,
            targets,
            stacks,
            metadata,
        } = raw;
        let api: Api = api
            .get_ref()
            .parse()
            .map_err(|source| DescriptorError::Api {
                path: path.to_owned(),
                source,
            })?;
        let RawBuildpack {
            id,
            version,
            homepage,
            clear_env,
            exec_env,
            sbom_formats,
        } = buildpack;
        Ok(Self {
            folder: folder.to_owned(),
            targets: if targets.is_empty() {
                inferred_targets(api, &stacks)
            } else {
                targets
            },
            exec_env: if api.has_exec_env() {
                exec_env.iter().filter_map(exec_env_name).collect()
            } else {
                Vec::new()
            },
            api,
            id,
            version,
            homepage,
            clear_env,
            sbom_formats,
            order,
            host_programs: metadata.slug.host_programs,
        })
    }

    /// A component of that id that asks for nothing, version 1, of the newest contract before 0.11.
    #[cfg(test)]
    pub(crate) fn example(id: &str) -> Self {
        Self {
            folder: "/".into(),
            api: Api::OURS,
            id: id.parse().expect("a test names a good id"),
            version: "1".to_owned(),
            homepage: None,
            clear_env: false,
            exec_env: Vec::new(),
            sbom_formats: Vec::new(),
            targets: Vec::new(),
            order: Vec::new(),
            host_programs: Vec::new(),
        }
    }

    /// Nothing but groups of others.
    pub fn is_composite(&self) -> bool {
        !self.order.is_empty()
    }

    /// Is it meant for that system?
    pub fn fits(&self, base: &Base) -> bool {
        self.is_composite()
            || self.targets.is_empty()
            || self.targets.iter().any(|target| target.matches(base))
    }

    /// Is it meant for that execution environment (rule 9)?
    pub fn fits_exec_env(&self, exec_env: &ExecEnv) -> bool {
        exec_env.is_among(&self.exec_env)
    }
}

/// The specification writes tables with a name, lifecycle and pack write strings.
fn exec_env_name(value: &toml::Value) -> Option<String> {
    let name = value
        .as_str()
        .or_else(|| value.get("name").and_then(toml::Value::as_str));
    name.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildpack::target::Distro;

    fn parse(text: &str) -> Result<Descriptor, DescriptorError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        for name in ["bin/detect", "bin/build"] {
            std::os::unix::fs::symlink("/cnb/slug", folder.path().join(name)).unwrap();
        }
        crate::sys::fs::write_atomic(
            &folder.path().join("buildpack.toml"),
            text.as_bytes(),
            0o644,
        )
        .unwrap();
        Descriptor::read(folder.path())
    }

    fn with(api: &str, more: &str) -> Descriptor {
        parse(&format!(
            "api = \"{api}\"\n[buildpack]\nid = \"a/b\"\nversion = \"v1\"\n{more}"
        ))
        .unwrap()
    }

    fn base(os: &str, arch: &str, distro: &str, version: &str) -> Base {
        let distro = Distro {
            name: distro.to_owned(),
            version: version.to_owned(),
        };
        Base {
            os: os.to_owned(),
            arch: arch.to_owned(),
            variant: String::new(),
            distro,
        }
    }

    #[test]
    fn rule_1_another_api_is_refused() {
        let text =
            |api: &str| format!("api = \"{api}\"\n[buildpack]\nid = \"a\"\nversion = \"1\"\n");
        assert!(matches!(
            parse(&text("0.2")),
            Err(DescriptorError::Api { .. })
        ));
        assert!(parse(&text("0.12")).is_ok());
    }

    #[test]
    fn rule_2_a_reserved_id_is_refused_with_its_line() {
        let error =
            parse("api = \"0.10\"\n[buildpack]\nid = \"config\"\nversion = \"1\"\n").unwrap_err();
        assert!(error.to_string().contains("line 3, column 6"), "{error}");
    }

    #[test]
    fn rules_3_and_4_any_version_and_unknown_keys_are_taken() {
        let read = with(
            "0.10",
            "unknown = 1\nclear-env = true\n[metadata]\nx = 1\n[metadata.slug]\nhost-programs = [\"p\"]\n",
        );
        assert_eq!(
            (
                read.version.as_str(),
                read.clear_env,
                read.host_programs.len()
            ),
            ("v1", true, 1)
        );
    }

    #[test]
    fn rule_5_a_component_has_programs_and_a_composite_none() {
        let folder = tempfile::tempdir().unwrap();
        let write = |more: &str| {
            let text = format!("api = \"0.10\"\n[buildpack]\nid = \"a\"\nversion = \"1\"\n{more}");
            crate::sys::fs::write_atomic(
                &folder.path().join("buildpack.toml"),
                text.as_bytes(),
                0o644,
            )
            .unwrap();
        };
        assert!(matches!(
            Descriptor::read(folder.path()),
            Err(DescriptorError::Missing(_))
        ));
        write("");
        assert!(matches!(
            Descriptor::read(folder.path()),
            Err(DescriptorError::NoProgram {
                program: "bin/detect",
                ..
            })
        ));
        write("[[order]]\n[[order.group]]\nid = \"b\"\nversion = \"1\"\noptional = true\n");
        assert!(Descriptor::read(folder.path()).unwrap().is_composite());
    }

    #[test]
    fn rule_6_what_is_left_out_on_either_side_matches() {
        let read = with(
            "0.10",
            "[[targets]]\nos = \"linux\"\narch = \"arm64\"\narch-variant = \"v8\"\n",
        );
        assert!(read.fits(&base("linux", "arm64", "", "")));
        assert!(read.fits(&base("", "", "debian", "12")));
        assert!(!read.fits(&base("linux", "amd64", "", "")));
        let read = with(
            "0.10",
            "[[targets]]\n[[targets.distros]]\nname = \"debian\"\nversion = \"12\"\n",
        );
        assert!(read.fits(&base("linux", "amd64", "debian", "12")));
        assert!(!read.fits(&base("linux", "amd64", "debian", "13")));
        assert!(
            !read.fits(&base("linux", "amd64", "", "")),
            "a base that names no distribution is none of them"
        );
    }

    #[test]
    fn rule_7_a_stack_stands_for_a_target() {
        let bionic = "[[stacks]]\nid = \"io.buildpacks.stacks.bionic\"\n";
        let focal = "[[stacks]]\nid = \"focal\"\n";
        let (trixie, beaver) = (
            base("linux", "amd64", "debian", "13"),
            base("linux", "amd64", "ubuntu", "18.04"),
        );
        assert!(!with("0.9", bionic).fits(&trixie));
        assert!(with("0.9", bionic).fits(&beaver));
        assert!(with("0.9", &format!("{bionic}{focal}")).fits(&trixie));
        assert!(!with("0.10", &format!("{bionic}{focal}")).fits(&trixie));
        assert!(with("0.10", "[[stacks]]\nid = \"*\"\n").fits(&base("win95", "p6", "", "")));
        assert!(!with("0.10", "").fits(&base("win95", "p6", "", "")));
    }

    #[test]
    fn rule_9_both_spellings_of_exec_env_count_since_0_12() {
        assert!(!with("0.12", "exec-env = [\"test\"]\n").fits_exec_env(&ExecEnv::default()));
        assert!(
            !with("0.12", "[[buildpack.exec-env]]\nname = \"test\"\n")
                .fits_exec_env(&ExecEnv::default())
        );
        assert!(with("0.12", "exec-env = [\"*\"]\n").fits_exec_env(&ExecEnv::default()));
        assert!(with("0.11", "exec-env = [\"test\"]\n").fits_exec_env(&ExecEnv::default()));
    }
}
