//! uv, the one resolver and installer: fetched, kept in a layer of its own
//! that no slug holds, and run with an environment in which nothing of the
//! user's shell changes where it installs.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;
use serde::Serialize;

use crate::buildpack::author::Artifact;
use crate::buildpack::author::At as _;
use crate::buildpack::author::BuildContext;
use crate::buildpack::author::Failure;
use crate::buildpack::author::LayerTypes;

use super::interpreter::Interpreter;
use super::tree;

/// 1980-01-01T00:00:01Z: zip cannot hold an earlier date, and wheels built from source are zips.
const SOURCE_DATE_EPOCH: &str = "315532801";
/// A larger download cache is thrown away.
const CACHE_BYTES_MAX: u64 = 2 << 30;
/// The variables that make uv or Python install or import somewhere else (Heroku's list, `checks.rs`, and uv's).
const FORBIDDEN: [&str; 17] = [
    "PIP_CACHE_DIR",
    "PIP_PREFIX",
    "PIP_PYTHON",
    "PIP_ROOT",
    "PIP_TARGET",
    "PIP_USER",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONNOUSERSITE",
    "PYTHONPLATLIBDIR",
    "PYTHONUSERBASE",
    "UV_CACHE_DIR",
    "UV_NO_CACHE",
    "UV_PROJECT_ENVIRONMENT",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "VIRTUAL_ENV",
];
/// How pip calls a setting, and how uv does.
const FROM_PIP: [(&str, &str); 6] = [
    ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
    ("PIP_EXTRA_INDEX_URL", "UV_INDEX"),
    ("PIP_TRUSTED_HOST", "UV_INSECURE_HOST"),
    ("PIP_CERT", "SSL_CERT_FILE"),
    ("PIP_CLIENT_CERT", "SSL_CLIENT_CERT"),
    ("PIP_TIMEOUT", "UV_HTTP_TIMEOUT"),
];

/// uv, ready to run.
#[derive(Debug)]
pub(super) struct Uv {
    program: PathBuf,
    cache: PathBuf,
    pub(super) version: String,
}

#[derive(Serialize, Deserialize, PartialEq)]
struct UvKey {
    version: String,
    arch: String,
}

/// The variables of the build that would break it, each by name.
pub(super) fn forbidden(names: impl Iterator<Item = OsString>) -> Vec<String> {
    let names = names.filter_map(|name| name.into_string().ok());
    names
        .filter(|name| FORBIDDEN.contains(&name.as_str()))
        .collect()
}

/// Keeps uv, or unpacks it, with the interpreter's own zip reader if it is a wheel.
pub(super) fn provide(
    context: &BuildContext,
    artifact: &Artifact,
    python: &Interpreter,
) -> Result<Uv, Failure> {
    let layer = context.layer("uv");
    let key = UvKey {
        version: artifact.version.clone(),
        arch: context.target.arch.clone(),
    };
    let program = layer.dir.join("bin/uv");
    if layer.cached::<UvKey>().as_ref() != Some(&key) || !program.is_file() {
        let missing = || Failure(format!("uv {} could not be fetched", artifact.version));
        let (file, source) = context.artifact(artifact).ok_or_else(missing)?;
        layer.renew()?;
        fs::create_dir_all(layer.dir.join("bin")).at("create the folder", &layer.dir)?;
        if source.purl.is_some() {
            unpack_wheel(context, &file, python, &program)?;
        } else {
            unpack_archive(&file, &program)?;
        }
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
            .at("make executable", &program)?;
    }
    layer.describe(
        LayerTypes {
            cache: true,
            ..LayerTypes::default()
        },
        &key,
    )?;
    Ok(Uv {
        program,
        cache: cache(context)?,
        version: key.version,
    })
}

/// Keeps the layer as it is when nothing is installed: it is not even read.
pub(super) fn keep(context: &BuildContext, artifact: &Artifact) -> Result<(), Failure> {
    let key = UvKey {
        version: artifact.version.clone(),
        arch: context.target.arch.clone(),
    };
    for name in ["uv", "uv-cache"] {
        let layer = context.layer(name);
        if layer.dir.is_dir() {
            layer.describe(
                LayerTypes {
                    cache: true,
                    ..LayerTypes::default()
                },
                &key,
            )?;
        }
    }
    Ok(())
}

fn cache(context: &BuildContext) -> Result<PathBuf, Failure> {
    let layer = context.layer("uv-cache");
    let key = UvKey {
        version: String::new(),
        arch: context.target.arch.clone(),
    };
    let old = layer.cached::<UvKey>().is_some();
    if !old || size_bytes(&layer.dir)? > CACHE_BYTES_MAX {
        layer.renew()?;
    }
    layer.describe(
        LayerTypes {
            cache: true,
            ..LayerTypes::default()
        },
        &key,
    )?;
    Ok(layer.dir)
}

