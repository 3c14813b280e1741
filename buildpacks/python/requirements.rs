//! What decides the content of the dependencies' layer: the app's files that
//! are read for it, followed through `-r`, `-c` and local paths, each with
//! its digest.

use std::collections::BTreeMap;
use std::fs;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use crate::buildpack::author::At as _;
use crate::buildpack::author::Failure;
use crate::ident::Digest;

use super::manager::Manager;
use super::text;
use super::tree;

/// How deep requirement files may include one another.
const INCLUDES_MAX: usize = 64;
/// What describes a distribution that is installed in place.
pub(super) const DESCRIPTIONS: [&str; 3] = ["pyproject.toml", "setup.py", "setup.cfg"];

/// The files and folders, by their paths below the app, that decide what is installed.
pub(super) fn inputs(manager: Manager, app: &Path) -> Result<BTreeMap<String, Digest>, Failure> {
    let mut inputs = BTreeMap::new();
    match manager {
        Manager::Nothing => {}
        Manager::Requirements => follow(app, "requirements.txt", &mut inputs)?,
        Manager::UvLock => {
            add_files(
                app,
                Path::new(""),
                &["pyproject.toml", "uv.lock", "setup.py", "setup.cfg"],
                &mut inputs,
            )?;
            let text = text::read(&app.join("uv.lock"))?.unwrap_or_default();
            for (path, in_place) in local_sources(&text) {
                add_local(app, &path, in_place, &mut inputs)?;
            }
        }
        Manager::Pyproject | Manager::Setup => {
            add_files(app, Path::new(""), &DESCRIPTIONS, &mut inputs)?;
            let text = text::read(&app.join("pyproject.toml"))?.unwrap_or_default();
            if names_own_folders(&text) {
                add_local(app, Path::new("."), false, &mut inputs)?;
            }
        }
    }
    Ok(inputs)
}

fn add_files(
    app: &Path,
    below: &Path,
    names: &[&str],
    inputs: &mut BTreeMap<String, Digest>,
) -> Result<(), Failure> {
    for name in names {
        let path = app.join(below).join(name);
        if path.is_file() {
            let digest = Digest::of(&fs::read(&path).at("read", &path)?);
            inputs.insert(below.join(name).display().to_string(), digest);
        }
    }
    Ok(())
}

fn follow(app: &Path, first: &str, inputs: &mut BTreeMap<String, Digest>) -> Result<(), Failure> {
    let mut queue = vec![PathBuf::from(first)];
    while let Some(file) = queue.pop() {
        let name = file.display().to_string();
        if inputs.contains_key(&name) {
            continue;
        }
        if inputs.len() > INCLUDES_MAX {
            return Err(Failure(format!(
                "{first} includes more than {INCLUDES_MAX} files"
            )));
        }
        // What is not there is said by the installer, with the line.
        let Some(text) = text::read(&app.join(&file))? else {
            continue;
        };
        inputs.insert(name, Digest::of(text.as_bytes()));
        let here = |line: u64| format!("{name}:{line}", name = file.display());
        for (line, reference) in references(&text) {
            match reference {
                Reference::File(path) => {
                    let path = file.parent().unwrap_or(Path::new("")).join(path);
                    queue.push(inside(&path, &here(line))?);
                }
                Reference::Local { path, in_place } => {
                    add_local(
                        app,
                        &inside(Path::new(&path), &here(line))?,
                        in_place,
                        inputs,
                    )?;
                }
            }
        }
    }
    Ok(())
}

/// The path below the app. Error: it leads out of the app.
fn inside(path: &Path, place: &str) -> Result<PathBuf, Failure> {
    let plain = plain(path);
    if plain.starts_with("..") {
        return Err(Failure(format!(
            "{place}: `{}` lies outside the app: a build sees nothing but the app's folder. \
             Move it in, or build the folder above with a requirements.txt of its own",
            path.display()
        )));
    }
    Ok(plain)
}

/// `deps/../a.txt` → `a.txt`: one name for one file.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            part => plain.push(part),
        }
        plain
    })
}

