//! The layer `venv`: what the app needs, installed by uv, the same bytes each
//! time. Every manager ends here, in one list of requirements.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::buildpack::author::Artifact;
use crate::buildpack::author::At as _;
use crate::buildpack::author::AuthoredLayer;
use crate::buildpack::author::BuildContext;
use crate::buildpack::author::Failure;
use crate::buildpack::author::LayerTypes;
use crate::buildpack::author::read_text;
use crate::buildpack::author::write;

use super::bytecode;
use super::interpreter::Interpreter;
use super::key;
use super::key::VenvKey;
use super::manager;
use super::manager::Manager;
use super::requirements;
use super::text;
use super::tree;
use super::uv;
use super::uv::Uv;

/// What is installed.
#[derive(Debug)]
pub(super) struct Venv {
    /// `/layers/slug_python/venv`.
    pub(super) dir: PathBuf,
    /// Names of distributions, normalized (PEP 503).
    pub(super) installed: BTreeSet<String>,
}

/// What shall be installed.
pub(super) struct Wanted<'a> {
    pub(super) manager: Manager,
    /// The app is itself a distribution.
    pub(super) is_package: bool,
    pub(super) uv: &'a Artifact,
}

/// The list of requirements.
enum Locked {
    /// A file of the app, as it stands.
    File(&'static str),
    /// What uv made of another file: every distribution, with its hashes.
    Text(String),
}

/// Keeps the layer, or installs anew.
pub(super) fn provide(
    context: &BuildContext,
    python: &Interpreter,
    wanted: &Wanted<'_>,
) -> Result<Venv, Failure> {
    let layer = context.layer("venv");
    let mut key = VenvKey {
        recipe: key::RECIPE,
        python: python.key.clone(),
        uv: wanted.uv.version.clone(),
        manager: wanted.manager,
        inputs: requirements::inputs(wanted.manager, &context.app)?,
        builds_in_place: false,
    };
    let reasons = layer
        .cached()
        .map(|cached: VenvKey| key::stale_venv(&cached, &key));
    if reasons.as_ref().is_some_and(Vec::is_empty) {
        context.say("dependencies: kept");
        uv::keep(context, wanted.uv)?;
    } else {
        for reason in reasons.unwrap_or_default() {
            context.say(&format!("dependencies are installed anew: {reason}"));
        }
        let uv = uv::provide(context, wanted.uv, python)?;
        context.say(&format!("installing dependencies with uv {}", uv.version));
        key.builds_in_place = install(context, &uv, python, wanted, &layer)?;
    }
    layer.describe(
        LayerTypes {
            build: true,
            launch: true,
            cache: true,
        },
        &key,
    )?;
    let installed = distributions(&site_packages(&layer.dir, python)?)?
        .into_keys()
        .collect();
    Ok(Venv {
        dir: layer.dir,
        installed,
    })
}

/// True if an installation of the app or of a folder of it left built files in the app's folder.
fn install(
    context: &BuildContext,
    uv: &Uv,
    python: &Interpreter,
    wanted: &Wanted<'_>,
    layer: &AuthoredLayer,
) -> Result<bool, Failure> {
    let program = python.program.display().to_string();
    let before: BTreeSet<PathBuf> = tree::files(&context.app, &|_| true)?.into_iter().collect();
    let locked = locked(context, uv, &program, wanted.manager)?;
    layer.renew()?;
    let dir = layer.dir.display().to_string();
    context.run(
        "making the virtual environment",
        &mut uv.command(
            context,
            &[
                "venv",
                "--quiet",
                "--no-project",
                "--allow-existing",
                "--python",
                &program,
                &dir,
            ],
        ),
    )?;
    let inside = layer.dir.join("bin/python").display().to_string();
    let mut args = vec!["pip", "install", "--python", &inside, "--requirements"];
    match &locked {
        Locked::File(name) => {
            args.push(name);
            let text = text::read(&context.app.join(name))?.unwrap_or_default();
            if manager::is_hashed(&text) {
                args.push("--require-hashes");
            }
            context.run(
                "installing the dependencies",
                &mut uv.command(context, &args),
            )?;
        }
        Locked::Text(text) => {
            args.extend(["-", "--no-deps"]);
            context.run_with_input(
                "installing the dependencies",
                &mut uv.command(context, &args),
                text.as_bytes(),
            )?;
        }
    }
    if wanted.is_package {
        install_app(context, uv, &inside)?;
    }
    let builds_in_place = remove_notes(&context.app, &before)?;
    let site = site_packages(&layer.dir, python)?;
    normalize(&layer.dir, &site)?;
    bytecode::compile(&python.program, groups(&site)?)?;
    for folder in ["env.launch", "env.build"] {
        layer.set_env(folder, "VIRTUAL_ENV.override", &dir)?;
    }
    Ok(builds_in_place)
}

fn locked(
    context: &BuildContext,
    uv: &Uv,
    python: &str,
    manager: Manager,
) -> Result<Locked, Failure> {
    let compiled = |file: &str| {
        let args = [
            "pip",
            "compile",
            file,
            "--quiet",
            "--python",
            python,
            "--generate-hashes",
            "--no-header",
            "--no-annotate",
        ];
        text_of(context, uv, &format!("resolving {file}"), &args).map(Locked::Text)
    };
    match manager {
        Manager::Nothing | Manager::Requirements => Ok(Locked::File("requirements.txt")),
        Manager::Pyproject => compiled("pyproject.toml"),
        Manager::Setup if context.app.join("setup.py").is_file() => compiled("setup.py"),
        Manager::Setup => compiled("setup.cfg"),
        Manager::UvLock => {
            check_lock(context, uv, python)?;
            let args = [
                "export",
                "--quiet",
                "--frozen",
                "--no-dev",
                "--no-emit-project",
                "--no-header",
                "--no-annotate",
                "--python",
                python,
            ];
            text_of(context, uv, "reading uv.lock", &args).map(Locked::Text)
        }
    }
}

fn check_lock(context: &BuildContext, uv: &Uv, python: &str) -> Result<(), Failure> {
    let output = context.output(
        "checking uv.lock",
        &mut uv.command(context, &["lock", "--check", "--python", python]),
    )?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr)
        .trim_end()
        .to_owned();
    if said.contains("needs to be updated") {
        return Err(Failure(format!(
            "uv.lock is out of date: pyproject.toml has changed since. Run `uv lock` and commit it\n{said}"
        )));
    }
    Err(Failure(format!(
        "uv.lock could not be checked against pyproject.toml ({}):\n{said}",
        output.status
    )))
}

