//! `sha256:` and 64 hex digits: the name of a blob, a layer, a slug.

use std::fmt;
use std::io;
use std::str::FromStr;

use sha2::Digest as _;
use sha2::Sha256;
use thiserror::Error;

/// The shortest unique prefix of a digest that a user may type, in hex digits.
pub const DIGEST_PREFIX_MIN: usize = 8;

/// A SHA-256 digest, written `sha256:4f…` (OCI image specification, "Digests").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// The text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not a digest (expected `sha256:` and 64 hex digits)")]
pub struct BadDigest {
    text: String,
}

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of all that is there to read.
    pub fn of_reader(mut reader: impl io::Read) -> io::Result<Self> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 128 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(Self::from_hasher(hasher)),
                Ok(count) => hasher.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What a finished hasher says.
    pub fn from_hasher(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }

    /// The 64 hex digits, without the algorithm: a file name.
    pub fn hex(&self) -> String {
        self.0
            .iter()
            .fold(String::with_capacity(64), |mut hex, byte| {
                for nibble in [byte >> 4, byte & 15] {
                    hex.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
                }
                hex
            })
    }

    /// The first 12 hex digits, for people.
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }

    /// From the 64 hex digits of a file name.
    pub fn from_hex(hex: &str) -> Result<Self, BadDigest> {
        let bad = || BadDigest {
            text: hex.to_owned(),
        };
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (
                nibble(pair[0]).ok_or_else(bad)?,
                nibble(pair[1]).ok_or_else(bad)?,
            );
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

/// Lower case only: a digest has one spelling, so that it can be a file name.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = BadDigest {
            text: text.to_owned(),
        };
        text.strip_prefix("sha256:")
            .and_then(|hex| Self::from_hex(hex).ok())
            .ok_or(bad)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a user typed for a digest: all of it, or its first eight digits or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestPrefix(String);

impl DigestPrefix {
    /// Does this prefix name that digest?
    pub fn matches(&self, digest: &Digest) -> bool {
        digest.hex().starts_with(&self.0)
    }
}

impl FromStr for DigestPrefix {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        let fits = (DIGEST_PREFIX_MIN..=64).contains(&hex.len())
            && hex.bytes().all(|digit| nibble(digit).is_some());
        if fits {
            Ok(Self(hex.to_owned()))
        } else {
            Err(BadDigest {
                text: text.to_owned(),
            })
        }
    }
}

impl fmt::Display for DigestPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

super::serde_as_text!(Digest);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_one_spelling() {
        let empty = Digest::of(b"");
        assert_eq!(
            empty.to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(empty.to_string().parse(), Ok(empty));
        assert!(empty.to_string().to_uppercase().parse::<Digest>().is_err());
        assert!(empty.hex().parse::<Digest>().is_err());
    }

    #[test]
    fn a_prefix_needs_eight_digits() {
        let empty = Digest::of(b"");
        assert!("e3b0c44".parse::<DigestPrefix>().is_err());
        assert!(
            "sha256:e3b0c442"
                .parse::<DigestPrefix>()
                .unwrap()
                .matches(&empty)
        );
        assert!(!"e3b0c443".parse::<DigestPrefix>().unwrap().matches(&empty));
    }
}
