//! Where the app's dependencies are written down. Each manager ends in one
//! set of requirements for one installer (`venv.rs`), so a further one is a
//! variant here and its way to that set. Pure: knows texts, no machine.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::Serialize;

/// What says which distributions the app needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Manager {
    /// Nothing does: the standard library is enough.
    Nothing,
    /// `requirements.txt`, as it stands.
    Requirements,
    /// `uv.lock` beside `pyproject.toml`.
    UvLock,
    /// `pyproject.toml` without a lock: resolved at build.
    Pyproject,
    /// `setup.py` or `setup.cfg`, likewise.
    Setup,
}

/// The app's top folder, as far as this buildpack looks.
#[derive(Debug, Default)]
pub(super) struct AppFiles {
    /// Names of files.
    pub(super) names: BTreeSet<String>,
    /// The texts of those that are read.
    pub(super) texts: BTreeMap<&'static str, String>,
}

/// Whose text is read in `detect`.
pub(super) const READ: [&str; 6] = [
    ".python-version",
    "runtime.txt",
    ".tool-versions",
    "pyproject.toml",
    "uv.lock",
    "requirements.txt",
];

/// Any of these makes it a Python app. Wider than what is supported, so that the build can explain.
const SIGNS: [&str; 19] = [
    "requirements.txt",
    "uv.lock",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "manage.py",
    "app.py",
    "main.py",
    "server.py",
    "wsgi.py",
    "asgi.py",
    ".python-version",
    "pylock.toml",
    "poetry.lock",
    "pdm.lock",
    "Pipfile",
    "Pipfile.lock",
    "environment.yml",
    "conda-lock.yml",
];
/// Names that people write for `requirements.txt` (Heroku's list, from its support tickets).
const MISSPELT: [&str; 8] = [
    "requirement.txt",
    "requirments.txt",
    "requirment.txt",
    "requiremnts.txt",
    "requirements.text",
    "requirements.txt.txt",
    "Requirements.txt",
    "requirememts.txt",
];
/// Lock files of other managers, whose they are, and how to get from them to what is supported.
const FOREIGN: [(&str, &str, &str); 6] = [
    (
        "pylock.toml",
        "PEP 751",
        "`uv pip compile pyproject.toml --generate-hashes -o requirements.txt`",
    ),
    (
        "poetry.lock",
        "Poetry",
        "`poetry export -o requirements.txt` (with the export plugin), or `uvx migrate-to-uv`",
    ),
    (
        "pdm.lock",
        "PDM",
        "`pdm export --prod -o requirements.txt`, or `uvx migrate-to-uv`",
    ),
    (
        "Pipfile.lock",
        "Pipenv",
        "`pipenv requirements --hash > requirements.txt`, or `uvx migrate-to-uv`",
    ),
    (
        "Pipfile",
        "Pipenv",
        "`pipenv requirements --hash > requirements.txt`, or `uvx migrate-to-uv`",
    ),
    (
        "environment.yml",
        "conda",
        "a requirements.txt with the PyPI names of its packages",
    ),
];
/// The files of which an app can have one.
const LOCKS: [&str; 5] = [
    "uv.lock",
    "pylock.toml",
    "poetry.lock",
    "pdm.lock",
    "Pipfile.lock",
];
/// What is supported, for errors.
const SUPPORTED: &str = "requirements.txt, uv.lock and pyproject.toml";

/// The manager, with what the user should know.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Managed {
    pub(super) manager: Manager,
    pub(super) warnings: Vec<String>,
}

impl AppFiles {
    fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Is this an app for this buildpack?
    pub(super) fn is_python(&self) -> bool {
        let runtime = self
            .texts
            .get("runtime.txt")
            .is_some_and(|text| text.trim_start().starts_with("python"));
        runtime || SIGNS.iter().chain(&MISSPELT).any(|name| self.has(name))
    }

    /// The files that cannot be read as text.
    pub(super) fn not_utf8(&self) -> Vec<String> {
        let bad = self
            .texts
            .iter()
            .filter(|(_, text)| text.contains(['\u{fffd}', '\0']));
        bad.map(|(name, _)| format!("{name} is not UTF-8: save it so"))
            .collect()
    }