fn text_of(context: &BuildContext, uv: &Uv, doing: &str, args: &[&str]) -> Result<String, Failure> {
    let output = context.output(doing, &mut uv.command(context, args))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure(format!(
            "{doing} failed ({}):\n{}",
            output.status,
            said.trim_end()
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// In place: its code stays the app's own layer, and only names and scripts are installed.
fn install_app(context: &BuildContext, uv: &Uv, python: &str) -> Result<(), Failure> {
    let app = context.app.display().to_string();
    let args = [
        "pip",
        "install",
        "--python",
        python,
        "--no-deps",
        "--editable",
        &app,
    ];
    context.run("installing the app", &mut uv.command(context, &args))
}

/// Removes the notes of setuptools to itself from the app, which a build that keeps this layer would not have.
/// True if something else was built there.
fn remove_notes(app: &Path, before: &BTreeSet<PathBuf>) -> Result<bool, Failure> {
    let new: Vec<PathBuf> = tree::files(app, &|_| true)?
        .into_iter()
        .filter(|path| !before.contains(path))
        .collect();
    let is_new = |folder: &Path| !before.iter().any(|path| path.starts_with(folder));
    let notes: BTreeSet<&Path> = new
        .iter()
        .filter_map(|path| {
            path.ancestors()
                .find(|folder| is_note(folder) && is_new(folder))
        })
        .collect();
    for note in &notes {
        fs::remove_dir_all(note).at("remove", note)?;
    }
    Ok(new
        .iter()
        .any(|path| !notes.iter().any(|note| path.starts_with(note))))
}

/// `shop.egg-info`, and `build` beside what describes a distribution.
fn is_note(folder: &Path) -> bool {
    let is_build = folder.file_name().is_some_and(|name| name == "build")
        && requirements::DESCRIPTIONS
            .iter()
            .any(|name| folder.with_file_name(name).is_file());
    is_build
        || folder
            .extension()
            .is_some_and(|extension| extension == "egg-info")
}

fn site_packages(venv: &Path, python: &Interpreter) -> Result<PathBuf, Failure> {
    let name = python
        .program
        .file_name()
        .ok_or_else(|| Failure("the interpreter has no name".to_owned()))?;
    Ok(venv.join("lib").join(name).join("site-packages"))
}

/// Each distribution's `.dist-info`, by its normalized name.
fn distributions(site: &Path) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let entries = fs::read_dir(site).at("read the folder", site)?;
    let named = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let (distribution, _) = name.strip_suffix(".dist-info")?.rsplit_once('-')?;
        Some((
            distribution.to_lowercase().replace(['_', '.'], "-"),
            entry.path(),
        ))
    });
    Ok(named.collect())
}

