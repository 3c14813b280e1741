//! The layer `python`: an interpreter and its standard library, from an
//! official archive or copied from the host, with nothing else of either:
//! no site-packages, no `.pth`, no `sitecustomize`, no tests, no Tk.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::symlink;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::buildpack::author::Artifact;
use crate::buildpack::author::At as _;
use crate::buildpack::author::AuthoredLayer;
use crate::buildpack::author::BuildContext;
use crate::buildpack::author::Failure;
use crate::buildpack::author::LayerTypes;
use crate::buildpack::author::read_text;
use crate::buildpack::author::write;
use crate::ident::Digest;

use super::bytecode;
use super::host::HostPython;
use super::key;
use super::key::PythonKey;
use super::relocate;
use super::tree;

/// Folders of the standard library that no server needs, and what is the host's own.
const FOLDERS_LEFT_OUT: [&str; 11] = [
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idle_test",
    "idlelib",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "pydoc_data",
    "__pycache__",
];
/// Files of the same kind. Whatever a host put into every start of its Python stays on the host.
const FILES_LEFT_OUT: [&str; 4] = [
    "sitecustomize.py",
    "usercustomize.py",
    "EXTERNALLY-MANAGED",
    "turtle.py",
];
/// Extension modules for the tests of `CPython` itself, and Tk.
const MODULES_LEFT_OUT: [&str; 4] = ["_test", "_ctypes_test", "_xx", "_tkinter"];
/// Libraries of Tk, beside the interpreter's own.
const LIBRARIES_LEFT_OUT: [&str; 5] = ["libtcl", "libtk", "libitcl", "libtdbc", "libthread"];
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
                Some((archive, _)) => unpack(archive, folder),
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
        copy_host(host, folder)
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
        origin: format!("python-build-standalone {digest}"),
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
        origin: format!("host {digest}"),
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
            key.origin.split(' ').next().unwrap_or_default()
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

/// The layer's folder, being filled.
struct Folder {
    root: PathBuf,
    /// `python3.12`.
    name: String,
}

impl Folder {
    /// Is this file, by its path below the prefix, a part of what is wanted?
    fn wants(&self, path: &Path) -> bool {
        let parts: Vec<&str> = path
            .components()
            .filter_map(|part| part.as_os_str().to_str())
            .collect();
        match parts[..] {
            ["bin", file] => file == self.name,
            ["include", ref folders @ .., _] => folders.first() == Some(&self.name.as_str()),
            ["lib", file] => {
                file.contains(".so")
                    && !LIBRARIES_LEFT_OUT.iter().any(|name| file.starts_with(name))
            }
            ["lib", python, ref folders @ .., file] => {
                python == self.name && wants_library_file(folders, file)
            }
            _ => false,
        }
    }

    /// Writes one file, with a mode that no umask decides.
    fn put(&self, path: &Path, executable: bool, mut bytes: impl Read) -> Result<(), Failure> {
        let to = self.parent(path)?;
        let mut file = fs::File::create(&to).at("write", &to)?;
        io::copy(&mut bytes, &mut file).at("write", &to)?;
        let mode = if executable { 0o755 } else { 0o644 };
        Ok(file
            .set_permissions(fs::Permissions::from_mode(mode))
            .at("write", &to)?)
    }

    fn link(&self, path: &Path, target: &Path) -> Result<(), Failure> {
        let to = self.parent(path)?;
        Ok(symlink(target, &to).at("write", &to)?)
    }

    fn parent(&self, path: &Path) -> Result<PathBuf, Failure> {
        let to = self.root.join(path);
        let parent = to.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).at("create the folder", parent)?;
        Ok(to)
    }
}

fn wants_library_file(folders: &[&str], file: &str) -> bool {
    let static_only = folders.iter().any(|folder| folder.starts_with("config-"));
    let left_out = folders
        .iter()
        .any(|folder| FOLDERS_LEFT_OUT.contains(folder));
    let extension = Path::new(file)
        .extension()
        .and_then(|extension| extension.to_str());
    let module = folders.last() == Some(&"lib-dynload")
        && MODULES_LEFT_OUT.iter().any(|name| file.starts_with(name));
    !static_only
        && !left_out
        && !module
        && !matches!(extension, Some("a" | "pth" | "pyc"))
        && !FILES_LEFT_OUT.contains(&file)
}

