//! What a layer does to the environment (Buildpack API, "Layer Paths" and
//! "Environment Variable Modification Rules"; rules 40-45 and 55).
//!
//! Reading touches the disk, applying does not. Bytes are exact: nothing is
//! trimmed, no encoding is assumed. Knows no order of layers but the one it is
//! given.

mod effects;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::ident::ProcessType;
use crate::sys::fs::read_regular;
use crate::sys::{At as _, PathError};

pub use effects::Effect;

/// A whole environment.
pub type Env = BTreeMap<OsString, OsString>;

/// The largest value of one file, in bytes: the kernel takes no longer string at exec.
pub const ENV_VALUE_BYTES_MAX: u64 = 128 * 1024 - 1;
/// The most files in one folder of values.
pub const ENV_FILES_MAX: usize = 4096;

/// The folders at the root of a layer that extend a path at build, and the variables that they extend.
const BUILD_PATHS: &[(&str, &[&str])] = &[
    ("bin", &["PATH"]),
    ("lib", &["LD_LIBRARY_PATH", "LIBRARY_PATH"]),
    ("include", &["CPATH"]),
    ("pkgconfig", &["PKG_CONFIG_PATH"]),
];
/// The same at launch.
const LAUNCH_PATHS: &[(&str, &[&str])] = &[("bin", &["PATH"]), ("lib", &["LD_LIBRARY_PATH"])];
/// The variables that a user's value is put before, instead of replacing what is there (rule 42).
pub const PATH_VARIABLES: [&str; 5] = [
    "PATH",
    "LD_LIBRARY_PATH",
    "LIBRARY_PATH",
    "CPATH",
    "PKG_CONFIG_PATH",
];

/// The environment delta of one layer, read from its folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerEnv {
    /// Where the layer lies inside the sandbox: what goes on a `PATH`.
    at: PathBuf,
    /// Those of the root folders that are there.
    folders: BTreeSet<&'static str>,
    all: Delta,
    build: Delta,
    launch: Delta,
    process: BTreeMap<OsString, Delta>,
}

/// The files of one folder, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta(Vec<Change>);

/// What one file does.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    name: OsString,
    action: Action,
    value: OsString,
    delimiter: OsString,
}

/// What is done with a variable (rule 44).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Set, whatever it was.
    Override,
    /// Set if it was not set, or empty.
    Default,
    /// Put behind what is there.
    Append,
    /// Put before what is there.
    Prepend,
}

impl LayerEnv {
    /// Reads the delta of the layer in the folder `layer`, which lies at `at` inside the sandbox.
    ///
    /// A link that leads out of the layer is an error for a file of a value: it would be
    /// read with the rights of whoever runs the platform. A folder that is such a link counts as there.
    pub fn read(layer: &Path, at: &Path) -> Result<Self, PathError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::open(layer, flags, Mode::empty()).at("open the layer", layer)?;
        let mut read = Self {
            at: at.to_owned(),
            ..Self::default()
        };
        read.folders = BUILD_PATHS
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| is_folder(&root, name))
            .collect();
        read.all = Delta::read_in(&root, layer, Path::new("env"))?;
        read.build = Delta::read_in(&root, layer, Path::new("env.build"))?;
        read.launch = Delta::read_in(&root, layer, Path::new("env.launch"))?;
        for process in folders_in(&root, layer, Path::new("env.launch"))? {
            let delta = Delta::read_in(&root, layer, &Path::new("env.launch").join(&process))?;
            read.process.insert(process, delta);
        }
        Ok(read)
    }

    /// What a later buildpack sees: paths, then `env/`, then `env.build/` (rule 41).
    pub fn apply_at_build(&self, env: &mut Env) {
        self.extend_paths(BUILD_PATHS, env);
        self.all.apply(env);
        self.build.apply(env);
    }

    fn extend_paths(&self, paths: &[(&str, &[&str])], env: &mut Env) {
        for (folder, variables) in paths
            .iter()
            .filter(|(folder, _)| self.folders.contains(folder))
        {
            for variable in *variables {
                prepend(
                    env,
                    OsStr::new(variable),
                    self.at.join(folder).as_os_str(),
                    OsStr::new(":"),
                );
            }
        }
    }

    fn apply_files_at_launch(&self, process: Option<&ProcessType>, env: &mut Env) {
        self.all.apply(env);
        self.launch.apply(env);
        let own = process.and_then(|process| self.process.get(OsStr::new(process.as_str())));
        if let Some(delta) = own {
            delta.apply(env);
        }
    }
}