/// A folder or an archive of the app that is itself a requirement.
fn add_local(
    app: &Path,
    path: &Path,
    in_place: bool,
    inputs: &mut BTreeMap<String, Digest>,
) -> Result<(), Failure> {
    let full = app.join(path);
    if full.is_dir() && in_place {
        add_files(app, path, &DESCRIPTIONS, inputs)
    } else if full.is_dir() {
        let visible = |folder: &Path| {
            !folder
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
        };
        let digest = tree::digest(&full, &tree::files(&full, &visible)?)?;
        inputs.insert(format!("{}/", path.display()), digest);
        Ok(())
    } else {
        let (folder, name) = (
            path.parent().unwrap_or(Path::new("")),
            path.file_name().and_then(|name| name.to_str()),
        );
        add_files(app, folder, name.as_slice(), inputs)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Reference {
    /// `-r`, `-c`: another file, seen from this one.
    File(String),
    /// A path below the app.
    Local { path: String, in_place: bool },
}

/// What a requirements file names on this machine, and in which lines.
fn references(text: &str) -> Vec<(u64, Reference)> {
    let option = |line: &str, names: &[&str]| {
        let value = names.iter().find_map(|name| {
            line.strip_prefix(name)
                .filter(|rest| rest.starts_with([' ', '\t', '=']))
        });
        value.map(|value| value.trim_start_matches([' ', '\t', '=']).to_owned())
    };
    let lines = (1..)
        .zip(text.lines())
        .map(|(number, line)| (number, line.split(" #").next().unwrap_or_default().trim()));
    let mut found = Vec::new();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        if let Some(file) = option(line, &["-r", "--requirement", "-c", "--constraint"]) {
            found.push((number, Reference::File(file)));
            continue;
        }
        let (requirement, in_place) = match option(line, &["-e", "--editable"]) {
            Some(path) => (path, true),
            None => (line.to_owned(), false),
        };
        let path = requirement
            .split_once(" @ ")
            .map_or(requirement.as_str(), |(_, url)| url);
        let path = path.split([';', '[']).next().unwrap_or_default();
        let path = path.split(" --").next().unwrap_or_default().trim();
        let local = path.strip_prefix("file:").unwrap_or(path);
        if local.starts_with('.') || (path.starts_with("file:") && !local.starts_with('/')) {
            let path = local.to_owned();
            found.push((number, Reference::Local { path, in_place }));
        }
    }
    found
}

/// Does a `pyproject.toml` without a lock ask for folders of the app, whose code is then a part of what is installed?
fn names_own_folders(manifest: &str) -> bool {
    let table: toml::Table = toml::from_str(manifest).unwrap_or_default();
    let sources = table
        .get("tool")
        .and_then(|tool| tool.get("uv")?.get("sources")?.as_table());
    let is_local = |source: &toml::Value| {
        ["path", "workspace"]
            .iter()
            .any(|key| source.get(key).is_some())
    };
    let named = sources
        .into_iter()
        .flat_map(toml::Table::values)
        .any(|source| {
            is_local(source)
                || source
                    .as_array()
                    .is_some_and(|several| several.iter().any(is_local))
        });
    named || manifest.contains("@ file:")
}

/// The `source` tables of a `uv.lock` that are paths, without the app itself, and whether each is installed in place.
fn local_sources(lock: &str) -> Vec<(PathBuf, bool)> {
    let table: toml::Table = toml::from_str(lock).unwrap_or_default();
    let packages = table
        .get("package")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten();
    let sources = packages.filter_map(|package| package.get("source"));
    let local = sources.filter_map(|source| {
        let path = |key: &str| source.get(key).and_then(toml::Value::as_str);
        let in_place = path("editable")
            .or_else(|| path("virtual"))
            .map(|path| (PathBuf::from(path), true));
        in_place.or_else(|| {
            path("directory")
                .or_else(|| path("path"))
                .map(|path| (PathBuf::from(path), false))
        })
    });
    local.filter(|(path, _)| path != Path::new(".")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildpack::author::write;

    #[test]
    fn a_requirements_file_names_files_and_paths() {
        let text = "flask==3 # x\n-r base.txt\n--constraint=c.txt\n# -r no.txt\n-e ./lib\n./wheels/a.whl\nb @ file:b\n./c[x] ; python_version>'3'\n--require-hashes\n";
        let local = |path: &str, in_place| Reference::Local {
            path: path.to_owned(),
            in_place,
        };
        let file = |path: &str| Reference::File(path.to_owned());
        let expect = [
            (2, file("base.txt")),
            (3, file("c.txt")),
            (5, local("./lib", true)),
            (6, local("./wheels/a.whl", false)),
            (7, local("b", false)),
            (8, local("./c", false)),
        ];
        assert_eq!(references(text), expect);
    }

    #[test]
    fn a_change_in_any_file_that_counts_is_a_change_of_the_inputs() {
        let app = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = app.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            write(&path, text.as_bytes()).unwrap();
        };
        put("requirements.txt", "-r deps/base.txt\n./lib\n-e ./own\n");
        put("deps/base.txt", "-r ../requirements.txt\n-c limits.txt\n");
        put("deps/limits.txt", "a<2");
        put("lib/a.py", "1");
        put("own/setup.py", "1");
        put("own/code.py", "1");
        let names = |inputs: &BTreeMap<String, Digest>| inputs.keys().cloned().collect::<Vec<_>>();
        let before = inputs(Manager::Requirements, app.path()).unwrap();
        assert!(
            names(&before)
                .iter()
                .any(|name| name.ends_with("limits.txt")),
            "{before:?}"
        );
        for (name, counts) in [
            ("deps/limits.txt", true),
            ("lib/a.py", true),
            ("own/setup.py", true),
            ("own/code.py", false),
        ] {
            let before = inputs(Manager::Requirements, app.path()).unwrap();
            put(name, "changed");
            assert_eq!(
                inputs(Manager::Requirements, app.path()).unwrap() != before,
                counts,
                "{name}"
            );
        }
    }

    #[test]
    fn what_lies_outside_the_app_is_refused_by_line() {
        let app = tempfile::tempdir().unwrap();
        for (text, expect) in [
            (
                "flask\n-e ../lib\n",
                Some("requirements.txt:2: `../lib` lies outside the app"),
            ),
            (
                "-r ../common.txt\n",
                Some("requirements.txt:1: `../common.txt`"),
            ),
            ("-r a/../own.txt\n./a/../lib\n", None),
        ] {
            write(&app.path().join("requirements.txt"), text.as_bytes()).unwrap();
            match (inputs(Manager::Requirements, app.path()), expect) {
                (Ok(_), None) => {}
                (Err(Failure(why)), Some(expect)) => assert!(why.contains(expect), "{why}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn code_of_the_apps_own_folders_counts_where_no_lock_says_how_it_is_installed() {
        let app = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| write(&app.path().join(name), text.as_bytes()).unwrap();
        for (sources, counts) in [
            ("util = { workspace = true }", true),
            (
                "util = [{ path = \"util\", marker = \"sys_platform == 'linux'\" }]",
                true,
            ),
            ("util = { index = \"ours\" }", false),
        ] {
            put(
                "pyproject.toml",
                &format!("[project]\nname = \"a\"\n[tool.uv.sources]\n{sources}\n"),
            );
            put("util.py", "1");
            let before = inputs(Manager::Pyproject, app.path()).unwrap();
            put("util.py", "2");
            assert_eq!(
                inputs(Manager::Pyproject, app.path()).unwrap() != before,
                counts,
                "{sources}"
            );
        }
    }

    #[test]
    fn a_lock_names_the_paths_of_its_workspace() {
        let lock = "[[package]]\nname = \"app\"\nsource = { editable = \".\" }\n[[package]]\nname = \"lib\"\nsource = { editable = \"libs/lib\" }\n\
                    [[package]]\nname = \"x\"\nsource = { directory = \"x\" }\n[[package]]\nname = \"a\"\nsource = { registry = \"https://h\" }\n";
        assert_eq!(
            local_sources(lock),
            [
                (PathBuf::from("libs/lib"), true),
                (PathBuf::from("x"), false)
            ]
        );
    }
}
