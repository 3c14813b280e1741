//! Python apps: `requirements.txt`, `uv.lock`, `pyproject.toml`, or nothing
//! but the standard library.
//!
//! `detect` decides all that the files decide: the manager, the version, what
//! is to be fetched. `build` makes the layers `python` (the interpreter) and
//! `venv` (what is installed), compiles the app's own code, and names the
//! `web` process.

mod bytecode;
mod django;
mod folder;

mod hooks;
mod host;
mod host_copy;
#[cfg(test)]
mod hostile;
mod interpreter;
mod inventory;
mod key;
mod manager;
mod official;
mod process;
mod relocate;
mod requirements;
mod sysconfig;
mod text;
mod tree;
mod uv;
mod venv;
mod version;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use pep440_rs::Version;
use serde::Deserialize;
use serde::Serialize;

use crate::buildpack::author::At as _;
use crate::buildpack::author::AuthoredLabel;
use crate::buildpack::author::AuthoredLaunch;
use crate::buildpack::author::AuthoredProcess;
use crate::buildpack::author::BuildContext;
use crate::buildpack::author::BuiltIn;
use crate::buildpack::author::DetectContext;
use crate::buildpack::author::Detected;
use crate::buildpack::author::Evidence;
use crate::buildpack::author::Failure;
use crate::buildpack::author::LayerTypes;
use crate::buildpack::author::PlanMetadata;
use crate::buildpack::author::read_text;
use crate::ident::Digest;

use host::HostPython;
use interpreter::Interpreter;
use interpreter::Origins;
use inventory::Inventory;
use key::PythonKey;
use manager::AppFiles;
use manager::Managed;
use manager::Manager;
use version::Request;

/// The buildpack.
pub(super) const BUILT_IN: BuiltIn = BuiltIn {
    id: "slug/python",
    descriptor: include_str!("buildpack.toml"),
    detect,
    build,
};

/// What `detect` decided for `build`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Resolved {
    manager: Manager,
    is_package: bool,
    /// The official build to take, if it can be fetched.
    official: Option<String>,
    /// The host's interpreter to take otherwise.
    host: Option<ResolvedHost>,
    /// The places that ask for a version: `.python-version:1`.
    asked_by: Vec<String>,
}

/// Detect asked the interpreter what it is: build need not start it for that again.
#[derive(Debug, Serialize, Deserialize)]
struct ResolvedHost {
    version: String,
    prefix: PathBuf,
}

/// The label that says which Python the slug has, and where that came from.
const RUNTIME_LABEL: &str = "slug.runtime.python";

fn detect(context: &DetectContext) -> Result<Detected, Failure> {
    let files = app_files(context)?;
    if !files.is_python() {
        return Ok(Detected::No);
    }
    let inventory = Inventory::read(&context.target.arch)?;
    let hosts = host::interpreters(&context.host_prefixes());
    let names = context.env.keys().cloned();
    Ok(Detected::Yes(Box::new(resolve(
        &files, &inventory, &hosts, names,
    )?)))
}

fn app_files(context: &DetectContext) -> Result<AppFiles, Failure> {
    let entries = fs::read_dir(&context.app).at("read the folder", &context.app)?;
    let files = entries.flatten().filter(|entry| entry.path().is_file());
    let names = files
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let mut texts = BTreeMap::new();
    for name in manager::READ {
        if let Some(text) = text::read(&context.app.join(name))? {
            texts.insert(name, text);
        }
    }
    Ok(AppFiles { names, texts })
}