/// What the layers of earlier buildpacks do to the environment of a build: each layer's paths and
/// files before the next layer's (rule 41). `layers` is in the order of the buildpacks, each one's by
/// the layer's name: lifecycle sorts by `<layer>.toml` here and by `<layer>` at launch, and so puts
/// `a-b` before `a` at build alone; we take the order of launch for both.
pub fn apply_at_build<'a>(layers: impl IntoIterator<Item = &'a LayerEnv>, env: &mut Env) {
    for layer in layers {
        layer.apply_at_build(env);
    }
}

/// What the launch layers do to the environment of a process: for each buildpack, the paths of all its
/// layers and then the files of all its layers (rule 55). Without a process type: a command of a user's.
pub fn apply_at_launch<'a, L>(
    buildpacks: impl IntoIterator<Item = L>,
    process: Option<&ProcessType>,
    env: &mut Env,
) where
    L: IntoIterator<Item = &'a LayerEnv>,
    L::IntoIter: Clone,
{
    for layers in buildpacks {
        let layers = layers.into_iter();
        for layer in layers.clone() {
            layer.extend_paths(LAUNCH_PATHS, env);
        }
        for layer in layers {
            layer.apply_files_at_launch(process, env);
        }
    }
}

/// `<platform>/env`: what the user gives to a build; the five path variables are put before what is there, others replace it (rule 42).
pub fn apply_user(user: &Env, env: &mut Env) {
    for (name, value) in user {
        if PATH_VARIABLES
            .iter()
            .any(|variable| OsStr::new(variable) == name)
        {
            prepend(env, name, value, OsStr::new(":"));
        } else {
            env.insert(name.clone(), value.clone());
        }
    }
}

impl Delta {
    /// Reads a folder of values of the operator's (`<build-config>/env`, rule 43), where a file without a suffix means `without_suffix`.
    pub fn read(folder: &Path, without_suffix: Action) -> Result<Self, PathError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(folder, flags, Mode::empty()) {
            Ok(root) => Self::read_with(&root, folder, Path::new("."), without_suffix),
            Err(Errno::NOENT) => Ok(Self::default()),
            Err(error) => Err(error).at("open", folder),
        }
    }

    fn read_in(layer: &OwnedFd, layer_path: &Path, folder: &Path) -> Result<Self, PathError> {
        Self::read_with(layer, layer_path, folder, Action::Override)
    }

    fn read_with(
        root: &OwnedFd,
        root_path: &Path,
        folder: &Path,
        without_suffix: Action,
    ) -> Result<Self, PathError> {
        let mut files = BTreeMap::new();
        for (name, kind) in entries(root, root_path, folder)? {
            let path = folder.join(&name);
            let value = match kind {
                FileType::Directory => None,
                _ => read_value(root, &path).at("read", &root_path.join(&path))?,
            };
            if let Some(value) = value {
                files.insert(name, value);
            }
        }
        let changes = files
            .iter()
            .filter_map(|(file, value)| Change::new(file, value, &files, without_suffix));
        Ok(Self(changes.collect()))
    }

    /// Changes the environment file by file, in the order of their names.
    pub fn apply(&self, env: &mut Env) {
        for Change {
            name,
            action,
            value,
            delimiter,
        } in &self.0
        {
            match action {
                Action::Override => {
                    env.insert(name.clone(), value.clone());
                }
                Action::Default => {
                    if env.get(name).is_none_or(|old| old.is_empty()) {
                        env.insert(name.clone(), value.clone());
                    }
                }
                Action::Append => append(env, name, value, delimiter),
                Action::Prepend => prepend(env, name, value, delimiter),
            }
        }
    }
}