fn size_bytes(folder: &Path) -> Result<u64, Failure> {
    let files = tree::files(folder, &|_| true)?;
    Ok(files
        .iter()
        .filter_map(|path| path.metadata().ok())
        .map(|metadata| metadata.len())
        .sum())
}

fn unpack_wheel(
    context: &BuildContext,
    wheel: &Path,
    python: &Interpreter,
    to: &Path,
) -> Result<(), Failure> {
    let code = "import shutil, sys, zipfile\n\
                wheel = zipfile.ZipFile(sys.argv[1])\n\
                name, = [name for name in wheel.namelist() if name.endswith('.data/scripts/uv')]\n\
                with wheel.open(name) as program, open(sys.argv[2], 'xb') as file: shutil.copyfileobj(program, file)";
    let mut command = Command::new(&python.program);
    command
        .args(["-I", "-S", "-B", "-c", code])
        .arg(wheel)
        .arg(to)
        .env_clear();
    context.run("unpacking uv", &mut command)
}

fn unpack_archive(archive: &Path, to: &Path) -> Result<(), Failure> {
    let bad = |why: String| {
        Failure(format!(
            "`{}` is no archive of uv: {why}",
            archive.display()
        ))
    };
    let file = fs::File::open(archive).at("read", archive)?;
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(io::BufReader::new(file)));
    for entry in tar.entries().map_err(|error| bad(error.to_string()))? {
        let mut entry = entry.map_err(|error| bad(error.to_string()))?;
        let is_program = entry
            .path()
            .is_ok_and(|path| path.file_name() == Some(OsStr::new("uv")));
        if is_program && entry.header().entry_type().is_file() {
            let mut program = fs::File::create(to).at("write", to)?;
            io::copy(&mut entry, &mut program).at("write", to)?;
            return Ok(());
        }
    }
    Err(bad("there is no `uv` in it".to_owned()))
}

impl Uv {
    /// A call of uv in the app's folder.
    pub(super) fn command(&self, context: &BuildContext, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env_clear()
            .envs(&context.env)
            .current_dir(&context.app);
        for (pip, uv) in FROM_PIP {
            if let (Some(value), None) = (context.env(pip), context.env(uv)) {
                command.env(uv, value);
            }
        }
        if let (Some(folders), None) = (context.env("PIP_FIND_LINKS"), context.env("UV_FIND_LINKS"))
        {
            command.env("UV_FIND_LINKS", find_links(folders));
        }
        // uv has no variable for it, and takes the option wherever it may ask an index.
        if context.env("PIP_NO_INDEX").is_some_and(is_true) && args.first() != Some(&"venv") {
            command.arg("--no-index");
        }
        if context.env("CFLAGS").is_none() {
            // The temporary folder of a build from source would stand in its debug information.
            command.env("CFLAGS", "-g0").env("CXXFLAGS", "-g0");
        }
        command
            .env("UV_CACHE_DIR", &self.cache)
            // A linked file would be the cache's own: what writes to one would change the other.
            .env("UV_LINK_MODE", "copy")
            .env("UV_PYTHON_DOWNLOADS", "never")
            .env("UV_NO_PROGRESS", "1")
            .env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH)
            .env("PYTHONHASHSEED", "0")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC");
        command
    }
}

/// pip parts them by blanks and lets a missing folder be; uv parts them by commas and does not.
fn find_links(folders: &str) -> String {
    let there = folders
        .split_whitespace()
        .filter(|folder| folder.contains("://") || Path::new(folder).exists());
    there.collect::<Vec<_>>().join(",")
}

/// As pip reads a truth value.
fn is_true(value: &str) -> bool {
    ["1", "y", "yes", "t", "true", "on"].contains(&value.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_pip_that_are_there_become_uvs() {
        assert_eq!(
            find_links("/usr /no/such https://h/links\n/etc"),
            "/usr,https://h/links,/etc"
        );
        assert_eq!(find_links("/no/such"), "");
        assert!(is_true("True") && !is_true("0"));
    }

    #[test]
    fn variables_that_would_install_elsewhere_are_named() {
        let names = ["PATH", "UV_PYTHON", "PIP_INDEX_URL", "PIP_TARGET"].map(OsString::from);
        assert_eq!(forbidden(names.into_iter()), ["UV_PYTHON", "PIP_TARGET"]);
    }

    #[test]
    fn the_program_is_taken_out_of_an_archive() {
        let folder = tempfile::tempdir().unwrap();
        let (archive, to) = (folder.path().join("uv.tar.gz"), folder.path().join("uv"));
        let file = fs::File::create(&archive).unwrap();
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
            file,
            flate2::Compression::fast(),
        ));
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        tar.append_data(&mut header, "uv-x86_64-unknown-linux-gnu/uvx", &b"no!"[..])
            .unwrap();
        assert!(unpack_archive(&archive, &to).is_err());
        tar.append_data(&mut header, "uv-x86_64-unknown-linux-gnu/uv", &b"yes"[..])
            .unwrap();
        tar.into_inner().unwrap().finish().unwrap();
        unpack_archive(&archive, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"yes");
    }
}
