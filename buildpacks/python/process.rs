//! The `web` process of an app that has no `Procfile`: by what is installed
//! and by where the app's object is made. Pure: knows texts and names.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;

use super::django::Project;

/// An app, as far as its `web` process is concerned.
#[derive(Debug, Default)]
pub(super) struct App<'a> {
    /// Normalized names of distributions.
    pub(super) installed: BTreeSet<&'a str>,
    /// The Python files, by their paths below the app, with their texts.
    pub(super) files: BTreeMap<String, String>,
    pub(super) django: Option<Project>,
}

/// What to start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Web {
    pub(super) command: Vec<String>,
    /// Why this: `Flask object app in app.py`.
    pub(super) why: String,
}

/// How a server calls the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interface {
    Wsgi,
    Asgi,
}

/// A framework: its distribution, its name, the class of its app, how it is called.
const FRAMEWORKS: [(&str, &str, &str, Interface); 6] = [
    ("fastapi", "FastAPI", "FastAPI", Interface::Asgi),
    ("litestar", "Litestar", "Litestar", Interface::Asgi),
    ("quart", "Quart", "Quart", Interface::Asgi),
    ("starlette", "Starlette", "Starlette", Interface::Asgi),
    ("flask", "Flask", "Flask", Interface::Wsgi),
    ("bottle", "Bottle", "Bottle", Interface::Wsgi),
];
/// Names of files in which an app's object is looked for first, in this order.
const LIKELY: [&str; 9] = [
    "main.py",
    "app.py",
    "server.py",
    "wsgi.py",
    "asgi.py",
    "application.py",
    "api.py",
    "web.py",
    "__init__.py",
];
/// Functions that make the app's object.
const FACTORIES: [&str; 2] = ["create_app", "make_app"];
/// Scripts that are started as they are.
const SCRIPTS: [&str; 3] = ["app.py", "main.py", "server.py"];

/// The process; none if nothing tells. Error: a framework without a server.
pub(super) fn web(app: &App<'_>) -> Result<Option<Web>, String> {
    if let Some(project) = app
        .django
        .as_ref()
        .filter(|_| app.installed.contains("django"))
    {
        return django(app, project).map(Some);
    }
    for (distribution, name, class, interface) in FRAMEWORKS {
        if !app.installed.contains(distribution) {
            continue;
        }
        if let Some((file, object)) = object(app, class) {
            let module = Module::of(&file, None);
            let why = format!("{name} object {object} in {file}");
            let command = server(app, interface, name, &module, &object)?;
            return Ok(Some(Web { command, why }));
        }
    }
    let script = SCRIPTS
        .iter()
        .find(|script| app.files.contains_key(**script));
    Ok(script.map(|script| Web {
        command: vec!["python".to_owned(), (*script).to_owned()],
        why: format!("the script {script}"),
    }))
}

/// A framework that the code imports although nothing is installed, and the file that does.
pub(super) fn undeclared(app: &App<'_>) -> Option<(&'static str, String)> {
    if !app.installed.is_empty() {
        return None;
    }
    let names = FRAMEWORKS.iter().map(|(distribution, ..)| *distribution);
    names.chain(["django"]).find_map(|name| {
        let imports = |line: &str| {
            let mut words = line.split([' ', '.', ',']);
            matches!(words.next(), Some("import" | "from")) && words.next() == Some(name)
        };
        let mut files = app.files.iter();
        let (file, _) = files.find(|(_, text)| text.lines().any(imports))?;
        Some((name, file.clone()))
    })
}

fn django(app: &App<'_>, project: &Project) -> Result<Web, String> {
    let package = project
        .settings
        .as_deref()
        .and_then(|settings| settings.split('.').next())
        .unwrap_or_default();
    let find = |name: &str| {
        let below = project
            .folder
            .join(package)
            .join(name)
            .display()
            .to_string();
        let fallback = || {
            let mut named = app
                .files
                .keys()
                .filter(|file| Path::new(file).file_name().is_some_and(|last| last == name));
            named
                .find(|file| Path::new(file).starts_with(&project.folder))
                .cloned()
        };
        if app.files.contains_key(&below) {
            Some(below)
        } else {
            fallback()
        }
    };
    let has_asgi_server = ["uvicorn", "hypercorn", "daphne"]
        .iter()
        .any(|server| app.installed.contains(server));
    let has_wsgi_server = ["gunicorn", "waitress"]
        .iter()
        .any(|server| app.installed.contains(server));
    let (wsgi, asgi) = (find("wsgi.py"), find("asgi.py"));
    let (file, interface) = match (wsgi, asgi) {
        (Some(file), None) => (file, Interface::Wsgi),
        (Some(file), Some(_)) if has_wsgi_server || !has_asgi_server => (file, Interface::Wsgi),
        (_, Some(file)) => (file, Interface::Asgi),
        (None, None) => return Err("Django is installed, but there is no wsgi.py or asgi.py to start: add one, or a Procfile".to_owned()),
    };
    let module = Module::of(&file, Some(&project.folder));
    let command = server(app, interface, "Django", &module, "application")?;
    Ok(Web {
        command,
        why: format!("Django project, {file}"),
    })
}