impl Change {
    /// The name is what stands before the first `.`, the action what stands behind it; an unknown action does nothing (rule 44).
    fn new(
        file: &OsStr,
        value: &OsStr,
        files: &BTreeMap<OsString, OsString>,
        bare: Action,
    ) -> Option<Self> {
        let bytes = file.as_bytes();
        let dot = bytes.iter().position(|byte| *byte == b'.');
        let (name, suffix) = dot.map_or((bytes, None), |dot| {
            (&bytes[..dot], Some(&bytes[dot + 1..]))
        });
        let action = match suffix {
            None => bare,
            Some(b"override") => Action::Override,
            Some(b"default") => Action::Default,
            Some(b"append") => Action::Append,
            Some(b"prepend") => Action::Prepend,
            Some(_) => return None,
        };
        if name.is_empty() || name.contains(&b'=') {
            return None; // no such variable can be handed to a process
        }
        let delimiter_file = OsString::from_vec([name, b".delim"].concat());
        let delimiter = files.get(&delimiter_file).cloned().unwrap_or_default();
        Some(Self {
            name: OsStr::from_bytes(name).to_owned(),
            action,
            value: value.to_owned(),
            delimiter,
        })
    }
}

fn prepend(env: &mut Env, name: &OsStr, value: &OsStr, delimiter: &OsStr) {
    let old = env.get(name).filter(|old| !old.is_empty());
    let new = old.map_or_else(
        || value.to_owned(),
        |old| [value, delimiter, old].concat_os(),
    );
    env.insert(name.to_owned(), new);
}

fn append(env: &mut Env, name: &OsStr, value: &OsStr, delimiter: &OsStr) {
    let old = env.get(name).filter(|old| !old.is_empty());
    let new = old.map_or_else(
        || value.to_owned(),
        |old| [old, delimiter, value].concat_os(),
    );
    env.insert(name.to_owned(), new);
}

/// Joining of bytes that need not be text.
trait ConcatOs {
    fn concat_os(&self) -> OsString;
}

impl ConcatOs for [&OsStr; 3] {
    fn concat_os(&self) -> OsString {
        self.iter().copied().collect()
    }
}

/// Is there a folder of that name? A link out of the layer is taken for one: inside the sandbox it may lead somewhere.
fn is_folder(root: &OwnedFd, name: &str) -> bool {
    match open_beneath(
        root.as_fd(),
        Path::new(name),
        OFlags::PATH | OFlags::DIRECTORY,
    ) {
        Ok(_) | Err(Errno::XDEV) => true,
        Err(_) => false,
    }
}

fn open_beneath(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    loop {
        // EAGAIN: a rename elsewhere raced with the check of `..`
        match rustix::fs::openat2(
            root,
            path,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH,
        ) {
            Err(Errno::AGAIN) => {}
            opened => return opened,
        }
    }
}

/// A NUL in a value cannot reach a process: it is refused here, where its file can be named.
fn read_value(root: &OwnedFd, path: &Path) -> io::Result<Option<OsString>> {
    let file: File = match open_beneath(root.as_fd(), path, OFlags::RDONLY | OFlags::NONBLOCK) {
        Ok(file) => file.into(),
        Err(Errno::XDEV) => return Err(io::Error::other("a link that leads out of the layer")),
        Err(error) => return Err(error.into()),
    };
    if file.metadata()?.is_dir() {
        return Ok(None); // a link to a folder
    }
    let value = read_regular(file, ENV_VALUE_BYTES_MAX)?;
    if value.contains(&0) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the value holds a NUL byte",
        ));
    }
    Ok(Some(OsString::from_vec(value)))
}

fn folders_in(root: &OwnedFd, root_path: &Path, folder: &Path) -> Result<Vec<OsString>, PathError> {
    let entries = entries(root, root_path, folder)?;
    Ok(entries
        .into_iter()
        .filter(|(_, kind)| *kind == FileType::Directory)
        .map(|(name, _)| name)
        .collect())
}

/// The names in a folder; none if it is not there.
fn entries(
    root: &OwnedFd,
    root_path: &Path,
    folder: &Path,
) -> Result<Vec<(OsString, FileType)>, PathError> {
    let path = root_path.join(folder);
    let opened = match open_beneath(root.as_fd(), folder, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(opened) => opened,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
        Err(error) => return Err(error).at("open", &path),
    };
    let mut names = Vec::new();
    for entry in Dir::new(opened).at("read", &path)? {
        let entry = entry.at("read", &path)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((OsStr::from_bytes(name).to_owned(), entry.file_type()));
        }
        if names.len() > ENV_FILES_MAX {
            return Err(io::Error::other(format!("more than {ENV_FILES_MAX} files")))
                .at("read", &path);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod lifecycle_cases;
#[cfg(test)]
mod tests;