/// The plan, or every problem of the app's files at once.
fn resolve(
    files: &AppFiles,
    inventory: &Inventory,
    hosts: &BTreeMap<Version, HostPython>,
    env_names: impl Iterator<Item = std::ffi::OsString>,
) -> Result<PlanMetadata, Failure> {
    let mut plan = PlanMetadata::default();
    for name in uv::forbidden(env_names) {
        plan.problems.push(format!(
            "the build's environment sets {name}, which would install somewhere else: unset it"
        ));
    }
    plan.problems.extend(files.not_utf8());
    let managed = files
        .managed()
        .map_err(|problem| plan.problems.push(problem))
        .ok();
    let (requests, problems) = version::requests(&files.texts);
    let known: Vec<Version> = inventory
        .pythons
        .iter()
        .map(|python| &python.version)
        .chain(hosts.keys())
        .cloned()
        .collect();
    let on_host: Vec<Version> = hosts.keys().cloned().collect();
    let chosen = if problems.is_empty() {
        version::choose(&requests, &known, &on_host)
    } else {
        Err(problems)
    };
    let fitting = chosen
        .map_err(|problems| plan.problems.extend(problems))
        .ok();
    let (Some(managed), Some(fitting), true) = (managed, fitting, plan.problems.is_empty()) else {
        return Ok(plan);
    };
    let Managed { manager, warnings } = managed;
    plan.warnings = warnings;
    let official = inventory
        .pythons
        .iter()
        .find(|python| fitting.contains(&python.version));
    let host = fitting.iter().find(|version| hosts.contains_key(version));
    // A host's newer version than any official one goes before it: nothing older is taken where something newer can be had.
    let official = official.filter(|official| host.is_none_or(|host| official.version >= *host));
    plan.artifacts.extend(
        official.map(|official| {
            official.artifact(host.is_none().then(|| instead(&requests, &on_host)))
        }),
    );
    if manager != Manager::Nothing {
        plan.artifacts.push(inventory.uv.clone());
    }
    let official_way = official.map(|official| format!("{}, the official build", official.version));
    let host_way = host.map(|version| format!("{version} of this host"));
    describe(
        &mut plan,
        manager,
        &requests,
        &official_way.into_iter().chain(host_way).collect::<Vec<_>>(),
    );
    let host = host.and_then(|version| hosts.get(version));
    let resolved = Resolved {
        manager,
        is_package: files.is_package(manager),
        official: official.map(|official| official.version.to_string()),
        host: host.map(|host| ResolvedHost {
            version: host.version.to_string(),
            prefix: host.prefix.clone(),
        }),
        asked_by: requests.iter().map(Request::place).collect(),
    };
    plan.resolved = toml::Table::try_from(resolved).map_err(|error| Failure(error.to_string()))?;
    Ok(plan)
}

/// What to do if the official build cannot be had and no version of this host is allowed.
fn instead(requests: &[Request], on_host: &[Version]) -> String {
    let asked: Vec<String> = requests.iter().map(Request::place).collect();
    if on_host.is_empty() {
        return "this host has no Python to copy: install one of that version (`uv python install`, or pyenv)"
            .to_owned();
    }
    format!(
        "this host has Python {}: ask for one of these instead in {}, or install one that fits (`uv python install`, or pyenv)",
        version::listed(on_host),
        asked.join(" and ")
    )
}

fn describe(plan: &mut PlanMetadata, manager: Manager, requests: &[Request], ways: &[String]) {
    let ways = ways.join(", else ");
    for request in requests {
        plan.evidence.push(Evidence {
            what: format!("Python {}: {ways}", request.text),
            file: Some(request.file.to_owned()),
            line: Some(request.line),
        });
    }
    if requests.is_empty() {
        plan.evidence.push(Evidence {
            what: format!("Python: {ways}"),
            file: None,
            line: None,
        });
        plan.warnings.push(
            "no file names a version of Python: the newest is taken, and a newer one when there is one. \
             To stay with one, write it into .python-version"
                .to_owned(),
        );
    }
    let (what, file) = match manager {
        Manager::Nothing => ("no dependencies", None),
        Manager::Requirements => ("dependencies", Some("requirements.txt")),
        Manager::UvLock => ("dependencies, locked", Some("uv.lock")),
        Manager::Pyproject => ("dependencies", Some("pyproject.toml")),
        Manager::Setup => ("dependencies", Some("setup.py")),
    };
    plan.evidence.push(Evidence {
        what: what.to_owned(),
        file: file.map(str::to_owned),
        line: None,
    });
}

fn build(context: &BuildContext) -> Result<(), Failure> {
    let bad = |error: toml::de::Error| {
        Failure(format!(
            "the build plan is of another version of slug: {error}"
        ))
    };
    let resolved: Resolved = context.plan.resolved.clone().try_into().map_err(bad)?;
    hooks::pre_compile(context)?;
    let python = interpreter::provide(context, &origins(context, &resolved))?;
    let venv = install(context, &python, &resolved)?;
    let project = django::project(&context.app);
    if let (Some(venv), Some(project)) = (&venv, &project)
        && venv.installed.contains("django")
    {
        django::collect_static(context, &python, venv, project)?;
    }
    hooks::post_compile(context, &python, venv.as_ref())?;
    compile_app(context, &python)?;
    // A Procfile says what runs: then nothing is guessed.
    let web = if context.app.join("Procfile").is_file() {
        None
    } else {
        web(context, venv.as_ref(), project)?
    };
    context.launch(&AuthoredLaunch {
        labels: vec![runtime(&python.key, &resolved.asked_by)],
        processes: web.into_iter().collect(),
    })
}

