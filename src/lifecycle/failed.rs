//! Why a program of lifecycle ends, and with which code.

use std::error::Error;
use std::path::Path;

use thiserror::Error;

use crate::buildpack::api::BadApi;
use crate::buildpack::descriptor::DescriptorError;
use crate::layer::TomlError;
use crate::sys::PathError;

/// Anything that has no code of its own.
pub(super) const FAILED: u8 = 1;
/// A flag that there is not, or with a value that cannot be: Go's `flag` ends with this.
pub(super) const FLAG: u8 = 2;
/// The arguments make no sense.
pub(super) const ARGUMENTS: u8 = 3;
/// `CNB_PLATFORM_API` is not set, no version, or not supported.
pub(super) const PLATFORM_API: u8 = 11;
/// A buildpack states a Buildpack API that is no version, or not supported.
pub(super) const BUILDPACK_API: u8 = 12;
/// No group of buildpacks passed detection.
pub(super) const DETECT_NONE: u8 = 20;
/// No group of buildpacks passed detection, and a `bin/detect` failed.
pub(super) const DETECT_FAILED: u8 = 21;
/// Detection failed in another way.
pub(super) const DETECT: u8 = 22;
/// Restoring failed.
pub(super) const RESTORE: u8 = 42;
/// A `bin/build` failed.
pub(super) const BUILDPACK: u8 = 51;
/// A build failed in another way.
pub(super) const BUILD: u8 = 52;
/// A process could not be started.
pub(super) const LAUNCH: u8 = 82;

/// Why a program ended. Worded as lifecycle words it, because tests made for it look at that.
#[derive(Debug, Error)]
#[error("failed to {doing}{}", why.as_ref().map_or_else(String::new, |why| format!(": {why}")))]
pub(super) struct Failed {
    /// The exit code.
    pub(super) code: u8,
    doing: String,
    why: Option<String>,
}

impl Failed {
    /// Why something, such as `detect`, could not be done.
    pub(super) fn new<'a>(code: u8, doing: &str, why: impl Into<Box<dyn Error + 'a>>) -> Self {
        Self {
            code,
            doing: doing.to_owned(),
            why: Some(chain(&*why.into())),
        }
    }

    /// Something could not be done; that says it all.
    pub(super) fn because(code: u8, doing: &str) -> Self {
        Self {
            code,
            doing: doing.to_owned(),
            why: None,
        }
    }

    /// The same, with this code if it has none of its own.
    pub(super) fn or_code(self, code: u8) -> Self {
        match self.code {
            FAILED => Self { code, ..self },
            _ => self,
        }
    }

    /// A buildpack's descriptor cannot be used; `name` is `id@version`.
    pub(super) fn descriptor(doing: &str, name: &str, error: &DescriptorError) -> Self {
        match error {
            DescriptorError::Api { source, .. } => Self::buildpack_api(name, source),
            DescriptorError::Missing(folder) => {
                let file = folder.join("buildpack.toml");
                Self::new(FAILED, doing, not_there(&file))
            }
            other => Self::new(FAILED, doing, chain(other)),
        }
    }

    /// The Buildpack API of `name` (`id@version`) is none that is supported.
    pub(super) fn buildpack_api(name: &str, error: &BadApi) -> Self {
        match error {
            BadApi::Form(api) => {
                let what = format!("parse buildpack API '{api}' for buildpack '{name}'");
                Self::because(BUILDPACK_API, &what)
            }
            BadApi::Unsupported(api) => {
                let why =
                    format!("buildpack API version '{api}' is incompatible with the lifecycle");
                let doing = format!("set API for buildpack '{name}'");
                Self::new(BUILDPACK_API, &doing, why)
            }
        }
    }
}

/// An error and what caused it. One that is transparent says the same as its cause: that is said once.
fn chain(error: &(dyn Error + '_)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

/// As Go words it.
pub(super) fn not_there(path: &Path) -> String {
    format!("open {}: no such file or directory", path.display())
}

/// Why a file of the platform could not be read, to stand behind `failed to read group file`.
pub(super) fn unreadable(error: &TomlError) -> String {
    match error {
        TomlError::Path(PathError { path, source, .. }) => {
            format!("open {}: {source}", path.display())
        }
        TomlError::Wrong(wrong) => format!("toml: {wrong}"),
    }
}