/// From an archive of python-build-standalone, whose files lie below `python/`.
fn unpack(archive: &Path, folder: &Folder) -> Result<(), Failure> {
    let bad = |why: String| {
        Failure(format!(
            "`{}` is no archive of Python: {why}",
            archive.display()
        ))
    };
    let file = fs::File::open(archive).at("read", archive)?;
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(io::BufReader::new(file)));
    for entry in tar.entries().map_err(|error| bad(error.to_string()))? {
        let mut entry = entry.map_err(|error| bad(error.to_string()))?;
        let path = entry
            .path()
            .map_err(|error| bad(error.to_string()))?
            .into_owned();
        let Ok(path) = path.strip_prefix("python") else {
            continue;
        };
        if !path
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
            || !folder.wants(path)
        {
            continue;
        }
        match entry.header().entry_type() {
            tar::EntryType::Regular => {
                let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
                folder.put(path, executable, &mut entry)?;
            }
            tar::EntryType::Symlink => {
                let target = entry
                    .link_name()
                    .ok()
                    .flatten()
                    .unwrap_or_default()
                    .into_owned();
                if is_name(&target) {
                    folder.link(path, &target)?;
                }
            }
            tar::EntryType::Directory => {}
            other => {
                return Err(bad(format!(
                    "`{}` is an entry of type {other:?}",
                    path.display()
                )));
            }
        }
    }
    Ok(())
}

/// A link to a neighbour; anything else could lead out of the layer.
fn is_name(target: &Path) -> bool {
    let mut parts = target.components();
    matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(_)), None)
    )
}

/// From an installation on this host.
fn copy_host(host: &HostPython, folder: &Folder) -> Result<(), Failure> {
    let prefix = &host.prefix;
    let enter = |path: &Path| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        !FOLDERS_LEFT_OUT.contains(&name) && !name.starts_with("config-")
    };
    let mut files = vec![prefix.join("bin").join(&folder.name)];
    files.extend(tree::files(&prefix.join("lib").join(&folder.name), &enter)?);
    let headers = prefix.join("include").join(&folder.name);
    if headers.is_dir() {
        files.extend(tree::files(&headers, &enter)?);
    }
    let mut needed = Vec::new();
    for from in &files {
        let Ok(path) = from.strip_prefix(prefix) else {
            continue;
        };
        if !folder.wants(path) {
            continue;
        }
        let bytes = fs::read(from).at("read", from)?;
        needed.extend(relocate::needed(&bytes));
        let executable = fs::metadata(from).at("read", from)?.permissions().mode() & 0o100 != 0;
        folder.put(path, executable, &bytes[..])?;
    }
    // Libraries of /usr are the base's: the slug states them as needs.
    if prefix == Path::new("/usr") {
        Ok(())
    } else {
        copy_libraries(prefix, folder, needed)
    }
}

/// The libraries that the interpreter needs and that lie in its own prefix, and those that these need.
fn copy_libraries(prefix: &Path, folder: &Folder, mut needed: Vec<String>) -> Result<(), Failure> {
    let mut copied = BTreeSet::new();
    while let Some(name) = needed.pop() {
        let from = prefix.join("lib").join(&name);
        if copied.contains(&name) || !from.is_file() {
            continue;
        }
        let bytes = fs::read(&from).at("read", &from)?;
        needed.extend(relocate::needed(&bytes));
        folder.put(&Path::new("lib").join(&name), true, &bytes[..])?;
        copied.insert(name);
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
    rename_prefix(&library, root)?;
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

/// The build configuration, which C extensions are built by, names the prefix that the interpreter was built for.
fn rename_prefix(library: &Path, root: &Path) -> Result<(), Failure> {
    let is_data = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"_sysconfigdata"))
    };
    for path in tree::files(library, &|_| false)?
        .into_iter()
        .filter(is_data)
    {
        let text = read_text(&path)?.unwrap_or_default();
        let Some(prefix) = quoted_after(&text, "'prefix': '") else {
            continue;
        };
        // `/usr` stands in too many other paths, and an app's own build needs none of what it names.
        if prefix.len() > 1 && prefix != "/usr" {
            write(
                &path,
                replace_path(&text, prefix, &root.display().to_string()).as_bytes(),
            )?;
        }
    }
    Ok(())
}

