//! What a build needs to know and must not keep: values that buildpacks read
//! at `/platform/secrets/NAME`, and that appear in no output, layer or cache.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memchr::memmem;
use thiserror::Error;

use super::site::PLATFORM;
use crate::ident::EnvKey;
use crate::sys::sandbox::Mount;

/// The shortest secret, in bytes: a shorter one is found by chance in any large file.
pub const SECRET_BYTES_MIN: usize = 6;
/// The longest secret, in bytes: a key file is 4 KiB.
pub const SECRET_BYTES_MAX: usize = 64 << 10;

/// A value that cannot be a secret. Does not hold it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BadSecret {
    /// A newline at its end does not count.
    #[error("the secret {0} is shorter than {SECRET_BYTES_MIN} bytes")]
    Short(EnvKey),
    /// Larger than any key.
    #[error("the secret {0} is longer than {SECRET_BYTES_MAX} bytes")]
    Long(EnvKey),
    /// Twice the same name.
    #[error("the secret {0} is given twice")]
    Twice(EnvKey),
}

/// The secrets of one build, by name. Never printed: not even its `Debug` shows a value.
#[derive(Clone, Default)]
pub struct Secrets(Arc<BTreeMap<EnvKey, Vec<u8>>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Secrets {
    /// Adds one, byte by byte as it is.
    pub fn add(&mut self, name: EnvKey, value: Vec<u8>) -> Result<(), BadSecret> {
        if value.len() > SECRET_BYTES_MAX {
            return Err(BadSecret::Long(name));
        }
        if core(&value).len() < SECRET_BYTES_MIN {
            return Err(BadSecret::Short(name));
        }
        if self.0.contains_key(&name) {
            return Err(BadSecret::Twice(name));
        }
        Arc::make_mut(&mut self.0).insert(name, value);
        Ok(())
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &EnvKey> {
        self.0.keys()
    }

    /// `text` with the name of each secret in the place of its value.
    pub fn redacted(&self, text: &str) -> String {
        let mut clean = Vec::new();
        let mut redactor = self.redactor();
        redactor.push(false, text.as_bytes(), &mut |_, bytes| {
            clean.extend_from_slice(bytes);
        });
        redactor.finish(&mut |_, bytes| clean.extend_from_slice(bytes));
        String::from_utf8_lossy(&clean).into_owned()
    }

    /// For the output of one program.
    pub(super) fn redactor(&self) -> Redactor<'_> {
        Redactor {
            secrets: self,
            held: [Vec::new(), Vec::new()],
        }
    }

    /// The folder that a build sees, if there is any.
    pub(super) fn mount(&self) -> Option<Mount> {
        let named =
            |(name, value): (&EnvKey, &Vec<u8>)| (OsString::from(name.as_str()), value.clone());
        (!self.is_empty()).then(|| Mount::Private {
            to: Path::new(PLATFORM).join(FOLDER),
            files: self.0.iter().map(named).collect(),
        })
    }

    /// Names, and what is looked for.
    pub(super) fn needles(&self) -> impl Iterator<Item = (&EnvKey, &[u8])> {
        self.0.iter().map(|(name, value)| (name, core(value)))
    }
}

/// The folder, in the platform's.
pub(super) const FOLDER: &str = "secrets";

/// What gives the secret away: a newline at the end of a file is not part of it.
fn core(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|byte| !b"\r\n".contains(byte));
    &value[..end.map_or(0, |end| end + 1)]
}

/// Hands output on with `[secret NAME]` in the place of each value, also where it comes in pieces: what may
/// be the beginning of one is held back until more is known.
#[derive(Debug)]
pub(super) struct Redactor<'a> {
    secrets: &'a Secrets,
    /// Of standard output, and of standard error.
    held: [Vec<u8>; 2],
}

/// What is next in a text.
enum Next<'a> {
    Secret {
        at: usize,
        length: usize,
        name: &'a EnvKey,
    },
    MayBegin {
        at: usize,
    },
    Nothing,
}

