//! `buildpack.toml` (rules 1-7 and 9).

use std::ops::Range;

use toml::de::DeTable;

use super::page::{Page, entry, tables, text, texts, value};
use super::schema::{self, Key, Kind};
use super::target::{self, TARGETS};
use super::{Known, Rule, SBOM_FORMATS};
use crate::buildpack::api::{Api, BadApi};
use crate::ident::BuildpackId;

/// Reserved by the specification (rule 2).
const RESERVED: [&str; 4] = ["app", "config", "generated", "sbom"];

const NAME: &[Key] = &[("name", Kind::Text)];
const LICENSE: &[Key] = &[("type", Kind::Text), ("uri", Kind::Text)];
const BUILDPACK: &[Key] = &[
    ("id", Kind::Text),
    ("name", Kind::Text),
    ("version", Kind::Text),
    ("homepage", Kind::Text),
    ("clear-env", Kind::Bool),
    ("description", Kind::Text),
    ("keywords", Kind::Texts),
    ("sbom-formats", Kind::Texts),
    ("licenses", Kind::Tables(LICENSE)),
    ("exec-env", Kind::TextsOrTables(NAME)),
];
const MEMBER: &[Key] = &[
    ("id", Kind::Text),
    ("version", Kind::Text),
    ("optional", Kind::Bool),
    ("exec-env", Kind::Texts),
];
const ORDER: &[Key] = &[("group", Kind::Tables(MEMBER))];
const STACK: &[Key] = &[("id", Kind::Text), ("mixins", Kind::Texts)];
const TOP: &[Key] = &[
    ("api", Kind::Text),
    ("buildpack", Kind::Table(BUILDPACK)),
    ("order", Kind::Tables(ORDER)),
    ("targets", Kind::Tables(TARGETS)),
    ("stacks", Kind::Tables(STACK)),
    ("metadata", Kind::Free),
];
/// What slug itself reads of `[metadata]`.
const SLUG_METADATA: &[Key] = &[("host-programs", Kind::Texts)];

pub(super) fn check(page: &mut Page, file: &DeTable<'_>) -> Known {
    schema::check(page, file, TOP, "");
    let known = Known {
        api: check_api(page, file),
        is_composite: entry(file, "order").is_some(),
    };
    match value(file, "buildpack").map(|value| value.get_ref().as_table()) {
        Some(Some(buildpack)) => check_buildpack(page, buildpack, &known),
        Some(None) => {}
        None => page.whole_error(
            Rule::KEYS,
            "there is no `[buildpack]`",
            "add `[buildpack]` with `id` and `version`",
        ),
    }
    check_order(page, file);
    target::check(page, file, &known);
    let slug = value(file, "metadata")
        .and_then(|metadata| value(metadata.get_ref().as_table()?, "slug"))
        .and_then(|slug| slug.get_ref().as_table());
    if let Some(slug) = slug {
        schema::check(page, slug, SLUG_METADATA, "metadata.slug");
    }
    known
}

fn check_api(page: &mut Page, file: &DeTable<'_>) -> Option<Api> {
    let range = format!("{} to {}", Api::MIN, Api::MAX);
    if entry(file, "api").is_none() {
        let fix = format!("add `api = \"{}\"` as the first line", Api::OURS);
        page.whole_error(Rule::API, "there is no `api`", fix);
    }
    let (written, at) = text(file, "api")?;
    match written.parse::<Api>() {
        Ok(api) => Some(api),
        Err(error) => {
            let fix = match error {
                BadApi::Form(_) => format!("write two numbers, such as `{}`", Api::OURS),
                BadApi::Unsupported(_) => {
                    format!("state one of {range}, and follow what it says")
                }
            };
            page.error(at, Rule::API, error.to_string(), fix);
            None
        }
    }
}

fn check_buildpack(page: &mut Page, buildpack: &DeTable<'_>, known: &Known) {
    check_id(page, buildpack);
    check_version(page, buildpack);
    for (format, at) in texts(buildpack, "sbom-formats") {
        if !SBOM_FORMATS.iter().any(|(known, _)| *known == format) {
            let message = format!("`{format}` is no media type of an SBOM that platforms know");
            let known = SBOM_FORMATS.map(|(known, _)| known);
            let fix = format!("write one of {}", known.join(", "));
            page.error(at, Rule::SBOM, message, fix);
        }
    }
    for (license, at) in tables(buildpack, "licenses") {
        if entry(license, "type").is_none() && entry(license, "uri").is_none() {
            let fix = "add `type`, an SPDX expression such as \"MIT\", or `uri`";
            page.error(at, Rule::KEYS, "this license says nothing", fix);
        }
    }
    if let Some((homepage, at)) = text(buildpack, "homepage")
        && !homepage.starts_with("https://")
        && !homepage.starts_with("http://")
    {
        let message = format!("`{homepage}` is no address of a page");
        page.warning(at, Rule::KEYS, message, "write a URL: `https://…`");
    }
    check_exec_env(page, buildpack, known);
}

