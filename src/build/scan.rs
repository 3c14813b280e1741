//! Whether a build kept a secret: in the app, in a layer that is for the slug or
//! the cache, or in what a buildpack said about them.
//!
//! Every file that this build wrote is read once more: about a second for a
//! gigabyte that was just written, nothing where no secret was given. What is
//! compressed or encoded is not seen through.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use memchr::memmem::Finder;

use super::BuildError;
use super::context::Context;
use super::execute::{BuiltBy, Executed};
use super::secrets::{Leak, Secrets};
use super::site::LAYERS;
use crate::ident::{EnvKey, LayerName};
use crate::sys::fs::read_if_present;
use crate::sys::{At as _, PathError};

/// How many places are named at most.
const LEAKS_MAX: usize = 20;
/// How much of a file is looked at at once, in bytes.
const CHUNK_BYTES: usize = 1 << 20;
/// A larger one was refused when it was read, in bytes.
const TOML_BYTES_MAX: u64 = 4 << 20;

/// Refuses a build that would keep a secret.
pub(super) fn refuse_leaks(context: &Context<'_>, executed: &Executed) -> Result<(), BuildError> {
    let secrets = &context.request.secrets;
    if secrets.is_empty() {
        return Ok(());
    }
    let mut scan = Scan::of(secrets);
    scan.tree(&context.workspace, Path::new(context.site.app.text()))?;
    for built in &executed.by {
        let folder = context.site.layers(&context.scratch, &built.buildpack.id);
        scan.layers(&folder, built)?;
    }
    if scan.leaks.is_empty() {
        Ok(())
    } else {
        Err(BuildError::Leaked { leaks: scan.leaks })
    }
}

struct Scan<'a> {
    finders: BTreeMap<&'a EnvKey, Finder<'a>>,
    /// The longest secret but one byte: what of a chunk is looked at again with the next one.
    overlap: usize,
    leaks: Vec<Leak>,
}

impl<'a> Scan<'a> {
    fn of(secrets: &'a Secrets) -> Self {
        let finders: BTreeMap<_, _> = secrets
            .needles()
            .map(|(name, value)| (name, Finder::new(value)))
            .collect();
        let longest = finders.values().map(|finder| finder.needle().len()).max();
        Self {
            finders,
            overlap: longest.unwrap_or(1) - 1,
            leaks: Vec::new(),
        }
    }

    /// What a buildpack wrote into its layers folder, without the layers that are gone after the build.
    fn layers(&mut self, folder: &Path, built: &BuiltBy) -> Result<(), PathError> {
        let inside = Path::new(LAYERS).join(built.buildpack.id.folder());
        for name in names(folder)? {
            let path = folder.join(&name);
            let is_kept = || {
                let layer: Option<LayerName> = name.to_str().and_then(|name| name.parse().ok());
                let types = layer
                    .and_then(|layer| built.layers.get(&layer))
                    .map(|layer| layer.types);
                types.is_some_and(|types| types.launch || types.cache)
            };
            let is_toml = path.extension().is_some_and(|end| end == "toml");
            if is_toml && path.symlink_metadata().at("look at", &path)?.is_file() {
                self.strings(&path, &inside.join(&name))?;
            }
            if !path.is_dir() || is_kept() {
                self.entry(&path, &inside.join(&name))?;
            }
        }
        Ok(())
    }

