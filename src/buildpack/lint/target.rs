//! `[[targets]]` and `[[stacks]]` of a descriptor (rules 6 and 7).

use toml::de::DeTable;

use super::page::{Page, entry, tables, text, texts};
use super::schema::{Key, Kind};
use super::{Known, Rule};
use crate::ident::nearest;

const DISTRO: &[Key] = &[("name", Kind::Text), ("version", Kind::Text)];
pub(super) const TARGETS: &[Key] = &[
    ("os", Kind::Text),
    ("arch", Kind::Text),
    ("variant", Kind::Text),
    ("arch-variant", Kind::Text),
    ("distros", Kind::Tables(DISTRO)),
];

/// `GOOS` and `GOARCH`, which the OCI image specification takes over.
const SYSTEMS: [&str; 4] = ["linux", "windows", "darwin", "freebsd"];
const ARCHITECTURES: [&str; 10] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64", "ppc64le", "riscv64", "s390x",
];
/// What others call them.
const OTHER_NAMES: [(&str, &str); 4] = [
    ("x86_64", "amd64"),
    ("aarch64", "arm64"),
    ("x64", "amd64"),
    ("i386", "386"),
];

pub(super) fn check(page: &mut Page, file: &DeTable<'_>, known: &Known) {
    check_which(page, file, known);
    for (target, _) in tables(file, "targets") {
        check_target(page, target);
    }
    for (stack, at) in tables(file, "stacks") {
        match text(stack, "id") {
            None if entry(stack, "id").is_none() => {
                let fix = "add `id`, or `id = \"*\"` for any stack";
                page.error(at, Rule::STACKS, "this stack has no `id`", fix);
            }
            Some(("*", at)) if texts(stack, "mixins").next().is_some() => {
                page.error(
                    at,
                    Rule::STACKS,
                    "any stack can have no mixins",
                    "remove `mixins`",
                );
            }
            _ => {}
        }
    }
}

/// Targets since Buildpack API 0.10, stacks before.
fn check_which(page: &mut Page, file: &DeTable<'_>, known: &Known) {
    let (Some(api), false) = (known.api, known.is_composite) else {
        return;
    };
    match (entry(file, "targets"), entry(file, "stacks")) {
        (None, None) if api.has_targets() => page.whole_warning(
            Rule::TARGETS,
            "no `[[targets]]` say what it runs on: any Linux is taken for granted",
            "add `[[targets]]` with `os = \"linux\"`, and `arch` where it matters",
        ),
        (None, None) => page.whole_error(
            Rule::STACKS,
            format!("no `[[stacks]]` say what it runs on, which Buildpack API {api} wants"),
            "add `[[stacks]]` with `id = \"*\"`, or state `api = \"0.10\"` and `[[targets]]`",
        ),
        (None, Some((stacks, _))) if api.has_targets() => {
            let message = format!("`stacks` are deprecated in Buildpack API {api}");
            let fix = "write `[[targets]]` with `os = \"linux\"` and `arch` instead";
            page.warning(stacks.span(), Rule::STACKS, message, fix);
        }
        (Some((targets, _)), None) if !api.has_targets() => {
            let message = format!("Buildpack API {api} has no `targets`");
            let fix = "state `api = \"0.10\"`, or write `[[stacks]]`";
            page.warning(targets.span(), Rule::TARGETS, message, fix);
        }
        _ => {}
    }
}

fn check_target(page: &mut Page, target: &DeTable<'_>) {
    if let Some((os, at)) = text(target, "os") {
        if !SYSTEMS.contains(&os) {
            let fix = meant(os, &SYSTEMS);
            page.error(
                at,
                Rule::TARGETS,
                format!("`{os}` is no operating system"),
                fix,
            );
        } else if os != "linux" {
            let fix = "add a target with `os = \"linux\"`, if it runs there too";
            page.warning(
                at,
                Rule::TARGETS,
                format!("slug does not build for {os}"),
                fix,
            );
        }
    }
    if let Some((arch, at)) = text(target, "arch")
        && !ARCHITECTURES.contains(&arch)
    {
        let fix = meant(arch, &ARCHITECTURES);
        page.error(
            at,
            Rule::TARGETS,
            format!("`{arch}` is no architecture"),
            fix,
        );
    }
    if let Some((key, _)) = entry(target, "variant") {
        if entry(target, "arch-variant").is_some() {
            let message = "`variant` and `arch-variant` are two names of one key";
            page.error(key.span(), Rule::TARGETS, message, "keep `arch-variant`");
        } else {
            let message = "`variant` is the specification's name of a key that lifecycle reads as `arch-variant`";
            let fix = "write `arch-variant`, which lifecycle, pack and slug read";
            page.warning(key.span(), Rule::TARGETS, message, fix);
        }
    }
    for (distro, at) in tables(target, "distros") {
        match text(distro, "name") {
            None if entry(distro, "name").is_none() => {
                let fix = "add `name`, the `ID` of /etc/os-release";
                page.warning(at, Rule::TARGETS, "this distribution has no `name`", fix);
            }
            Some((name, at))
                if name
                    .chars()
                    .any(|letter| letter.is_uppercase() || letter == ' ') =>
            {
                let message = format!("`{name}` is not what any /etc/os-release has as its `ID`");
                page.warning(
                    at,
                    Rule::TARGETS,
                    message,
                    "write it as `ID` has it, such as `ubuntu`",
                );
            }
            _ => {}
        }
    }
}

fn meant(word: &str, known: &[&str]) -> String {
    let other = OTHER_NAMES.iter().find(|(other, _)| *other == word);
    let known_name = other
        .map(|(_, name)| *name)
        .or_else(|| nearest(word, known.iter().copied()));
    match known_name {
        Some(name) => format!("write `{name}`, as Go names it"),
        None => format!("write one of {}", known.join(", ")),
    }
}
