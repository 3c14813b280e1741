//! One classic buildpack and its programs.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use crate::buildpack::author::At as _;
use crate::buildpack::author::Failure;
use crate::buildpack::classic::Pack;
use crate::buildpack::classic::Packs;

use super::Env;
use super::environment;

/// Sources an `export` file as Heroku does between two packs, and prints what it left. How its last command ended means
/// nothing: many end in a test.
const SOURCE: &str = r#"source "$1"; exec /usr/bin/env -0"#;

/// A pack in a folder.
pub(super) struct Placed<'a> {
    pack: &'a Pack,
    folder: PathBuf,
}

/// The three arguments of `bin/compile`.
pub(super) struct Dirs<'a> {
    pub(super) build: &'a Path,
    pub(super) cache: &'a Path,
    pub(super) env: &'a Path,
}

/// Copies the packs to where they may write: many put their `export` beside their `bin`.
pub(super) fn place<'a>(
    packs: &'a Packs,
    from: &Path,
    to: &Path,
) -> Result<Vec<Placed<'a>>, Failure> {
    let place = |(number, pack): (usize, &'a Pack)| {
        let folder = to.join("buildpacks").join(number.to_string());
        copy_tree(&from.join(&pack.folder), &folder)?;
        Ok(Placed { pack, folder })
    };
    packs.packs.iter().enumerate().map(place).collect()
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to).at("create the folder", to)?;
    for entry in fs::read_dir(from).at("read", from)? {
        let path = entry.at("read", from)?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        let kind = path.symlink_metadata().at("look at", &path)?.file_type();
        if kind.is_dir() {
            copy_tree(&path, &target)?;
        } else if kind.is_symlink() {
            let link = fs::read_link(&path).at("read the link", &path)?;
            std::os::unix::fs::symlink(link, &target).at("create the link", &target)?;
        } else {
            fs::copy(&path, &target).at("copy", &path)?;
        }
    }
    Ok(())
}

impl<'a> Placed<'a> {
    /// In that folder.
    pub(super) fn new(pack: &'a Pack, folder: PathBuf) -> Self {
        Self { pack, folder }
    }

    /// For people.
    pub(super) fn name(&self) -> &str {
        &self.pack.name
    }

    /// What `bin/detect` calls the app; none if it does not fit.
    pub(super) fn detect(&self, build: &Path, env: &Env) -> Result<Option<String>, Failure> {
        let mut command = self.command("bin/detect", env);
        command.arg(build).current_dir(build);
        command.stderr(Stdio::inherit());
        let output = self.run("bin/detect", &mut command)?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            say(said.trim());
            return Ok(None);
        }
        Ok(Some(match first_line(&said) {
            "" => self.pack.name.clone(),
            name => name.chars().filter(|letter| !letter.is_control()).collect(),
        }))
    }

    /// Runs `bin/compile`; its output is the build's.
    pub(super) fn compile(&self, dirs: &Dirs<'_>, env: &Env) -> Result<(), Failure> {
        let mut command = self.command("bin/compile", env);
        command
            .args([dirs.build, dirs.cache, dirs.env])
            .current_dir(dirs.build)
            .stdout(Stdio::inherit())
            .stderr(Stdio::inherit());
        let output = self.run("bin/compile", &mut command)?;
        if output.status.success() {
            return Ok(());
        }
        Err(Failure(format!(
            "`bin/compile` of {} failed ({}); its output is above",
            self.name(),
            output.status
        )))
    }

    /// Has it a `bin/release`?
    pub(super) fn has_release(&self) -> bool {
        self.folder.join("bin/release").is_file()
    }

    /// What `bin/release` prints.
    pub(super) fn release(&self, build: &Path, env: &Env) -> Result<String, Failure> {
        let mut command = self.command("bin/release", env);
        command.arg(build).current_dir(build);
        command.stderr(Stdio::inherit());
        let output = self.run("bin/release", &mut command)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        Err(Failure(format!(
            "`bin/release` of {} failed ({})\n{text}",
            self.name(),
            output.status
        )))
    }

    /// The environment after its `export` file, if it left one.
    pub(super) fn exported(&self, env: Env) -> Result<Env, Failure> {
        let path = self.folder.join("export");
        if !path.is_file() {
            return Ok(env);
        }
        let mut command = Command::new("/bin/bash");
        command
            .args(["-c", SOURCE, "bash"])
            .arg(&path)
            .env_clear()
            .envs(&env)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        let output = self.run("export", &mut command)?;
        if !output.status.success() {
            return Err(Failure(format!(
                "the file `export` that {} wrote ends the shell that sources it ({})",
                self.name(),
                output.status
            )));
        }
        Ok(environment::parse(&output.stdout))
    }

    fn command(&self, program: &str, env: &Env) -> Command {
        let mut command = Command::new(self.folder.join(program));
        command.env_clear().envs(env).stdin(Stdio::null());
        command
    }

    fn run(&self, program: &str, command: &mut Command) -> Result<std::process::Output, Failure> {
        command.output().map_err(|error| {
            Failure(format!(
                "`{program}` of {} cannot be run: {error}",
                self.name()
            ))
        })
    }
}

/// The name of the app's kind is one line, whatever else is printed after it.
fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or_default().trim()
}

/// A line of the build's log.
pub(super) fn say(line: &str) {
    // A reader that went away is not the build's failure.
    let _ = writeln!(std::io::stdout(), "{line}");
}