    /// Which manager the app uses, or why that cannot be said.
    pub(super) fn managed(&self) -> Result<Managed, String> {
        let locks: Vec<&str> = LOCKS.into_iter().filter(|name| self.has(name)).collect();
        if let [one, other, ..] = locks[..] {
            return Err(format!(
                "{one} and {other} both lock the dependencies: delete the one that is not in use"
            ));
        }
        self.check_manifest()?;
        if self.has("uv.lock") {
            return self.uv_lock();
        }
        if self.has("requirements.txt") {
            return Ok(self.requirements());
        }
        self.refuse_foreign()?;
        if let Some(name) = MISSPELT.iter().find(|name| self.has(name)) {
            return Err(format!("{name} is not read: rename it to requirements.txt"));
        }
        if self.manifest().contains_key("project") {
            let warning = "pyproject.toml without a lock: the newest versions are resolved at each change. \
                           Run `uv lock` and commit uv.lock, so that each build gets the same";
            return Ok(Managed {
                manager: Manager::Pyproject,
                warnings: vec![warning.to_owned()],
            });
        }
        if self.has("setup.py") || self.has("setup.cfg") {
            let warning = "setup.py without a lock: the newest versions are resolved at each change. \
                           `uv pip compile setup.py --generate-hashes -o requirements.txt` writes a lock";
            return Ok(Managed {
                manager: Manager::Setup,
                warnings: vec![warning.to_owned()],
            });
        }
        Ok(Managed {
            manager: Manager::Nothing,
            warnings: Vec::new(),
        })
    }

    fn uv_lock(&self) -> Result<Managed, String> {
        if !self.has("pyproject.toml") {
            return Err(
                "uv.lock is there, but not the pyproject.toml that it locks: commit it".to_owned(),
            );
        }
        let export = self.has("requirements.txt");
        let warning = "requirements.txt is not read: uv.lock beside it goes before it";
        Ok(Managed {
            manager: Manager::UvLock,
            warnings: export.then(|| warning.to_owned()).into_iter().collect(),
        })
    }

    fn requirements(&self) -> Managed {
        let mut warnings = Vec::new();
        if let Some(lock) = LOCKS.iter().find(|name| self.has(name)) {
            warnings.push(format!(
                "{lock} is not read: requirements.txt beside it is taken for its export"
            ));
        }
        let text = self
            .texts
            .get("requirements.txt")
            .map_or("", String::as_str);
        if !is_hashed(text) && has_requirement(text) {
            warnings.push(
                "requirements.txt has no hashes: it is no lock, and what its requirements need is resolved at each change of it. \
                 `uv pip compile --generate-hashes requirements.in -o requirements.txt` writes one, or use `uv lock`"
                    .to_owned(),
            );
        }
        Managed {
            manager: Manager::Requirements,
            warnings,
        }
    }

    fn refuse_foreign(&self) -> Result<(), String> {
        let poetry = self
            .manifest()
            .get("tool")
            .and_then(|tool| tool.get("poetry"))
            .is_some()
            && !self.manifest().contains_key("project");
        let found = FOREIGN
            .iter()
            .find(|(name, ..)| self.has(name) || (poetry && *name == "poetry.lock"));
        found.map_or(Ok(()), |(name, whose, instead)| {
            let place = if self.has(name) { (*name).to_owned() } else { "pyproject.toml".to_owned() };
            Err(format!(
                "{place} is of {whose}, which this version does not support (supported: {SUPPORTED}). \
                 Make one of those from it and commit that: {instead}"
            ))
        })
    }

    /// `pyproject.toml`, empty if there is none or it is no TOML (which `check_manifest` says).
    pub(super) fn manifest(&self) -> toml::Table {
        self.texts
            .get("pyproject.toml")
            .and_then(|text| toml::from_str(text).ok())
            .unwrap_or_default()
    }

    fn check_manifest(&self) -> Result<(), String> {
        for name in ["pyproject.toml", "uv.lock"] {
            if let Some(Err(error)) = self
                .texts
                .get(name)
                .map(|text| toml::from_str::<toml::Table>(text))
            {
                return Err(format!("{name}: {error}"));
            }
        }
        Ok(())
    }