/// Removes what differs between two installations of the same: paths and times of this build.
fn normalize(venv: &Path, site: &Path) -> Result<(), Failure> {
    // uv's lock of the folder, and its hook for old versions of distutils, which every start would import.
    for path in [
        venv.join(".lock"),
        site.join("_virtualenv.pth"),
        site.join("_virtualenv.py"),
    ] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).at("remove", &path)?;
            }
            _ => {}
        }
    }
    for info in distributions(site)?.into_values() {
        let mut removed = Vec::new();
        for name in ["direct_url.json", "uv_cache.json", "uv_build.json"] {
            let path = info.join(name);
            let local = name != "direct_url.json"
                || read_text(&path)?.is_some_and(|text| text.contains("\"file://"));
            if path.is_file() && local {
                fs::remove_file(&path).at("remove", &path)?;
                removed.push(format!(
                    "{}/{name},",
                    info.file_name().unwrap_or_default().display()
                ));
            }
        }
        let record = info.join("RECORD");
        let Some(text) = read_text(&record)? else {
            continue;
        };
        let mut lines: Vec<&str> = text
            .lines()
            .filter(|line| !removed.iter().any(|name| line.starts_with(name)))
            .collect();
        lines.sort_unstable();
        write(&record, (lines.join("\n") + "\n").as_bytes())?;
    }
    Ok(())
}

/// One group for each distribution, and one for what belongs to none.
fn groups(site: &Path) -> Result<Vec<bytecode::Group>, Failure> {
    let all = tree::files(site, &|_| true)?;
    let mut rest: BTreeSet<PathBuf> = all
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .collect();
    let mut groups = Vec::new();
    for info in distributions(site)?.into_values() {
        let record = read_text(&info.join("RECORD"))?.unwrap_or_default();
        let listed = record
            .lines()
            .filter_map(|line| line.split(',').next())
            .map(|name| site.join(name.trim_matches('"')));
        let group: bytecode::Group = listed.filter(|path| rest.remove(path)).collect();
        groups.push(group);
    }
    groups.push(rest.into_iter().collect());
    groups.retain(|group| !group.is_empty());
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_setuptools_leaves_in_the_app_is_removed_and_what_was_there_is_not() {
        let app = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let path = app.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            write(&path, b"").unwrap();
        };
        let files = || tree::files(app.path(), &|_| true).unwrap();
        put("lib/setup.py");
        put("own.egg-info/PKG-INFO");
        put("docs/a");
        let before: BTreeSet<PathBuf> = files().into_iter().collect();
        put("lib/build/lib/lib.py");
        put("lib/lib.egg-info/PKG-INFO");
        assert!(!remove_notes(app.path(), &before).unwrap());
        assert_eq!(files().into_iter().collect::<BTreeSet<_>>(), before);
        put("docs/build/page");
        put("own.egg-info/SOURCES.txt");
        assert!(remove_notes(app.path(), &before).unwrap());
        assert_eq!(files().len(), before.len() + 2);
    }

    #[test]
    fn paths_and_times_of_the_build_do_not_stay() {
        let venv = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = venv.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            write(&path, text.as_bytes()).unwrap();
        };
        put(".lock", "");
        put(
            "Own.App-1.0.dist-info/direct_url.json",
            r#"{"url":"file:///workspace"}"#,
        );
        put("Own.App-1.0.dist-info/uv_cache.json", "{}");
        put(
            "Own.App-1.0.dist-info/RECORD",
            "b.py,,\nOwn.App-1.0.dist-info/uv_cache.json,sha256=x,2\na.py,,\nOwn.App-1.0.dist-info/direct_url.json,,\n",
        );
        put(
            "git_app-1.0.dist-info/direct_url.json",
            r#"{"url":"https://h/r.git"}"#,
        );
        put("a.py", "");
        put("loose.py", "");
        normalize(venv.path(), venv.path()).unwrap();
        assert!(!venv.path().join(".lock").exists());
        assert_eq!(
            read_text(&venv.path().join("Own.App-1.0.dist-info/RECORD"))
                .unwrap()
                .unwrap(),
            "a.py,,\nb.py,,\n"
        );
        assert!(
            venv.path()
                .join("git_app-1.0.dist-info/direct_url.json")
                .exists()
        );
        let names: Vec<String> = distributions(venv.path()).unwrap().into_keys().collect();
        assert_eq!(names, ["git-app", "own-app"]);
        assert_eq!(
            groups(venv.path()).unwrap(),
            [
                vec![venv.path().join("a.py")],
                vec![venv.path().join("loose.py")]
            ]
        );
    }
}
