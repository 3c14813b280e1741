//! The layer `python`: an interpreter and its standard library, from an
//! official archive or copied from the host, with nothing else of either:
//! no site-packages, no `.pth`, no `sitecustomize`, no tests, no Tk.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::buildpack::author::Artifact;
use crate::buildpack::author::At as _;
use crate::buildpack::author::AuthoredLayer;
use crate::buildpack::author::BuildContext;
use crate::buildpack::author::Failure;
use crate::buildpack::author::LayerTypes;
use crate::buildpack::author::write;
use crate::ident::Digest;

use super::bytecode;
use super::folder::Folder;
use super::host::HostPython;
use super::host_copy;
use super::key;
use super::key::PythonKey;
use super::official;
use super::relocate;
use super::sysconfig;
use super::tree;

/// Without these nothing can be installed.
const MUST_IMPORT: &str = "import encodings, zlib, hashlib, struct, socket";
/// These may be missing in a Python that its host built without a library.
const MAY_MISS: [&str; 6] = ["ssl", "sqlite3", "ctypes", "lzma", "bz2", "uuid"];

/// An interpreter in its layer.
#[derive(Debug)]
pub(super) struct Interpreter {
    /// `/layers/slug_python/python/bin/python3.12`.
    pub(super) program: PathBuf,
    /// What it was made from.
    pub(super) key: PythonKey,
}

/// Where an interpreter can come from, in the order of preference.
#[derive(Debug)]
pub(super) struct Origins {
    pub(super) official: Option<Artifact>,
    pub(super) host: Option<HostPython>,
}

/// Keeps the layer, or makes it anew from the first origin that is there.
pub(super) fn provide(context: &BuildContext, origins: &Origins) -> Result<Interpreter, Failure> {
    let layer = context.layer("python");
    let cached: Option<PythonKey> = layer.cached();
    if let Some(official) = &origins.official {
        let key = official_key(context, official);
        let file = context.artifact(official);
        if file.is_some() || cached.as_ref() == Some(&key) {
            return kept_or_made(context, &layer, cached, key, |folder| match &file {
                Some((archive, _)) => official::unpack(archive, folder),
                None => Err(Failure(
                    "the archive of the cached interpreter is gone".to_owned(),
                )),
            });
        }
        if let Some(host) = &origins.host {
            context.say(&format!(
                "the official build of Python {} could not be fetched: taking Python {} of this host",
                official.version, host.version
            ));
        }
    }
    let Some(host) = &origins.host else {
        let version = origins
            .official
            .as_ref()
            .map_or("", |official| &official.version);
        return Err(Failure(format!(
            "Python {version} could not be fetched, and this host has none that fits"
        )));
    };
    let key = host_key(context, host)?;
    kept_or_made(context, &layer, cached, key, |folder| {
        host_copy::copy(host, folder)
    })
}

fn official_key(context: &BuildContext, official: &Artifact) -> PythonKey {
    let digest = official
        .sources
        .first()
        .map(|source| source.sha256.to_string())
        .unwrap_or_default();
    PythonKey {
        recipe: key::RECIPE,
        version: official.version.clone(),
        origin: format!("python-build-standalone, {digest}"),
        target: context.target.clone(),
    }
}

/// Without the host's path, which must not be part of a slug.
fn host_key(context: &BuildContext, host: &HostPython) -> Result<PythonKey, Failure> {
    let program = host.prefix.join("bin").join(host.program());
    let digest = Digest::of(&fs::read(&program).at("read", &program)?);
    Ok(PythonKey {
        recipe: key::RECIPE,
        version: host.version.to_string(),
        origin: format!("host copy, {digest}"),
        target: context.target.clone(),
    })
}