/// Where a module is imported from.
#[derive(Debug, PartialEq, Eq)]
struct Module {
    name: String,
    /// The folder that has to be on the path, below the app; empty for the app's own.
    folder: String,
}

impl Module {
    /// `src/shop/main.py` → `shop.main` in `src`.
    fn of(file: &str, root: Option<&Path>) -> Self {
        let root = root.unwrap_or_else(|| {
            if file.starts_with("src/") {
                Path::new("src")
            } else {
                Path::new("")
            }
        });
        let below = Path::new(file)
            .strip_prefix(root)
            .unwrap_or(Path::new(file));
        let name = below
            .with_extension("")
            .display()
            .to_string()
            .replace('/', ".");
        Self {
            name: name.strip_suffix(".__init__").unwrap_or(&name).to_owned(),
            folder: root.display().to_string(),
        }
    }
}

/// Bash reads the port: it is not known before the start. `exec`, so that signals reach the server.
fn server(
    app: &App<'_>,
    interface: Interface,
    framework: &str,
    module: &Module,
    object: &str,
) -> Result<Vec<String>, String> {
    let has = |name: &str| app.installed.contains(name);
    let Module { name, folder } = module;
    let target = format!("{name}:{object}");
    let inside = |option: &str| {
        if folder.is_empty() {
            String::new()
        } else {
            format!("{option} {folder} ")
        }
    };
    let factory = object.ends_with("()");
    let plain = target.trim_end_matches("()");
    let line = match interface {
        Interface::Asgi if has("uvicorn") => {
            let factory = if factory { "--factory " } else { "" };
            format!(
                "uvicorn --host 0.0.0.0 --port \"$PORT\" {}{factory}{plain}",
                inside("--app-dir")
            )
        }
        Interface::Asgi if has("hypercorn") && !factory && folder.is_empty() => {
            format!("hypercorn --bind 0.0.0.0:\"$PORT\" {target}")
        }
        Interface::Asgi if has("daphne") && !factory && folder.is_empty() => {
            format!("daphne --bind 0.0.0.0 --port \"$PORT\" {target}")
        }
        Interface::Wsgi if has("gunicorn") => {
            let target = if factory {
                format!("'{target}'")
            } else {
                target
            };
            format!(
                "gunicorn --bind 0.0.0.0:\"$PORT\" {}{target}",
                inside("--chdir")
            )
        }
        Interface::Wsgi if has("waitress") && folder.is_empty() => {
            format!(
                "waitress-serve --host=0.0.0.0 --port=\"$PORT\" {}{plain}",
                if factory { "--call " } else { "" }
            )
        }
        Interface::Wsgi | Interface::Asgi => {
            let server = if interface == Interface::Wsgi {
                "gunicorn"
            } else {
                "uvicorn"
            };
            return Err(format!(
                "{framework} is installed, but no server to run it: add {server} to the app's dependencies, \
                 or write the command into a Procfile (`web: …`)"
            ));
        }
    };
    Ok(vec![
        "bash".to_owned(),
        "-c".to_owned(),
        format!("exec {line}"),
    ])
}

/// The file and the name of the object of that class, or of the function that makes it.
fn object(app: &App<'_>, class: &str) -> Option<(String, String)> {
    let mut files: Vec<&String> = app.files.keys().collect();
    let rank = |file: &str| {
        let name = file.rsplit('/').next().unwrap_or(file);
        let likely = LIKELY
            .iter()
            .position(|likely| *likely == name)
            .unwrap_or(LIKELY.len());
        (
            file.matches('/').count() > 2,
            likely,
            file.matches('/').count(),
        )
    };
    files.sort_by_key(|file| rank(file));
    let made = files
        .iter()
        .find_map(|file| Some(((*file).clone(), assigned(&app.files[*file], class)?)));
    let called = || {
        files.iter().find_map(|file| {
            let text = &app.files[*file];
            FACTORIES
                .iter()
                .find_map(|name| Some(((*file).clone(), assigned(text, name)?)))
        })
    };
    made.or_else(called).or_else(|| {
        files
            .iter()
            .find_map(|file| Some(((*file).clone(), factory(&app.files[*file], class)?)))
    })
}

/// `app = Flask(`, `app: FastAPI = fastapi.FastAPI(`, `app = create_app(` at the beginning of a line.
fn assigned(text: &str, class: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (left, right) = line.split_once('=')?;
        let name = left.split(':').next()?.trim_end();
        let right = right.trim_start();
        let called = right.split('(').next()?.rsplit('.').next()?;
        (is_identifier(name) && called == class && right.contains('(')).then(|| name.to_owned())
    })
}