/// `3.12.1 (host copy, sha256:…; asked for by .python-version:1)`.
fn runtime(key: &PythonKey, asked_by: &[String]) -> AuthoredLabel {
    let asked = if asked_by.is_empty() {
        "no file asks for a version".to_owned()
    } else {
        format!("asked for by {}", asked_by.join(", "))
    };
    AuthoredLabel {
        key: RUNTIME_LABEL.to_owned(),
        value: format!("{} ({}; {asked})", key.version, key.origin),
    }
}

fn origins(context: &BuildContext, resolved: &Resolved) -> Origins {
    let is_python = |version: &&String| Some(*version) == resolved.official.as_ref();
    let official = context
        .plan
        .artifacts
        .iter()
        .find(|artifact| artifact.name == "python" && is_python(&&artifact.version));
    let host = resolved.host.as_ref().and_then(|host| {
        Some(HostPython {
            version: host.version.parse().ok()?,
            prefix: host.prefix.clone(),
        })
    });
    Origins {
        official: official.cloned(),
        host,
    }
}

fn install(
    context: &BuildContext,
    python: &Interpreter,
    resolved: &Resolved,
) -> Result<Option<venv::Venv>, Failure> {
    if resolved.manager == Manager::Nothing {
        return Ok(None);
    }
    let uv = context
        .plan
        .artifacts
        .iter()
        .find(|artifact| artifact.name == "uv");
    let uv = uv.ok_or_else(|| Failure("the build plan names no uv".to_owned()))?;
    let wanted = venv::Wanted {
        manager: resolved.manager,
        is_package: resolved.is_package,
        uv,
    };
    venv::provide(context, python, &wanted).map(Some)
}

/// What the cached bytecode of the app was made from.
#[derive(Serialize, Deserialize, PartialEq)]
struct CodeKey {
    python: PythonKey,
    code: Digest,
}

/// The app's own bytecode, beside its source, where a read-only start finds it. Unchanged code is not compiled again.
fn compile_app(context: &BuildContext, python: &Interpreter) -> Result<(), Failure> {
    let layer = context.layer("bytecode");
    let code = tree::app_code(&context.app)?;
    let key = CodeKey {
        python: python.key.clone(),
        code: tree::digest(&context.app, &code)?,
    };
    if layer.cached().as_ref() == Some(&key) {
        copy_bytecode(&layer.dir, &context.app)?;
    } else {
        bytecode::compile(
            &python.program,
            if code.is_empty() {
                Vec::new()
            } else {
                vec![code]
            },
        )?;
        layer.renew()?;
        copy_bytecode(&context.app, &layer.dir)?;
    }
    layer.describe(
        LayerTypes {
            cache: true,
            ..LayerTypes::default()
        },
        &key,
    )
}

/// Copies every `__pycache__` below one folder to the same place below another.
fn copy_bytecode(from: &Path, to: &Path) -> Result<(), Failure> {
    for path in tree::bytecode(from)? {
        let target = to.join(path.strip_prefix(from).unwrap_or(&path));
        let folder = target.parent().unwrap_or(to);
        fs::create_dir_all(folder).at("create the folder", folder)?;
        fs::copy(&path, &target).at("write", &target)?;
    }
    Ok(())
}