fn check_id(page: &mut Page, buildpack: &DeTable<'_>) {
    if entry(buildpack, "id").is_none() {
        let fix = "add `id = \"your-name/what-it-is\"`: letters, digits, `.`, `/` and `-`";
        page.whole_error(Rule::ID, "`[buildpack]` has no `id`", fix);
    }
    let Some((id, at)) = text(buildpack, "id") else {
        return;
    };
    if RESERVED.contains(&id) {
        let fix = format!("name it after you: `your-name/{id}`");
        page.error(at, Rule::ID, format!("the id `{id}` is reserved"), fix);
    } else if !is_good_id(id) {
        let fix = "use letters, digits, `.`, `/` and `-` only, with nothing empty beside a `/`";
        page.error(
            at,
            Rule::ID,
            format!("`{id}` is not the id of a buildpack"),
            fix,
        );
    }
}

/// `_` is read, since ids with it are in use, and is not of the specification.
fn is_good_id(id: &str) -> bool {
    id.parse::<BuildpackId>().is_ok() && !id.contains('_')
}

fn check_version(page: &mut Page, buildpack: &DeTable<'_>) {
    if entry(buildpack, "version").is_none() {
        let fix = "add `version = \"0.1.0\"`";
        page.whole_error(Rule::VERSION, "`[buildpack]` has no `version`", fix);
    }
    if let Some((version, at)) = text(buildpack, "version")
        && !is_x_y_z(version)
    {
        let message = format!("the version `{version}` is not of the form X.Y.Z");
        let fix = "write three numbers without leading zeros, such as `0.1.0`";
        page.error(at, Rule::VERSION, message, fix);
    }
}

fn is_x_y_z(version: &str) -> bool {
    let parts: Vec<&str> = version.split('.').collect();
    let is_number = |part: &&str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (*part == "0" || !part.starts_with('0'))
    };
    parts.len() == 3 && parts.iter().all(is_number)
}

fn check_exec_env(page: &mut Page, buildpack: &DeTable<'_>, known: &Known) {
    let Some((key, _)) = entry(buildpack, "exec-env") else {
        return;
    };
    if let Some(api) = known.api.filter(|api| !api.has_exec_env()) {
        let message = format!("Buildpack API {api} has no `exec-env`: it has no effect");
        page.warning(
            key.span(),
            Rule::EXEC_ENV,
            message,
            "state `api = \"0.12\"`, or remove it",
        );
    }
    let mut names: Vec<(&str, Range<usize>)> = texts(buildpack, "exec-env").collect();
    for (table, at) in tables(buildpack, "exec-env") {
        match text(table, "name") {
            Some(name) => names.push(name),
            None if entry(table, "name").is_none() => {
                let message = "this execution environment has no `name`";
                page.error(at, Rule::EXEC_ENV, message, "add `name = \"production\"`");
            }
            None => {}
        }
    }
    for (name, at) in names {
        if name.is_empty() || name.contains('/') {
            let message = format!("`{name}` is no name of an execution environment");
            let fix = "write a name such as `production`, `test` or `development`, or `*` for all";
            page.error(at, Rule::EXEC_ENV, message, fix);
        }
    }
}

/// A composite: its groups are what it is.
fn check_order(page: &mut Page, file: &DeTable<'_>) {
    for other in ["stacks", "targets"] {
        if let (Some(_), Some((key, _))) = (entry(file, "order"), entry(file, other)) {
            let message =
                format!("a buildpack with `[[order]]` has no `{other}`: its parts have them");
            page.error(
                key.span(),
                Rule::COMPOSITE,
                message,
                format!("remove `{other}`"),
            );
        }
    }
    if let Some((key, value)) = entry(file, "order")
        && value
            .get_ref()
            .as_array()
            .is_some_and(|groups| groups.is_empty())
    {
        let fix = "add `[[order]]` with `[[order.group]]`, or remove it";
        page.error(key.span(), Rule::COMPOSITE, "the order has no groups", fix);
    }
    for (group, at) in tables(file, "order") {
        if tables(group, "group").next().is_none() && !has_wrong_type(group, "group") {
            let fix = "add `[[order.group]]` with `id` and `version`";
            page.error(at, Rule::COMPOSITE, "this group has no members", fix);
        }
        let mut seen: Vec<&str> = Vec::new();
        for (member, at) in tables(group, "group") {
            for key in ["id", "version"] {
                if entry(member, key).is_none() {
                    let message = format!("this member has no `{key}`");
                    let fix = format!("add `{key} = \"…\"`, as the member's buildpack.toml has it");
                    page.error(at.clone(), Rule::COMPOSITE, message, fix);
                }
            }
            if let Some((id, at)) = text(member, "id") {
                if !is_good_id(id) {
                    let message = format!("`{id}` is not the id of a buildpack");
                    let fix = "write the member's id as its buildpack.toml has it";
                    page.error(at, Rule::ID, message, fix);
                } else if seen.contains(&id) {
                    let message = format!("`{id}` is in this group already: only the first counts");
                    page.warning(at, Rule::COMPOSITE, message, "remove the second one");
                }
                seen.push(id);
            }
        }
    }
}

/// The schema has told of it.
fn has_wrong_type(table: &DeTable<'_>, key: &str) -> bool {
    value(table, key).is_some_and(|value| !value.get_ref().is_array())
}