    /// The app is itself a distribution, to be installed in place: uv's rule.
    pub(super) fn is_package(&self, manager: Manager) -> bool {
        let manifest = self.manifest();
        let told = manifest
            .get("tool")
            .and_then(|tool| tool.get("uv")?.get("package")?.as_bool());
        match manager {
            Manager::Nothing | Manager::Requirements => false,
            Manager::UvLock | Manager::Pyproject => {
                told.unwrap_or_else(|| manifest.contains_key("build-system"))
            }
            Manager::Setup => true,
        }
    }
}

/// Does a requirements file pin what it names by digest?
pub(super) fn is_hashed(text: &str) -> bool {
    text.lines()
        .any(|line| !line.trim_start().starts_with('#') && line.contains("--hash="))
}

fn has_requirement(text: &str) -> bool {
    text.lines()
        .map(str::trim)
        .any(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(files: &[(&str, &str)]) -> AppFiles {
        let names = files.iter().map(|(name, _)| (*name).to_owned()).collect();
        let read = |name: &'static str| {
            Some((
                name,
                files.iter().find(|(file, _)| *file == name)?.1.to_owned(),
            ))
        };
        AppFiles {
            names,
            texts: READ.into_iter().filter_map(read).collect(),
        }
    }

    /// The manager and how many warnings, or a part of the error.
    fn check(files: &[(&str, &str)], expect: Result<(Manager, usize), &str>) {
        let app = app(files);
        assert!(app.is_python(), "{files:?}");
        match (app.managed(), expect) {
            (Ok(managed), Ok(expect)) => assert_eq!(
                (managed.manager, managed.warnings.len()),
                expect,
                "{files:?}"
            ),
            (Err(problem), Err(part)) => assert!(problem.contains(part), "{files:?}: {problem}"),
            (managed, _) => panic!("{files:?}: {managed:?}"),
        }
    }

    const PROJECT: (&str, &str) = ("pyproject.toml", "[project]\nname = \"a\"");

    #[test]
    fn one_file_says_what_the_app_needs() {
        check(
            &[("requirements.txt", "a==1 --hash=sha256:00")],
            Ok((Manager::Requirements, 0)),
        );
        check(
            &[("requirements.txt", "a==1\n")],
            Ok((Manager::Requirements, 1)),
        );
        check(
            &[("requirements.txt", "# none\n")],
            Ok((Manager::Requirements, 0)),
        );
        check(&[("uv.lock", ""), PROJECT], Ok((Manager::UvLock, 0)));
        check(
            &[("uv.lock", ""), PROJECT, ("requirements.txt", "a")],
            Ok((Manager::UvLock, 1)),
        );
        check(&[PROJECT], Ok((Manager::Pyproject, 1)));
        check(
            &[("pyproject.toml", "[tool.ruff]"), ("app.py", "")],
            Ok((Manager::Nothing, 0)),
        );
        check(&[("setup.py", "")], Ok((Manager::Setup, 1)));
        check(&[("app.py", "")], Ok((Manager::Nothing, 0)));
        check(
            &[("poetry.lock", ""), ("requirements.txt", "a --hash=x")],
            Ok((Manager::Requirements, 1)),
        );
    }

    #[test]
    fn what_is_not_supported_is_explained() {
        check(
            &[("poetry.lock", ""), PROJECT],
            Err("poetry.lock is of Poetry"),
        );
        check(
            &[("pyproject.toml", "[tool.poetry]\nname = \"a\"")],
            Err("pyproject.toml is of Poetry"),
        );
        check(
            &[("Pipfile", "")],
            Err("supported: requirements.txt, uv.lock and pyproject.toml"),
        );
        check(&[("pylock.toml", "")], Err("PEP 751"));
        check(
            &[("requirment.txt", "a")],
            Err("rename it to requirements.txt"),
        );
        check(&[("uv.lock", "")], Err("commit it"));
        check(
            &[("uv.lock", ""), ("poetry.lock", ""), PROJECT],
            Err("uv.lock and poetry.lock both"),
        );
        check(
            &[("pyproject.toml", "[project")],
            Err("pyproject.toml: TOML parse error"),
        );
    }

    #[test]
    fn another_languages_app_is_left_alone() {
        for files in [
            &[("package.json", "{}")][..],
            &[("runtime.txt", "openjdk-21")],
        ] {
            assert!(!app(files).is_python(), "{files:?}");
        }
        assert!(app(&[("runtime.txt", "python-3.12.1")]).is_python());
    }
}
