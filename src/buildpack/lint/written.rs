//! What a detect or a build wrote: the build plan, launch.toml, build.toml,
//! store.toml, the file of each layer, SBOM files (rules 15, 30 and 33-39).

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use toml::de::DeTable;

use super::page::{Page, entry, tables, text, value};
use super::schema::{self, Key, Kind};
use super::{Finding, Rule, SBOM_FORMATS};
use crate::buildpack::api::Api;
use crate::ident::ProcessType;
use crate::layer::toml_file::TOML_BYTES_MAX;
use crate::sys::fs::read_plain;
use crate::sys::{At as _, PathError};

/// What was written.
#[derive(Clone, Copy, Debug)]
pub enum Written<'a> {
    /// The build plan of a `bin/detect`.
    Plan(&'a Path),
    /// The layers folder of a `bin/build`.
    Layers(&'a Path),
}

const PROVIDE: &[Key] = &[("name", Kind::Text)];
const REQUIRE: &[Key] = &[
    ("name", Kind::Text),
    ("version", Kind::Any), // told of by its own rule
    ("metadata", Kind::Free),
];
const CHOICE: &[Key] = &[
    ("provides", Kind::Tables(PROVIDE)),
    ("requires", Kind::Tables(REQUIRE)),
];
const PLAN: &[Key] = &[
    ("provides", Kind::Tables(PROVIDE)),
    ("requires", Kind::Tables(REQUIRE)),
    ("or", Kind::Tables(CHOICE)),
];
const LABEL: &[Key] = &[("key", Kind::Text), ("value", Kind::Text)];
const PROCESS: &[Key] = &[
    ("type", Kind::Text),
    ("command", Kind::Command),
    ("args", Kind::Texts),
    ("direct", Kind::Bool),
    ("default", Kind::Bool),
    ("working-dir", Kind::Text),
    ("exec-env", Kind::Texts),
];
const SLICE: &[Key] = &[("paths", Kind::Texts)];
const BOM: &[Key] = &[("name", Kind::Text), ("metadata", Kind::Free)];
const LAUNCH: &[Key] = &[
    ("labels", Kind::Tables(LABEL)),
    ("processes", Kind::Tables(PROCESS)),
    ("slices", Kind::Tables(SLICE)),
    ("bom", Kind::Tables(BOM)),
];
const BUILD: &[Key] = &[("unmet", Kind::Tables(PROVIDE)), ("bom", Kind::Tables(BOM))];
const STORE: &[Key] = &[("metadata", Kind::Free)];
const TYPES: &[Key] = &[
    ("launch", Kind::Bool),
    ("build", Kind::Bool),
    ("cache", Kind::Bool),
];
const LAYER: &[Key] = &[("types", Kind::Table(TYPES)), ("metadata", Kind::Free)];

/// Looks at what a buildpack of that API wrote; `sbom_formats` are those of its descriptor.
pub fn written(
    what: Written<'_>,
    api: Api,
    sbom_formats: &[String],
) -> Result<Vec<Finding>, PathError> {
    let mut findings = Vec::new();
    match what {
        Written::Plan(path) => {
            let bytes = read_plain(path, TOML_BYTES_MAX)?.unwrap_or_default();
            let mut page = Page::new("build plan");
            page.read(&bytes, check_plan);
            findings.extend(page.into_findings());
        }
        Written::Layers(folder) => {
            for entry in fs::read_dir(folder).at("read", folder)? {
                let entry = entry.at("read", folder)?;
                let (path, name) = (entry.path(), entry.file_name());
                let kind = entry.file_type().at("look at", &path)?;
                if kind.is_dir() {
                    findings.extend(check_folder(folder, &name));
                } else if kind.is_file() {
                    findings.extend(file(&path, &name, api, sbom_formats)?);
                }
            }
        }
    }
    findings.sort();
    Ok(findings)
}

fn file(
    path: &Path,
    name: &OsStr,
    api: Api,
    sbom_formats: &[String],
) -> Result<Vec<Finding>, PathError> {
    let name = name.to_string_lossy();
    let mut page = Page::new(&name);
    if let Some((_, extension)) = name.split_once(".sbom.") {
        check_sbom(&mut page, extension, sbom_formats);
    } else if let Some(stem) = name.strip_suffix(".toml") {
        let bytes = read_plain(path, TOML_BYTES_MAX)?.unwrap_or_default();
        match stem {
            "launch" => page.read(&bytes, |page, file| check_launch(page, file, api)),
            "build" => page.read(&bytes, |page, file| {
                check_build(page, file);
            }),
            "store" => page.read(&bytes, |page, file| schema::check(page, file, STORE, "")),
            _ => page.read(&bytes, check_layer),
        };
    }
    Ok(page.into_findings())
}

/// A folder of the layers folder is a layer.
fn check_folder(folder: &Path, name: &OsStr) -> Vec<Finding> {
    let name = name.to_string_lossy();
    let mut page = Page::new(&name);
    if ["build", "launch", "store", "sbom"].contains(&&*name) {
        let message = format!("no layer can have the name `{name}`: it is the contract's own");
        page.whole_error(Rule::LAYER_NAMES, message, "name the layer otherwise");
    } else if folder
        .join(format!("{name}.toml"))
        .symlink_metadata()
        .is_err()
    {
        let message = format!("there is no {name}.toml beside this layer: it is thrown away");
        let fix = format!("write {name}.toml with `[types]`, or remove the folder");
        page.whole_warning(Rule::TYPES, message, fix);
    }
    page.into_findings()
}

fn check_plan(page: &mut Page, file: &DeTable<'_>) {
    schema::check(page, file, PLAN, "");
    let choices = tables(file, "or").map(|(choice, _)| choice);
    for choice in std::iter::once(file).chain(choices) {
        for kind in ["provides", "requires"] {
            for (item, at) in tables(choice, kind) {
                if entry(item, "name").is_none() {
                    let message = format!("an entry of `{kind}` has no `name`");
                    page.error(at, Rule::PLAN, message, "add `name = \"…\"`");
                }
                if let Some((key, _)) = entry(item, "version").filter(|_| kind == "requires") {
                    let message = "`version` is no key of a require";
                    let fix = "put it under `[requires.metadata]`";
                    page.error(key.span(), Rule::PLAN, message, fix);
                }
            }
        }
    }
}

fn check_launch(page: &mut Page, file: &DeTable<'_>, api: Api) {
    schema::check(page, file, LAUNCH, "");
    check_no_bom(page, file);
    let (mut types, mut keys): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut has_default = false;
    for (process, at) in tables(file, "processes") {
        check_process(page, process, api, at.clone());
        if let Some((name, at)) = text(process, "type") {
            if types.contains(&name) {
                let message = format!("the process `{name}` is there twice: the last one counts");
                page.error(at, Rule::PROCESS_TYPE, message, "remove one of them");
            }
            types.push(name);
        }
        let default = value(process, "default").and_then(|value| value.get_ref().as_bool());
        if default == Some(true) && std::mem::replace(&mut has_default, true) {
            let message = "more than one process is the default";
            let fix = "keep `default = true` in one of them";
            page.error(at, Rule::DEFAULT, message, fix);
        }
    }
    for (label, at) in tables(file, "labels") {
        for key in ["key", "value"] {
            if entry(label, key).is_none() {
                let message = format!("this label has no `{key}`");
                page.error(
                    at.clone(),
                    Rule::LABELS,
                    message,
                    format!("add `{key} = \"…\"`"),
                );
            }
        }
        if let Some((key, at)) = text(label, "key") {
            if keys.contains(&key) {
                let message = format!("the label `{key}` is there twice: the last one counts");
                page.error(at, Rule::LABELS, message, "remove one of them");
            }
            keys.push(key);
        }
    }
}

fn check_process(page: &mut Page, process: &DeTable<'_>, api: Api, at: std::ops::Range<usize>) {
    for key in ["type", "command"] {
        if entry(process, key).is_none() {
            let message = format!("this process has no `{key}`");
            page.error(at.clone(), Rule::LAUNCH, message, format!("add `{key}`"));
        }
    }
    if let Some((name, at)) = text(process, "type")
        && name.parse::<ProcessType>().is_err()
    {
        let message = format!("`{name}` is not a process type");
        let fix = "use letters, digits, `.`, `_` and `-`, and a letter or digit first";
        page.error(at, Rule::PROCESS_TYPE, message, fix);
    }
    if let Some((_, command)) = entry(process, "command") {
        let (found, at) = (command.get_ref(), command.span());
        let is_empty = match (found.as_str(), found.as_array()) {
            (Some(text), _) => text.is_empty(),
            (_, Some(words)) => words
                .iter()
                .next()
                .is_none_or(|word| word.get_ref().as_str() == Some("")),
            _ => false,
        };
        if is_empty {
            page.error(
                at.clone(),
                Rule::LAUNCH,
                "the command is empty",
                "name a program",
            );
        }
        if found.is_str() && api.has_command_lists() {
            let message = format!("`command` is a list in Buildpack API {api}");
            let fix = "write `[\"program\", \"argument\"]`, or `[\"bash\", \"-c\", \"…\"]` for a line of shell";
            page.error(at, Rule::LAUNCH, message, fix);
        } else if found.is_array() && !api.has_command_lists() {
            let message = format!("`command` is a string in Buildpack API {api}");
            let fix = "write one string and `args`, or state `api = \"0.9\"` or newer";
            page.error(at, Rule::LAUNCH, message, fix);
        }
    }
    let by_version = [
        (
            "direct",
            !api.has_command_lists(),
            "remove it: every process is direct since 0.9",
        ),
        (
            "working-dir",
            api.has_working_dir(),
            "state `api = \"0.8\"` or newer",
        ),
        ("exec-env", api.has_exec_env(), "state `api = \"0.12\"`"),
    ];
    for (name, is_known, fix) in by_version {
        if let Some((key, _)) = entry(process, name).filter(|_| !is_known) {
            let message = format!("`{name}` is no key of a process in Buildpack API {api}");
            if name == "direct" {
                page.error(key.span(), Rule::LAUNCH, message, fix);
            } else {
                page.warning(key.span(), Rule::LAUNCH, message, fix);
            }
        }
    }
}

fn check_build(page: &mut Page, file: &DeTable<'_>) {
    schema::check(page, file, BUILD, "");
    check_no_bom(page, file);
    for (unmet, at) in tables(file, "unmet") {
        if text(unmet, "name").is_none_or(|(name, _)| name.is_empty()) {
            let fix = "write the name of an entry of the buildpack plan";
            page.error(at, Rule::UNMET, "this entry has no `name`", fix);
        }
    }
}

fn check_no_bom(page: &mut Page, file: &DeTable<'_>) {
    if let Some((key, _)) = entry(file, "bom") {
        let message = "`bom` is deprecated since Buildpack API 0.7";
        let fix = "write an SBOM file instead, such as `launch.sbom.cdx.json`";
        page.warning(key.span(), Rule::SBOM, message, fix);
    }
}

fn check_layer(page: &mut Page, file: &DeTable<'_>) {
    let mut misplaced = false;
    for (name, _) in TYPES {
        if let Some((key, _)) = entry(file, name) {
            misplaced = true;
            let message = format!("`{name}` at the top has no effect");
            page.error(key.span(), Rule::TYPES, message, "put it under `[types]`");
        }
    }
    // What was misplaced has been told of: no second finding for it.
    let known = [LAYER, if misplaced { TYPES } else { &[] }].concat();
    schema::check(page, file, &known, "");
    if entry(file, "types").is_none() && !misplaced {
        let message = "no `[types]` say what the layer is for: it is thrown away";
        let fix = "add `[types]` with `launch`, `build` or `cache`, at every build";
        page.whole_warning(Rule::TYPES, message, fix);
    }
}

fn check_sbom(page: &mut Page, extension: &str, formats: &[String]) {
    let Some((format, _)) = SBOM_FORMATS.iter().find(|(_, known)| *known == extension) else {
        let known = SBOM_FORMATS.map(|(_, known)| known);
        let message = format!("`.{extension}` is no ending of an SBOM file");
        page.whole_error(
            Rule::SBOM,
            message,
            format!("end it in one of {}", known.join(", ")),
        );
        return;
    };
    if !formats.iter().any(|known| known == format) {
        let message = format!("buildpack.toml does not announce SBOM files of `{format}`");
        let fix = format!("add `{format}` to `sbom-formats` in buildpack.toml");
        page.whole_error(Rule::SBOM, message, fix);
    }
}
