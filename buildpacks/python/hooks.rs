//! `bin/pre_compile` and `bin/post_compile` of the app, where Heroku's Python
//! pack runs them: before anything is installed, and after everything is.

use std::ffi::OsStr;
use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::buildpack::author::At as _;
use crate::buildpack::author::BuildContext;
use crate::buildpack::author::Failure;

use super::interpreter::Interpreter;
use super::venv::Venv;

/// Before the interpreter is there.
pub(super) fn pre_compile(context: &BuildContext) -> Result<(), Failure> {
    run(context, "bin/pre_compile", &[])
}

/// With what was installed first on `PATH`.
pub(super) fn post_compile(
    context: &BuildContext,
    python: &Interpreter,
    venv: Option<&Venv>,
) -> Result<(), Failure> {
    let venv = venv.map(|venv| venv.dir.join("bin"));
    let python = python.program.parent().map(Path::to_owned);
    let folders: Vec<PathBuf> = venv.into_iter().chain(python).collect();
    run(context, "bin/post_compile", &folders)
}

fn run(context: &BuildContext, hook: &str, on_path: &[PathBuf]) -> Result<(), Failure> {
    let path = context.app.join(hook);
    if !path.is_file() {
        return Ok(());
    }
    fs::set_permissions(&path, Permissions::from_mode(0o755)).at("set the mode of", &path)?;
    context.say(&format!("running {hook}"));
    let on_path = on_path.iter().map(|folder| folder.as_os_str());
    let base = context.env.get(OsStr::new("PATH")).map(AsRef::as_ref);
    let all: Vec<&OsStr> = on_path.chain(base).collect();
    let mut command = Command::new("/bin/bash");
    command
        .args(["-c", "\"$0\""]) // bash also runs a script that names no interpreter
        .arg(&path)
        .env_clear()
        .envs(&context.env)
        .env("PATH", all.join(OsStr::new(":")))
        .env("BUILD_DIR", &context.app)
        .env("ENV_DIR", context.platform.join("env"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONHASHSEED", "0")
        .current_dir(&context.app);
    context.run(hook, &mut command)
}