    fn tree(&mut self, folder: &Path, inside: &Path) -> Result<(), PathError> {
        for name in names(folder)? {
            self.entry(&folder.join(&name), &inside.join(&name))?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, inside: &Path) -> Result<(), PathError> {
        if self.leaks.len() >= LEAKS_MAX {
            return Ok(());
        }
        self.look(inside.file_name().unwrap_or_default().as_bytes(), inside);
        let found = path.symlink_metadata().at("look at", path)?;
        if found.is_dir() {
            self.attributes(path, inside)
                .at("read the attributes of", path)?;
            return self.tree(path, inside);
        }
        if found.is_symlink() {
            let target = fs::read_link(path).at("read the link", path)?;
            self.look(target.as_os_str().as_bytes(), inside);
        } else if found.is_file() {
            self.attributes(path, inside)
                .at("read the attributes of", path)?;
            self.file(path, inside).at("read", path)?;
        }
        Ok(())
    }

    /// What is kept of a `.toml` beside the layers is what its strings mean, however they are escaped: a key of
    /// several lines has `\n` between them.
    fn strings(&mut self, path: &Path, inside: &Path) -> Result<(), PathError> {
        let bytes = read_if_present(path, TOML_BYTES_MAX)?.unwrap_or_default();
        let table: Option<toml::Table> = str::from_utf8(&bytes)
            .ok()
            .and_then(|text| text.parse().ok());
        if let Some(table) = table {
            self.value(&toml::Value::Table(table), inside); // any other ended the build when it was read
        }
        Ok(())
    }

    fn value(&mut self, value: &toml::Value, inside: &Path) {
        match value {
            toml::Value::String(text) => self.look(text.as_bytes(), inside),
            toml::Value::Array(values) => {
                for value in values {
                    self.value(value, inside);
                }
            }
            toml::Value::Table(table) => {
                for (key, value) in table {
                    self.look(key.as_bytes(), inside);
                    self.value(value, inside);
                }
            }
            _ => {}
        }
    }

    fn file(&mut self, path: &Path, inside: &Path) -> io::Result<()> {
        let mut file = File::open(path)?;
        let mut buffer = Vec::with_capacity(CHUNK_BYTES + self.overlap);
        loop {
            let before = buffer.len();
            let count = (&mut file)
                .take(CHUNK_BYTES as u64)
                .read_to_end(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            self.look(&buffer, inside);
            let keep = self.overlap.min(before + count);
            buffer.drain(..before + count - keep);
        }
    }

    /// `user.*` attributes go into a slug, too.
    fn attributes(&mut self, path: &Path, inside: &Path) -> io::Result<()> {
        let mut list = Vec::with_capacity(64 << 10);
        match rustix::fs::llistxattr(path, rustix::buffer::spare_capacity(&mut list)) {
            Ok(_) => {}
            Err(rustix::io::Errno::NOTSUP) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let names = list
            .split(|byte| *byte == 0)
            .filter(|name| name.starts_with(b"user."));
        for name in names {
            self.look(name, inside);
            let mut value = Vec::with_capacity(64 << 10);
            rustix::fs::lgetxattr(
                path,
                OsStr::from_bytes(name),
                rustix::buffer::spare_capacity(&mut value),
            )?;
            self.look(&value, inside);
        }
        Ok(())
    }

    fn look(&mut self, bytes: &[u8], inside: &Path) {
        for (name, finder) in &self.finders {
            if finder.find(bytes).is_some() {
                let leak = Leak {
                    name: (*name).clone(),
                    path: shown(inside, finder),
                };
                if !self.leaks.contains(&leak) {
                    self.leaks.push(leak);
                }
            }
        }
    }
}

/// A name that holds the secret is not shown: its folder is.
fn shown(path: &Path, finder: &Finder<'_>) -> PathBuf {
    let clean = |path: &&Path| finder.find(path.as_os_str().as_bytes()).is_none();
    path.ancestors().find(clean).unwrap_or(path).to_owned()
}

fn names(folder: &Path) -> Result<Vec<std::ffi::OsString>, PathError> {
    let entries = fs::read_dir(folder).at("read", folder)?;
    let mut names: Vec<_> = entries
        .map(|entry| entry.map(|entry| entry.file_name()).at("read", folder))
        .collect::<Result<_, _>>()?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(write: impl Fn(&Path)) -> Vec<PathBuf> {
        let mut secrets = Secrets::default();
        secrets
            .add("TOKEN".parse().unwrap(), b"canary-1234\n".to_vec())
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        let mut scan = Scan::of(&secrets);
        scan.tree(folder.path(), Path::new("/in")).unwrap();
        scan.leaks.into_iter().map(|leak| leak.path).collect()
    }

    fn write(folder: &Path, name: &str, bytes: &[u8]) {
        crate::sys::fs::write_atomic(&folder.join(name), bytes, 0o644).unwrap();
    }

    #[test]
    fn a_secret_is_found_in_bytes_names_links_and_attributes() {
        assert_eq!(
            found(|at| write(at, "a", b"x canary-1234 y")),
            [Path::new("/in/a")]
        );
        assert_eq!(
            found(|at| write(at, "x-canary-1234", b"")),
            [Path::new("/in")]
        );
        let link = found(|at| std::os::unix::fs::symlink("/canary-1234", at.join("l")).unwrap());
        assert_eq!(link, [Path::new("/in/l")]);
        assert!(found(|at| write(at, "a", b"canary-123")).is_empty());
        let attribute = found(|at| {
            write(at, "a", b"");
            let flags = rustix::fs::XattrFlags::empty();
            let set = rustix::fs::setxattr(at.join("a"), "user.x", b"canary-1234", flags);
            if set.is_err() {
                write(at, "a", b"canary-1234"); // a file system without attributes
            }
        });
        assert_eq!(attribute, [Path::new("/in/a")]);
        let of_a_folder = found(|at| {
            std::fs::create_dir(at.join("d")).unwrap();
            let flags = rustix::fs::XattrFlags::empty();
            let set = rustix::fs::setxattr(at.join("d"), "user.x", b"canary-1234", flags);
            if set.is_err() {
                write(at, "d/a", b"canary-1234"); // a file system without attributes
            }
        });
        assert!(of_a_folder[0].starts_with("/in/d"), "{of_a_folder:?}");
    }

    #[test]
    fn a_secret_is_found_in_what_strings_of_a_toml_mean() {
        let check = |text: &str, expected: usize| {
            let mut secrets = Secrets::default();
            secrets
                .add("KEY".parse().unwrap(), b"begin\nmiddle\nend\n".to_vec())
                .unwrap();
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), "launch.toml", text.as_bytes());
            let mut scan = Scan::of(&secrets);
            let path = folder.path().join("launch.toml");
            scan.strings(&path, Path::new("/layers/a/launch.toml"))
                .unwrap();
            assert_eq!(scan.leaks.len(), expected, "{text}");
        };
        check(
            r#"[[labels]]
key = "a"
value = "begin\nmiddle\u000aend""#,
            1,
        );
        check(r#"metadata = { "x begin\nmiddle\nend" = 1 }"#, 1);
        check(r#"metadata = ["begin\nmiddle"]"#, 0);
    }

    #[test]
    fn a_secret_across_two_chunks_is_found() {
        for before in CHUNK_BYTES - 11..=CHUNK_BYTES + 1 {
            let mut bytes = vec![b'.'; before];
            bytes.extend_from_slice(b"canary-1234");
            assert_eq!(found(|at| write(at, "a", &bytes)).len(), 1, "{before}");
        }
    }
}