/// `def create_app(` in a file that makes an object of the class.
fn factory(text: &str, class: &str) -> Option<String> {
    let makes = text.contains(&format!("{class}("));
    let name = FACTORIES.iter().find(|name| {
        text.lines()
            .any(|line| line.starts_with(&format!("def {name}(")))
    })?;
    makes.then(|| format!("{name}()"))
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(installed: &[&str], files: &[(&str, &str)], expect: Result<&str, &str>) {
        let manage = files.iter().find(|(name, _)| name.ends_with("manage.py"));
        let django = manage.map(|(name, _)| Project {
            folder: Path::new(name).parent().unwrap().to_owned(),
            settings: Some("site.settings".to_owned()),
        });
        let files = files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        let app = App {
            installed: installed.iter().copied().collect(),
            files,
            django,
        };
        match (web(&app), expect) {
            (Ok(web), Ok(expect)) => assert_eq!(
                web.map_or(String::new(), |web| web.command.join(" ")),
                expect
            ),
            (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
            (web, _) => panic!("{web:?}"),
        }
    }

    #[test]
    fn the_server_is_the_one_that_is_installed() {
        let flask = (
            "app.py",
            "from flask import Flask\n\napp = Flask(__name__)\n",
        );
        check(
            &["flask", "gunicorn"],
            &[flask],
            Ok("bash -c exec gunicorn --bind 0.0.0.0:\"$PORT\" app:app"),
        );
        check(
            &["flask", "waitress"],
            &[flask],
            Ok("bash -c exec waitress-serve --host=0.0.0.0 --port=\"$PORT\" app:app"),
        );
        check(&["flask"], &[flask], Err("add gunicorn"));
        let api = (
            "src/shop/main.py",
            "import fastapi\napi: fastapi.FastAPI = fastapi.FastAPI(title='x')\n",
        );
        check(
            &["fastapi", "starlette", "uvicorn"],
            &[api],
            Ok("bash -c exec uvicorn --host 0.0.0.0 --port \"$PORT\" --app-dir src shop.main:api"),
        );
        check(&["fastapi", "starlette"], &[api], Err("add uvicorn"));
    }

    #[test]
    fn the_object_that_a_file_makes_goes_before_the_function_that_makes_it() {
        let files = [
            (
                "shop/__init__.py",
                "def create_app(config):\n    return Flask(config)\n",
            ),
            (
                "wsgi.py",
                "from shop import create_app\napp = create_app('prod')\n",
            ),
        ];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let app = App {
            installed: ["flask", "gunicorn"].into(),
            files: files.into(),
            django: None,
        };
        let command = web(&app).unwrap().unwrap().command;
        assert!(command[2].ends_with(" wsgi:app"), "{command:?}");
    }

    #[test]
    fn an_import_of_what_nothing_installs_is_seen() {
        let undeclared_in = |text: &str, installed: &[&'static str]| {
            let app = App {
                installed: installed.iter().copied().collect(),
                files: [("app.py".to_owned(), text.to_owned())].into(),
                django: None,
            };
            undeclared(&app).map(|(name, _)| name)
        };
        assert_eq!(
            undeclared_in("from flask import Flask\n", &[]),
            Some("flask")
        );
        assert_eq!(undeclared_in("import django.conf\n", &[]), Some("django"));
        assert_eq!(undeclared_in("import flasky\n# import flask\n", &[]), None);
        assert_eq!(undeclared_in("import flask\n", &["bottle"]), None);
    }

    #[test]
    fn a_factory_is_called() {
        let factory = (
            "shop/__init__.py",
            "def create_app():\n    app = Flask(__name__)\n    return app\n",
        );
        check(
            &["flask", "gunicorn"],
            &[factory],
            Ok("bash -c exec gunicorn --bind 0.0.0.0:\"$PORT\" 'shop:create_app()'"),
        );
        let factory = ("main.py", "def create_app():\n    return FastAPI()\n");
        check(
            &["fastapi", "uvicorn"],
            &[factory],
            Ok("bash -c exec uvicorn --host 0.0.0.0 --port \"$PORT\" --factory main:create_app"),
        );
    }

    #[test]
    fn django_starts_its_own_module() {
        let files = [
            ("manage.py", ""),
            ("site/wsgi.py", ""),
            ("site/asgi.py", ""),
            ("other/wsgi.py", ""),
        ];
        check(
            &["django", "gunicorn"],
            &files,
            Ok("bash -c exec gunicorn --bind 0.0.0.0:\"$PORT\" site.wsgi:application"),
        );
        check(
            &["django", "uvicorn"],
            &files,
            Ok("bash -c exec uvicorn --host 0.0.0.0 --port \"$PORT\" site.asgi:application"),
        );
        check(
            &["django"],
            &files,
            Err("Django is installed, but no server"),
        );
        let below = [("web/manage.py", ""), ("web/site/wsgi.py", "")];
        check(
            &["django", "gunicorn"],
            &below,
            Ok("bash -c exec gunicorn --bind 0.0.0.0:\"$PORT\" --chdir web site.wsgi:application"),
        );
    }

    #[test]
    fn a_plain_script_is_run() {
        check(&[], &[("main.py", ""), ("app.py", "")], Ok("python app.py"));
        check(&["flask"], &[("tool.py", "x = 1")], Ok(""));
    }
}