fn web(
    context: &BuildContext,
    venv: Option<&venv::Venv>,
    django: Option<django::Project>,
) -> Result<Option<AuthoredProcess>, Failure> {
    let mut files = BTreeMap::new();
    for path in tree::app_code(&context.app)? {
        let name = path
            .strip_prefix(&context.app)
            .unwrap_or(&path)
            .display()
            .to_string();
        files.insert(name, read_text(&path)?.unwrap_or_default());
    }
    let installed = venv
        .map(|venv| venv.installed.iter().map(String::as_str).collect())
        .unwrap_or_default();
    let app = process::App {
        installed,
        files,
        django,
    };
    if let Some((name, file)) = process::undeclared(&app) {
        context.say(&format!(
            "warning: {file} imports {name}, but no file says that the app needs it: write requirements.txt"
        ));
    }
    match process::web(&app).map_err(Failure)? {
        None => {
            context
                .say("warning: nothing says how to start this app: write a Procfile with `web: …`");
            Ok(None)
        }
        Some(process::Web { command, why }) => {
            context.say(&format!("process web: {} ({why})", command.join(" ")));
            Ok(Some(AuthoredProcess {
                process_type: "web".to_owned(),
                command,
                default: true,
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(versions: &[&str]) -> BTreeMap<Version, HostPython> {
        let parse = |text: &&str| text.parse::<Version>().unwrap();
        versions
            .iter()
            .map(parse)
            .map(|version| {
                (
                    version.clone(),
                    HostPython {
                        version,
                        prefix: "/h".into(),
                    },
                )
            })
            .collect()
    }

    /// The official and the host's version, and what is fetched, with `!` for what must be had.
    fn check(files: &[(&'static str, &str)], hosts: &[&str], expect: &str) {
        let names = files.iter().map(|(name, _)| (*name).to_owned()).collect();
        let texts = files
            .iter()
            .map(|(name, text)| (*name, (*text).to_owned()))
            .collect();
        let inventory = Inventory::read("amd64").unwrap();
        let plan = resolve(
            &AppFiles { names, texts },
            &inventory,
            &host(hosts),
            std::iter::empty(),
        )
        .unwrap();
        let text = if plan.problems.is_empty() {
            let resolved: Resolved = plan.resolved.try_into().unwrap();
            let fetched = plan.artifacts.iter().map(|artifact| {
                format!(
                    "{}{}",
                    artifact.name,
                    if artifact.required { "!" } else { "" }
                )
            });
            format!(
                "{:?} {:?} {}",
                resolved.official,
                resolved.host.map(|host| host.version),
                fetched.collect::<Vec<_>>().join(" ")
            )
        } else {
            plan.problems.join("\n")
        };
        assert!(text.contains(expect), "{files:?}: {text}");
    }

    #[test]
    fn the_official_build_goes_first_and_the_hosts_is_the_way_out() {
        check(
            &[("app.py", ""), (".python-version", "3.12.1")],
            &["3.12.1"],
            "Some(\"3.12.1\") Some(\"3.12.1\") python",
        );
        check(
            &[("app.py", ""), (".python-version", "3.12.1")],
            &["3.12.2"],
            "Some(\"3.12.1\") None python!",
        );
        check(
            &[("requirements.txt", "")],
            &["3.13.0", "3.11.2"],
            "Some(\"3.14.7\") Some(\"3.13.0\") python uv!",
        );
        check(
            &[("app.py", ""), (".python-version", "3.9.18")],
            &["3.9.18"],
            "None Some(\"3.9.18\") ",
        );
        check(&[("app.py", "")], &["3.99.0"], "None Some(\"3.99.0\") ");
    }

    #[test]
    fn a_slug_says_its_python_and_who_asked_for_it() {
        let key = PythonKey {
            recipe: key::RECIPE,
            version: "3.12.1".to_owned(),
            origin: "host copy, sha256:00".to_owned(),
            target: crate::buildpack::author::BuildTarget::default(),
        };
        let value = |asked_by: &[&str]| {
            runtime(
                &key,
                &asked_by.iter().map(ToString::to_string).collect::<Vec<_>>(),
            )
            .value
        };
        assert_eq!(
            value(&[".python-version:1", "pyproject.toml:4"]),
            "3.12.1 (host copy, sha256:00; asked for by .python-version:1, pyproject.toml:4)"
        );
        assert_eq!(
            value(&[]),
            "3.12.1 (host copy, sha256:00; no file asks for a version)"
        );
    }

    #[test]
    fn what_this_host_could_offer_is_said_with_what_cannot_be_had() {
        let (requests, _) =
            version::requests(&BTreeMap::from([(".python-version", "3.12".to_owned())]));
        let versions = ["3.10.13".parse().unwrap(), "3.11.2".parse().unwrap()];
        assert!(instead(&requests, &versions).starts_with(
            "this host has Python 3.10.13, 3.11.2: ask for one of these instead in .python-version:1"
        ));
        assert!(instead(&requests, &[]).starts_with("this host has no Python to copy"));
    }

    #[test]
    fn a_file_that_is_no_utf_8_is_named() {
        let latin_1 = String::from_utf8_lossy(b"flask # caf\xe9").into_owned();
        check(
            &[("requirements.txt", &latin_1)],
            &[],
            "requirements.txt is not UTF-8",
        );
    }

    #[test]
    fn all_problems_are_said_at_once() {
        let files = [("poetry.lock", ""), (".python-version", "3.12.99")];
        check(&files, &[], "poetry.lock is of Poetry");
        check(
            &files,
            &[],
            ".python-version:1 asks for Python 3.12.99, which cannot be had",
        );
    }
}