/// Replaces a folder where it stands for itself or begins a path, and not where it ends another path
/// (`/install` in `/usr/bin/install -c`).
fn replace_path(text: &str, from: &str, to: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        let begins = after.starts_with('/') || before.ends_with(['\'', '"', '=', ' ', ':']);
        let whole = !after.starts_with(|next: char| next.is_alphanumeric() || "._-".contains(next));
        replaced.push_str(before);
        replaced.push_str(if begins && whole { to } else { from });
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

fn quoted_after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let rest = &text[text.find(key)? + key.len()..];
    rest.split('\'').next()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_host_but_the_interpreter_and_its_library_is_wanted() {
        let folder = Folder {
            root: "/l".into(),
            name: "python3.12".to_owned(),
        };
        for wanted in [
            "bin/python3.12",
            "lib/libpython3.12.so.1.0",
            "lib/python3.12/os.py",
            "lib/python3.12/unittest/mock.py",
            "lib/python3.12/lib-dynload/_ssl.cpython-312-x86_64-linux-gnu.so",
            "lib/python3.12/_sysconfigdata__linux_x86_64-linux-gnu.py",
            "include/python3.12/Python.h",
        ] {
            assert!(folder.wants(Path::new(wanted)), "{wanted}");
        }
        for left_out in [
            "bin/pip",
            "bin/python3.12-config",
            "lib/libtcl8.6.so",
            "lib/python3.11/os.py",
            "lib/python3.12/site-packages/a.pth",
            "lib/python3.12/test/support.py",
            "lib/python3.12/x.pth",
            "lib/python3.12/sitecustomize.py",
            "lib/python3.12/config-3.12-x86_64-linux-gnu/Makefile",
            "lib/python3.12/lib-dynload/_testcapi.cpython-312-x86_64-linux-gnu.so",
            "lib/python3.12/__pycache__/os.cpython-312.pyc",
            "lib/pkgconfig/python3.pc",
            "share/man/man1/python3.1",
        ] {
            assert!(!folder.wants(Path::new(left_out)), "{left_out}");
        }
    }

    #[test]
    fn the_old_prefix_is_replaced_where_it_is_one() {
        let text = "'prefix': '/install', '-I/install/include', '--prefix=/install', '/usr/bin/install -c', '/install2'";
        let expect =
            "'prefix': '/l', '-I/l/include', '--prefix=/l', '/usr/bin/install -c', '/install2'";
        assert_eq!(replace_path(text, "/install", "/l"), expect);
    }

    #[test]
    fn an_archive_is_unpacked_without_what_is_not_wanted() {
        let temporary = tempfile::tempdir().unwrap();
        let archive = temporary.path().join("python.tar.gz");
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
            fs::File::create(&archive).unwrap(),
            flate2::Compression::fast(),
        ));
        for (path, mode) in [
            ("python/bin/python3.12", 0o700),
            ("python/lib/python3.12/os.py", 0o666),
            ("python/bin/pip", 0o755),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            header.set_mode(mode);
            tar.append_data(&mut header, path, &b"x"[..]).unwrap();
        }
        for (path, target) in [
            ("python/lib/libpython3.so", "libpython3.12.so"),
            ("python/lib/evil.so", "/etc/passwd"),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            tar.append_link(&mut header, path, target).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
        let root = temporary.path().join("layer");
        unpack(
            &archive,
            &Folder {
                root: root.clone(),
                name: "python3.12".to_owned(),
            },
        )
        .unwrap();
        let modes: Vec<_> = tree::files(&root, &|_| true)
            .unwrap()
            .iter()
            .map(|path| {
                (
                    path.strip_prefix(&root).unwrap().display().to_string(),
                    fs::metadata(path).unwrap().permissions().mode() & 0o777,
                )
            })
            .collect();
        assert_eq!(
            modes,
            [
                ("bin/python3.12".to_owned(), 0o755),
                ("lib/python3.12/os.py".to_owned(), 0o644)
            ]
        );
        assert_eq!(
            fs::read_link(root.join("lib/libpython3.so")).unwrap(),
            Path::new("libpython3.12.so")
        );
        assert!(!root.join("lib/evil.so").is_symlink());
    }
}
