//! What was typed at `slug build`, `slug plan` and `slug up DIR`, as the build wants it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use slug::archive;
use slug::build::{BuildRequest, BuiltIns, Isolation, Limits, OrderRequest, Reference, Secrets};
use slug::buildpacks;
use slug::ident::AppName;
use slug::layer::Env;
use slug::layer::user_env::{is_variable_name, is_variable_value};
use slug::store::Store;
use slug::sys::cancel::Cancel;

use super::args::{self, BuildOptions, BuildpackOptions, LimitOptions};
use super::report::Failure;
use super::settings::Settings;
use super::time_limit::TimeLimit;

pub(crate) const BUILT_INS: BuiltIns = BuiltIns {
    all: buildpacks::BUILT_IN,
    order: buildpacks::ORDER,
    classic: buildpacks::CLASSIC,
};

const NOTHING_BUILT: &str = "nothing was built";

/// All but the secrets, which only a build needs, and whether it is to end.
pub(crate) fn request(
    settings: &Settings,
    dir: &Path,
    app: &AppName,
    store: &Store,
    options: &BuildOptions,
) -> Result<BuildRequest, Failure> {
    let variables = &options.variables;
    Ok(BuildRequest {
        source: dir.to_owned(),
        app: app.clone(),
        store: store.clone(),
        program: Settings::program()?,
        built_ins: BUILT_INS,
        order: order(settings, &options.buildpacks)?,
        env: env(settings, &variables.env)?,
        platform_env: folder(
            settings,
            "--platform-env",
            variables.platform_env.as_deref(),
        )?,
        build_config: folder(
            settings,
            "--build-config",
            variables.build_config.as_deref(),
        )?,
        exec_env: variables.exec_env.clone(),
        isolation: match options.isolation {
            args::Isolation::Namespaces => Isolation::Namespaces,
            args::Isolation::None => Isolation::None,
        },
        offline: options.offline,
        compression: match options.compression {
            args::Compression::Zstd => archive::Compression::Zstd,
            args::Compression::Gzip => archive::Compression::Gzip,
        },
        mirror: options.mirror.clone(),
        operator_env: settings.env.clone(),
        home: settings.home(),
        clear_cache: options.clear_cache,
        shell: None,
        cache_dir: options
            .cache_dir
            .as_deref()
            .map(|dir| settings.absolute(dir)),
        secrets: Secrets::default(),
        limits: limits(&options.limits),
        cancel: Cancel::default(),
    })
}

fn limits(typed: &LimitOptions) -> Limits {
    let default = Limits::default();
    let or = |typed: Option<TimeLimit>, default| typed.map_or(default, |limit| limit.0);
    Limits {
        detect: or(typed.detect_timeout, default.detect),
        build: or(typed.build_timeout, default.build),
    }
}

fn order(settings: &Settings, typed: &BuildpackOptions) -> Result<OrderRequest, Failure> {
    let BuildpackOptions {
        buildpack,
        order,
        pre,
        post,
    } = typed;
    let references = |option: &str, typed: &[OsString]| {
        let parsed = typed.iter().map(|text| reference(settings, option, text));
        parsed.collect::<Result<Vec<Reference>, Failure>>()
    };
    Ok(OrderRequest {
        buildpacks: references("--buildpack", buildpack)?,
        file: order.as_deref().map(|file| settings.absolute(file)),
        pre: references("--pre", pre)?,
        post: references("--post", post)?,
    })
}

/// What is not UTF-8 can only be a path.
fn reference(settings: &Settings, option: &str, typed: &OsStr) -> Result<Reference, Failure> {
    let Some(text) = typed.to_str() else {
        return Ok(Reference::Path(settings.absolute(Path::new(typed))));
    };
    Reference::parse(text, &settings.working_dir, &|id| BUILT_INS.has(id)).map_err(|error| {
        Failure::usage(format!("{option}: {error}"))
            .unchanged(NOTHING_BUILT)
            .hint("`slug buildpacks` lists the built-in ones")
    })
}

/// `KEY=VALUE`, or `KEY` for the value that the operator's shell has.
fn env(settings: &Settings, typed: &[OsString]) -> Result<Env, Failure> {
    let wrong = |what: String| {
        Failure::usage(what)
            .unchanged(NOTHING_BUILT)
            .hint("write `--env KEY=VALUE`, or `--env KEY` for a variable that your shell exports")
    };
    let mut env = Env::new();
    for text in typed {
        let bytes = text.as_bytes();
        let equals = bytes.iter().position(|byte| *byte == b'=');
        let (name, value) = match equals {
            Some(at) => (&bytes[..at], Some(OsStr::from_bytes(&bytes[at + 1..]))),
            None => (bytes, None),
        };
        let name = OsStr::from_bytes(name);
        let shown = name.to_string_lossy().escape_default().to_string();
        if !is_variable_name(name) {
            return Err(wrong(format!("`{shown}` cannot be the name of a variable")));
        }
        let value = match value {
            Some(value) => value.to_owned(),
            None => settings.env.get(name).cloned().ok_or_else(|| {
                wrong(format!(
                    "`{shown}` has no value: it is not set in this shell"
                ))
            })?,
        };
        if !is_variable_value(&value) {
            return Err(wrong(format!("the value of `{shown}` is too long")));
        }
        env.insert(name.to_owned(), value);
    }
    Ok(env)
}

/// A folder that an option names is there: a misspelt one would count as one without files.
fn folder(
    settings: &Settings,
    option: &str,
    typed: Option<&Path>,
) -> Result<Option<PathBuf>, Failure> {
    let Some(path) = typed.map(|path| settings.absolute(path)) else {
        return Ok(None);
    };
    if path.is_dir() {
        return Ok(Some(path));
    }
    Err(
        Failure::usage(format!("{option}: `{}` is not a folder", path.display()))
            .unchanged(NOTHING_BUILT)
            .hint("name a folder"),
    )
}