fn kept_or_made(
    context: &BuildContext,
    layer: &AuthoredLayer,
    cached: Option<PythonKey>,
    key: PythonKey,
    fill: impl FnOnce(&Folder) -> Result<(), Failure>,
) -> Result<Interpreter, Failure> {
    let minor: Vec<&str> = key.version.split('.').take(2).collect();
    let name = format!("python{}", minor.join("."));
    let program = layer.dir.join("bin").join(&name);
    let reasons = cached.map(|cached| key::stale_python(&cached, &key));
    if reasons.as_ref().is_some_and(Vec::is_empty) {
        context.say(&format!("Python {}: kept", key.version));
    } else {
        for reason in reasons.unwrap_or_default() {
            context.say(&format!("Python is made anew: {reason}"));
        }
        context.say(&format!(
            "Python {} from {}",
            key.version,
            key.origin.split(',').next().unwrap_or_default()
        ));
        layer.renew()?;
        fill(&Folder {
            root: layer.dir.clone(),
            name: name.clone(),
        })?;
        finish(context, &layer.dir, &name)?;
        set_environment(layer)?;
    }
    layer.describe(
        LayerTypes {
            build: true,
            launch: true,
            cache: true,
        },
        &key,
    )?;
    Ok(Interpreter { program, key })
}

/// Defaults: a config var of the same name wins.
fn set_environment(layer: &AuthoredLayer) -> Result<(), Failure> {
    // Lines reach the log as they are written, and a crash in C code leaves a traceback.
    for (name, value) in [
        ("PYTHONUNBUFFERED", "1"),
        ("PYTHONFAULTHANDLER", "1"),
        ("LANG", "C.UTF-8"),
    ] {
        layer.set_env("env.launch", &format!("{name}.default"), value)?;
    }
    Ok(())
}

/// What makes the files start from here: library paths, names, bytecode. Ends with a start.
fn finish(context: &BuildContext, root: &Path, name: &str) -> Result<(), Failure> {
    let library = root.join("lib").join(name);
    for path in tree::files(root, &|_| true)? {
        let shared = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.contains(".so"));
        if shared || path.starts_with(root.join("bin")) {
            relocate_file(&path, root)?;
        }
    }
    sysconfig::move_to(&library, root)?;
    for link in ["python3", "python"] {
        let path = root.join("bin").join(link);
        symlink(name, &path).at("write", &path)?;
    }
    let program = root.join("bin").join(name);
    start(context, &program)?;
    bytecode::compile(&program, library_groups(&library)?)
}

fn relocate_file(path: &Path, root: &Path) -> Result<(), Failure> {
    let mut bytes = fs::read(path).at("read", path)?;
    let folder = path.parent().unwrap_or(root);
    if relocate::relocate(&mut bytes, folder, &root.join("lib")) {
        write(path, &bytes)?;
    }
    Ok(())
}

fn start(context: &BuildContext, program: &Path) -> Result<(), Failure> {
    let run = |code: &str| {
        let mut command = Command::new(program);
        command
            .args(["-I", "-S", "-B", "-c", code])
            .env_clear()
            .current_dir("/");
        context.output("Python", &mut command)
    };
    let output = run(MUST_IMPORT)?;
    if !output.status.success() {
        return Err(Failure(format!(
            "the interpreter does not start from its layer ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        )));
    }
    let code = format!(
        "import importlib\nfor name in {MAY_MISS:?}:\n try: importlib.import_module(name)\n except ImportError as error: print(name, error, sep=': ')"
    );
    for line in String::from_utf8_lossy(&run(&code)?.stdout).lines() {
        context.say(&format!("warning: this Python has no {line}"));
    }
    Ok(())
}

/// One group for each package of the standard library, and one for its single modules.
fn library_groups(library: &Path) -> Result<Vec<bytecode::Group>, Failure> {
    let mut groups: BTreeMap<PathBuf, bytecode::Group> = BTreeMap::new();
    for path in tree::files(library, &|_| true)? {
        if path.extension().is_some_and(|extension| extension == "py") {
            let below = path.strip_prefix(library).unwrap_or(&path);
            let package = if below.components().count() > 1 {
                below.components().take(1).collect()
            } else {
                PathBuf::new()
            };
            groups.entry(package).or_default().push(path);
        }
    }
    Ok(groups.into_values().collect())
}