impl Redactor<'_> {
    /// More output.
    pub(super) fn push(&mut self, is_stderr: bool, bytes: &[u8], on: &mut dyn FnMut(bool, &[u8])) {
        if self.secrets.is_empty() {
            return on(is_stderr, bytes);
        }
        let mut text = std::mem::take(&mut self.held[usize::from(is_stderr)]);
        text.extend_from_slice(bytes);
        let held = self.hand_on(is_stderr, &text, true, on);
        self.held[usize::from(is_stderr)] = text.split_off(held);
    }

    /// No more comes.
    pub(super) fn finish(self, on: &mut dyn FnMut(bool, &[u8])) {
        for (is_stderr, text) in [(false, &self.held[0]), (true, &self.held[1])] {
            self.hand_on(is_stderr, text, false, on);
        }
    }

    /// Hands on what is certain; from where on it is not.
    fn hand_on(
        &self,
        is_stderr: bool,
        text: &[u8],
        more_may_come: bool,
        on: &mut dyn FnMut(bool, &[u8]),
    ) -> usize {
        let mut done = 0;
        let mut say = |bytes: &[u8]| {
            if !bytes.is_empty() {
                on(is_stderr, bytes);
            }
        };
        loop {
            let rest = &text[done..];
            match self.next(rest, more_may_come) {
                Next::Nothing => {
                    say(rest);
                    return text.len();
                }
                Next::MayBegin { at } => {
                    say(&rest[..at]);
                    return done + at;
                }
                Next::Secret { at, length, name } => {
                    say(&rest[..at]);
                    say(format!("[secret {name}]").as_bytes());
                    done += at + length;
                }
            }
        }
    }

    fn next(&self, text: &[u8], more_may_come: bool) -> Next<'_> {
        let mut found: Option<(usize, usize, &EnvKey)> = None;
        let mut begun: Option<usize> = None;
        for (name, value) in self.secrets.needles() {
            if let Some(at) = memmem::find(text, value) {
                let is_better = found.is_none_or(|(first, length, _)| {
                    (at, std::cmp::Reverse(value.len())) < (first, std::cmp::Reverse(length))
                });
                if is_better {
                    found = Some((at, value.len(), name));
                }
            }
            let longest = (value.len() - 1).min(text.len());
            let begins = |length: &usize| text.ends_with(&value[..*length]);
            if let Some(length) = (1..=longest).rev().find(begins) {
                begun = Some(begun.map_or(text.len() - length, |at| at.min(text.len() - length)));
            }
        }
        match (found, begun.filter(|_| more_may_come)) {
            (Some((at, ..)), Some(begun)) if begun <= at => Next::MayBegin { at: begun },
            (Some((at, length, name)), _) => Next::Secret { at, length, name },
            (None, Some(at)) => Next::MayBegin { at },
            (None, None) => Next::Nothing,
        }
    }
}

/// A secret that would have been kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Whose value.
    pub name: EnvKey,
    /// Where, as the buildpack knows it.
    pub path: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(all: &[(&str, &str)]) -> Secrets {
        let mut secrets = Secrets::default();
        for (name, value) in all {
            secrets
                .add(name.parse().unwrap(), value.as_bytes().to_vec())
                .unwrap();
        }
        secrets
    }

    /// The output that comes in pieces of every length.
    fn check(all: &[(&str, &str)], output: &str, expected: &str) {
        let secrets = secrets(all);
        for length in 1..=output.len() {
            let mut clean = Vec::new();
            let mut redactor = secrets.redactor();
            for piece in output.as_bytes().chunks(length) {
                redactor.push(true, piece, &mut |_, bytes| clean.extend_from_slice(bytes));
            }
            redactor.finish(&mut |_, bytes| clean.extend_from_slice(bytes));
            assert_eq!(
                String::from_utf8_lossy(&clean),
                expected,
                "in pieces of {length}"
            );
        }
    }

    #[test]
    fn a_secret_in_the_output_is_its_name_however_it_is_cut() {
        check(
            &[("TOKEN", "hunter22")],
            "a hunter22 b",
            "a [secret TOKEN] b",
        );
        check(
            &[("TOKEN", "hunter22\n")],
            "hunter22hunter22\n",
            "[secret TOKEN][secret TOKEN]\n",
        );
        check(&[("TOKEN", "hunter22")], "hunter2 hunter", "hunter2 hunter");
        check(&[("A", "aaaaaaab")], "aaaaaaaaaaab", "aaaa[secret A]");
    }

    #[test]
    fn of_two_secrets_that_begin_alike_the_longer_one_is_named() {
        let both = [("A", "secret"), ("B", "secret-and-more")];
        check(&both, "secret-and-more", "[secret B]");
        check(&both, "secret-and-less", "[secret A]-and-less");
        check(&both, "secret", "[secret A]");
    }

    #[test]
    fn the_two_streams_are_apart() {
        let secrets = secrets(&[("TOKEN", "hunter22")]);
        let mut clean = Vec::new();
        let mut redactor = secrets.redactor();
        for (stream, piece) in [(false, "hunt"), (true, "er22"), (false, "er22")] {
            redactor.push(stream, piece.as_bytes(), &mut |_, bytes| {
                clean.extend_from_slice(bytes);
            });
        }
        redactor.finish(&mut |_, bytes| clean.extend_from_slice(bytes));
        assert_eq!(clean, b"er22[secret TOKEN]");
    }

    #[test]
    fn what_cannot_be_told_from_other_text_is_no_secret() {
        let add =
            |length: usize| Secrets::default().add("TOKEN".parse().unwrap(), vec![b'x'; length]);
        assert!(matches!(
            add(SECRET_BYTES_MIN - 1),
            Err(BadSecret::Short(_))
        ));
        assert!(add(SECRET_BYTES_MIN).is_ok() && add(SECRET_BYTES_MAX).is_ok());
        assert!(matches!(add(SECRET_BYTES_MAX + 1), Err(BadSecret::Long(_))));
        let mut twice = secrets(&[("TOKEN", "hunter22")]);
        assert!(
            twice
                .add("TOKEN".parse().unwrap(), b"hunter22".to_vec())
                .is_err()
        );
        assert_eq!(format!("{twice:?}"), r#"{EnvKey("TOKEN")}"#);
    }
}
