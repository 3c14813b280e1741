//! The parsed names. A value of one of these types is valid; text becomes one
//! only through `parse`, at the door (what was typed, what a file says).
//!
//! Knows no file, no process, no clock.

mod digest;
mod env_key;
mod name;
mod nearest;
mod release_version;
mod shown;

pub use digest::{BadDigest, DIGEST_PREFIX_MIN, Digest, DigestPrefix};
pub use env_key::{BadEnvKey, EnvKey};
pub use name::{AppName, BadName, BuildpackId, Instance, LayerName, ProcessType};
pub use nearest::nearest;
pub use release_version::{BadReleaseVersion, ReleaseVersion};
#[cfg(test)]
pub(crate) use shown::acts_on_terminal;
pub use shown::{harmless, marked, shown, shown_message};

/// Serde through `Display` and `FromStr`, so that a file goes through the same
/// parser as a command line.
macro_rules! serde_as_text {
    ($($name:ty),+) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
pub(crate) use serde_as_text;
