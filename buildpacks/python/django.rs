//! Django's static files, collected at build: without them a site whose
//! storage has a manifest answers 500.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::buildpack::author::BuildContext;
use crate::buildpack::author::Failure;
use crate::buildpack::author::read_text;

use super::interpreter::Interpreter;
use super::venv::Venv;

/// Says that the user wants no static files, as on Heroku.
const OPT_OUT: &str = "DISABLE_COLLECTSTATIC";

/// A project: where `manage.py` lies, and the module of its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Project {
    /// Below the app; empty for the app's own folder.
    pub(super) folder: PathBuf,
    /// `mysite.settings`; none if `manage.py` does not say it plainly.
    pub(super) settings: Option<String>,
}

/// `manage.py` in the app's folder, or in the one folder below that has one.
pub(super) fn project(app: &Path) -> Option<Project> {
    let mut folders = vec![PathBuf::new()];
    let mut below: Vec<PathBuf> = fs::read_dir(app)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().into())
        .collect();
    below.sort();
    folders.extend(below);
    for folder in folders {
        if let Some(text) = read_text(&app.join(&folder).join("manage.py"))
            .ok()
            .flatten()
        {
            return Some(Project {
                folder,
                settings: settings_module(&text),
            });
        }
    }
    None
}

/// `os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")`
fn settings_module(manage: &str) -> Option<String> {
    let rest = &manage[manage.find("DJANGO_SETTINGS_MODULE")? + "DJANGO_SETTINGS_MODULE".len()..];
    let rest = rest.trim_start_matches(['"', '\'', ',', ' ', ']', '=', '\n', '\t']);
    let module: String = rest
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '.')
        .collect();
    (!module.is_empty()).then_some(module)
}

/// Runs `manage.py collectstatic`, where Django's static files app is in use.
pub(super) fn collect_static(
    context: &BuildContext,
    python: &Interpreter,
    venv: &Venv,
    project: &Project,
) -> Result<(), Failure> {
    if context
        .env(OPT_OUT)
        .is_some_and(|value| !value.is_empty() && value != "0")
    {
        context.say(&format!("collectstatic: left out, since {OPT_OUT} is set"));
        return Ok(());
    }
    let help = context.output(
        "manage.py",
        &mut manage(context, python, venv, project, &["help", "collectstatic"]),
    )?;
    let said = String::from_utf8_lossy(&help.stderr);
    if !help.status.success() && said.contains("Unknown command: 'collectstatic'") {
        context.say("collectstatic: left out, since django.contrib.staticfiles is not installed");
        return Ok(());
    }
    if !help.status.success() {
        return Err(failed(said.trim_end()));
    }
    context.say("collecting static files");
    let mut collect = manage(
        context,
        python,
        venv,
        project,
        &["collectstatic", "--noinput"],
    );
    context
        .run("collectstatic", &mut collect)
        .map_err(|Failure(why)| failed(&why))
}

fn failed(why: &str) -> Failure {
    Failure(format!(
        "Django's static files could not be collected. A setting that it needs may be missing at build: \
         give it a default, or set it in [[io.buildpacks.build.env]] of project.toml; or set {OPT_OUT}=1 there\n{why}"
    ))
}

fn manage(
    context: &BuildContext,
    python: &Interpreter,
    venv: &Venv,
    project: &Project,
    args: &[&str],
) -> Command {
    let mut command = Command::new(venv.dir.join("bin/python"));
    let layers = [
        Some(venv.dir.join("bin")),
        python.program.parent().map(Path::to_owned),
    ];
    let path = layers
        .into_iter()
        .flatten()
        .map(PathBuf::into_os_string)
        .chain(context.env.get(std::ffi::OsStr::new("PATH")).cloned());
    command
        .arg("manage.py")
        .args(args)
        .env_clear()
        .envs(&context.env)
        .env(
            "PATH",
            path.collect::<Vec<_>>().join(std::ffi::OsStr::new(":")),
        )
        .env("VIRTUAL_ENV", &venv.dir)
        .env("PYTHONHASHSEED", "0")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("LANG", "C.UTF-8")
        .current_dir(context.app.join(&project.folder));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_module_is_read_from_manage_py() {
        let check =
            |line: &str, expect| assert_eq!(settings_module(line).as_deref(), expect, "{line}");
        check(
            "os.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \"mysite.settings\")",
            Some("mysite.settings"),
        );
        check(
            "os.environ['DJANGO_SETTINGS_MODULE'] = 'a.b.c'",
            Some("a.b.c"),
        );
        check(
            "setdefault('DJANGO_SETTINGS_MODULE',\n    'x.y')",
            Some("x.y"),
        );
        check("main()", None);
    }
}
